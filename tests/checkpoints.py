"""Tiny trained transformers in folders, as tests of whatever reads a model want them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from assay.models.gpt import GPT, GPTConfig, save
from assay.models.tokenizer import BPE


def train_tiny(folder: Path, texts: Sequence[str], steps: Sequence[int], *, seed: int = 0) -> list[str]:
    """Trains a model for the last of `steps` steps and saves it as step-k after each of them; the folders."""
    torch.set_num_threads(1)
    bpe = BPE.train(texts, 300)
    config = GPTConfig(vocab_size=bpe.vocab_size + 1, width=32, depth=2, heads=2, hidden=64, context=32)
    model, rng = GPT(config, seed), np.random.default_rng(seed)
    rows = _rows(bpe, texts, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    folders = []
    for step in range(max(steps) + 1):
        if step in steps:
            save(model, folder / f"step-{step}", bpe.to_json())
            folders.append(str(folder / f"step-{step}"))
        batch = rows[torch.from_numpy(rng.integers(0, len(rows), 8))]
        loss = model.losses(batch[:, :-1], batch[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return folders


def _rows(bpe: BPE, texts: Sequence[str], config: GPTConfig) -> torch.Tensor:
    """All texts one after the other, END between them [rows, 33]."""
    ids, starts = bpe.encode(pa.array(list(texts)))
    stream = np.insert(ids.astype(np.int64), starts[:-1], config.end_id)
    size = config.context + 1
    return torch.from_numpy(stream[: len(stream) // size * size].reshape(-1, size))
