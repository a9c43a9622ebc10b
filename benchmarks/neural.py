"""Rows about neural models; they need `make .venv/.models`, and are left out where torch is not installed."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.data import pool_files, some_texts

_SCORED_DOCUMENTS = 120
_CONTEXT = 1024
_PEER_ROWS = 16  # of the peer's batches


def lm_loss_score(folder: Path) -> dict[str, Any]:
    """Log probabilities of mixed documents under the same 1M checkpoint, one core, float32.

    The peer computes them as one does with transformers: batches of 16 documents in the order in which they come,
    padded to the longest, logits of all positions, cross entropy. Both give the same losses to 1e-4.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from assay.models import gpt
    from assay.models.neural_lm import load_lm
    from assay.models.tokenizer import BPE

    torch.set_num_threads(1)
    texts = [text[:4000] for text in some_texts(pool_files(folder), 4_000_000)[:_SCORED_DOCUMENTS]]
    bpe = BPE.train(texts, 8192)
    gpt.save(gpt.GPT(gpt.GPTConfig.of("1M", bpe.vocab_size + 1, _CONTEXT)), folder / "model", bpe.to_json())
    lm = load_lm(folder / "model", device=torch.device("cpu"))
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    ids, starts = lm.encode(pa.array(texts))
    documents = [ids[a:b][: _CONTEXT - 1] for a, b in pairwise(starts.tolist()) if b > a]
    ids, starts = np.concatenate(documents), np.cumsum([0, *map(len, documents)])

    def ours() -> np.ndarray:
        return lm.log_probabilities(ids, starts)

    def theirs() -> np.ndarray:
        found = []
        for first in range(0, len(documents), _PEER_ROWS):
            rows = documents[first : first + _PEER_ROWS]
            inputs = torch.full((len(rows), max(map(len, rows)) + 1), lm.end_id)
            mask = torch.zeros_like(inputs)
            for k, row in enumerate(rows):
                inputs[k, 1 : len(row) + 1] = torch.from_numpy(row.astype(np.int64))
                mask[k, : len(row) + 1] = 1
            with torch.inference_mode():
                logits = model(input_ids=inputs, attention_mask=mask).logits[:, :-1].float()
                answers = inputs[:, 1:].flatten()
                losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers, reduction="none")
            by_row = losses.view(len(rows), -1)
            found += [by_row[k, : len(row)].numpy() for k, row in enumerate(rows)]
        return -np.concatenate(found)

    assert np.abs(ours() - theirs()).max() < 1e-4
    mine, peer = _alternate(ours, theirs, 3)
    rates = {"ours": len(ids) / mine, "peer": len(ids) / peer, "unit": "tokens/s, 1M model, float32, one core"}
    return {**rates, "ratio": peer / mine, "peer_name": "transformers, padded batches of 16"}


def _alternate(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int) -> tuple[float, float]:
    """Median seconds of this process's CPU time of each, in turn: with one thread, other processes do not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for function, times in zip((ours, theirs), seconds, strict=True):
            started = time.process_time()
            function()
            times.append(time.process_time() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
