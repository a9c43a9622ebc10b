"""Quad: the order in which a bandit over clusters takes documents, in one group."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.vectors import snapped
from assay.scorers import Clusters, Gradient, Length, Quad
from assay.scorers.collective import Group


def group(
    rng: np.random.Generator, means: list[float], size: int = 40, spread: float = 0.3
) -> tuple[Group, np.ndarray]:
    """Clusters of so many documents each, with influence around these means; and the cluster of each."""
    clusters = rng.permutation(np.repeat(np.arange(len(means)), size))
    vectors = snapped(np.eye(16)[clusters] + 0.1 * rng.standard_normal((len(clusters), 16)))
    values = np.array(means)[clusters] + spread * rng.standard_normal(len(clusters))
    return Group(vectors, np.arange(len(clusters), dtype=np.uint64), {"of": values}), clusters


def order_of(quad: Quad, given: Group) -> np.ndarray:
    ranks = quad.rate(given)[0].to_numpy(zero_copy_only=False)
    return np.argsort(ranks)[: int(np.isfinite(ranks.astype(float)).sum())]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_clusters_of_high_influence_are_drawn_from_first_and_others_tried(rng: np.random.Generator) -> None:
    given, clusters = group(rng, [2.0, 1.5, 0.0, -1.0, -2.0])
    order = order_of(Quad(num_clusters=5, draws=1, exploration=0.2), given)
    counts = np.bincount(clusters[order[:60]], minlength=5)
    assert counts[:2].sum() > 50 and counts[1] > 5
    assert sorted(order) == list(range(200))


def test_more_exploration_takes_from_more_clusters_than_the_best_alone_would(rng: np.random.Generator) -> None:
    given, clusters = group(rng, [1.0, 0.8, 0.6, 0.4, 0.2])
    best = np.argsort(-given.values["of"])[:50]
    spread = [
        np.bincount(clusters[order_of(Quad(num_clusters=5, exploration=e), given)[:50]], minlength=5) / 50
        for e in (0.0, 5.0)
    ]
    alone = np.bincount(clusters[best], minlength=5) / 50
    entropy = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (alone, *spread)]
    assert entropy[2] > entropy[0] and entropy[2] > entropy[1]


def test_what_is_not_above_the_threshold_comes_last_by_influence(rng: np.random.Generator) -> None:
    given, _ = group(rng, [1.0, -1.0])
    values = given.values["of"]
    z = (values - values.mean()) / values.std()
    order = order_of(Quad(num_clusters=2, threshold=0.5), given)
    num_above = int((z > 0.5).sum())
    assert (z[order[:num_above]] > 0.5).all() and (np.diff(z[order[num_above:]]) <= 0).all()


def test_documents_of_unknown_influence_have_no_rank(rng: np.random.Generator) -> None:
    given, _ = group(rng, [1.0, 0.0], size=10)
    given.values["of"][3] = np.nan  # type: ignore[index]
    rank, influence = Quad(num_clusters=2).rate(given)
    assert rank[3].as_py() is None and influence[3].as_py() is None and rank.null_count == 1
    only = Group(given.vectors[:1], given.order[:1], {"of": np.array([np.nan])})
    assert Quad().rate(only)[0].to_pylist() == [None]


def test_a_share_is_the_start_of_the_order(rng: np.random.Generator) -> None:
    given, _ = group(rng, [1.0, 0.0, -1.0])
    whole, part = (order_of(Quad(num_clusters=3, share=s), given) for s in (1.0, 0.25))
    assert part.tolist() == whole[:30].tolist()


def test_it_takes_any_scorer_with_a_better_end() -> None:
    assert Quad(of=Gradient(damping=1.0)).needs_target and not Quad(of=Length()).needs_target
    with pytest.raises(InvalidParameterError, match="`of` .* must be a scorer"):
        Quad(of="influence")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="of which one end is better"):
        Quad(of=Clusters())
