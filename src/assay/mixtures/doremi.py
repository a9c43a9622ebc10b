"""DoReMi: weights of sources for the text that a model has most still to learn of, by a game against a proxy.

Paper: DoReMi: Optimizing Data Mixtures Speeds Up Language Model Pretraining, Xie et al. 2023 (arXiv:2305.10429),
section 2, algorithm 1; the authors' code is sangmichaelxie/doremi at 7cde52d. A reference model is trained on the
weights there are. Then a proxy of the same size is trained while its weights a change: after each step, with lambda_d
the mean of max(loss of proxy - loss of reference, 0) over what the step saw of source d,

    a' = a * exp(step_size * lambda);  a = (1 - smoothing) * a' / sum(a') + smoothing / sources

A source that the step saw nothing of keeps its last lambda. The answer is the mean of a over all steps, not the last a.

What differs:
- The loss is clipped per held-out document, not per token, since that is what a simulation gives; a document that the
  proxy already reads better than the reference counts as nothing. Summed over bytes, so lambda is in bits per byte; the
  authors' is in nats per token, about 2.8 times as large where a token has four bytes.
- Every step measures every source on held-out text. The authors measure on the batch to be trained on, in which small
  sources are rare; with small batches their weights end near one-hot (their issue 5), and with our text they cannot.
- The proxy samples by the weights. The authors sample by fixed weights and weight the loss, which n-gram counts cannot.

Cost: one training of the reference and one of the proxy; a simulation does a step of 300k tokens in half a second.

When not to use: where a target is known, since DoReMi has none and serves the source that is furthest behind. And do
not carry weights from one tokenizer to another: the authors' own code gives Pile-CC .138 with 50k ids where the paper
has .6057 with 256k (their issue 15).
"""

from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.mixtures.online import Step, within

STEP_SIZE = 1.0  # per bit per byte
SMOOTHING = 1e-3  # the paper's; the trainer of the authors' code has 1e-4


class DoReMi(NamedTuple):
    """What a run of the game found.

    weights: the time average of all steps' [sources], sum 1: the answer. path: weights after each step
    [steps, sources]. excess: lambda by which each step changed them [steps, sources], at least 0.
    """

    weights: np.ndarray
    path: np.ndarray
    excess: np.ndarray

    @property
    def drift(self) -> float:
        """Share of the mass that differs between the averages of the first half and of the second; 0 = none."""
        half = len(self.path) // 2
        if half == 0:
            return 1.0
        return float(np.abs(self.path[:half].mean(axis=0) - self.path[half:].mean(axis=0)).sum() / 2)


def doremi(
    step: Step,
    num_sources: int,
    *,
    steps: int = 100,
    step_size: float = STEP_SIZE,
    smoothing: float = SMOOTHING,
    at_most: np.ndarray | None = None,
) -> DoReMi:
    """Plays the game for so many steps; the first step trains on equal weights.

    Args:
        step: trains the proxy for one more step by weights [sources], then gives its excess losses [sources], at least
            0, NaN for a source of which nothing was measured (`excess_losses`).
        steps: updates. step_size: of the exponent. smoothing: share of the mass that is always spread evenly.
        at_most: largest weight of each source [sources]; default no limit.

    Raises:
        InvalidParameterError: a bad parameter, or a step that gives anything but excess losses.
    """
    check_integer("num_sources", num_sources, 2)
    check_integer("steps", steps, 1, 1_000_000)
    _check_rates(step_size, smoothing)
    weights = within(np.full(num_sources, 1 / num_sources), at_most)
    last = np.zeros(num_sources)
    path, excess = np.empty((steps, num_sources)), np.empty((steps, num_sources))
    for t in range(steps):
        found = np.asarray(step(weights), np.float64)
        if found.shape != (num_sources,) or (found < 0).any() or np.isinf(found).any():
            raise InvalidParameterError(
                f"Step {t + 1} gave {found.tolist()} as excess losses. Give one for each of the {num_sources} sources, "
                "at least 0, and NaN where nothing was measured; excess_losses() does."
            )
        last = np.where(np.isnan(found), last, found)
        weights = within(update(weights, last, step_size=step_size, smoothing=smoothing), at_most)
        path[t], excess[t] = weights, last
    return DoReMi(path.mean(axis=0), path, excess)


def update(
    weights: np.ndarray, excess: np.ndarray, *, step_size: float = STEP_SIZE, smoothing: float = SMOOTHING
) -> np.ndarray:
    """One step of exponentiated gradient, smoothed [sources].

    Args:
        weights: before the step [sources], sum 1. excess: lambda [sources].

    Source: arXiv:2305.10429, algorithm 1.

    >>> update(np.array([0.5, 0.5]), np.log([3.0, 1.0]), smoothing=0.0).round(4).tolist()
    [0.75, 0.25]
    """
    with np.errstate(divide="ignore"):
        exponent = np.log(weights) + step_size * excess
    raised: np.ndarray = np.exp(exponent - exponent.max())
    return (1 - smoothing) * raised / raised.sum() + smoothing / len(weights)


def excess_losses(
    bits: np.ndarray, reference: np.ndarray, groups: np.ndarray, sizes: np.ndarray, num_sources: int
) -> np.ndarray:
    """Lambda: how much more the proxy loses than the reference, in bits per byte of each source [sources].

    Args:
        bits: of each held-out document under the proxy [documents]. reference: under the reference [documents].
        groups: source of each document [documents], 0 to num_sources - 1; any other is passed over.
        sizes: UTF-8 bytes [documents].

    Returns:
        at least 0, since documents that the proxy reads better than the reference count as nothing; NaN for a source
        without a document.

    Raises:
        InvalidParameterError: lengths that differ.
    """
    num = len(bits)
    for name, values in (("reference", reference), ("groups", groups), ("sizes", sizes)):
        check(len(values) == num, name, f"{len(values)} documents", f"as long as bits, {num}")
    inside = (groups >= 0) & (groups < num_sources)
    over = np.maximum(bits - reference, 0)[inside]
    total = np.bincount(groups[inside], sizes[inside], num_sources)
    sums = np.bincount(groups[inside], over, num_sources)
    return np.divide(sums, total, out=np.full(num_sources, np.nan), where=total > 0)


def _check_rates(step_size: float, smoothing: float) -> None:
    check_number("step_size", step_size, "a number above 0", lambda x: x > 0)
    check_number("smoothing", smoothing, "a share of at least 0 and below 1", lambda x: 0 <= x < 1)
