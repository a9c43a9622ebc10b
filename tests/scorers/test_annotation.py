"""Vote-k and IDEAL as scorers: what they take from a pool of topics."""

from collections.abc import Callable

import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.models.embedding import Embedding
from assay.scorers import Ideal, Method, VoteK
from tests.conftest import make_documents

SMALL = Embedding(dimensions=16)


@pytest.mark.parametrize(
    "method", [VoteK(num_neighbours=15, embedding=SMALL), Ideal(embedding=SMALL)], ids=lambda m: m.name
)
def test_the_first_documents_come_from_all_topics(
    make_corpus: Callable[..., Corpus], workspace: Workspace, method: Method
) -> None:
    rows = []
    for k in range(6):
        common = make_documents(40, seed=20 + k, length=60)
        own = make_documents(40, seed=k, topic="abcdef"[k], length=60)
        rows += [row | {"text": f"{row['text']} {other['text']}"} for row, other in zip(own, common, strict=True)]
    corpus = make_corpus(rows)
    scores = assay.score(corpus, method, workspace=workspace)
    chosen = assay.select(corpus, "top", scores=scores, budget="12 documents", workspace=workspace)
    taken = [row["source"] for row, n in zip(rows, chosen.to_table()["repeats"].to_pylist(), strict=True) if n]
    assert len(taken) == 12 and len(set(taken)) >= 5  # 12 at random miss two or more topics once in 7


def test_ideal_hangs_on_its_seed(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    corpus = make_corpus(make_documents(60, length=40))
    reach = [
        assay.score(corpus, Ideal(seed=seed, embedding=SMALL), workspace=workspace)
        .to_table()["ideal.reach"]
        .to_pylist()
        for seed in (0, 1)
    ]
    assert reach[0] != reach[1]
    assert all(sum(one) == pytest.approx(60) for one in reach)  # ranked to the end, they reach all
