"""Which mixtures to train on: a first table of runs, how many runs it should have, and which to do next.

- `dirichlet`: the scheme of RegMix (Liu et al. 2024, arXiv:2407.01492, section 3.1; settings of the authors' code):
  Dirichlet draws around the tempered prior, each of one of 15 strengths, none over 15 times the prior.
- `space_filling`: of five times as many draws always the one farthest from those taken (the "coffee-house" design,
  Müller 2001), so that the first half of a design is one too. With a prior the draws are RegMix's.
- `runs_needed`: from the learning curve of the runs that are there.
- `propose`: from the mixtures that a predictor likes best, as CLIMB (Diao et al. 2025, arXiv:2504.13161) does.

What the schemes are worth is measured in docs/mixture-design.md: with 64 runs or fewer those that lie apart teach a
little more than the same draws at random, with 128 as much; filling the simplex whatever the prior is worse than both
with 17 sources, since it never comes near any one of them.

What differs from RegMix: rounding leaves no row whose shares sum to 0.996 or 1.003, as the published tables have, and
caps hold after it. Where caps leave next to nothing of the draws, as when sources are nearly used up, what a draw has
over them is handed to the others instead of drawing for ever. The published 1M table itself was not drawn with the
published settings: its mixtures are flatter (docs/mixture-design.md).

Cost: 512 mixtures of 17 sources 0.1 s, `propose` as much and 40,000 predictions, `runs_needed` 48 fits. Pure numpy.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.mixtures.optimum import within
from assay.mixtures.regression import Regressor
from assay.mixtures.runs import Runs
from assay.models.calibration import spearman

GRID = 5_000  # shares are multiples of 1 / 5000, RegMix's least: 100 of the 512,000 documents that a proxy reads
_POWER, _STRENGTHS, _NUM_STRENGTHS = 0.5, (0.1, 5.0), 15
_MAX_TIMES_PRIOR = 15.0
_OVERSAMPLE = 100
_CANDIDATES = 5  # draws for each that a space-filling design takes; with more it takes the odd ones out
_LEAST_KEPT = 0.01  # of the draws within the caps; with fewer, what is over is handed to the other sources
_MAX_NUM = 10_000
_CHUNK, _ROWS = 65_536, 4_096  # draws, and rows whose distances are taken, at a time
_MIN_RUNS = 32
_FEWEST = 8  # that a regressor is fitted to
_REPEATS = 8
_SIZES = 6
_HELD_OUT = 0.25
_FLOORS = np.linspace(0, 1, 41)  # that errors fall to, in parts of the last one
_POWERS = np.linspace(0.2, 2.5, 47)  # of n that errors fall by
_MAX_REACH = 8  # times the runs that are there: farther no curve is believed
_DRAWS = 20_000
_MIN_LIKED = 128
_NUM_PARENTS = 8
_TAIL = 4  # sizes at the end of a learning curve that its law is fitted to

Predict = Callable[[np.ndarray], np.ndarray]


def dirichlet(
    prior: np.ndarray,
    num: int,
    seed: int = 0,
    *,
    power: float = _POWER,
    strengths: tuple[float, float] = _STRENGTHS,
    at_most: np.ndarray | None = None,
) -> np.ndarray:
    """Mixtures around a prior, from nearly one source to nearly the prior [num, sources] float64; all differ.

    Args:
        prior: share of each source in what there is [sources]; scaled to sum to 1.
        power: that the prior is raised to before drawing, 1 / temperature; 1 draws around it, 0 around equal shares.
        strengths: least and greatest sum of the Dirichlet's parameters; 15 between them, evenly by logarithm.
        at_most: caps [sources]; default 15 times the prior. With tokens available and epochs allowed it is
            `epochs * available / budget`.

    Raises:
        InvalidParameterError: bad parameters, caps that sum to less than 1, or fewer different mixtures than asked for.
    """
    prior = _prior(prior)
    check_integer("num", num, 1, _MAX_NUM)
    check_integer("seed", seed, 0)
    check_number("power", power, "a number from 0 to 1", lambda p: 0 <= p <= 1)
    low, high = strengths
    check(0 < low <= high < float("inf"), "strengths", strengths, "two numbers above 0, the lower one first")
    caps = _caps(at_most if at_most is not None else np.minimum(_MAX_TIMES_PRIOR * prior, 1.0), len(prior))
    return _dirichlet(prior, num, seed, power, strengths, caps, num)


def _dirichlet(
    prior: np.ndarray,
    num: int,
    seed: int,
    power: float,
    strengths: tuple[float, float],
    caps: np.ndarray,
    at_least: int,
) -> np.ndarray:
    """`dirichlet`, of fewer mixtures where there are no more, but `at_least`."""
    tempered = np.where(prior > 0, prior**power, 0.0)
    tempered /= tempered.sum()
    steps = np.geomspace(*strengths, _NUM_STRENGTHS)
    rng = np.random.default_rng([seed, 0])

    def draw(size: int) -> np.ndarray:
        return _draw(tempered * steps[rng.integers(_NUM_STRENGTHS, size=size)][:, None], rng)

    return _some_of(_draws_within(draw, num * _OVERSAMPLE, caps), num, rng, at_least)


def space_filling(
    num: int,
    num_sources: int,
    seed: int = 0,
    *,
    prior: np.ndarray | None = None,
    at_most: np.ndarray | None = None,
    corners: bool = False,
) -> np.ndarray:
    """Mixtures far from each other [num, num_sources] float64, the farthest first: stop after any and it is spread.

    Args:
        prior: share of each source in what there is: draws to choose from are those of `dirichlet`. Default none: draws
            are even over the whole simplex, as suits two to six sources.
        at_most: caps [num_sources]; default 15 times the prior, or none.
        corners: begin with the prior (equal shares where there is none), then each source as far alone as it may be.

    Raises:
        InvalidParameterError: bad parameters, caps that sum to less than 1, or fewer different mixtures than asked for.
    """
    check_integer("num_sources", num_sources, 2)
    check_integer("num", num, 1, _MAX_NUM)
    check_integer("seed", seed, 0)
    rng = np.random.default_rng([seed, 1])
    wanted = min(_MAX_NUM, _CANDIDATES * num)
    if prior is None:
        centre, caps = np.full(num_sources, 1 / num_sources), _caps(at_most, num_sources)
        even = np.ones(num_sources)
        rows = _some_of(_draws_within(lambda size: rng.dirichlet(even, size), wanted, caps), wanted, rng, num)
    else:
        centre = _prior(prior)
        check(len(centre) == num_sources, "prior", len(centre), f"a share for each of {num_sources} sources")
        caps = _caps(at_most if at_most is not None else np.minimum(_MAX_TIMES_PRIOR * centre, 1.0), num_sources)
        rows = _dirichlet(centre, wanted, seed, _POWER, _STRENGTHS, caps, num)
    first = rows[:1]
    if corners:
        ends = np.concatenate([centre[None], np.eye(num_sources)])
        ends = _rounded(within(ends, caps), caps)[np.append(True, (caps > 0) & (centre > 0))] / GRID
        _, which = np.unique(ends, axis=0, return_index=True)  # tight caps make some the same
        first = ends[np.sort(which)][:num]
    return np.concatenate([first, rows[_farthest(rows, first, num - len(first))]])


class RunsNeeded(NamedTuple):
    """How many runs a rank correlation takes, as far as the runs that are there can tell; prints as a sentence.

    wanted: rank correlation between foretold and measured losses of mixtures that were not fitted.
    num: runs that it takes. low, high: 95 % interval. None: more than can be told from these runs, `most`.
    sizes: numbers of runs that were tried [sizes]. correlations: reached with each [repeats, sizes].
    most: the largest number that is believed, 8 times the runs that are there.
    """

    wanted: float
    num: int | None
    low: int | None
    high: int | None
    sizes: np.ndarray
    correlations: np.ndarray
    most: int

    def __str__(self) -> str:
        reached = f"and with {self.sizes[-1]} runs it is {self.correlations[:, -1].mean():.3f}"
        if self.num is None:
            least = f"at least {self.low:,}, " if self.low is not None else f"over {self.most:,}, "
            return f"How many runs a rank correlation of {self.wanted:g} takes cannot be told: {least}{reached}."
        high = f"to {self.high:,}" if self.high is not None else "or more than can be told"
        return f"A rank correlation of {self.wanted:g} takes about {self.num:,} runs ({self.low:,} {high}), {reached}."


def runs_needed(
    runs: Runs, regressor: Regressor, *, metric: str | None = None, wanted: float = 0.95, seed: int = 0
) -> RunsNeeded:
    """How many runs a predictor needs, by its learning curve on parts of the runs that are there.

    Eight times a quarter of the runs is held out, and the predictor is fitted to more and more of the others. The
    answer is where `1 - correlation = floor + a n^-power` meets the wanted value, over all floors and powers that suit
    four sizes there, or the last four. With planted losses of 96 runs the true number lay in 30 of 32 intervals.

    Args:
        runs: at least 32. To plan before there are any, make them up: losses of a planted law, or of a cheaper proxy.
        regressor: such as `REGRESSORS["gp"]`; one that takes more than half of the runs to fit is refused.
        wanted: between 0 and 1. Against noisy losses no predictor reaches 1.

    Raises:
        InvalidParameterError: fewer runs than that, or bad parameters.
    """
    check_number("wanted", wanted, "a number between 0 and 1", lambda w: 0 < w < 1)
    check_integer("seed", seed, 0)
    fewest = max(_FEWEST, regressor.min_runs(len(runs.sources)))
    least, way_out = max(_MIN_RUNS, 2 * fewest), "Do more, or plan with a planted law."
    check(len(runs) >= least, "runs", len(runs), f"at least {least} for this regressor", way_out)
    losses, rng = runs.loss(metric), np.random.default_rng([seed, 2])
    num_kept = len(runs) - int(_HELD_OUT * len(runs))
    sizes = np.unique(np.geomspace(max(fewest, num_kept // 16), num_kept, _SIZES).round().astype(int))
    correlations = np.zeros((_REPEATS, len(sizes)))
    for repeat in range(_REPEATS):
        order = rng.permutation(len(runs))
        test = order[num_kept:]
        for k, size in enumerate(sizes):
            fitted = regressor.fit(runs.weights[order[:size]], losses[order[:size]], seed)
            # A predictor that says the same of all mixtures has learned nothing: 0.
            correlations[repeat, k] = spearman(fitted.predict(runs.weights[test]), losses[test]) or 0.0
    most = _MAX_REACH * len(runs)
    # All repeats are tested on these runs, a sample of all mixtures: what they say of the height of the curve is off by
    # as much as a correlation over so many is.
    off = (1 - wanted**2) / np.sqrt(len(runs))
    found = [_crossing(sizes, correlations, min(wanted + way * off, 1 - 1e-6))[1 + way] for way in (0, -1, 1)]
    num, low, high = (int(np.ceil(value)) if value <= most else None for value in found)
    return RunsNeeded(wanted, num, low, high, sizes, correlations, most)


def propose(
    predict: Predict | Sequence[Predict],
    runs: Runs,
    num: int,
    seed: int = 0,
    *,
    prior: np.ndarray | None = None,
    at_most: np.ndarray | None = None,
) -> np.ndarray:
    """The mixtures to train on next [num, sources] float64: foretold to lose little, and none that was run.

    Of 20,000 draws around the prior and 20,000 around the runs that lost least, the `num`² of the lowest foretold loss
    are liked (128 at least). The best of them is proposed, and then others at random. CLIMB draws Dirichlet(prior)
    only: where the best mixture takes much of many sources, none of its draws comes near. Taking those farthest from
    all runs instead of any was tried and is no better by a Gaussian process, worse by an exponential law.

    Args:
        predict: losses of weights; of several predictors the mean less the deviation counts, so that mixtures on which
            they disagree are tried too.
        runs: what was run, whose least mean losses the draws are around.
        prior: share of each source in what there is; default the mean of the runs.
        at_most: caps [sources]; default 15 times the prior.

    Raises:
        InvalidParameterError: bad parameters, or fewer new mixtures within the caps than asked for.
    """
    check_integer("num", num, 1, _DRAWS // 10)
    check_integer("seed", seed, 0)
    prior = _prior(runs.weights.mean(axis=0) if prior is None else prior)
    check(len(prior) == len(runs.sources), "prior", len(prior), f"a share for each of {len(runs.sources)} sources")
    caps = _caps(at_most if at_most is not None else np.minimum(_MAX_TIMES_PRIOR * prior, 1.0), len(prior))
    rng = np.random.default_rng([seed, 3])
    best = runs.weights[np.argsort(runs.loss(), kind="stable")[:_NUM_PARENTS]]

    def around(size: int) -> np.ndarray:
        """Around points between two of the best runs, loosely or closely."""
        share = rng.random((size, 1))
        middle = (
            share * best[rng.integers(len(best), size=size)] + (1 - share) * best[rng.integers(len(best), size=size)]
        )
        return _draw(middle * 10.0 ** rng.uniform(0, 3, (size, 1)) + 0.02 * prior, rng)

    def anywhere(size: int) -> np.ndarray:
        return _draw(prior * 10.0 ** rng.uniform(-1, 1.5, (size, 1)), rng)

    rows = np.unique(np.concatenate([_draws_within(draw, _DRAWS, caps) for draw in (anywhere, around)]), axis=0) / GRID
    rows = rows[_nearest(rows, runs.weights) > 0.5 / GRID**2]
    if len(rows) < num:
        raise InvalidParameterError(
            f"Within these caps there are only {len(rows)} new mixtures of {num} that were asked for. Ask for fewer or "
            "raise the caps."
        )
    predictors = [predict] if callable(predict) else list(predict)
    check(len(predictors) > 0, "predict", predict, "one predictor at least")
    foretold = np.array([one(rows) for one in predictors])
    check(bool(np.isfinite(foretold).all()), "predict", "NaN", "a function that foretells a number for every mixture")
    order = np.argsort(foretold.mean(axis=0) - foretold.std(axis=0), kind="stable")[: max(num**2, _MIN_LIKED)]
    return rows[np.append(order[:1], rng.permutation(order[1:])[: num - 1])]


def _prior(prior: np.ndarray) -> np.ndarray:
    found = np.asarray(prior, np.float64)
    ok = found.ndim == 1 and len(found) >= 2 and bool(np.isfinite(found).all()) and found.min() >= 0 < found.sum()
    check(ok, "prior", np.asarray(prior).tolist(), "the shares of at least two sources, of at least 0 and not all 0")
    return found / found.sum()


def _caps(at_most: np.ndarray | None, num_sources: int) -> np.ndarray:
    """Caps on the grid [sources].

    Raises:
        InvalidParameterError: they are no shares, or leave no mixture.
    """
    if at_most is None:
        return np.ones(num_sources)
    caps = np.asarray(at_most, np.float64)
    ok = caps.shape == (num_sources,) and bool((caps >= 0).all())
    check(ok, "at_most", np.asarray(at_most).tolist(), f"a share of at least 0 for each of {num_sources} sources")
    caps = np.floor(np.minimum(caps, 1.0) * GRID + 1e-6) / GRID
    way_out = "The sources cannot fill the budget: lower it, or let them be read more often."
    check(caps.sum() >= 1 - 1e-9, "at_most", caps.tolist(), "shares that sum to at least 1", way_out)
    return caps


def _draw(alphas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Dirichlet draw by each row of parameters [rows, sources]; one that is 0 gives 0."""
    drawn = rng.standard_gamma(alphas)
    lost = np.flatnonzero(drawn.sum(axis=1) == 0)  # all too small for a float: then nearly all is of one source
    cumulative = np.cumsum(alphas[lost], axis=1)
    drawn[lost, (cumulative < rng.random((len(lost), 1)) * cumulative[:, -1:]).sum(axis=1)] = 1.0
    return drawn / drawn.sum(axis=1, keepdims=True)


