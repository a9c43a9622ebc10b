"""Data mixing laws: the loss as an exponential function of the mixture, and the mixture where it is least.

Paper: Ye et al. 2024, "Data Mixing Laws" (arXiv:2403.16952), equations 1 and 7: the loss on one validation domain is

    L(r) = c + k exp(sum_j t_j r_j)

and the loss on text of many domains, where nobody says how many, a sum of such terms ("implicit domains"). Shares sum
to 1, so a constant added to all t_j is a factor of k: of the m + 2 unknowns of one term m + 1 can be known. We write

    L(r) = c + sum_i exp(u_i . r)        with u_ij = t_ij + ln k_i

whose unknowns are those that runs can tell; the two-domain law c + k exp(t r_1) is the case of two sources. A sum of
laws with weights of 0 or more is a law again (`total`), and each is convex: the best mixture is one convex problem, and
comes with a proof of how far from the least loss it can be.

What differs: the authors fit by L-BFGS on Huber's loss from many random starts. We start where the problem is linear
(for a given c, ln(L - c) is linear in r) and refine by Levenberg-Marquardt on all starts at once: the same answer each
time, milliseconds a fit, numpy only. A run that went wrong weighs less (Huber, at 2 robust standard deviations),
and where runs are few a ridge draws each u_i towards its mean, by as much as leaves the least leave-one-out error.
The authors' notebook shows the errors of the runs it was fitted to; `fit` never does without those of held-out runs.

Cost: 10 ms a fit of 42 runs of 7 sources, 35 ms of 64 of 17, 0.2 s of 512 of 17 (one core).

When not to use it: where sources are of use only together (the law is convex, with all mixed derivatives of one
term's logarithm 0), and far outside the mixtures that were run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer
from assay.mixtures.folds import folds
from assay.mixtures.runs import check_shares
from assay.models.calibration import spearman

_GAPS = np.geomspace(0.03, 30, 7)  # least loss above the asymptote, at the start of a fit, in ranges of the losses
_RIDGES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9)
_STEPS = 60
_RESCALED = (0, 3, 8, 15)  # steps at which the scale of residuals is taken anew
_GAIN, _STALE = 1e-4, 5  # a fit ends after so many steps that each gain no such share of what is left
_HUBER = 2.0
_MOST_COUNTED = 3.0  # of a left-out error, in standard deviations of the losses: runs that went wrong choose no ridge
_MAX_EXPONENT = 50.0
_MAX_LEAVE_ONE_OUT = 24  # runs; of more, ten folds are left out
_FOLDS = 10


@dataclass(frozen=True, eq=False)
class MixingLaw:
    """L(r) = constant + sum of exp(exponents[i] . r).

    constant: the loss that no mixture of these sources goes below. exponents: [terms, sources] float64; the lower that
    of a source, the more it helps.
    """

    constant: float
    exponents: np.ndarray

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """The loss of each mixture [mixtures], of shares [mixtures, sources]."""
        return self.constant + _exp(weights @ self.exponents.T).sum(axis=1)

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """How the loss changes with the share of each source [sources], at one mixture [sources]."""
        return _exp(self.exponents @ weights) @ self.exponents


class Best(NamedTuple):
    """Where a law is least.

    weights: the mixture [sources]. loss: what the law says of it. gap: no mixture within the caps is better by more.
    """

    weights: np.ndarray
    loss: float
    gap: float


@dataclass(frozen=True, eq=False)
class LawFit:
    """A law, and how well it foretells runs that it was not fitted to.

    fitted: what the law says of each run [runs]. held_out: what a law fitted without it says [runs]. in_sample_error,
    held_out_error: mean absolute errors of the two; the first is no evidence. mean_error: the held-out error of the
    plain mean of the losses, which a law must beat. rank_correlation: Spearman's, of held_out with the losses; None
    where all are the same. advice: sentences on what the runs cannot tell.
    """

    law: MixingLaw
    fitted: np.ndarray
    held_out: np.ndarray
    in_sample_error: float
    held_out_error: float
    mean_error: float
    rank_correlation: float | None
    advice: tuple[str, ...]


def num_unknowns(num_sources: int, terms: int = 1) -> int:
    """Unknowns of a law: one constant, and one exponent a source and term."""
    return 1 + num_sources * terms


def fit(weights: np.ndarray, losses: np.ndarray, *, terms: int = 1, seed: int = 0) -> LawFit:
    """Fits a law, and fits it again without each run (above 24 runs: without each tenth) to show held-out errors.

    Runs of one mixture, such as other seeds, are left out together.

    Args:
        weights: share of each source [runs, sources], rows sum to 1. losses: [runs], of one metric.
        terms: implicit domains of what the losses were measured on; 1 for text of one domain.

    Raises:
        InvalidParameterError: fewer mixtures than unknowns, shares that do not sum to 1, a loss that is no number.
    """
    law = fit_law(weights, losses, terms=terms, seed=seed)
    held_out = np.empty(len(losses))
    for rows in _folds(weights, seed):
        kept = np.setdiff1d(np.arange(len(losses)), rows)
        held_out[rows] = _fitted(weights[kept], losses[kept], terms, seed).predict(weights[rows])
    return _judged(law, weights, losses, held_out, seed, _advice(weights, terms))


def fit_total(
    weights: np.ndarray, losses: np.ndarray, shares: Sequence[float] | np.ndarray, *, seed: int = 0
) -> LawFit:
    """The law of a weighted sum of metrics, fitted metric by metric ("explicit" aggregation).

    Where losses by domain are at hand this is the one to use: of 42 published runs of 7 sources it foretells the
    overall loss to .016, one law of the overall loss to .029, implicit domains to .026 (docs/mixing-laws.md).

    Args:
        losses: [runs, metrics]. shares: of each metric in the sum [metrics], 0 or more.

    Raises:
        InvalidParameterError: as `fit` and `total`.
    """
    fits = [fit(weights, column, seed=seed) for column in losses.T]
    law = total([found.law for found in fits], shares)
    held_out = np.stack([found.held_out for found in fits], axis=1) @ np.asarray(shares, np.float64)
    return _judged(law, weights, losses @ np.asarray(shares, np.float64), held_out, seed, fits[0].advice)


def _judged(
    law: MixingLaw, weights: np.ndarray, losses: np.ndarray, held_out: np.ndarray, seed: int, advice: tuple[str, ...]
) -> LawFit:
    fitted, means = law.predict(weights), np.empty(len(losses))
    for rows in _folds(weights, seed):
        means[rows] = np.delete(losses, rows).mean()
    return LawFit(
        law,
        fitted,
        held_out,
        in_sample_error=float(np.abs(fitted - losses).mean()),
        held_out_error=float(np.abs(held_out - losses).mean()),
        mean_error=float(np.abs(means - losses).mean()),
        rank_correlation=spearman(held_out, losses),
        advice=advice,
    )


def fit_law(weights: np.ndarray, losses: np.ndarray, *, terms: int = 1, seed: int = 0) -> MixingLaw:
    """The law alone, as `fit` finds it: for callers that hold runs out themselves. Same arguments and errors."""
    check_integer("terms", terms, 1)
    check(weights.ndim == 2 and len(weights) == len(losses), "weights", weights.shape, f"{len(losses)} runs x sources")
    check(bool(np.isfinite(losses).all()), "losses", losses.tolist(), "numbers", "Leave runs that failed out.")
    check_shares(weights)
    needed = num_unknowns(weights.shape[1], terms)
    different = len(np.unique(weights, axis=0))  # other seeds of a mixture tell no unknown
    if different < needed:
        raise InvalidParameterError(
            f"A mixing law of {weights.shape[1]} sources"
            + (f" and {terms} terms" if terms > 1 else "")
            + f" has {needed} unknowns, and there are {different} runs of different mixtures. It takes at least"
            f" {needed}, and {4 * weights.shape[1] * terms} to be of use: run more mixtures, or join sources."
        )
    return _fitted(weights, losses, terms, seed)


def total(laws: Sequence[MixingLaw], shares: Sequence[float] | np.ndarray) -> MixingLaw:
    """The law of the loss on several domains: the sum of their laws, each times its share (0 or more).

    With shares of the validation text this is the paper's "explicit" aggregation.
    """
    shares = np.asarray(shares, np.float64)
    check(len(laws) > 0, "laws", len(laws), "at least one")
    check(len(shares) == len(laws) and bool((shares >= 0).all()), "shares", shares.tolist(), "0 or more, one a law")
    terms = [law.exponents + np.log(share) for law, share in zip(laws, shares, strict=True) if share > 0]
    constant = float(sum(share * law.constant for law, share in zip(laws, shares, strict=True)))
    return MixingLaw(constant, np.concatenate([np.empty((0, laws[0].exponents.shape[1])), *terms]))


def best(law: MixingLaw, at_most: np.ndarray | None = None, *, max_gap: float = 1e-6) -> Best:
    """The mixture of least loss by a law, none of the sources above its cap.

    Projected gradients with momentum, until what linear bounds prove to be left is below `max_gap`: the law is convex.

    Args:
        at_most: largest share of each source [sources]; None: 1.
        max_gap: in units of the loss.

    Raises:
        InvalidParameterError: caps that sum to less than 1.
    """
    caps = np.ones(law.exponents.shape[1]) if at_most is None else np.minimum(np.asarray(at_most, np.float64), 1.0)
    check(caps.shape == (law.exponents.shape[1],), "at_most", caps.shape, f"({law.exponents.shape[1]},)")
    check(bool((caps >= 0).all()), "at_most", caps.tolist(), "0 or more")
    check(caps.sum() >= 1 - 1e-9, "at_most", caps.tolist(), "at least 1 in all", "Allow more epochs, or fewer tokens.")
    here = ahead = _project(np.full(len(caps), 1 / len(caps)), caps)
    step, momentum = 1.0, 1.0
    for _ in range(5000):
        slope = law.gradient(here)
        gap = float(slope @ (here - _fill(slope, caps)))
        if gap <= max_gap:
            break
        slope, level = law.gradient(ahead), float(law.predict(ahead[None])[0])
        while True:
            there = _project(ahead - step * slope, caps)
            moved = there - ahead
            if law.predict(there[None])[0] <= level + slope @ moved + moved @ moved / (2 * step) + 1e-15:
                break
            step /= 2
        if (there - here) @ (ahead - there) > 0:  # going back: momentum starts anew
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = _project(there + (momentum - 1) / following * (there - here), caps)
        here, momentum, step = there, following, step * 1.2
    slope = law.gradient(here)
    return Best(here, float(law.predict(here[None])[0]), max(0.0, float(slope @ (here - _fill(slope, caps)))))


def _fill(slope: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The mixture within the caps where a linear function is least: the lowest slopes are filled first."""
    order = np.argsort(slope, kind="stable")
    before = np.cumsum(caps[order]) - caps[order]
    filled = np.empty(len(caps))
    filled[order] = np.clip(1 - before, 0, caps[order])
    return filled


