"""K-shot retrieval against brute force, and what diversity does."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.scorers import KNN
from assay.scorers.vectors import id_keys, vectors_of
from tests.scorers.embedded import scored, to_batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.8])
def test_order_equals_maximal_marginal_relevance_by_brute_force(diversity: float, rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((40, 5))), to_batch(rng.standard_normal((3, 5)), "t")
    vectors = vectors_of(pool).values.astype(np.float64)
    best = (vectors @ vectors_of(target).values.T).max(axis=1)
    keys = id_keys(pool)
    taken: list[int] = []
    while len(taken) < 40:
        left = [d for d in range(40) if d not in taken]
        alike = {d: max((vectors[d] @ vectors[t] for t in taken), default=0.0) for d in left}
        taken.append(
            max(left, key=lambda d: ((1 - diversity) * best[d] - diversity * alike[d], best[d], -int(keys[d])))
        )
    found = scored(KNN(diversity=diversity), pool, {"t": target}, cuts=4)
    assert np.argsort(found["knn.order"]).tolist() == taken
    np.testing.assert_array_equal(found["knn.similarity"], best)


def test_copies_do_not_crowd_out_what_differs(rng: np.random.Generator) -> None:
    """Thirty copies of the nearest document, and others a little further: without diversity the copies come first."""
    axis = np.eye(1, 8)
    others = axis + 0.6 * rng.standard_normal((30, 8))
    pool = to_batch(np.concatenate([np.repeat(axis, 30, axis=0), others]))
    plain, diverse = (scored(KNN(diversity=d), pool, {"t": to_batch(axis, "t")})["knn.order"] for d in (0.0, 0.7))
    assert set(np.argsort(plain)[:30]) == set(range(30))
    assert (np.argsort(diverse)[:10] < 30).sum() == 1


def test_who_did_not_compete_follows_by_similarity(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((100, 5))), to_batch(rng.standard_normal((3, 5)), "t")
    found = scored(KNN(candidates=20), pool, {"t": target}, cuts=5)
    nearest = np.argsort(-found["knn.similarity"])
    assert sorted(found["knn.order"][nearest[:20]]) == list(range(1, 21))
    assert np.argsort(found["knn.order"])[20:].tolist() == nearest[20:].tolist()


def test_targets_share_the_examples(rng: np.random.Generator) -> None:
    pool = to_batch(rng.standard_normal((30, 5)))
    targets = {name: to_batch(rng.standard_normal((20, 5)), name) for name in "ab"}
    expected = [vectors_of(t).values[np.argsort(id_keys(t))[:5]] for t in targets.values()]
    best = (vectors_of(pool).values @ np.concatenate(expected).T).max(axis=1)
    np.testing.assert_array_equal(scored(KNN(max_examples=10), pool, targets)["knn.similarity"], best)


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Target 't' has no document"):
        scored(KNN(), to_batch(np.eye(3)), {"t": to_batch(np.zeros((1, 3)), "t")})
