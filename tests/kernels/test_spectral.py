"""Spectral kernels against numpy."""

import numpy as np
import pytest

from assay.kernels.spectral import eigen, gram, sparse_times, sparse_transposed_times, times


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_products_equal_dense_ones(rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((30, 12)) * (rng.random((30, 12)) < 0.3)
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(31))
    sparse = starts, columns.astype(np.int32), matrix[rows, columns].astype(np.float32)
    left, right = rng.standard_normal((12, 5)), rng.standard_normal((30, 5))
    single = matrix.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(sparse_times(*sparse, left), single @ left, atol=1e-12)
    np.testing.assert_allclose(sparse_transposed_times(*sparse, right, 12), single.T @ right, atol=1e-12)
    np.testing.assert_allclose(gram(left), left.T @ left, atol=1e-12)
    np.testing.assert_allclose(times(left, left.T @ left), left @ left.T @ left, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 7, 60])
def test_eigenvalues_fall_and_rebuild_the_matrix(size: int, rng: np.random.Generator) -> None:
    matrix = gram(rng.standard_normal((80, size)) * np.linspace(0.001, 3, size))
    values, vectors = eigen(matrix)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-10)


def test_a_matrix_of_low_rank_has_zero_eigenvalues(rng: np.random.Generator) -> None:
    values, _ = eigen(gram(rng.standard_normal((3, 10))))
    assert values[2] > 1e-3 and np.abs(values[3:]).max() < 1e-12
