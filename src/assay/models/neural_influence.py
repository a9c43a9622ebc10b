"""What one step of training on each of some documents changes in a language model's loss on others: MATES' oracle.

For each document the model starts from its checkpoint, makes one step, is measured, and is put back. The step is
AdamW's where `training.safetensors` lies in the folder with its averages, as `proxy.train` writes it (weight decay, the
same for all documents, is left out), and else that of gradient descent with the gradient cut to length 1, as trainers
do. All weights take part. A document is its first 1,024 tokens.

Source: Yu et al. 2024, MATES (arXiv:2406.06046), section 3.2; Adam with the corrections of Kingma and Ba 2015, which
are next to 1 after some hundred steps and left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from assay.models.gradients import BETA_1
from assay.models.neural_gradients import BETA_2, MAX_TOKENS, document_loss, read_averages
from assay.models.neural_lm import NeuralLM, load_own
from assay.progress import step

_EPSILON = 1e-8


def probe(
    model: str, texts: pa.Array, references: pa.Array, weights: np.ndarray, *, rate: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Change of the loss on the references by one step on each text.

    Args:
        model: a folder, as `load_lm` takes it. weights: of the references, of sum 1. rate: the learning rate.

    Returns:
        [texts] float64, negative where the text helps, NaN where it has no tokens; and `model`, `step`, and the `loss`
        before, in nats a token.

    Raises:
        InvalidParameterError, InputError, MissingExtraError: the folder holds no model, or a damaged one.
    """
    lm = load_own(model)
    own = {name: tensor for name, tensor in lm.module.named_parameters() if tensor.requires_grad}
    averages = read_averages(Path(model).expanduser(), own)
    start = torch.cat([tensor.detach().flatten() for tensor in own.values()])
    asked = _Asked(lm, references, weights)
    before = asked.loss()
    ids, starts = lm.encode(texts)
    changes = np.full(len(texts), np.nan)
    rows = np.flatnonzero(np.diff(starts))
    with step("measure influence", len(rows), "documents") as advance:
        for row in rows:
            with torch.enable_grad():
                found = torch.autograd.grad(document_loss(lm, ids[starts[row] : starts[row + 1]]), list(own.values()))
            gradient = torch.cat([part.flatten() for part in found])
            _put(own, start - rate * _direction(gradient, averages))
            changes[row] = asked.loss() - before
            advance(1)
        _put(own, start)
    told = {"model": model, "step": "gradient descent" if averages is None else "Adam", "loss": before}
    return changes, told


def _direction(gradient: Tensor, averages: tuple[Tensor, Tensor] | None) -> Tensor:
    if averages is None:
        return gradient / gradient.norm().clamp(min=1.0)
    mean = BETA_1 * averages[0] + (1 - BETA_1) * gradient
    square = BETA_2 * averages[1] + (1 - BETA_2) * gradient.square()
    return mean / (square.sqrt() + _EPSILON)


def _put(own: dict[str, torch.nn.Parameter], values: Tensor) -> None:
    """Sets weights from one after the other [coordinates]."""
    with torch.no_grad():
        sizes = [tensor.numel() for tensor in own.values()]
        for tensor, part in zip(own.values(), values.split(sizes), strict=True):
            tensor.copy_(part.view_as(tensor))


class _Asked:
    """The references, of which the loss is asked again and again."""

    def __init__(self, lm: NeuralLM, references: pa.Array, weights: np.ndarray):
        ids, starts = lm.encode(references)
        first = starts[:-1]
        sizes = np.minimum(np.diff(starts), min(MAX_TOKENS, lm.context))
        self.lm = lm
        self.ids = np.concatenate([ids[a : a + n] for a, n in zip(first, sizes, strict=True)])
        self.starts = np.concatenate(([0], np.cumsum(sizes)))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.shares = np.repeat(weights / sizes, sizes)  # of each token

    def loss(self) -> float:
        """Nats a token, mean over each reference, these by weight."""
        return float(-(self.lm.log_probabilities(self.ids, self.starts).astype(np.float64) @ self.shares))
