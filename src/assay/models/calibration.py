"""Margins of a classifier turned into probabilities, and figures that say how good they are.

Platt 1999, "Probabilistic outputs for support vector machines" (two classes); Guo et al. 2017, "On calibration of
modern neural networks" (arXiv:1706.04599; temperature, expected calibration error). What is found is a scale and a
shift of the margins, so a calibrated linear model is a linear model.
"""

import numpy as np

_STEPS = 100
_LEAST_SCALE = 1e-3  # a model that is worse than chance keeps its order, at nearly the same probability for all
_NUM_BINS = 10


def sigmoid(margins: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    positive = np.exp(-np.abs(margins))
    return np.where(margins >= 0, 1.0, positive) / (1.0 + positive)


def softmax(margins: np.ndarray) -> np.ndarray:
    """Probabilities [documents, classes] of margins [documents, classes]."""
    scaled = np.exp(margins - margins.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def platt(margins: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale and shift under which sigmoid(scale * margin + shift) is the probability that a label is 1.

    Labels are drawn in a little from 0 and 1, as Platt does, so that classes that do not overlap give finite numbers.

    Args:
        margins: [documents]. labels: 0 to 1 [documents].
    """
    positive, negative = labels.sum(), (1 - labels).sum()
    aims = labels * (positive + 1) / (positive + 2) + (1 - labels) / (negative + 2)
    scale, (shift,) = _logistic(margins, aims[:, None])
    return scale, shift


def ordinal(margins: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, np.ndarray]:
    """Scale and shifts [classes - 1] under which sigmoid(scale * margin + shift[k]) is P(label > k); shifts descend."""
    above = labels[:, None] > np.arange(num_classes - 1)
    counts = above.sum(axis=0)
    aims = np.where(above, (counts + 1) / (counts + 2), 1 / (len(labels) - counts + 2))
    scale, shifts = _logistic(margins, aims)
    return scale, np.minimum.accumulate(shifts)


def _logistic(margins: np.ndarray, aims: np.ndarray) -> tuple[float, np.ndarray]:
    """The scale, common to all, and shift of each column of `aims` [documents, columns] of greatest likelihood."""
    unit = margins.std() or 1.0
    x = (margins - margins.mean()) / unit
    shifts = np.log(aims.mean(axis=0) / (1 - aims.mean(axis=0)))
    theta = np.concatenate(([0.0], shifts))
    ridge = 1e-6 * np.eye(len(theta))
    loss = _cross_entropy(theta, x, aims)
    for _ in range(_STEPS):
        p = sigmoid(theta[0] * x[:, None] + theta[1:])
        curve = p * (1 - p)
        gradient = np.concatenate(([((p - aims) * x[:, None]).sum()], (p - aims).sum(axis=0)))
        hessian = np.diag(np.concatenate(([(curve * x[:, None] ** 2).sum()], curve.sum(axis=0))))
        hessian[0, 1:] = hessian[1:, 0] = (curve * x[:, None]).sum(axis=0)
        step = np.linalg.solve(hessian + ridge, gradient)
        size = 1.0
        while (lower := _cross_entropy(theta - size * step, x, aims)) > loss and size > 1e-6:
            size /= 2
        theta, improved, loss = theta - size * step, loss - lower, lower
        if improved < 1e-12 * (1 + abs(loss)):
            break
    if theta[0] / unit < _LEAST_SCALE:
        return _LEAST_SCALE, shifts - _LEAST_SCALE * margins.mean()
    scale = float(theta[0] / unit)
    return scale, theta[1:] - scale * margins.mean()


def _cross_entropy(theta: np.ndarray, x: np.ndarray, aims: np.ndarray) -> float:
    z = theta[0] * x[:, None] + theta[1:]
    return float((np.logaddexp(0, z) - aims * z).sum())


def temperature(margins: np.ndarray, labels: np.ndarray) -> float:
    """Scale of the margins [documents, classes] under which their softmax is likeliest; labels are classes [documents].

    The likelihood is concave in the scale; it is searched on a logarithmic grid, twice, so that it is always finite.
    """
    low, high = -5.0, 5.0
    for _ in range(4):
        grid = np.linspace(low, high, 21)
        losses = [log_loss(softmax(np.exp(g) * margins), labels) for g in grid]
        best, width = grid[int(np.argmin(losses))], grid[1] - grid[0]
        low, high = best - width, best + width
    return float(np.exp(best))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -ln(probability of the label's class), nats; probabilities [documents, classes]."""
    given = probabilities[np.arange(len(labels)), labels.astype(np.int64)]
    return float(-np.log(np.maximum(given, 1e-12)).mean())


def binary_log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross entropy, nats, of probabilities [documents] against labels from 0 to 1 [documents]."""
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and share of ones, in ten bins of equally many.

    Args:
        probabilities: [documents]. labels: 0 to 1 [documents].
    """
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, _NUM_BINS) if len(part)]
    gaps = [abs(probabilities[part].mean() - labels[part].mean()) * len(part) for part in bins]
    return float(sum(gaps) / len(order))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 [values], equal values sharing their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which]


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Chance that a positive scores above a negative, ties counting half; None where one of them is missing."""
    positives = int(is_positive.sum())
    negatives = len(scores) - positives
    if not positives or not negatives:
        return None
    return float((ranks(scores)[is_positive].sum() - positives * (positives - 1) / 2) / (positives * negatives))


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Rank correlation; None where one side has a single value."""
    first, second = ranks(a), ranks(b)
    if len(a) < 2 or not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])
