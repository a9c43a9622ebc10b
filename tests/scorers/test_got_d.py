"""GOT-D: the gradients of a small pool from its whole transport, planted domains, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.transport import sinkhorn
from assay.scorers import GotD
from assay.scorers.vectors import vectors_of
from tests.scorers.embedded import fit, scored, to_batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def planted(rng: np.random.Generator, number: int, centre: np.ndarray) -> np.ndarray:
    return centre + 0.5 * rng.standard_normal((number, len(centre))) / len(centre) ** 0.5


def test_gradients_are_the_calibrated_ones_where_the_sample_is_the_pool(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((40, 6))), to_batch(rng.standard_normal((9, 6)), "t")
    costs = 2 - 2 * (vectors_of(pool).values @ vectors_of(target).values.T).astype(np.float64)
    f, _, _ = sinkhorn(costs, np.full(40, 1 / 40), np.full(9, 1 / 9), 0.1, 1e-3, 2000)
    expected = [f[i] - np.delete(f, i).sum() / 39 for i in range(40)]
    np.testing.assert_allclose(scored(GotD(), pool, {"t": target}, cuts=3)["got_d.gradient"], expected, atol=2e-3)


def test_of_a_planted_mix_the_documents_of_the_targets_domain_come_first(rng: np.random.Generator) -> None:
    centres = np.eye(8)[:3]
    is_first = rng.random(300) < 0.3
    vectors = np.where(is_first[:, None], planted(rng, 300, centres[0]), planted(rng, 300, centres[1]))
    target = to_batch(planted(rng, 40, centres[0]), "t")
    found = scored(GotD(sample=100), to_batch(vectors), {"t": target}, cuts=4)["got_d.gradient"]
    order = np.argsort(found)
    assert is_first[order[: is_first.sum()]].all()  # precision 1


def test_what_the_pool_has_much_of_is_wanted_less(rng: np.random.Generator) -> None:
    """The difference to nearness: both domains are the target's, and one of them fills the pool already."""
    centres = np.eye(8)[:2]
    vectors = np.concatenate([planted(rng, 190, centres[0]), planted(rng, 10, centres[1])])
    target = to_batch(np.concatenate([planted(rng, 20, centre) for centre in centres]), "t")
    found = scored(GotD(), to_batch(vectors), {"t": target})["got_d.gradient"]
    assert found[190:].max() < found[:190].min()


def test_targets_weigh_alike_whatever_their_size(rng: np.random.Generator) -> None:
    pool = to_batch(rng.standard_normal((50, 4)))
    small, large = rng.standard_normal((3, 4)), rng.standard_normal((12, 4))
    two = scored(GotD(), pool, {"a": to_batch(small, "a"), "b": to_batch(large, "b")})["got_d.gradient"]
    one = np.concatenate([np.repeat(small, 4, axis=0), large])
    together = scored(GotD(), pool, {"t": to_batch(one, "t")})["got_d.gradient"]
    np.testing.assert_allclose(two, together, atol=1e-3)


def test_a_sample_gives_nearly_what_the_whole_pool_gives(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((2000, 6))), to_batch(rng.standard_normal((30, 6)) + 0.7, "t")
    few, all_ = (scored(GotD(sample=n), pool, {"t": target})["got_d.gradient"] for n in (500, 2000))
    assert np.corrcoef(few, all_)[0, 1] > 0.995


def test_the_report_tells_cost_and_error(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((60, 4))), to_batch(rng.standard_normal((8, 4)), "t")
    told = GotD(sample=50).fit_summary(fit(GotD(sample=50), [pool], {"t": target}))
    assert told["sample"] == 50 and told["examples"] == 8
    assert 0 < told["transport_cost"] < 4 and 0 <= told["marginal_error"] <= 1e-3


def test_a_pool_of_one_document_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="at least two documents"):
        scored(GotD(), to_batch(np.eye(3)[:1]), {"t": to_batch(np.eye(3), "t")})


def test_an_empty_target_and_a_bad_epsilon_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Target 't' has no document"):
        scored(GotD(), to_batch(np.eye(3)), {"t": to_batch(np.zeros((1, 3)), "t")})
    with pytest.raises(InvalidParameterError, match="`epsilon` .=0. must be a number from 0.001"):
        GotD(epsilon=0)


def test_documents_without_a_vector_have_no_gradient(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((5, 3))
    vectors[2] = 0
    pool, target = to_batch(vectors), to_batch(rng.standard_normal((3, 3)), "t")
    (column,) = GotD().score(pool, fit(GotD(), [pool], {"t": target}))
    assert column.is_null().to_pylist() == [False, False, True, False, False]
    assert pa.types.is_float64(column.type)
