"""Training transformers: what a run of a comparison and `assay.train` have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay.models.tokenizer import BPE
from assay.models.torch_extra import require
from assay.proxy.gpt import GPT
from assay.proxy.rules_base import Rule
from assay.proxy.settings import Settings
from assay.proxy.stream import Stream

if TYPE_CHECKING:
    from assay.models.gpt import GPT as Network
    from assay.proxy.train import Limits, Outcome


def train_network(
    proxy: GPT,
    stream: Stream,
    vocab_size: int,
    *,
    seed: int,
    folder: Path | None,
    start: Path | None = None,
    rule: Rule | None = None,
    limits: "Limits | None" = None,
) -> "tuple[Network, Outcome]":
    """Packs documents and trains a network of the proxy's size on them.

    Args:
        vocab_size: ids of the tokenizer. seed: of the first weights, of what shares a sequence and of their order.
        folder: where an interrupted training goes on from. start: a model to go on training, in place of a new one.

    Raises:
        MissingExtraError: torch is not installed.
    """
    require("Training a transformer")
    from assay.models.gpt import GPT as Network
    from assay.models.gpt import GPTConfig, load
    from assay.packing.sequences import pack
    from assay.proxy.train import train

    settings = Settings.of(proxy.size)
    sequences = pack(*stream, length=settings.sequence_length, end_id=vocab_size, seed=seed)
    config = GPTConfig.of(proxy.size, vocab_size + 1, context=settings.sequence_length)
    network = Network(config, seed) if start is None else load(start, "cpu")
    outcome = train(network, sequences, settings, seed=seed, folder=folder, rule=rule, limits=limits)
    return network, outcome


def network_log_probabilities(network: "Network", bpe: BPE, tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Natural logs of the probabilities of all tokens of some documents [tokens] float32."""
    from assay.models.neural_lm import of_network

    return of_network(network, bpe).log_probabilities(tokens, starts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch use one core in this thread: many small models are trained side by side, a core each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