def _project(point: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The nearest mixture within the caps: clip(point - shift, 0, caps) with the shift that makes it sum to 1."""
    edges = np.sort(np.concatenate([point, point - caps]))
    sums = np.clip(point - edges[:, None], 0, caps).sum(axis=1)  # falls as the shift grows
    after = int(np.searchsorted(-sums, -1.0))
    if after == 0:
        return np.clip(point - edges[0], 0, caps)
    low, high = edges[after - 1], edges[min(after, len(edges) - 1)]
    top, bottom = sums[after - 1], sums[min(after, len(edges) - 1)]
    shift = low if top == bottom else low + (top - 1) / (top - bottom) * (high - low)
    return np.clip(point - shift, 0, caps)


def _folds(weights: np.ndarray, seed: int) -> list[np.ndarray]:
    return folds(weights, len(weights) if len(weights) <= _MAX_LEAVE_ONE_OUT else _FOLDS, seed)


def _advice(weights: np.ndarray, terms: int) -> tuple[str, ...]:
    said = []
    num_runs, num_sources = weights.shape
    if num_runs < 4 * num_sources * terms:
        said.append(
            f"{num_runs} runs for {num_unknowns(num_sources, terms)} unknowns: {4 * num_sources * terms} are advised."
        )
    rank = np.linalg.matrix_rank(weights - weights.mean(axis=0), tol=1e-6)
    if rank < num_sources - 1:
        said.append(
            f"The runs' shares vary in {rank} directions of {num_sources - 1}: the others rest on the ridge alone."
        )
    return tuple(said)


def _fitted(weights: np.ndarray, losses: np.ndarray, terms: int, seed: int) -> MixingLaw:
    """The law, of losses scaled to standard deviation 1; the ridge by leave-one-out error."""
    centre, scale = float(losses.mean()), float(losses.std()) or 1.0
    aims = (losses - centre) / scale
    unknowns = _refined(weights, aims, _starts(weights, aims, terms, seed))
    exponents = unknowns[1:].reshape(terms, -1)
    return MixingLaw(centre + scale * float(unknowns[0]), exponents + np.log(scale))


def _starts(weights: np.ndarray, aims: np.ndarray, terms: int, seed: int) -> np.ndarray:
    """Unknowns to begin with [starts, 1 + terms x sources]: of each asymptote the log-linear fit, in shares."""
    num_sources = weights.shape[1]
    lowest, spread = float(aims.min()), float(np.ptp(aims)) or 1.0
    rng = np.random.default_rng([seed, 3])
    found = []
    for gap in _GAPS:
        constant = lowest - gap * spread
        above = aims - constant
        # d ln(L - c) = dL / (L - c): weights that make errors of the logarithm errors of the loss.
        rows = weights * above[:, None]
        square = rows.T @ rows
        exponents = np.linalg.solve(
            square + 1e-4 * np.trace(square) / num_sources * np.eye(num_sources), rows.T @ (above * np.log(above))
        )
        apart = rng.normal(0, 1.0, (terms, num_sources)) if terms > 1 else np.zeros((1, num_sources))
        found.append(np.concatenate([[constant], (exponents - np.log(terms) + apart).ravel()]))
    return np.array(found)


def _refined(weights: np.ndarray, aims: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Levenberg-Marquardt from all starts with all ridges at once: unknowns of the fit that foretells best.

    Least: the sum of Huber's loss of the residuals + ridge x runs x the squares of exponents about their term's mean.
    Of each ridge the start that ends lowest counts; of ridges the one with the least leave-one-out error, of the
    problem made linear at its solution: residual / (1 - leverage).
    """
    num_runs, num_sources = weights.shape
    terms = (starts.shape[1] - 1) // num_sources
    ridges = np.repeat(_RIDGES, len(starts))[:, None, None]
    centring = np.kron(np.eye(terms), np.eye(num_sources) - 1 / num_sources)
    penalties = np.zeros((len(ridges), starts.shape[1], starts.shape[1]))
    penalties[:, 1:, 1:] = ridges * num_runs * (centring + 1e-4 * np.eye(len(centring)))
    unknowns = np.tile(starts, (len(_RIDGES), 1))
    damping = np.full(len(unknowns), 1e-2)
    identity = np.eye(unknowns.shape[1])
    residuals, values = _residuals(weights, aims, unknowns, terms)
    stale = 0
    for k in range(_STEPS):
        if k in _RESCALED:
            limits = _limits(residuals)
            costs = _cost(residuals, limits, unknowns, penalties)
        jacobian, weighted = _jacobian(values, weights, residuals, limits)
        square = weighted @ jacobian + penalties
        downhill = weighted @ residuals[:, :, None] - penalties @ unknowns[:, :, None]
        scales = np.maximum(np.diagonal(square, axis1=1, axis2=2), 1e-12)
        damped = square + (damping[:, None] * scales)[:, :, None] * identity
        tried = unknowns + np.linalg.solve(damped, downhill)[:, :, 0]
        new_residuals, new_values = _residuals(weights, aims, tried, terms)
        new_costs = _cost(new_residuals, limits, tried, penalties)
        better = new_costs < costs
        unknowns[better], residuals[better], values[better] = tried[better], new_residuals[better], new_values[better]
        lowest, costs = _lowest(costs), np.where(better, new_costs, costs)
        stale = 0 if bool((_lowest(costs) < (1 - _GAIN) * lowest).any()) else stale + 1
        damping = np.where(better, np.maximum(damping / 5, 1e-9), np.minimum(damping * 4, 1e9))
        if stale >= _STALE and k > _RESCALED[-1]:
            break
    ends = np.argmin(costs.reshape(len(_RIDGES), -1), axis=1) + np.arange(len(_RIDGES)) * len(starts)
    jacobian, weighted = _jacobian(values[ends], weights, residuals[ends], limits[ends])
    inverse = np.linalg.pinv(weighted @ jacobian + penalties[ends], hermitian=True)
    leverage = ((jacobian @ inverse) * weighted.transpose(0, 2, 1)).sum(axis=2)
    left_out = np.abs(residuals[ends]) / np.maximum(1 - leverage, 1e-6)
    return unknowns[ends[np.argmin((np.minimum(left_out, _MOST_COUNTED) ** 2).mean(axis=1))]]


def _residuals(
    weights: np.ndarray, aims: np.ndarray, unknowns: np.ndarray, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """(residuals [starts, runs], value of each term [starts, runs, terms])"""
    exponents = unknowns[:, 1:].reshape(len(unknowns), terms, weights.shape[1])
    values = _exp(weights @ exponents.transpose(0, 2, 1))
    return aims - unknowns[:, :1] - values.sum(axis=2), values


def _jacobian(
    values: np.ndarray, weights: np.ndarray, residuals: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the law by its unknowns [starts, runs, unknowns], and the same with Huber's weights, transposed."""
    by_exponent = (values[:, :, :, None] * weights[None, :, None, :]).reshape(*values.shape[:2], -1)
    jacobian = np.concatenate([np.ones((*values.shape[:2], 1)), by_exponent], axis=2)
    trust = np.minimum(1.0, limits[:, None] / np.maximum(np.abs(residuals), 1e-300))
    return jacobian, (jacobian * trust[:, :, None]).transpose(0, 2, 1)


def _limits(residuals: np.ndarray) -> np.ndarray:
    """Where Huber's loss turns from squares to lines [starts]: of each ridge by the start that fits best so far."""
    medians = np.median(np.abs(residuals), axis=1).reshape(len(_RIDGES), -1)
    return np.repeat(_HUBER * np.maximum(medians.min(axis=1) / 0.6745, 1e-6), medians.shape[1])


def _cost(residuals: np.ndarray, limits: np.ndarray, unknowns: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    sizes = np.abs(residuals)
    within = np.minimum(sizes, limits[:, None])
    drawn = (unknowns[:, None, :] @ penalties @ unknowns[:, :, None])[:, 0, 0]
    return 2 * (within * (sizes - within / 2)).sum(axis=1) + drawn


def _lowest(costs: np.ndarray) -> np.ndarray:
    """Of the starts of each ridge [ridges]."""
    return costs.reshape(len(_RIDGES), -1).min(axis=1)


def _exp(exponents: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(exponents, _MAX_EXPONENT))
