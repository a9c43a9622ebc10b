"""Potentials of optimal transport against cases that can be worked out, and derivatives by finite differences."""

import numpy as np
import pytest

from assay.kernels.transport import sinkhorn, soft_minimum


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def even(number: int) -> np.ndarray:
    return np.full(number, 1 / number)


def solved(
    x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, epsilon: float, tolerance: float = 1e-12
) -> tuple[np.ndarray, np.ndarray, float]:
    """Potentials for squared distances on a line, and the cost, which is the sum of the potentials by weight."""
    f, g, error = sinkhorn((x[:, None] - y[None, :]) ** 2, a, b, epsilon, tolerance, 100_000)
    assert error <= tolerance
    return f, g, a @ f + b @ g


def test_the_plan_has_the_weights_that_were_asked_for(rng: np.random.Generator) -> None:
    a, b = rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(5))
    costs = rng.random((7, 5))
    f, g, _ = sinkhorn(costs, a, b, 0.05, 1e-12, 100_000)
    plan = a[:, None] * b * np.exp((f[:, None] + g - costs) / 0.05)
    np.testing.assert_allclose(plan.sum(axis=1), a, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), b, atol=1e-11)
    entropy = (plan * np.log(plan / (a[:, None] * b))).sum()
    assert a @ f + b @ g == pytest.approx((plan * costs).sum() + 0.05 * entropy)


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 1.0])
def test_a_shift_on_a_line_adds_a_linear_potential_and_its_square_to_the_cost(
    epsilon: float, rng: np.random.Generator
) -> None:
    """(x - y - s)^2 = (x - y)^2 - 2 s (x - y) + s^2, whatever the blur."""
    x, shift = rng.random(20), 0.3
    f0, _, still = solved(x, x, even(20), even(20), epsilon)
    f, _, moved = solved(x, x + shift, even(20), even(20), epsilon)
    assert moved - still == pytest.approx(shift**2)
    change = f - f0 + 2 * shift * x
    np.testing.assert_allclose(change, change[0], atol=1e-8)


def test_with_little_blur_the_potential_is_that_of_sorted_points(rng: np.random.Generator) -> None:
    """On a line the best plan goes in order, and neighbours differ by the cost of trading places at most."""
    x, y = np.sort(rng.random(12)), np.sort(rng.random(12) + 0.5)
    exact = np.mean((x - y) ** 2)
    errors = []
    for epsilon in (0.1, 0.01, 0.001):
        f, g, _ = solved(x, y, even(12), even(12), epsilon, 1e-4)
        errors.append(abs(even(12) @ f + even(12) @ g - exact))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.003
    slack = (x[:, None] - y[None, :]) ** 2 - f[:, None] - g
    assert slack.min() > -0.003 * np.log(12) and np.abs(np.diag(slack)).max() < 0.003 * np.log(12)


def test_the_potential_is_the_derivative_by_weight(rng: np.random.Generator) -> None:
    x, y, a, b = rng.random(9), rng.random(6), rng.dirichlet(np.ones(9)), even(6)
    f, _, _ = solved(x, y, a, b, 0.1)
    for i in range(9):
        more = np.full(9, -1 / 8)  # the calibrated gradient: all others give up the same
        more[i] = 1
        step = 1e-5
        difference = solved(x, y, a + step * more, b, 0.1)[2] - solved(x, y, a - step * more, b, 0.1)[2]
        assert difference / (2 * step) == pytest.approx(f @ more, rel=1e-4, abs=1e-7)


def test_a_further_point_has_the_potential_that_it_would_have_with_next_to_no_weight(rng: np.random.Generator) -> None:
    x, y = rng.random(8), rng.random(6)
    _, g, _ = solved(x[:-1], y, even(7), even(6), 0.1)
    found = soft_minimum((x[-1:, None] - y) ** 2, g, np.log(even(6)), 0.1)[0]
    f_all, g_all, _ = solved(x, y, np.append((1 - 1e-9) * even(7), 1e-9), even(6), 0.1)
    constant = np.mean(g - g_all)
    assert found == pytest.approx(f_all[-1] - constant, abs=1e-6)


def test_it_stops_where_it_is_told_to(rng: np.random.Generator) -> None:
    costs = rng.random((30, 20))
    _, _, error = sinkhorn(costs, even(30), even(20), 0.01, 1e-9, 3)
    assert error > 1e-9
    assert sinkhorn(costs, even(30), even(20), 0.01, error * 1.01, 100)[2] <= error * 1.01


def test_costs_far_apart_overflow_nothing() -> None:
    f, g, error = sinkhorn(np.array([[0.0, 4.0], [4.0, 0.0]]), even(2), even(2), 1e-3, 1e-9, 100)
    assert np.isfinite(f).all() and np.isfinite(g).all() and error <= 1e-9
