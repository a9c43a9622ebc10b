"""Clusters of planted topics, and quotas by them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.models.embedding import Embedding
from assay.scorers import Clusters
from assay.selection.policies import Quota, Sample
from tests.conftest import make_documents

SIZES = {"a": 110, "b": 80, "c": 60, "d": 50}
FOUR = Clusters(num_clusters=4, embedding=Embedding(dimensions=8))


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    rows: list[Any] = []
    for k, (topic, size) in enumerate(SIZES.items()):
        common = make_documents(size, seed=9 + k, length=80)  # words of all topics, as in any language
        own = make_documents(size, seed=k, topic=topic, length=80)
        rows += [row | {"text": f"{row['text']} {other['text']}"} for row, other in zip(own, common, strict=True)]
    return make_corpus([*rows, {"id": "empty", "text": "", "source": "none"}])


def sources(corpus: Corpus) -> np.ndarray:
    return np.array([s for k in range(corpus.num_parts) for s in corpus.table(k, ["source"])["source"].to_pylist()])


def test_planted_topics_are_clusters(pool: Corpus, workspace: Workspace) -> None:
    table = assay.score(pool, FOUR, workspace=workspace).to_table()
    pairs = Counter(zip(sources(pool).tolist(), table["clusters.cluster"].to_pylist(), strict=True))
    assert sum(max(n for (t, _), n in pairs.items() if t == topic) for topic in SIZES) >= 0.97 * 300
    assert len({cluster for _, cluster in pairs}) == 5  # with the null of a document without words
    similarities = table["clusters.similarity"].drop_null().to_numpy()
    assert len(similarities) == 300 and similarities.min() > 0.3 and similarities.max() <= 1.01


def test_a_fit_on_a_sample_finds_them_too(pool: Corpus, workspace: Workspace) -> None:
    few = Clusters(num_clusters=4, sample=80, embedding=FOUR.embedding)
    clusters = assay.score(pool, few, workspace=workspace).to_table()["clusters.cluster"].to_pylist()
    pairs = Counter(zip(sources(pool).tolist(), clusters, strict=True))
    assert sum(max(n for (t, _), n in pairs.items() if t == topic) for topic in SIZES) >= 0.9 * 300


def test_equal_shares_of_clusters_are_water_filling(pool: Corpus, workspace: Workspace) -> None:
    scores = assay.score(pool, FOUR, workspace=workspace)
    policy = Quota(by="clusters.cluster", shares="equal")
    where = "clusters.cluster is not null"
    chosen = assay.select(pool, policy, scores=scores, where=where, budget="240 documents", workspace=workspace)
    clusters = scores.to_table()["clusters.cluster"].to_pylist()
    kept = chosen.to_table()["repeats"].to_numpy() > 0
    available, taken = Counter(clusters), Counter(c for c, k in zip(clusters, kept, strict=True) if k)
    level = max(taken.values())
    for cluster, size in available.items():
        if cluster is not None:
            assert taken[cluster] == size or level - 1 <= taken[cluster] <= level
    assert taken.total() == 240 and min(taken.values()) < level  # some cluster has less than its share


def test_draws_within_clusters_go_by_quality(pool: Corpus, workspace: Workspace) -> None:
    """kMQ: equal shares of clusters, inside of which chances are proportional to a quality."""
    scores = [assay.score(pool, FOUR, workspace=workspace), assay.score(pool, "length", workspace=workspace)]
    policy = Quota(by="clusters.cluster", shares="equal", within=Sample())
    words = scores[1].to_table(["length.words"])["length.words"].to_numpy()
    means = []
    for seed in range(8):
        chosen = assay.select(
            pool,
            policy,
            scores=scores,
            by="4 * ln(length.words)",
            budget="60 documents",
            seed=seed,
            workspace=workspace,
        )
        means.append(words[chosen.to_table()["repeats"].to_numpy() > 0].mean())
    assert np.mean(means) > words.mean() + 5


def test_what_has_no_words_cannot_be_clustered(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    with pytest.raises(InvalidParameterError, match="no words"):
        assay.score(make_corpus([{"id": "a", "text": " "}]), FOUR, workspace=workspace)
    with pytest.raises(InvalidParameterError, match="`sample` .*at least `num_clusters`"):
        Clusters(num_clusters=100, sample=50)
