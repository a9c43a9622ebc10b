"""A model and text so small that a run takes a second, for tests of rules at work."""

from pathlib import Path

import numpy as np

from assay.models.sequences import Sequences
from assay.packing.sequences import pack
from assay.proxy.rules_base import Rule
from assay.proxy.schedule import Phase
from assay.proxy.settings import Settings

VOCAB, LENGTH = 60, 16
SETTINGS = Settings(learning_rate=0.01, batch_tokens=4 * LENGTH, beta2=0.99, min_steps=1, sequence_length=LENGTH)


def documents(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random documents of 3 to 40 tokens: ids, starts, has_end."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 40, num)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return rng.zipf(1.5, starts[-1]).clip(max=VOCAB - 2).astype(np.uint16), starts, np.ones(num, np.bool_)


def sequences(num_documents: int = 60) -> Sequences:
    return pack(*documents(num_documents), length=LENGTH, end_id=VOCAB, seed=0)


def train_tiny(phases: list[Phase], rule: Rule | None, folder: Path | None = None):
    """The outcome of a run, and the bytes of all weights."""
    import torch

    from assay.models.gpt import GPT, GPTConfig
    from assay.proxy.train import Limits, train

    torch.set_num_threads(1)
    model = GPT(GPTConfig(vocab_size=VOCAB + 1, width=16, depth=1, heads=2, hidden=32, context=LENGTH), seed=1)
    limits = Limits(checkpoint_seconds=1e9)
    outcome = train(model, phases, SETTINGS, seed=3, folder=folder, rule=rule, limits=limits)
    return outcome, b"".join(w.detach().numpy().tobytes() for w in model.parameters())
