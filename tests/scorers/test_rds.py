"""RDS+ against brute force; turns, ties, shares of targets, and what lies beyond the lists."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.vectors import snapped
from assay.scorers import RDS
from assay.scorers.vectors import id_keys, vectors_of
from tests.scorers.embedded import scored, to_batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def brute_force(pool: np.ndarray, keys: np.ndarray, queues: list[np.ndarray], is_turn_lost: bool) -> list[int]:
    """Documents in the order taken, each queue being one or more items [items, dimensions]."""
    waiting = []
    for items in queues:
        best = (pool @ items.T).max(axis=1)
        waiting.append(sorted(range(len(pool)), key=lambda d: (-best[d], keys[d])))
    taken: list[int] = []
    while any(waiting):
        for queue in waiting:
            while queue:
                document = queue.pop(0)
                if document not in taken:
                    taken.append(document)
                    break
                if is_turn_lost:
                    break
    return taken


def test_one_target_equals_brute_force_over_its_items(rng: np.random.Generator) -> None:
    pool = to_batch(rng.integers(-2, 3, (60, 4)))  # few directions: many ties
    target = to_batch(rng.standard_normal((5, 4)), "t")
    vectors, items = vectors_of(pool).values, vectors_of(target).values
    items = items[np.argsort(id_keys(target))]
    items = items[items.any(axis=1)]
    expected = brute_force(vectors, id_keys(pool), [item[None] for item in items], True)
    found = scored(RDS(), pool, {"t": target}, cuts=4)
    assert np.argsort(found["rds.order"]).tolist() == expected
    assert sorted(found["rds.order"]) == list(range(1, 61))
    np.testing.assert_array_equal(found["rds.similarity"], (vectors @ items.T).max(axis=1))


def test_several_targets_take_turns_by_their_best_items(rng: np.random.Generator) -> None:
    pool = to_batch(rng.standard_normal((90, 6)))
    targets = {name: to_batch(rng.standard_normal((size, 6)), name) for name, size in (("a", 3), ("b", 9), ("c", 1))}
    queues = [vectors_of(targets[name]).values for name in "abc"]
    expected = brute_force(vectors_of(pool).values, id_keys(pool), queues, False)
    found = scored(RDS(), pool, targets, cuts=3)
    assert np.argsort(found["rds.order"]).tolist() == expected
    for name, items in zip("abc", queues, strict=True):
        best = (vectors_of(pool).values @ items.T).max(axis=1)
        np.testing.assert_array_equal(found[f"rds.similarity.{name}"], best)


def test_each_target_gets_its_share_wherever_the_order_is_cut() -> None:
    """Planted: documents near one of three axes; the first 3n documents are n of each, to one."""
    rng = np.random.default_rng(1)
    axes = np.eye(3, 8)
    labels = np.repeat(np.arange(3), [200, 60, 40])
    pool = to_batch(axes[labels] + 0.05 * rng.standard_normal((300, 8)))
    found = scored(RDS(), pool, {n: to_batch(axes[[k]], n) for k, n in enumerate("abc")})
    ordered = labels[np.argsort(found["rds.order"])]
    for size in range(1, 121):
        counts = np.bincount(ordered[:size], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_beyond_the_lists_documents_follow_by_similarity(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((200, 5))), to_batch(rng.standard_normal((4, 5)), "t")
    few, all_ = (scored(RDS(candidates=n), pool, {"t": target}, cuts=5) for n in (40, 1000))
    is_listed = few["rds.order"] == np.round(few["rds.order"])
    assert 10 <= is_listed.sum() <= 40
    np.testing.assert_array_equal(few["rds.order"][is_listed], all_["rds.order"][is_listed])
    rest = np.flatnonzero(~is_listed)
    by_order, by_similarity = few["rds.order"][rest], few["rds.similarity"][rest]
    assert (rest[np.argsort(by_order)] == rest[np.argsort(-by_similarity)]).all()
    assert by_order.min() > is_listed.sum() and by_order.max() < is_listed.sum() + 1


def test_documents_without_text_and_items_without_direction_do_not_count(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((20, 4))
    is_null = np.arange(20) % 5 == 0
    items = np.concatenate([np.zeros((2, 4)), rng.standard_normal((2, 4))])
    found = scored(RDS(), to_batch(vectors, is_null=is_null), {"t": to_batch(items, "t")})
    assert np.isnan(found["rds.order"]).tolist() == is_null.tolist()
    assert sorted(found["rds.order"][~is_null]) == list(range(1, 17))
    unit = snapped(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert found["rds.similarity"][1] == pytest.approx((unit @ snapped(items[2:]).T).max(axis=1)[1], abs=2e-3)


def test_a_target_in_which_nothing_is_found_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Target 't' has no document that the embedding finds anything in"):
        scored(RDS(), to_batch(np.eye(3)), {"t": to_batch(np.zeros((2, 3)), "t")})


def test_only_so_many_items_take_turns_and_which_does_not_depend_on_batches(rng: np.random.Generator) -> None:
    target = to_batch(rng.standard_normal((50, 4)), "t")
    scorer = RDS(max_items=7)
    whole = scorer.sketch_target(target)
    parts = scorer.merge(scorer.sketch_target(target.slice(20)), scorer.sketch_target(target.slice(0, 20)))
    np.testing.assert_array_equal(whole["keys"], np.sort(id_keys(target))[:7])
    for key in whole:
        np.testing.assert_array_equal(whole[key], parts[key])


def test_a_pool_without_any_text_scores_null() -> None:
    pool = to_batch(np.eye(3), is_null=np.ones(3, bool))
    found = scored(RDS(), pool, {"t": to_batch(np.eye(3), "t")})
    assert np.isnan(found["rds.order"]).all()
