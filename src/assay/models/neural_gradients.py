"""Gradients of language models in folders: a document's, projected and at unit length; see `models.gradients`.

A document is its first 1,024 tokens, or as many as the model reads; its loss is the mean over them. The gradient is by
the weights of the last blocks (`layers`), or all but embedding and head. It is taken for one document at a time, and
projected for several together, a block of coordinates after the other: neither the matrix of signs nor more than 128 MB
of gradients are ever in memory.

Adam: where `training.safetensors` lies in the folder, as `proxy.train` writes it, with averages of gradients (mean.*)
and of their squares (square.*), the pool's vectors are Adam's; else they are plain, which a note and the manifest of
the vectors (`steps`) say, and so they are where Muon changed the weights. Of several checkpoints all must have it.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from assay.errors import InputError, InvalidParameterError, check
from assay.kernels.projection import coordinate_blocks, seed_key, sign_words
from assay.models.gradients import ADAM, BETA_1, EPSILON, PLAIN, Gradients
from assay.models.neural_lm import NeuralLM, load_own
from assay.progress import note

MAX_TOKENS = 1024  # of a document; as in MATES
AVERAGES = "training.safetensors"
BETA_2 = 0.99  # of our training (proxy/settings.yaml)
_TOGETHER = 1 << 25  # numbers in the gradients that are projected together
_MOST = 64  # documents that are
_busy = threading.Lock()  # torch has threads of its own, and a second batch would only take memory


class NeuralGradients:
    """The encoder of one or several checkpoints."""

    def __init__(self, wanted: Gradients):
        self._checkpoints = [Checkpoint(folder, wanted) for folder in wanted.folders]
        self._roots = np.sqrt(wanted.shares)
        if wanted.adam and self.steps == PLAIN:
            note(f"gradients are plain: not every checkpoint has AdamW's averages in {AVERAGES}")
            for checkpoint in self._checkpoints:
                checkpoint.averages = None

    @property
    def dimensions(self) -> int:
        """Numbers in a vector: those of all checkpoints."""
        return sum(checkpoint.wanted.dimensions for checkpoint in self._checkpoints)

    @property
    def steps(self) -> str:
        """As of `TakesGradients`: Adam's where all checkpoints have what it needs."""
        return PLAIN if any(checkpoint.averages is None for checkpoint in self._checkpoints) else ADAM

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without tokens, or null."""
        with _busy:
            found = [checkpoint.vectors(texts) for checkpoint in self._checkpoints]
        scaled = [root * vectors for root, vectors in zip(self._roots, found, strict=True)]
        return np.concatenate(scaled, axis=1).astype(np.float32)


class Checkpoint:
    """One model, and what its gradients are taken by.

    averages: AdamW's averages of the gradient and of its square [coordinates], or None.
    """

    def __init__(self, folder: str, wanted: Gradients):
        self.wanted = wanted
        self.lm = load_own(folder)
        self.chosen = chosen_weights(self.lm.module, wanted.layers, self.lm.vocab_size)
        for weights in self.lm.module.parameters():
            weights.requires_grad_(False)
        for weights in self.chosen.values():
            weights.requires_grad_(True)
        self.num_coordinates = sum(weights.numel() for weights in self.chosen.values())
        self.averages = read_averages(Path(folder).expanduser(), self.chosen) if wanted.adam else None

    def vectors(self, texts: pa.Array) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without tokens."""
        ids, starts = self.lm.encode(texts)
        result = np.zeros((len(texts), self.wanted.dimensions), np.float32)
        rows = np.flatnonzero(np.diff(starts))
        size = max(1, min(_MOST, _TOGETHER // self.num_coordinates))
        for first in range(0, len(rows), size):
            some = rows[first : first + size]
            gradients = torch.stack([self._direction(ids[starts[row] : starts[row + 1]]) for row in some])
            projected = self._projected(gradients)
            if not torch.isfinite(projected).all():
                raise InvalidParameterError(
                    f"The language model in {self.lm.name} has gradients that are NaN or infinite. Its files are "
                    "damaged: take another copy."
                )
            result[some] = nn.functional.normalize(projected, dim=1).cpu().numpy()
        return result

    def gradient(self, ids: np.ndarray) -> Tensor:
        """Derivative of the mean loss of some tokens by the chosen weights [coordinates] float32."""
        with torch.enable_grad():
            found = torch.autograd.grad(document_loss(self.lm, ids), list(self.chosen.values()))
        return torch.cat([part.flatten() for part in found])

    def _direction(self, ids: np.ndarray) -> Tensor:
        """The gradient, or Adam's step."""
        gradient = self.gradient(ids)
        if self.averages is None:
            return gradient
        mean, square = self.averages
        return adam_direction(gradient, mean, square)

    def _projected(self, gradients: Tensor) -> Tensor:
        """R times each gradient [documents, dimensions] float32."""
        result = torch.zeros(len(gradients), self.wanted.dimensions, device=gradients.device)
        for first, bits in _bit_blocks(self.num_coordinates, self.wanted, gradients.device):
            result += gradients[:, first : first + len(bits)] @ bits
        return 2 * result - gradients.sum(dim=1, keepdim=True)  # a sign is twice its bit less 1


def document_loss(lm: NeuralLM, ids: np.ndarray) -> Tensor:
    """Mean nats per token of a document's first tokens, as a tensor that gradients can be taken of."""
    targets = torch.from_numpy(ids[: min(MAX_TOKENS, lm.context)].astype(np.int64)).to(lm.device)
    inputs = torch.cat((targets.new_tensor([lm.end_id]), targets[:-1]))[None]
    logits = lm.network.head(lm.network.body(inputs)[0])
    return cross_entropy(logits.float(), targets)


def chosen_weights(module: nn.Module, layers: int, vocab_size: int) -> dict[str, nn.Parameter]:
    """The weights by name that gradients are taken by: of the last so many blocks; 0 = all, but embedding and head.

    Raises:
        InvalidParameterError: there are fewer blocks.
    """
    blocks = max((m for m in module.modules() if isinstance(m, nn.ModuleList)), key=len, default=nn.ModuleList())
    check(layers <= len(blocks), "layers", layers, f"at most {len(blocks)}, the model's blocks, or 0 for all")
    if layers:
        taken = {id(weights) for block in list(blocks)[-layers:] for weights in block.parameters()}
    else:
        taken = {id(weights) for weights in module.parameters() if len(weights) < vocab_size}
        taken -= {id(w) for m in module.modules() if isinstance(m, nn.Embedding) for w in m.parameters()}
    return {name: weights for name, weights in module.named_parameters() if id(weights) in taken}


def read_averages(folder: Path, chosen: dict[str, nn.Parameter]) -> tuple[Tensor, Tensor] | None:
    """AdamW's averages of gradient and square of the chosen weights [coordinates]; None where the folder has none.

    Weights that Muon trained have none either: its one average is of no use to Adam's step.

    Raises:
        InputError: they are damaged, or those of another model.
    """
    file = folder / AVERAGES
    if not file.is_file():
        return None
    found = []
    try:
        with safe_open(file, "pt") as stream:
            if any(f"momentum.{name}" in stream.keys() for name in chosen):  # noqa: SIM118  (it is no mapping)
                return None
            for group in ("mean", "square"):
                parts = [stream.get_tensor(f"{group}.{name}") for name in chosen]
                for part, weights in zip(parts, chosen.values(), strict=True):
                    if part.shape != weights.shape:
                        raise InputError(f"{file} is of another model: shapes differ. Take it out, or its own.")
                found.append(torch.cat([part.flatten().float() for part in parts]))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} is damaged, or of another model: {error}. Take it out, or its own.") from error
    device = next(iter(chosen.values())).device
    return found[0].to(device), found[1].to(device)


def adam_direction(gradient: Tensor, mean: Tensor, square: Tensor) -> Tensor:
    """`gradients.adam_step` on a device."""
    weighted = (1 - BETA_1) * gradient + BETA_1 * mean
    return weighted / ((1 - BETA_2) * gradient.square() + BETA_2 * square + EPSILON).sqrt()


def _bit_blocks(num_coordinates: int, wanted: Gradients, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """First coordinate and bits of the signs [coordinates, dimensions] float32 of each block, alike on all devices."""
    for first, number in coordinate_blocks(num_coordinates):
        words = sign_words(first, number, wanted.dimensions, seed_key(wanted.seed)).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        yield first, torch.from_numpy(bits).to(device).to(torch.float32)