def _draws_within(draw: Callable[[int], np.ndarray], num: int, caps: np.ndarray) -> np.ndarray:
    """Of `num` draws those within the caps, in multiples of the least share [rows, sources] int64."""
    kept, over = [], []
    for start in range(0, num, _CHUNK):
        rows = draw(min(_CHUNK, num - start))
        rows = np.where(rows < 1 / GRID, 0.0, rows)
        rows /= rows.sum(axis=1, keepdims=True)
        is_within = (rows <= caps).all(axis=1)
        kept.append(_rounded(rows[is_within], caps))
        over.append(_rounded(within(rows[~is_within], caps), caps))
    found = np.concatenate(kept)
    return found if len(found) >= _LEAST_KEPT * num else np.concatenate([found, *over])


def _rounded(rows: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Mixtures in multiples of the least share that sum to `GRID` [rows, sources] int64, by largest remainders."""
    exact = rows * GRID
    whole = np.floor(exact + 1e-6)
    order = np.argsort(np.where(whole < np.round(caps * GRID), whole - exact, np.inf), axis=1, kind="stable")
    missing = GRID - whole.sum(axis=1).astype(int)
    ranks = np.argsort(order, axis=1)
    return (whole + (ranks < missing[:, None])).astype(int)


def _some_of(rows: np.ndarray, num: int, rng: np.random.Generator, at_least: int) -> np.ndarray:
    """`num` different rows at random, as shares; fewer where there are no more, but `at_least` [num, sources]."""
    found = np.unique(rows, axis=0)
    if len(found) < at_least:
        raise InvalidParameterError(
            f"Within these caps there are only {len(found)} different mixtures of {at_least} that were asked for. "
            "Ask for fewer or raise the caps."
        )
    return found[rng.permutation(len(found))[:num]] / GRID


def _nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of each row to the nearest of others [rows], some at a time."""
    parts = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    squares = (others**2).sum(axis=1)
    return np.concatenate([((p**2).sum(axis=1)[:, None] - 2 * p @ others.T + squares).min(axis=1) for p in parts])


def _farthest(rows: np.ndarray, taken: np.ndarray, num: int) -> np.ndarray:
    """Indices of `num` rows, each the farthest from those taken before it [num]."""
    nearest = _nearest(rows, taken)
    found = []
    for _ in range(num):
        found.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((rows - rows[found[-1]]) ** 2).sum(axis=1))
        nearest[found[-1]] = -1.0
    return np.array(found, int)


