"""Weights of losses, against the paper's formulas written out."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.proxy.rules.reweighting import Reweight, loss_weights

torch = pytest.importorskip("torch")

SHAPES = {
    "linear_upper": lambda h, d: min(h + d, d),
    "quadratic": lambda h, d: 1 - h**2 / d**2,
    "extremes": lambda h, d: abs(h),
    "upper": lambda h, d: 0.5 * h + 0.5 * d,
}


def slow_weights(losses: list[float], shape: str, r: float, delta: float = 1.0) -> list[float]:
    low, high = min(losses), max(losses)
    h = [2 * delta * x / (high - low) - delta * (high + low) / (high - low) for x in losses]
    powers = [np.exp(SHAPES[shape](x, delta) / r) for x in h]
    return [len(losses) * p / sum(powers) for p in powers]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("r", [0.4, 1.0, 30.0])
def test_weights_are_those_of_the_paper(shape: str, r: float) -> None:
    losses = np.random.default_rng(0).gamma(3, size=33).tolist()
    found = loss_weights(torch.tensor(losses, dtype=torch.float64), shape, 1 / r)
    np.testing.assert_allclose(found.numpy(), slow_weights(losses, shape, r), rtol=1e-12)
    assert float(found.sum()) == pytest.approx(33)
    assert float(found.max() / found.min()) <= np.exp(1 / r) * (1 + 1e-9)


def test_shapes_prefer_what_they_say() -> None:
    weights = {shape: loss_weights(torch.tensor([1.0, 2, 3, 4, 5]), shape, 1.0).tolist() for shape in SHAPES}
    low, _, middle, fourth, high = weights["linear_upper"]
    assert low < middle and middle == fourth == high
    assert np.all(np.diff(weights["upper"]) > 0)
    for shape, sign in (("quadratic", 1), ("extremes", -1)):
        lowest, second, middle, *_ = found = weights[shape]
        assert found == pytest.approx(found[::-1]) and sign * middle > sign * second > sign * lowest


def test_equal_losses_high_temperature_and_sequences_without_tokens_are_even() -> None:
    assert loss_weights(torch.full((4,), 2.5), "upper", 1.0).tolist() == [1, 1, 1, 1]
    assert loss_weights(torch.tensor([1.0, 9]), "upper", 1e-7).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert loss_weights(torch.tensor([1.0]), "upper", 1.0).tolist() == [1]
    assert loss_weights(torch.zeros(0), "upper", 1.0).tolist() == []
    found = loss_weights(torch.tensor([1.0, float("nan"), 9]), "upper", 1.0)
    assert found[1] == 1 and float(found.sum()) == pytest.approx(3) and found[2] > found[0]


def test_weights_are_even_through_the_burn_in_and_then_take_shape() -> None:
    rule = Reweight(temperature=0.5, burn_in=0.1)
    sharpness = [rule.sharpness(step, 1000) for step in range(1000)]
    assert set(sharpness[:100]) == {0.0}
    assert np.allclose(np.diff(sharpness[99:200]), 2 / 100) and sharpness[100] > 0
    assert set(sharpness[199:]) == {2.0}
    assert Reweight(burn_in=0).sharpness(0, 10) == 1
    assert {Reweight(burn_in=1).sharpness(step, 10) for step in range(10)} == {0}


def test_bad_parameters_are_named() -> None:
    with pytest.raises(InvalidParameterError, match=r"`shape` .*linear_upper, quadratic, extremes, upper.*'upper'"):
        Reweight(shape="uper")
    with pytest.raises(InvalidParameterError, match="`temperature`"):
        Reweight(temperature=0)
    with pytest.raises(InvalidParameterError, match="`burn_in`"):
        Reweight(burn_in=1.5)
