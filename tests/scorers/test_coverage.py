"""Facility location with a quality (QDIT) against a plain loop; groups; what nested scorers give."""

from collections.abc import Callable

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.kernels.vectors import snapped
from assay.models.embedding import Embedding
from assay.scorers import DSIR, RDS, FacilityLocation, GraphCut, Length
from assay.scorers.collective import Group
from tests.conftest import make_documents

SMALL = Embedding(dimensions=8)


def group(num: int, seed: int = 0) -> Group:
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=num).round(1)
    quality[:3] = np.nan
    return Group(snapped(rng.normal(size=(num, 6))), np.arange(num).astype(np.uint64), {"quality": quality})


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
def test_quality_and_gain_are_weighed_as_in_qdit(alpha: float) -> None:
    one = group(40)
    rank, gain = (c.to_numpy() for c in FacilityLocation(quality=Length(), alpha=alpha).rate(one))
    given = one.values["quality"]
    quality = np.array([0 if np.isnan(q) else (np.sum(given <= q) + np.isnan(given).sum()) / 40 for q in given])
    similar = np.maximum(one.vectors @ one.vectors.T, 0).astype(np.float64)
    covered, left = np.zeros(40), set(range(40))
    for position in range(40):
        added = {j: np.maximum(similar[j] - covered, 0).sum() for j in left}
        best = max(left, key=lambda j: (round((1 - alpha) * added[j] + alpha * quality[j], 9), -j))
        assert rank[best] == position and gain[best] == pytest.approx(added[best], abs=1e-9)
        covered = np.maximum(covered, similar[best])
        left.remove(best)


def test_a_share_of_each_group_is_ranked() -> None:
    one = group(41)
    for method in (FacilityLocation(share=0.1), FacilityLocation(share=0.1, epsilon=0.1), GraphCut(share=0.1)):
        columns = method.rate(one)
        assert [column.null_count for column in columns] == [36, 36]
        assert sorted(columns[0].drop_null().to_pylist()) == list(range(5))
    for method in (FacilityLocation(share=1e-12), FacilityLocation(share=1e-12, epsilon=0.1), GraphCut(share=1e-12)):
        assert method.rate(one)[0].drop_null().to_pylist() == [0]
    whole = FacilityLocation().rate(one)[0].to_numpy()
    few = FacilityLocation(share=0.1).rate(one)[0].fill_null(-1).to_numpy()
    assert (few[few >= 0] == whole[few >= 0]).all()


def test_groups_hold_about_as_many_as_asked_for(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    corpus = make_corpus(make_documents(300, length=20))
    scores = assay.score(corpus, GraphCut(group_size=50, embedding=SMALL), workspace=workspace)
    assert scores.manifest.summary["groups"] == 6
    sizes = -np.diff(np.bincount(scores.to_table()["graph_cut.rank"].to_numpy()), append=0)
    assert np.flatnonzero(sizes).min() > 30 and np.flatnonzero(sizes).max() < 70


def test_quality_may_be_any_scorer_also_one_with_a_target(
    make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    rows = [row for k in range(2) for row in make_documents(40, seed=k, topic="ab"[k], length=60)]
    corpus, target = make_corpus(rows), make_corpus(make_documents(20, seed=7, topic="b"), "target")
    method = FacilityLocation(quality=DSIR(smoothing=0.5), alpha=0.99, embedding=SMALL)
    scores = assay.score(corpus, method, target=target, workspace=workspace)
    chosen = assay.select(corpus, "top", scores=scores, budget="30 documents", workspace=workspace)
    assert (np.flatnonzero(chosen.to_table()["repeats"].to_numpy()) >= 40).sum() >= 28  # the first are for coverage
    with pytest.raises(InvalidParameterError, match="compares with a target"):
        assay.score(corpus, method, workspace=workspace)


def test_quality_may_go_by_an_embedding_of_its_own(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    corpus, target = make_corpus(make_documents(20, length=20)), make_corpus(make_documents(3, seed=1), "target")

    def mark(embedding: Embedding) -> str:
        method = FacilityLocation(quality=RDS(embedding=embedding), embedding=SMALL)
        return assay.score(corpus, method, target=target, workspace=workspace).fingerprint

    assert len({mark(SMALL), mark(Embedding(dimensions=9)), mark(Embedding(dimensions=8, pooling="position"))}) == 3


def test_lazy_greedy_is_not_for_groups_whose_pairs_do_not_fit_into_memory() -> None:
    with pytest.raises(InvalidParameterError, match="`group_size` .*from 2 to 14745"):
        FacilityLocation(group_size=200_000)
    FacilityLocation(group_size=200_000, epsilon=0.1)
