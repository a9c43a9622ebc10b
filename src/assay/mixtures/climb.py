"""CLIMB: mixtures searched in rounds, each drawn from what the runs so far foretell to be best.

Paper: Diao et al. 2025, "CLIMB" (arXiv:2504.13161), section 3; settings of its recipe in NeMo Curator. The first round
measures mixtures drawn around the prior as RegMix draws them; each further round fits a regressor to all runs, draws
many mixtures, and measures some of those that are foretold to be best: 64, then 32, then 16 runs.

What differs, each for a measured reason (a planted objective on RegMix's table, 112 runs; docs/climb.md has the table):

- The answer is the best *measured* mixture, not the regressor's favourite: of 100,000 forecasts the lowest is the one
  that errs lowest (winner's curse). `mean_best`, the mean of the 128 foretold to be best, is returned beside it.
- Caps hold in all rounds. In the recipe they hold in the first only.
- `fit_climb_trees`, the paper's LightGBM, fits losses scaled to standard deviation 1 and has no L1 penalty: the
  recipe's penalty of 1.0 means something else whenever the loss has another unit, and makes it worse.
- The regressor by default is a Gaussian process, which needs no extra and fewer runs.

Cost: a fit and 100,000 forecasts a round (2 s in all of 17 sources), and whatever 112 losses cost.

When not to use it: where runs can only be done all at once; then a space-filling design and one fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer
from assay.mixtures import extra
from assay.mixtures.design import dirichlet
from assay.mixtures.optimum import within
from assay.mixtures.regression import REGRESSORS, Predictor
from assay.mixtures.threads import on_one_thread

Measure = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, int], Predictor]

_NUM_DRAWS = 100_000
_NUM_BEST = 128
_MAX_TIMES_PRIOR = 15.0


@dataclass(frozen=True, eq=False)
class Climb:
    """What a climb found.

    best: the mixture with the lowest measured loss [sources]. best_loss: that loss, which luck flatters where losses
    are noisy; best_foretold: what the last fit says of the same mixture, which it flatters less. mean_best: the mean of
    the 128 mixtures that the last fit foretells to be best [sources], not measured. mean_best_foretold: what it says of
    it. weights: all that was measured [runs, sources]; losses: [runs]; rounds: the round of each run, from 0 [runs].
    foretold: the loss of each run as the fit foretold it before it was run; NaN in the first round [runs].
    """

    best: np.ndarray
    best_loss: float
    best_foretold: float
    mean_best: np.ndarray
    mean_best_foretold: float
    weights: np.ndarray
    losses: np.ndarray
    rounds: np.ndarray
    foretold: np.ndarray
    predictor: Predictor


def climb(
    losses: Measure,
    prior: np.ndarray,
    *,
    rounds: Sequence[int] = (64, 32, 16),
    at_most: np.ndarray | None = None,
    regressor: Fit | None = None,
    seed: int = 0,
) -> Climb:
    """Searches the mixture of least loss.

    Args:
        losses: measures mixtures [runs, sources] and gives the loss of each [runs]: trains proxies, or reads them off a
            simulation. Called once a round.
        prior: share of each source in what there is [sources].
        rounds: runs of each round.
        at_most: largest share of each source [sources]; default 15 times its prior, as RegMix.
        regressor: (weights, losses, seed) -> Predictor, such as `fit_climb_trees`; default a Gaussian process.

    Raises:
        InvalidParameterError: bad parameters, a measured loss that is no number.
    """
    prior = np.asarray(prior, np.float64)
    ok = prior.ndim == 1 and bool(np.isfinite(prior).all() and (prior >= 0).all()) and prior.sum() > 0
    check(ok, "prior", prior.tolist(), "shares of at least 0, and not all 0")
    prior = prior / prior.sum()
    check(len(rounds) > 0, "rounds", list(rounds), "one number of runs or more")
    for num in rounds:
        check_integer("rounds", num, 1, _NUM_DRAWS // 100)
    fit = on_one_thread(regressor or REGRESSORS["gp"].fit)
    caps = np.minimum(_MAX_TIMES_PRIOR * prior, 1.0) if at_most is None else np.minimum(at_most, 1.0)
    check(caps.shape == prior.shape, "at_most", caps.tolist(), f"a share for each of {len(prior)} sources")
    caps = np.where(prior > 0, caps, 0.0)
    weights = dirichlet(prior, rounds[0], seed, at_most=caps)
    measured, foretold = _measured(losses, weights), np.full(rounds[0], np.nan)
    round_of = np.zeros(rounds[0], int)
    for number, num in enumerate(rounds[1:], 1):
        rng = np.random.default_rng([seed, number])
        predictor = fit(weights, measured, seed)
        draws = _candidates(prior, caps, rng)
        expected = _foretold(predictor, draws)
        liked = np.argsort(expected, kind="stable")[: max(num**2, _NUM_BEST)]
        chosen = rng.choice(liked, num, replace=False)
        weights = np.concatenate([weights, draws[chosen]])
        foretold = np.concatenate([foretold, expected[chosen]])
        measured = np.concatenate([measured, _measured(losses, draws[chosen])])
        round_of = np.concatenate([round_of, np.full(num, number)])
    predictor = fit(weights, measured, seed)
    draws = _candidates(prior, caps, np.random.default_rng([seed, len(rounds)]))
    mean_best = draws[np.argsort(_foretold(predictor, draws), kind="stable")[:_NUM_BEST]].mean(axis=0)
    best = int(np.argmin(measured))
    best_foretold, mean_foretold = predictor.predict(np.stack([weights[best], mean_best]))
    return Climb(
        weights[best],
        float(measured[best]),
        float(best_foretold),
        mean_best,
        float(mean_foretold),
        weights,
        measured,
        round_of,
        foretold,
        predictor,
    )


def fit_climb_trees(weights: np.ndarray, losses: np.ndarray, seed: int = 0, *, l1: float = 0.0) -> Predictor:
    """CLIMB's LightGBM: 1000 trees of depth 4, leaves of 5 runs, L2 of 1, stopped by a held-out tenth.

    Args:
        l1: penalty in standard deviations of the losses; the recipe's is 1.0 in units of the loss.

    Raises:
        MissingExtraError: without `pip install 'assay[mix]'`.
        InvalidParameterError: fewer than 11 runs, of which trees learn nothing.
    """
    extra.require("CLIMB's trees")
    import lightgbm

    check(len(losses) >= 11, "runs", len(losses), "11 at least", "Use another regressor.")
    centre, scale = float(losses.mean()), float(losses.std()) or 1.0
    order = np.random.default_rng([seed, 5]).permutation(len(losses))
    held, rest = np.split(order, [max(1, len(order) // 10)])
    learnt = lightgbm.Dataset(weights[rest], (losses[rest] - centre) / scale)
    settings = {
        "objective": "regression",
        "learning_rate": 0.01,
        "max_depth": 4,
        "min_data_in_leaf": 5,
        "lambda_l1": l1,
        "lambda_l2": 1.0,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    trees = lightgbm.train(
        settings,
        learnt,
        num_boost_round=1000,
        valid_sets=[learnt.create_valid(weights[held], (losses[held] - centre) / scale)],
        callbacks=[lightgbm.early_stopping(min(20, len(held)), verbose=False)],
    )
    return _Trees(trees, centre, scale)


@dataclass(frozen=True, eq=False)
class _Trees:
    model: object
    centre: float
    scale: float

    def predict(self, weights: np.ndarray) -> np.ndarray:
        return self.centre + self.scale * np.asarray(self.model.predict(weights), np.float64)  # type: ignore[attr-defined]


def _candidates(prior: np.ndarray, caps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mixtures to choose from [draws, sources]: Dirichlet(prior), what is over a cap handed to the others."""
    drawn = rng.standard_gamma(np.broadcast_to(prior, (_NUM_DRAWS, len(prior))))
    drawn = drawn[drawn.sum(axis=1) > 0]  # parameters that are all tiny may give a row of zeros
    return within(drawn / drawn.sum(axis=1, keepdims=True), caps)


def _measured(losses: Measure, weights: np.ndarray) -> np.ndarray:
    found = np.asarray(losses(weights), np.float64)
    check(found.shape == (len(weights),), "losses", found.shape, f"one loss for each of {len(weights)} mixtures")
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise InvalidParameterError(
            f"The loss of mixture {np.round(weights[bad[0]], 4).tolist()} is {found[bad[0]]}, and of {len(bad)} of"
            f" {len(found)} in this round no number. A run that fails must be run again, or be given a bad loss."
        )
    return found


@on_one_thread
def _foretold(predictor: Predictor, mixtures: np.ndarray) -> np.ndarray:
    expected = np.asarray(predictor.predict(mixtures), np.float64)
    check(bool(np.isfinite(expected).all()), "regressor", "NaN", "one that foretells a number for every mixture")
    return expected
