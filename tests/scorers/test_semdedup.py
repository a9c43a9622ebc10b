"""SemDeDup against its definition, and on planted copies."""

from collections.abc import Callable

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.kernels.vectors import snapped
from assay.models.embedding import Embedding
from assay.scorers import Clusters, SemDeDup
from assay.scorers.collective import Group
from tests.conftest import make_documents

SMALL = Clusters(num_clusters=3, embedding=Embedding(dimensions=16))


@pytest.mark.parametrize("keep", ["far", "near"])
def test_similarity_is_the_largest_with_those_that_are_preferred(keep: str) -> None:
    rng = np.random.default_rng(0)
    vectors = snapped(rng.normal(size=(80, 3)))
    centre = snapped(rng.normal(size=(1, 3)))[0]
    similarity = (vectors @ centre).astype(np.float64)
    group = Group(vectors, rng.permutation(80).astype(np.uint64), {"clusters": similarity})
    found = SemDeDup(keep=keep).rate(group)[0].to_numpy()
    exact = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for i in range(80):
        before = similarity < similarity[i] if keep == "far" else similarity > similarity[i]
        assert found[i] == pytest.approx((exact[before] @ exact[i]).max() if before.any() else 0, abs=1e-6)


def test_one_of_each_pair_of_copies_is_kept(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    rows = [row for k in range(3) for row in make_documents(40, seed=k, topic="abc"[k], length=80)]
    copies = [row | {"id": f"copy of {row['id']}", "text": f"{row['text']} again"} for row in rows[::4]]
    corpus = make_corpus([*rows, *copies])
    scores = assay.score(corpus, SemDeDup(clusters=SMALL), workspace=workspace)
    similarity = scores.to_table()["semdedup.similarity"].to_numpy()
    assert ((similarity[:120:4] > 0.99) ^ (similarity[120:] > 0.99)).sum() >= 28
    kept = int((similarity <= 0.99).sum())
    chosen = assay.select(
        corpus, scores=scores, where="semdedup.similarity <= 0.99", budget=f"{kept} documents", workspace=workspace
    )
    assert chosen.manifest.counts["dropped"] == {"where": 150 - kept}


def test_in_a_small_pool_not_every_document_is_a_cluster(
    make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    rows = make_documents(20, length=80)
    copies = [row | {"id": f"copy of {row['id']}", "text": f"{row['text']} again"} for row in rows]
    scores = assay.score(make_corpus([*rows, *copies]), SemDeDup(), workspace=workspace)
    assert (scores.to_table()["semdedup.similarity"].to_numpy() > 0.95).sum() >= 19


def test_it_goes_by_clusters_only() -> None:
    with pytest.raises(InvalidParameterError, match="`clusters` .*the scorer clusters"):
        SemDeDup(clusters=SemDeDup())
