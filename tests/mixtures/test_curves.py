"""Power laws with an offset: planted ones are found, forecasts carry the error of forecasts."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.curves import extrapolate, fit_power

STEPS = np.arange(1, 13) * 1000.0


def curves(exponent: float = -0.4) -> np.ndarray:
    offsets, factors = np.array([[2.0], [2.5], [1.0]]), np.array([[30.0], [20.0], [50.0]])
    return offsets + factors * STEPS**exponent  # type: ignore[no-any-return]


@pytest.mark.parametrize("exponent", [-1.3, -0.4, -0.1])
def test_planted_law_is_recovered_and_foretells(exponent: float) -> None:
    found = extrapolate(STEPS, curves(exponent), 1e6)
    assert found.law.exponent == pytest.approx(exponent, abs=1e-5)
    np.testing.assert_allclose(found.law.offset(), [2.0, 2.5, 1.0], rtol=1e-4)
    np.testing.assert_allclose(found.values, [2, 2.5, 1] + np.array([30, 20, 50]) * 1e6**exponent, rtol=1e-5)
    assert found.held_out_error == pytest.approx(0, abs=1e-6)


def test_growing_law_and_logarithm() -> None:
    growing = fit_power(STEPS, 3 + 0.01 * STEPS**0.7, exponents=(-2, 2))
    assert growing.exponent == pytest.approx(0.7, abs=1e-5)
    assert growing.offset()[0] == pytest.approx(3, rel=1e-5)
    logarithm = fit_power(STEPS, 3 - np.log(STEPS), exponents=(-1, 1))
    assert logarithm.exponent == pytest.approx(0, abs=1e-5)
    assert logarithm.predict(50.0)[0, 0] == pytest.approx(3 - np.log(50), rel=1e-4)


def test_solve_inverts_predict() -> None:
    law = fit_power(STEPS, curves(), exponents=(-2, -0.05))
    for k, y in enumerate(law.predict(4321.0)[:, 0]):
        assert law.solve(float(y))[k] == pytest.approx(4321.0)
    assert np.isnan(law.solve(1.5)[0])  # below the offset of the first curve, 2: at no x


def test_shared_exponent_stands_more_noise_than_one_a_curve() -> None:
    rng = np.random.default_rng(0)
    truth = 2 + np.linspace(0, 1, 20)[:, None] + np.linspace(20, 40, 20)[:, None] * STEPS**-0.4
    noisy = truth + 0.01 * rng.normal(size=truth.shape)
    aims = 2 + np.linspace(0, 1, 20) + np.linspace(20, 40, 20) * 1e5**-0.4
    together = np.abs(extrapolate(STEPS, noisy, 1e5).values - aims).mean()
    alone = np.mean([abs(extrapolate(STEPS, row, 1e5).values[0] - aim) for row, aim in zip(noisy, aims, strict=True)])
    assert together < 0.5 * alone


def test_held_out_error_is_of_the_points_that_come_last() -> None:
    bent = curves().copy()
    bent[:, -4:] += 0.5  # what the first two thirds cannot know
    found = extrapolate(STEPS, bent, 1e5)
    assert found.held_out_error == pytest.approx(0.5, abs=1e-3) and found.bias == pytest.approx(-0.5, abs=1e-3)
    few = extrapolate(STEPS[:4], curves()[:, :4], 1e5)
    assert few.held_out_error is None and few.bias is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "3 different"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], "`x`.*above 0"),
        ([1.0, 2.0, 3.0], [1.0, np.nan, 3.0], "`y`"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "3 points"),
    ],
)
def test_bad_input_is_refused(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        fit_power(np.array(x), np.array(y), exponents=(-2, -0.05))
