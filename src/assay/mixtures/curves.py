"""Power laws with an offset: what a loss will be at more steps, more parameters or another ratio, and how sure that is.

    y(x) = offset + factor x^exponent

Data mixing laws nest three (Ye et al. 2024, arXiv:2403.16952, section 4 and algorithm 1): runs of a few mixtures are
followed over steps S, L = E + B / S^beta, foretold at many steps; these at several sizes foretold at a large one; and
the law over mixtures is fitted to what was foretold, of models that nobody trained. The critical mixture ratio (Gu et
al. 2024, arXiv:2407.17467) is read off such laws as well.

For a given exponent the rest is linear, so a fit is a search in one dimension: exact, the same each time, no starting
point. Several curves may share their exponent, which is what few points can bear. Errors of foretelling are never
those of the points that were fitted: `extrapolate` hides the last third of each curve first.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.errors import check

_GRID = 121  # exponents tried between the bounds, and then between the neighbours of the best, as often as _ZOOMS
_FINER = 41
_ZOOMS = 4
_HIDDEN = 1 / 3


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """y = level + slope ((x / unit)^exponent - 1) / exponent of each curve; a logarithm where the exponent is 0.

    Written so that it is whole at exponent 0. exponent, unit: shared by the curves. level, slope: [curves].
    """

    exponent: float
    unit: float
    level: np.ndarray
    slope: np.ndarray

    def predict(self, x: np.ndarray | float) -> np.ndarray:
        """The y of each curve at each x [curves, points]."""
        return self.level[:, None] + self.slope[:, None] * _base(np.atleast_1d(x) / self.unit, self.exponent)

    def offset(self) -> np.ndarray:
        """What y tends to, as x grows (exponent below 0) or falls to 0 (above 0) [curves]."""
        return self.level - self.slope / self.exponent

    def solve(self, y: float) -> np.ndarray:
        """The x at which each curve is y [curves]; NaN where none is."""
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = (y - self.level) / self.slope
            if abs(self.exponent) < 1e-9:
                return self.unit * np.exp(moved)
            return self.unit * (1 + self.exponent * moved) ** (1 / self.exponent)


class Extrapolation(NamedTuple):
    """values: y at the wanted x [curves]. law: what foretold it.

    held_out_error: mean absolute error at the last third of the points, foretold from the rest; bias: its mean with
    sign (foretold - measured). None of both: fewer than 5 points, too few to hide any.
    """

    values: np.ndarray
    law: PowerLaw
    held_out_error: float | None
    bias: float | None


def fit_power(x: np.ndarray, y: np.ndarray, *, exponents: tuple[float, float]) -> PowerLaw:
    """The power law with an offset that is nearest in squares.

    Args:
        x: above 0 [points]. y: [curves, points], or [points] for one curve.
        exponents: lowest and highest; steps and sizes: (-2, -0.05).

    Raises:
        InvalidParameterError: fewer than 3 different x, an x of 0 or less, a y that is no number.
    """
    x, y = np.asarray(x, np.float64), np.atleast_2d(np.asarray(y, np.float64))
    check(y.shape[1] == len(x), "y", y.shape, f"curves x {len(x)} points")
    check(bool((x > 0).all() and np.isfinite(x).all()), "x", x.tolist(), "above 0")
    check(bool(np.isfinite(y).all()), "y", y.tolist(), "numbers")
    check(len(np.unique(x)) >= 3, "x", x.tolist(), "3 different numbers at least", "A power law has 3 unknowns.")
    unit = float(np.exp(np.log(x).mean()))
    ratios = x / unit

    low, high = exponents
    for num_tried in (_GRID, *[_FINER] * _ZOOMS):
        tried = np.linspace(low, high, num_tried)
        level, slope, fitted = _linear(ratios, y, tried)
        best = int(np.argmin(((y - fitted) ** 2).sum(axis=(1, 2))))
        low, high = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, num_tried - 1)])
    return PowerLaw(float(tried[best]), unit, level[best], slope[best])


def extrapolate(
    x: np.ndarray, y: np.ndarray, to: float, *, exponents: tuple[float, float] = (-2.0, -0.05)
) -> Extrapolation:
    """What each curve will be at `to`, and the error of the same forecast where the truth is known.

    Args:
        x: steps, tokens or parameters, above 0 [points]. y: losses [curves, points].
        to: the x that is wanted.

    Raises:
        InvalidParameterError: as `fit_power`.
    """
    x, y = np.asarray(x, np.float64), np.atleast_2d(np.asarray(y, np.float64))
    law = fit_power(x, y, exponents=exponents)
    values = law.predict(to)[:, 0]
    num_hidden = max(1, int(len(x) * _HIDDEN))
    if len(np.unique(x)) < 5:
        return Extrapolation(values, law, None, None)
    order = np.argsort(x, kind="stable")
    seen, hidden = order[:-num_hidden], order[-num_hidden:]
    errors = fit_power(x[seen], y[:, seen], exponents=exponents).predict(x[hidden]) - y[:, hidden]
    return Extrapolation(values, law, float(np.abs(errors).mean()), float(errors.mean()))


def _base(ratios: np.ndarray, exponent: np.ndarray | float) -> np.ndarray:
    """(ratio^exponent - 1) / exponent, whose limit at exponent 0 is the logarithm."""
    logs = np.log(ratios)
    exponent = np.where(np.abs(exponent) < 1e-9, 1e-9, exponent)  # as good as the limit
    return np.expm1(exponent * logs) / exponent


def _linear(ratios: np.ndarray, y: np.ndarray, exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(level, slope, fitted) of least squares [exponents, curves] and [exponents, curves, points]."""
    base = _base(ratios, exponents[:, None])
    about = base - base.mean(axis=1, keepdims=True)
    slope = about @ y.T / np.maximum((about**2).sum(axis=1, keepdims=True), 1e-300)
    level = y.mean(axis=1) - slope * base.mean(axis=1, keepdims=True)
    return level, slope, level[:, :, None] + slope[:, :, None] * base[:, None, :]
