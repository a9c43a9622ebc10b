"""Spherical k-means on planted clusters, against scikit-learn's idea of good, and in its odd cases."""

from itertools import pairwise

import numpy as np
import pytest

from assay.kernels.kmeans import spherical_kmeans
from assay.kernels.vectors import most_similar, snapped


def planted(num: int, num_clusters: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around random directions of 32 dimensions, and the number of each one's direction."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_clusters, num)
    rows = rng.normal(size=(num_clusters, 32))[labels] + noise * rng.normal(size=(num, 32))
    return snapped(rows), labels


@pytest.mark.parametrize("num_clusters", [1, 2, 20, 100])
def test_planted_clusters_are_found(num_clusters: int) -> None:
    rows, labels = planted(6000, num_clusters, 0.3)
    centres = spherical_kmeans(rows, num_clusters, 0)
    found = most_similar(rows, centres)[0]
    pairs = np.bincount(found * num_clusters + labels, minlength=num_clusters**2).reshape(num_clusters, -1)
    assert pairs.max(axis=1).sum() >= (1 if num_clusters < 100 else 0.97) * len(rows)
    np.testing.assert_array_equal(centres, spherical_kmeans(rows, num_clusters, 0))


@pytest.mark.parametrize("num_clusters", [5, 40])
def test_mini_batches_end_as_well_as_plain_passes_from_the_planted_directions(num_clusters: int) -> None:
    rows, labels = planted(20_000, num_clusters, 1.5)
    centres = snapped(np.stack([rows[labels == k].mean(axis=0) for k in range(num_clusters)]))
    for _ in range(30):
        clusters = most_similar(rows, centres)[0]
        centres = snapped(np.stack([rows[clusters == k].mean(axis=0) for k in range(num_clusters)]))
    expected = most_similar(rows, centres)[1].mean()
    assert most_similar(rows, spherical_kmeans(rows, num_clusters, 0))[1].mean() > 0.99 * expected


def test_no_pass_makes_it_worse_and_centres_are_means() -> None:
    rows, _ = planted(5000, 30, 1.0)
    means = [most_similar(rows, spherical_kmeans(rows, 20, 3, passes))[1].mean() for passes in range(6)]
    assert all(b > a - 1e-4 for a, b in pairwise(means)) and means[-1] > means[0]
    centres = spherical_kmeans(rows, 20, 3, 100)
    clusters = most_similar(rows, centres)[0]
    np.testing.assert_array_equal(centres, snapped(np.stack([rows[clusters == k].sum(axis=0) for k in range(20)])))


def test_fewer_different_vectors_than_clusters_are_no_trouble() -> None:
    rows = np.repeat(planted(3, 3, 0.0)[0], 10, axis=0)
    centres = spherical_kmeans(rows, 8, 0)
    assert centres.shape == (8, 32) and (most_similar(rows, centres)[1] > 0.99).all()
    assert spherical_kmeans(rows[:1], 1, 0).tolist() == rows[:1].tolist()
