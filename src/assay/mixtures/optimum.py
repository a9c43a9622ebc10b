"""The mixture that a predictor likes best, without believing its lowest figure.

RegMix (Liu et al. 2024, arXiv:2407.01492, section 3.3): many mixtures are drawn around the prior, and the mean of those
with the lowest foretold losses is taken. The single lowest would be the one that errors flatter most.

What differs: RegMix draws once, Dirichlet(prior), where with 17 sources two or three hold nearly all. Where many
sources are of use the best mixture is none of those draws, so we draw at several strengths, and then twice more around
the best found: on RegMix's tables, with `gp` fitted to one half of the runs and judged by `gp` fitted to the other, the
mean loss of what is found is 4.655 where RegMix's draws give 4.668, and that on Pile-CC 5.071 where they give 5.079.
Its caps on a source were kept to by the runs only; here every mixture keeps them, so their mean does too.
"""

from collections.abc import Callable

import numpy as np

from assay.errors import check, check_integer
from assay.mixtures.threads import on_one_thread

_STRENGTHS = (1.0, 4.0, 16.0, 64.0)  # sums of Dirichlet parameters: the higher, the nearer to the prior
_CLOSER = (30.0, 300.0)  # strengths of the draws around the best found


@on_one_thread
def best_mixture(
    predict: Callable[[np.ndarray], np.ndarray],
    prior: np.ndarray,
    *,
    at_most: np.ndarray | None = None,
    seed: int = 0,
    num_draws: int = 100_000,
    num_best: int = 128,
) -> np.ndarray:
    """Shares of sources [sources] float64, sum 1: the mean of the drawn mixtures with the lowest foretold losses.

    Args:
        predict: losses [mixtures] of shares [mixtures, sources].
        prior: where to draw around, such as the sources' shares of all text [sources]; 0 = that source is never taken.
        at_most: the largest share of each source [sources], such as what its text can give without too many repeats.
        num_draws: in all. num_best: of them the mean is taken.

    Raises:
        InvalidParameterError: shares below 0 or of the wrong number, caps that leave no mixture, a predictor that
            foretells no number.
    Cost: `num_draws` predictions; 1 s with `gp` on 256 runs. Memory: num_draws x sources x 8 bytes.
    """
    check_integer("num_draws", num_draws, 1)
    check_integer("num_best", num_best, 1, num_draws)
    prior = _shares("prior", prior)
    check(prior.sum() > 0, "prior", prior.tolist(), "above 0 for some source")
    prior = prior / prior.sum()
    caps = np.ones(len(prior)) if at_most is None else np.minimum(_shares("at_most", at_most), 1.0)
    check(len(caps) == len(prior), "at_most", caps.tolist(), f"a share for each of the {len(prior)} sources")
    most = float(caps[prior > 0].sum())
    way_out = "The sources cannot fill the budget: lower it, or let them be read more often."
    check(most >= 1 - 1e-9, "at_most", caps.tolist(), "shares whose sum over the sources of the prior is ≥ 1", way_out)
    caps[prior == 0] = 0.0

    rng = np.random.default_rng([seed, 0])
    num_first = -(-num_draws // 2)
    sizes = [len(part) for part in np.array_split(np.arange(num_first), len(_STRENGTHS))]
    draws = np.concatenate([_drawn(rng, prior * s, size) for s, size in zip(_STRENGTHS, sizes, strict=True)])
    draws = within(draws, caps)
    losses = _foretold(predict, draws)
    for strength, part in zip(_CLOSER, np.array_split(np.arange(num_draws - num_first), len(_CLOSER)), strict=True):
        best = draws[np.argsort(losses, kind="stable")[:num_best]]
        centres = best[rng.integers(len(best), size=len(part))]
        more = within(_drawn(rng, centres * strength + prior, len(part)), caps)
        draws, losses = np.concatenate([draws, more]), np.concatenate([losses, _foretold(predict, more)])
    return mean_of_best(draws, losses, num_best)


def mean_of_best(mixtures: np.ndarray, losses: np.ndarray, num_best: int = 128) -> np.ndarray:
    """The mean of the mixtures [mixtures, sources] with the lowest losses [mixtures]; of equals the first."""
    return mixtures[np.argsort(losses, kind="stable")[:num_best]].mean(axis=0)


def within(mixtures: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Mixtures in which what is over a cap went to the other sources, by the room they have [mixtures, sources]."""
    kept = np.minimum(mixtures, caps)
    over = np.maximum(1 - kept.sum(axis=1, keepdims=True), 0)
    room = caps - kept
    return kept + over * room / np.maximum(room.sum(axis=1, keepdims=True), 1e-300)


def _drawn(rng: np.random.Generator, parameters: np.ndarray, size: int) -> np.ndarray:
    """Dirichlet draws [size, sources]. A row all of whose parameters are tiny may be all zeros: then the largest."""
    drawn = rng.standard_gamma(np.broadcast_to(parameters, (size, parameters.shape[-1])))
    empty = drawn.sum(axis=1) == 0
    drawn[empty, np.broadcast_to(parameters, drawn.shape)[empty].argmax(axis=1)] = 1.0
    return drawn / drawn.sum(axis=1, keepdims=True)


def _foretold(predict: Callable[[np.ndarray], np.ndarray], mixtures: np.ndarray) -> np.ndarray:
    losses = predict(mixtures)
    check(bool(np.isfinite(losses).all()), "predict", "NaN", "a function that foretells a number for every mixture")
    return losses


def _shares(name: str, given: np.ndarray) -> np.ndarray:
    shares = np.array(given, np.float64)
    ok = shares.ndim == 1 and len(shares) > 0 and bool(np.isfinite(shares).all() and (shares >= 0).all())
    check(ok, name, shares.tolist(), "a number ≥ 0 for each source")
    return shares
