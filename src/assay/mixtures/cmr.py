"""The critical mixture ratio: how much new text continued pretraining may read before it forgets what it knew.

Paper: Gu et al. 2024, "CMR Scaling Law" (arXiv:2407.17467). A model goes on training on a share R of text of a new
domain and 1 - R of the old. Its loss on general text moves by a power law in R with an offset, at each number of tokens

    L_general(R, T) - L_start = a_T + b_T R^s

and the critical ratio is the largest R at which it has risen by no more than `max_rise`: more new text would only teach
more of the domain, so the largest allowed is the best. Over tokens it is a power law again, CMR(T) = alpha T^s + beta,
by which small budgets foretell large ones.

What differs: the paper gives no code. One exponent is shared by all numbers of tokens; the law in R can be exponential
instead, L = a + b exp(t R), which is how "Data Mixing Laws" (arXiv:2403.16952, section 5) finds such a ratio. The
authors fit points; we give a band as well, by bootstrap over runs: a run's deviations from the law, at all its numbers
of tokens together, go to another run, enlarged for the unknowns that were fitted.

Cost: milliseconds, the band half a second.

When not to use it: with fewer than 4 ratios the law goes through every point and there is nothing to draw a band from;
and where ratios do not enclose the answer (`inside` says so) it is an extrapolation.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_choice, check_integer, check_number
from assay.mixtures.curves import PowerLaw, fit_power

FORMS = ("power", "exponential")
_EXPONENTS = {"power": (0.1, 20.0), "exponential": (-20.0, 20.0)}  # of R; rates of exp
_OVER_TOKENS = (-3.0, 3.0)
_UNKNOWNS = 3


class At(NamedTuple):
    """A critical ratio and its 95 % interval; NaN: no interval (fewer than 4 ratios)."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class CriticalRatio:
    """The largest share of new text, by tokens read.

    tokens: [points]. ratio, low, high: with its 95 % interval [points]; 0: no share is small enough, 1: none too large.
    inside: whether the ratios that were run enclose it [points]. error: mean absolute error of the law at runs held
    out, one at a time, in units of the loss; None with 3 ratios. advice: sentences on what to mistrust.
    """

    tokens: np.ndarray
    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    inside: np.ndarray
    error: float | None
    advice: tuple[str, ...]
    law: PowerLaw
    form: str
    draws: np.ndarray  # of the bootstrap [resamples, points]

    def rise(self, ratios: np.ndarray) -> np.ndarray:
        """What the law says that general loss rises by, with these shares of new text [ratios, points]."""
        return self.law.predict(_x(np.asarray(ratios, np.float64), self.form)).T

    def at(self, tokens: float) -> At:
        """The critical ratio at another number of tokens, by a power law of those found.

        Raises:
            InvalidParameterError: found at fewer than 3 numbers of tokens, or `tokens` is not above 0.
        """
        check_number("tokens", tokens, "a number above 0", lambda t: t > 0)
        check(len(self.tokens) >= 3, "tokens", self.tokens.tolist(), "3 at least, to foretell another")
        middle, *drawn = (
            float(np.clip(fit_power(self.tokens, row, exponents=_OVER_TOKENS).predict(tokens)[0, 0], 0, 1))
            for row in (self.ratio, *self.draws)
        )
        low, high = _interval(np.array(drawn)) if drawn else (np.nan, np.nan)
        return At(middle, float(low), float(high))


def critical_ratio(
    ratios: np.ndarray,
    tokens: np.ndarray,
    general: np.ndarray,
    *,
    start: float,
    max_rise: float = 0.05,
    form: str = "power",
    resamples: int = 200,
    seed: int = 0,
) -> CriticalRatio:
    """Finds the critical ratio at each number of tokens.

    Args:
        ratios: share of new text in each run [runs], from 0 to 1; 3 different ones at least.
        tokens: read since pretraining went on [points], above 0.
        general: loss on general text of each run after so many tokens [runs, points].
        start: loss on general text before, of the model that all runs began with.
        max_rise: what may be lost, in units of the loss.
        form: "power" or "exponential" in the ratio.

    Raises:
        InvalidParameterError: bad parameters; or general loss does not rise with the share of new text.
    """
    ratios, tokens = np.asarray(ratios, np.float64), np.asarray(tokens, np.float64)
    general = np.asarray(general, np.float64)
    _check(ratios, tokens, general, form)
    check_number("start", start, "a loss, a finite number", lambda _: True)
    check_number("max_rise", max_rise, "0 or more", lambda r: r >= 0)
    check_integer("resamples", resamples, 0)
    moved = general - start
    law = _fit(ratios, moved, form)
    fitted = law.predict(_x(ratios, form)).T
    _check_rises(law, tokens)
    ratio = _solve(law, max_rise, form)
    draws = _draws(ratios, moved, fitted, max_rise, form, resamples, seed)
    low, high = _interval(draws) if len(draws) else np.full((2, len(tokens)), np.nan)
    inside = (ratios.min() <= ratio) & (ratio <= ratios.max())
    error, advice = _held_out(ratios, moved, form), _advice(ratios, moved, inside)
    return CriticalRatio(tokens, ratio, low, high, inside, error, advice, law, form, draws)


