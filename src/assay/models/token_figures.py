"""What a neural language model says of a token beside its log probability: how wrong it was, and what is likeliest."""

from functools import partial

import numpy as np
import torch

from assay.errors import InvalidParameterError
from assay.models.neural_lm import NeuralLM


def token_norms(lm: NeuralLM, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error norm |p - y| of each token, and length of its loss's gradient by the output matrix [tokens] float32.

    The gradient by the matrix is the outer product of p - y and the state that it reads, so its length is the product
    of theirs; where the output layer has a bias, that of the state with a 1 behind it. Where the logits are no product
    of states and a matrix, gradients are NaN. What an output matrix that is also the embedding does there is left out.

    Raises:
        InvalidParameterError: probabilities or states that are no numbers.
    """
    if not len(ids):
        return np.empty(0, np.float32), np.empty(0, np.float32)
    head = lm.network.head
    is_product = not isinstance(head, torch.nn.Identity)
    has_bias = getattr(head, "bias", None) is not None
    errors, norms = lm.figures(ids, starts, partial(_norms, has_bias)).T
    _check_finite(lm, errors)
    if is_product:
        _check_finite(lm, norms)
    return errors, errors * norms if is_product else np.full_like(errors, np.nan)


def _norms(has_bias: bool, states: torch.Tensor, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    errors = torch.softmax(logits, dim=-1)
    errors[torch.arange(len(answers), device=answers.device), answers] -= 1
    lengths = torch.linalg.vector_norm(states.float(), dim=-1)
    return torch.stack(
        (torch.linalg.vector_norm(errors, dim=-1), torch.hypot(lengths, lengths.new_tensor(has_bias * 1.0))), dim=-1
    )


def likeliest(lm: NeuralLM, ids: np.ndarray, starts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` likeliest ids in the place of each token [tokens, k] int32, and their log probabilities, float32.

    Raises:
        InvalidParameterError: a log probability that is no number.
    """
    found = lm.figures(ids, starts, partial(_likeliest, k)) if len(ids) else np.empty((0, 2 * k), np.float32)
    _check_finite(lm, found)
    return found[:, k:].astype(np.int32), found[:, :k]


def _check_finite(lm: NeuralLM, figures: np.ndarray) -> None:
    if not np.isfinite(figures).all():
        raise InvalidParameterError(
            f"The language model in {lm.name} gives probabilities that are NaN or infinite. Its files are damaged, or "
            "it does not work on this device: take another copy, or another device."
        )


def _likeliest(k: int, states: torch.Tensor, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    values, places = torch.log_softmax(logits, dim=-1).topk(k, dim=-1)
    return torch.cat((values, places.float()), dim=-1)  # float32 holds integers up to 2^24
