"""k-means by Euclidean distance: planted groups, a slow obvious version, and what happens at the edges."""

import numpy as np

from assay.kernels.lloyd import kmeans, nearest


def test_planted_groups_are_found() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 4)) * 10
    labels = rng.integers(0, 12, 2000)
    found = kmeans(centres[labels] + rng.normal(size=(2000, 4)) * 0.2, 12, seed=0)
    matched = nearest(centres, found)[0]
    assert sorted(matched.tolist()) == list(range(12))
    np.testing.assert_allclose(found[matched], centres, atol=0.1)


def test_nearest_is_the_least_distance() -> None:
    rng = np.random.default_rng(1)
    vectors, centres = rng.normal(size=(300, 5)), rng.normal(size=(7, 5))
    distances = ((vectors[:, None] - centres[None]) ** 2).sum(axis=2)
    clusters, found = nearest(vectors, centres)
    np.testing.assert_array_equal(clusters, distances.argmin(axis=1))
    np.testing.assert_allclose(found, distances.min(axis=1))


def test_passes_end_where_no_centre_would_move() -> None:
    vectors = np.random.default_rng(2).normal(size=(500, 3))
    centres = kmeans(vectors, 6, seed=3, num_passes=200)
    clusters, _ = nearest(vectors, centres)
    for k in range(6):
        np.testing.assert_allclose(centres[k], vectors[clusters == k].mean(axis=0), atol=1e-12)


def test_fewer_different_vectors_than_clusters() -> None:
    vectors = np.repeat([[0.0, 1.0], [5.0, 5.0]], 4, axis=0)
    centres = kmeans(vectors, 3, seed=0)
    assert nearest(vectors, centres)[1].max() == 0