def _fit(ratios: np.ndarray, moved: np.ndarray, form: str) -> PowerLaw:
    """One law a number of tokens, of one exponent: a + b R^s, or a + b exp(R)^s."""
    return fit_power(_x(ratios, form), moved.T, exponents=_EXPONENTS[form])


def _x(ratios: np.ndarray, form: str) -> np.ndarray:
    # A power law is fitted to logarithms, which 0 has none of; 1e-6 of new text is as good as none.
    return np.exp(ratios) if form == "exponential" else np.maximum(ratios, 1e-6)


def _solve(law: PowerLaw, max_rise: float, form: str) -> np.ndarray:
    """The ratio at which each law has risen by so much [points], between 0 and 1."""
    none, every = law.predict(_x(np.array([0.0, 1.0]), form)).T
    solved = law.solve(max_rise)
    solved = np.log(solved) if form == "exponential" else solved
    return np.where(none > max_rise, 0.0, np.where(every <= max_rise, 1.0, np.clip(solved, 0, 1)))


def _draws(
    ratios: np.ndarray, moved: np.ndarray, fitted: np.ndarray, max_rise: float, form: str, resamples: int, seed: int
) -> np.ndarray:
    """Critical ratios of made-up runs [resamples, points]: the law, and the deviations of runs drawn again."""
    num = len(ratios)
    if num <= _UNKNOWNS:
        return np.empty((0, moved.shape[1]))
    deviations = (moved - fitted) * np.sqrt(num / (num - _UNKNOWNS))
    rng = np.random.default_rng([seed, 4])
    rows = rng.integers(num, size=(resamples, num))
    signs = rng.choice([-1.0, 1.0], size=(resamples, num, 1))
    return np.array(
        [
            _solve(_fit(ratios, fitted + sign * deviations[row], form), max_rise, form)
            for row, sign in zip(rows, signs, strict=True)
        ]
    ).reshape(resamples, moved.shape[1])


def _interval(draws: np.ndarray) -> np.ndarray:
    return np.quantile(draws, [0.025, 0.975], axis=0)


def _held_out(ratios: np.ndarray, moved: np.ndarray, form: str) -> float | None:
    """Mean absolute error of general loss at ratios that the law was not fitted to."""
    if len(np.unique(ratios)) <= _UNKNOWNS:
        return None
    errors = []
    for ratio in np.unique(ratios):
        away = ratios == ratio
        law = _fit(ratios[~away], moved[~away], form)
        errors.append(np.abs(law.predict(_x(ratios[away], form)).T - moved[away]).mean())
    return float(np.mean(errors))


def _advice(ratios: np.ndarray, moved: np.ndarray, inside: np.ndarray) -> tuple[str, ...]:
    said = []
    if len(np.unique(ratios)) <= _UNKNOWNS:
        said.append("3 ratios for 3 unknowns: the law goes through every point. Run a fourth for an interval.")
    if not inside.all():
        said.append(
            f"At {int((~inside).sum())} of {len(inside)} numbers of tokens the answer lies outside the ratios that were"
            f" run ({ratios.min():g} to {ratios.max():g}): run one beyond."
        )
    falls = (np.diff(moved[np.argsort(ratios, kind="stable")], axis=0) < 0).sum()
    if falls:
        said.append(
            f"General loss falls with the ratio between {falls} pairs of neighbouring runs: noise, or a bad run."
        )
    return tuple(said)


def _check(ratios: np.ndarray, tokens: np.ndarray, general: np.ndarray, form: str) -> None:
    check_choice("form", form, FORMS)
    check(bool(((ratios >= 0) & (ratios <= 1)).all()), "ratios", ratios.tolist(), "shares from 0 to 1")
    check(
        len(np.unique(ratios)) >= _UNKNOWNS, "ratios", ratios.tolist(), "3 different ones at least", "Run more ratios."
    )
    check(bool((tokens > 0).all()) and len(tokens) > 0, "tokens", tokens.tolist(), "above 0")
    check(
        general.shape == (len(ratios), len(tokens)),
        "general",
        general.shape,
        f"{len(ratios)} runs x {len(tokens)} numbers of tokens",
    )
    bad = np.argwhere(~np.isfinite(general))
    if len(bad):
        run, point = bad[0]
        raise InvalidParameterError(
            f"The run with ratio {ratios[run]:g} has a general loss that is no number after {tokens[point]:g} tokens."
            " Leave it out, or run it again."
        )


def _check_rises(law: PowerLaw, tokens: np.ndarray) -> None:
    if not bool((law.slope > 0).all()):
        raise InvalidParameterError(
            f"General loss does not rise with the share of new text after {tokens[np.argmin(law.slope)]:g} tokens, so"
            " no ratio is critical. Are `ratios` shares of the new text, and not of the old?"
        )
