"""Facility location and graph cut against submodlib, the peer of most papers that use them."""

import numpy as np
import pytest

from assay.kernels.submodular import facility_location, graph_cut
from assay.kernels.vectors import snapped

submodlib = pytest.importorskip("submodlib", reason="submodlib-py has no wheel for this Python")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of scipy, about how submodlib imports it
QUIET = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "verbose": False, "show_progress": False}


@pytest.fixture(params=[(50, 49), (200, 120), (1000, 200)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, int]:
    """Vectors of five clusters, and how many to take."""
    size, num = request.param
    rng = np.random.default_rng(size)
    return snapped(rng.normal(size=(size, 16)) + rng.normal(size=(5, 16))[rng.integers(0, 5, size)]), num


def assert_same(ours: tuple[np.ndarray, np.ndarray], theirs: list[tuple[int, float]]) -> None:
    """Gains to 1e-6 of a document, the order wherever gains are not equal."""
    order, gains = ours
    np.testing.assert_allclose(gains, [gain for _, gain in theirs], atol=1e-6, rtol=1e-6)
    different = [k for k, (taken, _) in enumerate(theirs) if taken != order[k]]
    for k in different:
        near = gains[max(0, k - 1) : k + 2]
        assert np.isclose(near, gains[k], atol=1e-6).sum() > 1, f"{k} is no tie"


def test_facility_location_is_that_of_submodlib(case: tuple[np.ndarray, int]) -> None:
    rows, num = case
    similar = np.maximum(rows @ rows.T, 0)
    function = submodlib.FacilityLocationFunction(n=len(rows), mode="dense", sijs=similar, separate_rep=False)
    assert_same(facility_location(rows, num), function.maximize(budget=num, optimizer="LazyGreedy", **QUIET))


def test_stochastic_greedy_reaches_as_much_as_that_of_submodlib(case: tuple[np.ndarray, int]) -> None:
    rows, num = case
    function = submodlib.FacilityLocationFunction(
        n=len(rows), mode="dense", sijs=np.maximum(rows @ rows.T, 0), separate_rep=False
    )
    theirs = function.maximize(budget=num, optimizer="StochasticGreedy", epsilon=0.01, **QUIET)
    ours = facility_location(rows, num, epsilon=0.01)[1].sum()
    assert ours == pytest.approx(sum(gain for _, gain in theirs), rel=0.01)


def test_graph_cut_is_that_of_submodlib(case: tuple[np.ndarray, int]) -> None:
    rows, num = case
    similar = np.maximum(rows @ rows.T, 0)
    function = submodlib.GraphCutFunction(n=len(rows), mode="dense", ggsijs=similar, lambdaVal=0.4)
    assert_same(graph_cut(rows, num, 0.4), function.maximize(budget=num, optimizer="NaiveGreedy", **QUIET))