def _crossing(sizes: np.ndarray, correlations: np.ndarray, wanted: float) -> np.ndarray:
    """Low end, median and high end of where a learning curve reaches the wanted value [3]; inf: never.

    Of all floors and powers of `1 - correlation = floor + a n^-power` each counts by how well it fits the curve where
    it reaches the value, or at its end.
    """
    is_reached = correlations.mean(axis=0) >= wanted
    end = np.clip(is_reached.argmax() + 2, _TAIL, len(sizes)) if is_reached.any() else len(sizes)
    part = slice(end - _TAIL, end)
    sizes, errors, spread = sizes[part], 1 - correlations[:, part].mean(axis=0), correlations[:, part].std(0, ddof=1)
    # Of one repeat, since they share their runs and eight tell hardly more; and no law fits closer than to a twentieth.
    doubt = spread + 0.05 * errors + 1e-6
    floors, powers = (grid.ravel() for grid in np.meshgrid(_FLOORS * errors[-1], _POWERS))
    curves = sizes ** -powers[:, None] / doubt
    aims = (errors - floors[:, None]) / doubt
    heights = np.maximum((curves * aims).sum(axis=1) / (curves**2).sum(axis=1), 1e-300)
    misfits = ((aims - heights[:, None] * curves) ** 2).sum(axis=1)
    left = np.maximum(1 - wanted - floors, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        reached = np.maximum((heights / left) ** (1 / powers), sizes[0])
    order = np.argsort(reached)
    chance = np.cumsum(np.exp((misfits.min() - misfits[order]) / 2))
    return reached[order[np.searchsorted(chance / chance[-1], (0.025, 0.5, 0.975)).clip(max=len(order) - 1)]]
