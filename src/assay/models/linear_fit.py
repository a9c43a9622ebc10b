"""Training of `models.linear`: stochastic gradient descent on all cores, the same for a seed whatever the cores.

Fewer than 10,000 documents are one shard; more are dealt to up to 16 shards, each of which descends by itself from the
mean of the last pass (Zinkevich et al. 2010, "Parallelized stochastic gradient descent"). How many there are follows
from the documents alone, and their mean is taken in their order, so the number of threads changes nothing; nor does the
order in which documents come, since they are sorted by hash first.

Held out, for calibration and the figures of the report: a tenth of the documents, which are then not learnt from; of
up to 5,000, or where a class has less than 100 different texts, each fifth in turn by a model of the other four, and
the model that is kept learns from all. Equal texts of a class are held out together. Figures are of probabilities
calibrated on the other half of what is held out.

Cost: see docs/classifiers.md; memory a byte a byte of text, and the weights once per shard (256 MB at most).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from assay.errors import InvalidParameterError, check, check_choice, check_integer, check_number
from assay.kernels import linear as kernels
from assay.kernels.hashing import mix64_array
from assay.memory import num_workers
from assay.models import calibration
from assay.models.linear import BINARY, KINDS, MULTICLASS, ORDINAL, PAIRWISE, REGRESSION, Linear, Rows, predictions

_LOSSES = {
    BINARY: kernels.LOGISTIC,
    MULTICLASS: kernels.SOFTMAX,
    ORDINAL: kernels.ORDINAL,
    REGRESSION: kernels.SQUARED,
}
# The squared loss is four times as curved as the logistic one at its steepest, the ordinal one is a sum of several.
_RATES = {BINARY: 1.0, MULTICLASS: 1.0, ORDINAL: 0.5, REGRESSION: 0.25, PAIRWISE: 1.0}
_SHARD_ROWS = 5_000
_MAX_SHARDS = 16
_SHARD_BYTES = 256_000_000  # weights of all shards together
_CROSS_FITTED = 5_000  # documents up to which all are held out in turn
_RARE = 100  # different texts of a class below which, too: a tenth of them would say nothing, and be missed
_FOLDS = 5
_HELD_OUT = 10  # one in so many, above


@dataclass(frozen=True)
class Settings:
    """How to descend: passes over the documents, learning rate at the start (it falls to 0), and seed."""

    epochs: int = 10
    learning_rate: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, 1, 10_000)
        check_number("learning_rate", self.learning_rate, "a number above 0", lambda x: x > 0)
        check_integer("seed", self.seed, 0, (1 << 32) - 1)


Report = dict[str, Any]


def fit(
    rows: Rows,
    labels: np.ndarray,
    *,
    kind: str,
    classes: Sequence[str] = (),
    settings: Settings | None = None,
    compared: np.ndarray | None = None,
    beside: tuple[Rows, np.ndarray] | None = None,
) -> tuple[Linear, Report]:
    """A calibrated model, and figures about what was held out.

    Args:
        rows: the documents. labels: [documents]; BINARY: 0 or 1, or a probability between (soft labels); MULTICLASS:
            class 0 to K - 1; ORDINAL: the same, in order; REGRESSION: any finite number.
        classes: names of the classes, in order; default their numbers. ORDINAL needs them where the highest is not met.
        compared: numbers [documents] that BINARY labels were made of; `spearman` of the report is with these.
        beside: with `compared`, documents that have such a number [documents] and no label: those between two ends.
            They are not learnt from, but count for `spearman`, which the ends alone would flatter.

    Returns:
        The model, and `documents`, `held_out`, with BINARY `auc` (labels above 1/2 against the others), `accuracy`,
        `log_loss`, `calibration_error`; MULTICLASS the last three; ORDINAL `accuracy`, `mean_absolute_error`,
        `spearman` (of the expected class), `calibration_error`; REGRESSION `spearman`, `r2`. None where what is held
        out does not allow a figure.

    Raises:
        InvalidParameterError: labels out of range, of a single class, not finite, or of fewer than 2 different texts;
            or a learning rate under which the descent runs away.
    """
    check_choice("kind", kind, [k for k in KINDS if k != PAIRWISE])
    settings = settings or Settings()
    labels = np.asarray(labels, np.float64)
    classes = _checked(rows, labels, kind, classes)
    order = np.lexsort((labels, rows.keys))
    num_outputs = len(classes) if kind == MULTICLASS else 1
    centre, unit = (labels.mean(), labels.std()) if kind == REGRESSION else (0.0, 1.0)
    start = _Weights(
        np.zeros((rows.num_buckets, num_outputs), np.float32),
        np.zeros(num_outputs),
        np.linspace(-1.0, 1.0, len(classes) - 1) if kind == ORDINAL else np.empty(0),
    )
    arrays = (rows.starts, rows.buckets, rows.counts, rows.scales)

    def descend_once(w: _Weights, members: np.ndarray, first: float, last: float, seed: int) -> None:
        scaled = (labels - centre) / unit
        kernels.descend(*arrays, members, scaled, _LOSSES[kind], w.weights, w.bias, w.thresholds, first, last, seed)

    train = partial(_train, descend_once, start, settings, _RATES[kind])
    margins = np.zeros((len(rows), num_outputs))
    folds, is_crossed = _folds(rows.keys, labels if kind != REGRESSION else np.zeros(len(rows)))
    between: list[np.ndarray] = []
    held_out, trained = [], start
    for fold in range(_FOLDS if is_crossed else 1):
        out = order[folds[order] == fold]
        trained = train(order[folds[order] != fold])
        margins[out] = kernels.margins_of_rows(*arrays, out, trained.weights, trained.bias)
        held_out.append(out)
        if beside is not None:
            between.append(_margins_of(beside[0], trained)[:, 0])
    if is_crossed:
        trained = train(order)
    out = np.sort(np.concatenate(held_out))
    out = out[np.argsort(rows.keys[out], kind="stable")]
    scale, bias = _calibrated(kind, margins[out], labels[out], len(classes))
    report = {"documents": len(rows), "held_out": len(out), **_figures(kind, margins[out], labels[out], len(classes))}
    if kind == BINARY and compared is not None:
        said, told = margins[out, 0], compared[out]
        if beside is not None:  # as large a share of them as is held out
            is_in = is_crossed | (mix64_array(beside[0].keys) % np.uint64(_HELD_OUT) == 0)
            said = np.concatenate((said, np.mean(between, axis=0)[is_in]))
            told = np.concatenate((told, beside[1][is_in]))
        report |= {"compared": len(said), "spearman": calibration.spearman(said, told)}
    offset = bias if kind == ORDINAL else scale * trained.bias + bias
    weights = trained.weights * np.float32(scale)
    return Linear(kind, tuple(classes), rows.ngrams, weights, np.asarray(offset, np.float64)), report


def fit_pairs(
    rows: Rows, lower: np.ndarray, upper: np.ndarray, shares: np.ndarray, *, settings: Settings | None = None
) -> tuple[Linear, Report]:
    """Ratings from pairwise judgements (Bradley and Terry 1952): cross entropy of sigmoid(s_upper - s_lower).

    A tenth of the documents is held out of up to any number; pairs with one of them are not learnt from.

    Args:
        rows: the documents. lower, upper: the documents of each pair [pairs], positions in `rows`.
        shares: how often `upper` was preferred [pairs], 0 to 1.

    Returns:
        A model of kind PAIRWISE, and `documents`, `pairs`, `held_out` (pairs), with `accuracy` (ties left out) and
        `log_loss` of these.

    Raises:
        InvalidParameterError: no pairs, a pair of a document with itself, or shares that are not from 0 to 1.
    """
    settings = settings or Settings()
    lower, upper = np.asarray(lower, np.int64), np.asarray(upper, np.int64)
    shares = np.asarray(shares, np.float64)
    _check_pairs(len(rows), lower, upper, shares)
    order = np.lexsort((shares, rows.keys[upper], rows.keys[lower]))
    arrays = (rows.starts, rows.buckets, rows.counts, rows.scales)

    def descend_once(w: _Weights, members: np.ndarray, first: float, last: float, seed: int) -> None:
        kernels.descend_pairs(*arrays, members, lower, upper, shares, w.weights, first, last, seed)

    start = _Weights(np.zeros((rows.num_buckets, 1), np.float32), np.zeros(1), np.empty(0))
    is_out = mix64_array(rows.keys) % np.uint64(_HELD_OUT) == 0
    pair_is_out = (is_out[lower] | is_out[upper])[order]
    trained = _train(descend_once, start, settings, _RATES[PAIRWISE], order[~pair_is_out])
    out = order[pair_is_out]
    ratings = kernels.margins_of_rows(*arrays, np.arange(len(rows)), trained.weights, trained.bias)[:, 0]
    report = {"documents": len(rows), "pairs": len(shares), "held_out": len(out)}
    report |= _pair_figures(ratings[upper[out]] - ratings[lower[out]], shares[out])
    return Linear(PAIRWISE, (), rows.ngrams, trained.weights, trained.bias), report


@dataclass(frozen=True)
class _Weights:
    """What descent changes: weights [buckets, outputs], bias [outputs], thresholds [classes - 1] of ordinal classes."""

    weights: np.ndarray
    bias: np.ndarray
    thresholds: np.ndarray

    def copy(self) -> "_Weights":
        return _Weights(self.weights.copy(), self.bias.copy(), self.thresholds.copy())


def _margins_of(rows: Rows, w: _Weights) -> np.ndarray:
    """Margins [documents, outputs]."""
    arrays = (rows.starts, rows.buckets, rows.counts, rows.scales)
    return kernels.margins_of_rows(*arrays, np.arange(len(rows)), w.weights, w.bias)


Descend = Callable[[_Weights, np.ndarray, float, float, int], None]


def _train(
    descend_once: Descend, start: _Weights, settings: Settings, unit_rate: float, members: np.ndarray
) -> _Weights:
    """Descends for all epochs over `members`, in their order dealt to shards; leaves `start` as it is."""
    num_shards = max(1, min(_MAX_SHARDS, len(members) // _SHARD_ROWS, _SHARD_BYTES // start.weights.nbytes))
    shards = [members[k::num_shards] for k in range(num_shards)]
    # A mean of steps is a shorter step: the root was found best between 1 and the number of shards.
    rate = settings.learning_rate * unit_rate * num_shards**0.5
    epochs = settings.epochs

    def descend_shard(start: _Weights, epoch: int, k: int) -> _Weights:
        own = start.copy()
        first, last = (rate * (1 - (epoch + passed) / epochs) for passed in (0, 1))
        descend_once(own, shards[k], first, last, (settings.seed * epochs + epoch) * num_shards + k)
        return own

    current = start
    with ThreadPoolExecutor(num_workers()) as pool:
        for epoch in range(epochs):
            current = _mean(list(pool.map(partial(descend_shard, current, epoch), range(num_shards))))
    is_finite = all(bool(np.isfinite(array).all()) for array in vars(current).values())
    way_out = "The loss has grown beyond all numbers; take a lower one."
    check(is_finite, "learning_rate", settings.learning_rate, "low enough for the descent to settle", way_out)
    return current


def _mean(shards: list[_Weights]) -> _Weights:
    if len(shards) == 1:
        return shards[0]
    total = shards[0]
    for other in shards[1:]:
        for mine, theirs in zip(vars(total).values(), vars(other).values(), strict=True):
            mine += theirs
    for mine in vars(total).values():
        mine /= len(shards)
    return total


def _folds(keys: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, bool]:
    """The fold of each document [documents], and whether each fold is held out in turn, or the first alone.

    In each class the distinct texts, by hash, go round the folds.
    """
    groups = labels > 0.5 if ((labels >= 0) & (labels <= 1)).all() else labels
    places, sizes = np.empty(len(keys), np.int64), []
    for value in np.unique(groups):
        members = np.flatnonzero(groups == value)
        texts, places[members] = np.unique(mix64_array(keys[members]), return_inverse=True)
        sizes.append(len(texts))
    is_crossed = len(keys) <= _CROSS_FITTED or min(sizes) < _RARE
    return places % (_FOLDS if is_crossed else _HELD_OUT), is_crossed


def _calibrated(kind: str, margins: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, Any]:
    """Scale of the margins, and what is then added (for ORDINAL in place of its thresholds)."""
    if kind == BINARY:
        return calibration.platt(margins[:, 0], labels)
    if kind == MULTICLASS:
        return calibration.temperature(margins, labels), 0.0
    if kind == ORDINAL:
        return calibration.ordinal(margins[:, 0], labels, num_classes)
    variance = margins[:, 0].var()
    slope = np.mean((margins[:, 0] - margins[:, 0].mean()) * (labels - labels.mean())) / variance if variance else 0.0
    slope = slope if slope > 0 else float(labels.std()) * 1e-3
    return float(slope), float(labels.mean() - slope * margins[:, 0].mean())


def _figures(kind: str, margins: np.ndarray, labels: np.ndarray, num_classes: int) -> Report:
    """Figures of held-out documents, each half calibrated on the other."""
    halves = (np.arange(len(labels)) % 2 == 0, np.arange(len(labels)) % 2 == 1)
    predicted = np.zeros((len(labels), num_classes) if kind in (MULTICLASS, ORDINAL) else len(labels))
    for half in halves:
        if (~half).any():
            scale, bias = _calibrated(kind, margins[~half], labels[~half], num_classes)
            added = np.asarray(bias) if kind == ORDINAL else np.zeros(1)
            shifted = scale * margins[half] + (0.0 if kind == ORDINAL else bias)
            predicted[half] = predictions(kind, shifted, added)
    if kind == BINARY:
        return {
            "auc": calibration.area_under_curve(margins[:, 0], labels > 0.5),
            "accuracy": float(np.mean((predicted > 0.5) == (labels > 0.5))),
            "log_loss": calibration.binary_log_loss(predicted, labels),
            "calibration_error": calibration.calibration_error(predicted, labels),
        }
    if kind == REGRESSION:
        spread = np.sum((labels - labels.mean()) ** 2)
        r2 = 1 - float(np.sum((labels - predicted) ** 2) / spread) if spread else None
        return {"spearman": calibration.spearman(margins[:, 0], labels), "r2": r2}
    best = predicted.argmax(axis=1)
    figures: Report = {"accuracy": float(np.mean(best == labels))}
    if kind == MULTICLASS:
        top = predicted[np.arange(len(best)), best]
        figures["log_loss"] = calibration.log_loss(predicted, labels)
        figures["calibration_error"] = calibration.calibration_error(top, (best == labels).astype(float))
        return figures
    expected = predicted @ np.arange(num_classes)
    above = 1 - np.cumsum(predicted, axis=1)[:, :-1]
    is_above = (labels[:, None] > np.arange(num_classes - 1)).astype(float)
    figures["mean_absolute_error"] = float(np.mean(np.abs(expected - labels)))
    figures["spearman"] = calibration.spearman(expected, labels)
    figures["calibration_error"] = calibration.calibration_error(above.ravel(), is_above.ravel())
    return figures


def _pair_figures(differences: np.ndarray, shares: np.ndarray) -> Report:
    decided = shares != 0.5
    if not decided.any():
        return {"accuracy": None, "log_loss": None}
    return {
        "accuracy": float(np.mean((differences * (shares - 0.5) > 0)[decided])),  # equal ratings order no pair
        "log_loss": calibration.binary_log_loss(calibration.sigmoid(differences), shares),
    }


def _checked(rows: Rows, labels: np.ndarray, kind: str, classes: Sequence[str]) -> Sequence[str]:
    """The names of the classes, when the labels are what `fit` asks for."""
    check(labels.shape == (len(rows),), "labels", labels.shape, f"one per document, ({len(rows)},)")
    check(len(np.unique(rows.keys)) >= 2, "rows", len(rows), "at least two documents of different text")
    check(bool(np.isfinite(labels).all()), "labels", labels[~np.isfinite(labels)][:1], "finite numbers")
    if kind == REGRESSION:
        check(len(np.unique(labels)) > 1, "labels", float(labels[0]), "of more than one value")
        return ()
    if kind == BINARY:
        check(bool(((labels >= 0) & (labels <= 1)).all()), "labels", float(labels.max()), "from 0 to 1")
        check(
            labels.min() < 0.5 < labels.max() or len(np.unique(labels)) > 1,
            "labels",
            float(labels[0]),
            "of both classes",
        )
        names = list(classes) or ["0", "1"]
        check(len(names) == 2, "classes", names, "two names")
        return names
    names = list(classes) or [str(k) for k in range(int(labels.max()) + 1)]
    whole = bool(((labels == np.round(labels)) & (labels >= 0) & (labels < len(names))).all())
    check(whole, "labels", float(labels.max()), f"classes, integers from 0 to {len(names) - 1}")
    if len(np.unique(labels)) < 2:
        raise InvalidParameterError(
            f"All {len(labels)} documents have the label {names[int(labels[0])]!r}; a classifier needs two at least."
        )
    return names


def _check_pairs(num_documents: int, lower: np.ndarray, upper: np.ndarray, shares: np.ndarray) -> None:
    check(len(shares) > 0, "shares", len(shares), "of at least one pair")
    check(lower.shape == upper.shape == shares.shape, "shares", shares.shape, f"one per pair, {lower.shape}")
    inside = bool(((lower >= 0) & (upper >= 0) & (lower < num_documents) & (upper < num_documents)).all())
    check(inside, "lower, upper", num_documents, "positions of documents")
    check(bool((lower != upper).all()), "lower, upper", "equal", "two different documents")
    ok = bool(((shares >= 0) & (shares <= 1)).all())
    check(ok, "shares", shares[~((shares >= 0) & (shares <= 1))][:1].tolist(), "from 0 to 1")
