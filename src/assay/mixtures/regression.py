"""Regressors of loss on mixture, and the choice among them by what they foretell of runs that they have not seen.

RegMix (Liu et al. 2024, arXiv:2407.01492) fits LightGBM to 512 runs. Which regressor is best depends on how many runs
there are; on its own tables `gp` with 64 runs ranks mixtures at 1B parameters as well as LightGBM with 512
(docs/evidence.md has the table: regressors x numbers of runs).

What differs from the notebook: LightGBM stops early on a tenth of the training runs, not on the test runs; no regressor
is fitted to fewer runs than it needs (LightGBM with leaves of 20 foretells a constant from 32 runs); and the error
that is shown is of runs held out.

Cost of a fit to 512 runs of 17 sources, one core: ridge 1 ms, power 50 ms, gp and lightgbm 0.12 s, exponential 0.25 s,
hist 0.45 s. `choose` fits each 5 times (10 times below 100 runs).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from assay.errors import InvalidParameterError, MissingExtraError, check, check_choice
from assay.mixtures import extra
from assay.mixtures.folds import folds
from assay.mixtures.gaussian import fit_gaussian
from assay.mixtures.laws import fit_law, num_unknowns
from assay.mixtures.power import fit_power
from assay.mixtures.runs import check_shares
from assay.mixtures.threads import on_one_thread
from assay.models.calibration import spearman

_SMALL = 1e-3  # added to shares before their logarithm: RegMix rounds shares to 0.001
_RIDGES = 10.0 ** np.arange(-4, 4, 0.5)
_ROUNDS = 1000
_RATE = 0.01
_PATIENCE = 3  # rounds without gain on the held-out tenth
_LEAF = 20  # runs in a leaf at least, of LightGBM and scikit-learn as they come
_FEW_RUNS = 100
_FOLDS = {True: 10, False: 5}  # with few runs, and with more


class Predictor(Protocol):
    """What foretells losses [mixtures] of shares [mixtures, sources]."""

    def predict(self, weights: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Regressor:
    """fit: (weights [runs, sources], losses [runs], seed) -> Predictor.

    min_runs: of so many sources, each on another mixture. needs_extra: it needs `pip install 'assay[mix]'`.
    """

    fit: Callable[[np.ndarray, np.ndarray, int], Predictor]
    min_runs: Callable[[int], int]
    needs_extra: bool = False


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How well a regressor foretold runs held out, or why it was not tried.

    error: root of the mean squared error, in the unit of the losses. spearman: rank correlation with the losses; None
    where all that it foretold are the same. reason: empty, or why there are no figures.
    """

    name: str
    error: float | None = None
    spearman: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The regressor chosen, fitted to all runs.

    held_out: what it foretold of each run when fitted without it [runs]. error, spearman: of those, as in `Tried`.
    mean_error: the error of foretelling the mean of the other runs, which a regressor must beat.
    tried: all regressors asked for, in the order of `REGRESSORS`, the simplest first.
    """

    name: str
    predictor: Predictor
    held_out: np.ndarray
    error: float
    spearman: float | None
    mean_error: float
    tried: tuple[Tried, ...]


@on_one_thread
def choose(weights: np.ndarray, losses: np.ndarray, names: Sequence[str] | None = None, seed: int = 0) -> Choice:
    """The simplest regressor whose error on held-out runs is that of the best, or not told from it.

    Runs are cut into 5 parts, 10 where there are fewer than 100, runs of one mixture together; each part is foretold
    from the others, by all regressors alike. Of two that differ in mean squared error by no more than the standard
    error of the difference, paired by run, the simpler is taken: with few runs the lowest error is luck as often as
    not.

    Args:
        weights: share of each source [runs, sources], rows sum to 1. losses: [runs], of one metric or a mean of some.
        names: of `REGRESSORS`; default all. Those that need more runs, or an extra that is not installed, are left
            out, and `tried` says so.
        seed: of the parts, and of regressors that draw.

    Raises:
        InvalidParameterError: losses that never vary or are no numbers, runs of one mixture only, an unknown name, or
            too few runs for every regressor.
        MissingExtraError: every regressor asked for needs an extra that is not installed.
    """
    for name in names or ():
        check_choice("regressor", name, REGRESSORS)
    _check(weights, losses)
    order = np.lexsort((losses, *weights.T))  # regressors that draw runs must not depend on the order of rows
    weights, losses = weights[order], losses[order]
    parts = folds(weights, _FOLDS[len(weights) < _FEW_RUNS], seed)
    fewest = min(len(np.unique(np.delete(weights, rows, axis=0), axis=0)) for rows in parts)
    tried, held_out = [], {}
    for name in (name for name in REGRESSORS if names is None or name in names):
        reason = _why_not(name, fewest, weights.shape[1])
        if not reason:
            foretold = _held_out(REGRESSORS[name], weights, losses, parts, seed)
            reason = "" if np.isfinite(foretold).all() else "it foretells no numbers"
        if reason:
            tried.append(Tried(name=name, reason=reason))
        else:
            held_out[name] = foretold
            error, rank = _figures(foretold, losses)
            tried.append(Tried(name=name, error=error, spearman=rank))
    if not held_out:
        _refuse(tried)
    name = _winner(held_out, losses)
    error, rank = _figures(held_out[name], losses)
    means = np.empty(len(losses))
    for rows in parts:
        means[rows] = np.delete(losses, rows).mean()
    return Choice(
        name=name,
        predictor=REGRESSORS[name].fit(weights, losses, seed),
        held_out=held_out[name][np.argsort(order)],
        error=error,
        spearman=rank,
        mean_error=_figures(means, losses)[0],
        tried=tuple(tried),
    )


def _check(weights: np.ndarray, losses: np.ndarray) -> None:
    ok = weights.ndim == 2 and losses.shape == weights.shape[:1]
    check(ok, "losses", losses.shape, f"one for each row of weights, {weights.shape}")
    check_shares(weights)
    check(bool(np.isfinite(losses).all()), "losses", losses.tolist(), "numbers", "Leave runs that failed out.")
    varies = len(losses) > 0 and np.ptp(losses) > 0
    same = len(losses) > 0 and bool((weights == weights[0]).all())
    check(not same, "weights", weights[:1].tolist(), "of at least two different mixtures")
    check(varies, "losses", losses[:3].tolist(), "different for different mixtures: this metric never varies")


def check_enough(num_mixtures: int, num_sources: int, names: Sequence[str] | None = None) -> None:
    """Raises what `choose` would for so many runs of different mixtures, before they are done."""
    fewest = num_mixtures - -(-num_mixtures // _FOLDS[num_mixtures < _FEW_RUNS])
    tried = [Tried(name=n, reason=_why_not(n, fewest, num_sources)) for n in (names or REGRESSORS)]
    if all(one.reason for one in tried):
        _refuse(tried)


def _why_not(name: str, num_mixtures: int, num_sources: int) -> str:
    """Why a regressor is not tried on runs of so many different mixtures; empty = it is."""
    regressor = REGRESSORS[name]
    needed = regressor.min_runs(num_sources)
    if num_mixtures < needed:
        return f"it needs {needed} mixtures of {num_sources} sources, and has {num_mixtures} when some are held out"
    if regressor.needs_extra:
        try:
            extra.require(f"Regressor `{name}`")
        except MissingExtraError as error:
            return str(error)
    return ""


def _refuse(tried: list[Tried]) -> None:
    reasons = "\n".join(f"  {one.name}: {one.reason}" for one in tried)
    if all("pip install" in one.reason for one in tried):
        raise MissingExtraError(f"None of these regressors can be tried:\n{reasons}")
    raise InvalidParameterError(
        f"No regressor can be fitted to these runs. Run more mixtures, or join sources.\n{reasons}"
    )


def _held_out(
    regressor: Regressor, weights: np.ndarray, losses: np.ndarray, parts: list[np.ndarray], seed: int
) -> np.ndarray:
    foretold = np.empty(len(losses))
    for rows in parts:
        predictor = regressor.fit(np.delete(weights, rows, axis=0), np.delete(losses, rows), seed)
        foretold[rows] = predictor.predict(weights[rows])
    return foretold


def _figures(foretold: np.ndarray, losses: np.ndarray) -> tuple[float, float | None]:
    return float(np.sqrt(np.mean((foretold - losses) ** 2))), spearman(foretold, losses)


def _winner(held_out: dict[str, np.ndarray], losses: np.ndarray) -> str:
    squares = {name: (foretold - losses) ** 2 for name, foretold in held_out.items()}
    best = min(squares, key=lambda name: float(squares[name].mean()))
    for name, errors in squares.items():  # in the order of REGRESSORS
        more = errors - squares[best]
        if more.mean() <= more.std() / np.sqrt(len(losses)):
            return name
    return best


@dataclass(frozen=True, eq=False)
class LogLinear:
    """Loss = constant + sum of rule * ln(share + 0.001)."""

    constant: float
    rule: np.ndarray  # [sources]

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Foretold losses [mixtures] of shares [mixtures, sources]."""
        return self.constant + np.log(weights + _SMALL) @ self.rule


