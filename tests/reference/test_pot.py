"""Potentials of optimal transport against POT (Flamary et al. 2021)."""

import numpy as np
import ot
import pytest

from assay.kernels.transport import sinkhorn


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
def test_potentials_equal_those_of_pot_up_to_a_constant(epsilon: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(60)), rng.dirichlet(np.ones(40))
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((40, 5)) + 0.5
    costs = ot.dist(x, y) / 20
    f, g, error = sinkhorn(costs, a, b, epsilon, 1e-10, 100_000)
    assert error <= 1e-10
    plan, log = ot.bregman.sinkhorn_log(a, b, costs, epsilon, numItermax=100_000, stopThr=1e-11, log=True)
    np.testing.assert_allclose(a[:, None] * b * np.exp((f[:, None] + g - costs) / epsilon), plan, atol=1e-9)
    for ours, theirs in ((f, epsilon * (log["log_u"] - np.log(a))), (g, epsilon * (log["log_v"] - np.log(b)))):
        difference = ours - theirs
        np.testing.assert_allclose(difference, difference.mean(), atol=1e-7)


def test_with_little_blur_the_cost_is_that_of_the_exact_plan() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((30, 2)), rng.random((30, 2))
    even, costs = np.full(30, 1 / 30), ot.dist(x, y)
    f, g, _ = sinkhorn(costs, even, even, 2e-3, 1e-6, 100_000)
    above = even @ f + even @ g - ot.emd2(even, even, costs)
    assert 0 <= above <= 2e-3 * np.log(30)  # what the blur can add
