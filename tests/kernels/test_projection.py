"""Random signs: what they are, that blocks change nothing, and how well cosines are kept."""

import numpy as np
import pytest

from assay.kernels.projection import coordinate_blocks, project_sparse, seed_key, sign_words

PINNED = [[1088120278565421987, 12224804600404009207], [17745161616291182501, 9088745411423872225]]


def signs(first: int, number: int, dimensions: int, seed: int) -> np.ndarray:
    """The matrix as words say it, the lowest bit first [number, dimensions]."""
    words = sign_words(first, number, dimensions, seed_key(seed))
    bits = (words[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    return bits.reshape(number, dimensions).astype(np.float64) * 2 - 1


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_signs_are_even_and_of_no_pattern() -> None:
    found = signs(0, 2048, 128, seed=3)
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert abs(found.mean()) < 4 / found.size**0.5
    for by in (found, found.T):
        products = by @ by.T / by.shape[1]
        others = products[~np.eye(len(by), dtype=bool)]
        assert np.abs(others.mean()) < 1e-3 and np.abs(others.std() * by.shape[1] ** 0.5 - 1) < 0.05


def test_signs_stay_what_they_are() -> None:
    """Stored vectors must be comparable with those that are made tomorrow, elsewhere."""
    assert sign_words(7, 2, 128, seed_key(0)).tolist() == PINNED
    np.testing.assert_array_equal(signs(100, 5, 64, 1), signs(0, 200, 64, 1)[100:105])
    assert (signs(0, 10, 64, 1) != signs(0, 10, 64, 2)).mean() == pytest.approx(0.5, abs=0.1)


def test_the_projection_of_sparse_vectors_is_a_product_with_the_whole_matrix(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((3, 20_000)) * (rng.random((3, 20_000)) < 0.01)
    rows, columns = np.nonzero(vectors)
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=3))))
    found = project_sparse(starts, columns, vectors[rows, columns], 64, seed_key(5))
    np.testing.assert_allclose(found, vectors @ signs(0, 20_000, 64, 5), atol=1e-9)


def test_blocks_hold_every_coordinate_once() -> None:
    blocks = list(coordinate_blocks(20_000))
    assert len(blocks) == 3 and [k for a, n in blocks for k in range(a, a + n)] == list(range(20_000))


@pytest.mark.parametrize("dimensions", [64, 512])
def test_cosines_are_kept_to_four_times_the_root_of_the_dimensions(dimensions: int, rng: np.random.Generator) -> None:
    """The standard deviation of a cosine c is (1 - c^2) / sqrt(dimensions) (Achlioptas 2003, by the delta method)."""
    one = rng.standard_normal((40, 3000)) ** 3  # gradients have long tails
    other = one * rng.random((40, 1)) + rng.standard_normal((40, 3000)) ** 3
    exact = _cosines(one, other)
    matrices = [signs(0, 3000, dimensions, seed) for seed in range(5)]
    found = np.array([_cosines(one @ matrix, other @ matrix) for matrix in matrices])
    assert exact.max() - exact.min() > 0.4
    assert np.abs(found - exact).max() < 4 / dimensions**0.5
    assert np.abs((found - exact).mean()) < 0.5 / dimensions**0.5


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