def fit_ridge(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> LogLinear:
    """Ridge regression on logarithms of shares, with the ridge of the least leave-one-out error (in closed form)."""
    logs = np.log(weights + _SMALL)
    centre, scale, mean = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-9), losses.mean()
    left, singular, right = np.linalg.svd((logs - centre) / scale, full_matrices=False)
    along = left.T @ (losses - mean)
    best, rule = np.inf, np.zeros(weights.shape[1])
    for ridge in _RIDGES:
        kept = singular / (singular**2 + ridge)
        hat = left**2 @ (kept * singular) + 1 / len(losses)
        residuals = (losses - mean - left @ (kept * singular * along)) / np.maximum(1 - hat, 1e-9)
        if (error := float(np.mean(residuals**2))) < best:
            best, rule = error, right.T @ (kept * along) / scale
    return LogLinear(float(mean - centre @ rule), rule)


def fit_lightgbm(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> Predictor:
    """RegMix's regressor: up to 1000 trees, rate 0.01, stopped when a tenth of the runs, held out, gains no more."""
    order = np.random.default_rng([seed, 1]).permutation(len(losses))
    held, rest = np.split(order, [max(1, len(order) // 10)])
    return trees_until(weights[rest], losses[rest], weights[held], losses[held], seed)


def trees_until(
    weights: np.ndarray, losses: np.ndarray, held_weights: np.ndarray, held_losses: np.ndarray, seed: int = 0
) -> Predictor:
    """LightGBM with the settings of RegMix's notebook, stopped when runs held out gain no more; one thread."""
    extra.require("Regressor `lightgbm`")
    import lightgbm

    settings = {
        "objective": "regression",
        "metric": ["l1", "l2"],
        "learning_rate": _RATE,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(weights, losses)
    held = lightgbm.Dataset(held_weights, held_losses, reference=data)
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    return _Trees(lightgbm.train(settings, data, _ROUNDS, valid_sets=[held], callbacks=[stop]))


def fit_hist(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> Predictor:
    """scikit-learn's trees on histograms, as many and at the same rate as LightGBM's, stopped in the same way."""
    extra.require("Regressor `hist`")
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        learning_rate=_RATE,
        max_iter=_ROUNDS,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=_PATIENCE,
        tol=0.0,
        random_state=seed,
    )
    return _Trees(trees.fit(weights, losses))


@dataclass(frozen=True, eq=False)
class _Trees:
    model: Any

    def predict(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(weights), np.float64)


def _few(num_sources: int) -> int:
    return 8


def _two_leaves(num_sources: int) -> int:
    """Runs of which nine tenths are two leaves: with fewer a tree has one, and foretells a constant."""
    return -(-2 * _LEAF * 10 // 9)


# From the simplest: of regressors that are not told apart the first is chosen.
REGRESSORS: dict[str, Regressor] = {
    "ridge": Regressor(fit_ridge, _few),
    "exponential": Regressor(lambda weights, losses, seed: fit_law(weights, losses, seed=seed), num_unknowns),
    "power": Regressor(fit_power, lambda num_sources: num_sources + 4),
    "gp": Regressor(fit_gaussian, _few),
    "hist": Regressor(fit_hist, _two_leaves, needs_extra=True),
    "lightgbm": Regressor(fit_lightgbm, _two_leaves, needs_extra=True),
}
