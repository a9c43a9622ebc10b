"""Skill-It on simulated skills whose graph is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assay.errors import InvalidParameterError
from assay.mixtures.online import Reader, Step, within
from assay.mixtures.skillit import graph_of_pairs, graph_of_runs, skillit, update

# Skills 0 -> 1 -> 2 -> 3, a chain, and 4 that depends on 0 and 3. PREREQUISITES[i, j]: i must be known to learn j.
PREREQUISITES = np.zeros((5, 5))
for before, after in ((0, 1), (1, 2), (2, 3), (3, 4), (0, 4)):
    PREREQUISITES[before, after] = 1


def gated(rate: float) -> Step:
    """Losses that fall by what is read of the skill itself, as fast as its prerequisites are known (LEGO's way)."""
    losses = np.full(5, 0.95)

    def step(weights: np.ndarray) -> np.ndarray:
        for _ in range(50):
            speed = np.where(PREREQUISITES > 0, 0.1 + 0.9 * (1 - losses[:, None]), 1.0).prod(axis=0)
            losses[:] *= np.exp(-rate / 50 * weights * speed)
        return losses.copy()

    return step


def linear(graph: np.ndarray, rate: float = 0.05) -> Step:
    """The paper's model of learning: dL_j = -rate * L_j * sum_i p_i A_ij."""
    losses = np.ones(graph.shape[1])

    def step(weights: np.ndarray) -> np.ndarray:
        losses[:] *= np.exp(-rate * weights @ graph)
        return losses.copy()

    return step


def test_pairs_recover_the_prerequisites() -> None:
    one = np.eye(5)
    alone = np.array([gated(20)(one[j])[j] for j in range(5)])
    pairs = np.array([[gated(20)((one[i] + one[j]) / 2)[j] for j in range(5)] for i in range(5)])
    found = graph_of_pairs(np.full(5, 0.95), alone, pairs)
    np.testing.assert_array_equal(found > 0, PREREQUISITES + one > 0)


def test_one_run_for_each_source_recovers_the_graph_of_linear_skills() -> None:
    rng = np.random.default_rng(0)
    graph = np.where(rng.random((6, 4)) < 0.5, rng.random((6, 4)), 0)
    graph[np.arange(4), np.arange(4)] = 1  # the best source of each
    rate = 1e-6  # so short that losses fall linearly
    after = np.array([linear(graph, rate)(row) for row in np.eye(6)])
    np.testing.assert_allclose(graph_of_runs(np.ones(4), after), graph, atol=1e-5)


def test_prerequisites_are_read_first_and_it_beats_equal_weights() -> None:
    graph = np.eye(5) + 0.5 * PREREQUISITES
    found = skillit(lambda: gated(0.3), graph, steps=30, step_size=2.0)
    when = (found.path * np.arange(30)[:, None]).sum(axis=0) / found.path.sum(axis=0)  # mean step at which each is read
    assert (np.diff(when) > 0).all()  # along the chain
    assert np.argmax(found.path[0]) == 0  # which teaches itself and two others
    assert found.saved > 0.03
    without_edges = skillit(lambda: gated(0.3), np.eye(5), steps=30, step_size=2.0)
    assert without_edges.saved < found.saved
    nothing_known = skillit(lambda: gated(0.3), np.ones((5, 5)), steps=30, step_size=2.0)
    np.testing.assert_allclose(nothing_known.losses, nothing_known.stratified)


def test_a_wrong_graph_is_shown_to_do_harm() -> None:
    backwards = (np.eye(5) + 0.5 * PREREQUISITES)[::-1]
    assert skillit(lambda: gated(0.3), backwards, steps=30, step_size=2.0).saved < -0.2


def test_without_edges_it_is_exponentiated_gradient_on_the_losses() -> None:
    losses = np.array([[1.0, 0.2, 0.5], [0.8, 0.1, 0.5]])
    expected = np.exp(0.5 * losses.sum(axis=0))
    np.testing.assert_allclose(update(np.eye(3), losses), expected / expected.sum())


def test_only_the_window_counts_and_the_first_step_goes_by_the_graph() -> None:
    graph, told = np.array([[1.0, 0.5], [0.0, 1.0]]), iter(np.array([[9.0, 9.0], [1.0, 2.0], [0.5, 0.1], [0.0, 0.0]]))
    answers = [next(told) for _ in range(4)]
    left = iter([*answers, *answers])
    prior = np.array([0.2, 0.8])
    path = skillit(lambda: lambda _: next(left), graph, steps=4, window=2, prior=prior, step_size=0.3).path

    def by_hand(sums: np.ndarray) -> np.ndarray:
        raised = prior * np.exp(0.3 * graph @ sums)
        return raised / raised.sum()

    np.testing.assert_allclose(path[0], by_hand(np.ones(2)))
    np.testing.assert_allclose(path[1], by_hand(answers[0]))
    np.testing.assert_allclose(path[3], by_hand(answers[1] + answers[2]))


@given(arrays(float, (3, 4), elements=st.floats(0, 1e3)), arrays(float, (2, 4), elements=st.floats(0, 1e3)))
def test_weights_stay_on_the_simplex(graph: np.ndarray, losses: np.ndarray) -> None:
    weights = update(graph, losses, prior=np.array([0.0, 1.0, 3.0]))
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all() and weights[0] == 0


def test_a_reader_is_what_it_has_read_in_all() -> None:
    reader = Reader(lambda tokens: tokens * 2, 2, tokens=10)
    reader(np.array([0.3, 0.7]))
    np.testing.assert_allclose(reader(np.array([1.0, 0.0])), [26.0, 14.0])
    with pytest.raises(InvalidParameterError, match="`tokens`"):
        Reader(lambda tokens: tokens, 2, tokens=0)


def test_limits_are_kept_and_what_is_too_much_goes_to_the_others() -> None:
    limits = np.array([0.3, 0.4, 0.2, 0.2, 0.2])
    found = skillit(lambda: gated(0.3), np.eye(5) + 0.5 * PREREQUISITES, steps=10, step_size=2.0, at_most=limits)
    assert (found.path <= limits + 1e-12).all()
    np.testing.assert_allclose(found.path.sum(axis=1), 1)
    np.testing.assert_allclose(within(np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.25, 1.0])), [0.5, 0.1, 0.4])
    with pytest.raises(InvalidParameterError, match="`at_most`.*room for 1"):
        within(np.array([0.5, 0.5]), np.array([0.5, 0.4]))


def test_bad_input_is_refused() -> None:
    for graph in (np.ones(3), np.array([[1.0, -1.0]]), np.array([[np.nan]])):
        with pytest.raises(InvalidParameterError, match="`graph`"):
            update(graph, np.ones((1, 1)))
    with pytest.raises(InvalidParameterError, match="`losses`"):
        update(np.eye(2), np.ones((1, 3)))
    with pytest.raises(InvalidParameterError, match="`prior`"):
        update(np.eye(2), np.ones((1, 2)), prior=np.ones(3))
    with pytest.raises(InvalidParameterError, match="Give 2 numbers, one for each column"):
        skillit(lambda: lambda _: np.array([1.0, np.nan]), np.eye(2))
    with pytest.raises(InvalidParameterError, match="`after`"):
        graph_of_runs(np.ones(2), np.array([[1.0, np.nan]]))
    with pytest.raises(InvalidParameterError, match="`pairs`"):
        graph_of_pairs(np.ones(2), np.ones(2), np.ones((3, 2)))
