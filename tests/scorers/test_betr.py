"""BETR against ranks by sorting; what the paper says of its value functions and aggregation."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.scorers import BETR
from assay.scorers.vectors import id_keys, vectors_of
from tests.scorers.embedded import fit, scored, to_batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_best_rank_equals_that_by_sorting_the_sample(rng: np.random.Generator) -> None:
    """Where the sample is the pool, 2 to the minus value, rounded up, is the best rank over the examples."""
    pool, target = to_batch(rng.standard_normal((80, 5))), to_batch(rng.standard_normal((6, 5)), "t")
    cosines = vectors_of(pool).values @ vectors_of(target).values.T
    ranks = 1 + (cosines[None, :, :] > cosines[:, None, :]).sum(axis=1)
    found = scored(BETR(), pool, {"t": target}, cuts=3)["betr.value"]
    np.testing.assert_array_equal(np.ceil(2.0**-found - 1e-9), ranks.min(axis=1))


def test_ranks_are_among_the_sample_that_hashes_draw(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((500, 5))), to_batch(rng.standard_normal((3, 5)), "t")
    vectors = vectors_of(pool).values
    sample = vectors[np.argsort(id_keys(pool))[:50]]
    items = vectors_of(target).values
    expected = 1 + ((sample @ items.T)[None] > (vectors @ items.T)[:, None]).sum(axis=1)
    negative = scored(BETR(sample=50, value="negative"), pool, {"t": target}, cuts=7)["betr.value"]
    np.testing.assert_array_equal(np.ceil(-negative), expected.min(axis=1))
    mean = scored(BETR(sample=50, value="negative", aggregate="mean"), pool, {"t": target})["betr.value"]
    assert (np.abs(-mean - (expected.mean(axis=1) - 0.5)) < 0.5 + 1e-9).all()


def test_under_max_any_value_gives_the_same_order_and_under_mean_not(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((100, 5))), to_batch(rng.standard_normal((6, 5)), "t")

    def order(**parameters: str) -> list[int]:
        return np.argsort(scored(BETR(**parameters), pool, {"t": target})["betr.value"]).tolist()

    assert order(value="log") == order(value="reciprocal") == order(value="negative")
    assert order(value="reciprocal", aggregate="mean") != order(value="negative", aggregate="mean")


def test_an_example_given_twice_changes_nothing_under_max(rng: np.random.Generator) -> None:
    pool, items = to_batch(rng.standard_normal((60, 5))), rng.standard_normal((4, 5))
    once, twice = (
        scored(BETR(), pool, {"t": to_batch(some, "t")})["betr.value"] for some in (items, items[[0, 1, 2, 3, 2]])
    )
    np.testing.assert_array_equal(once, twice)


def test_all_targets_give_equally_many_examples(rng: np.random.Generator) -> None:
    pool = to_batch(rng.standard_normal((40, 4)))
    targets = {"a": to_batch(rng.standard_normal((9, 4)), "a"), "b": to_batch(rng.standard_normal((4, 4)), "b")}
    state = fit(BETR(), [pool], targets)
    assert state["starts"].tolist() == [0, 4, 8]
    assert fit(BETR(max_examples=3), [pool], targets)["starts"].tolist() == [0, 3, 6]
    found = scored(BETR(), pool, targets)
    np.testing.assert_array_equal(found["betr.value"], np.maximum(found["betr.value.a"], found["betr.value.b"]))
    mean = scored(BETR(aggregate="mean"), pool, targets)
    np.testing.assert_allclose(mean["betr.value"], (mean["betr.value.a"] + mean["betr.value.b"]) / 2)


def test_better_than_all_of_the_sample_still_differ() -> None:
    """A sample far from the example: whoever is nearer than it has rank 1, and the nearer one the larger value."""
    target = {"t": to_batch(np.array([[1.0, 0.0]]), "t")}
    far, near = (
        to_batch(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        for angles in (np.linspace(1.4, 1.6, 50), np.linspace(0.1, 0.5, 20))
    )
    state = fit(BETR(), [far], target)
    found = BETR().score(near, state)[0].to_numpy()
    assert (np.diff(found) < 0).all() and (found > 0).all()
    assert BETR().score(far, state)[0].to_numpy().max() <= 0


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Target 't' has no document"):
        scored(BETR(), to_batch(np.eye(3)), {"t": to_batch(np.zeros((1, 3)), "t"), "u": to_batch(np.eye(3), "u")})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"value": "linear"}, "one of log, reciprocal, negative"), ({"aggregate": "sum"}, "one of max, mean")],
)
def test_unknown_choices_are_refused(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        BETR(**parameters)
