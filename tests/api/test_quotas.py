"""Learned quotas: the rounds on a pool in which one kind has much to teach and another little."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import assay
from assay.api.quotas import allocate, reweighted
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import BudgetError, InvalidParameterError
from tests.conftest import make_prose

SMALL = assay.NGram(order=3, vocab_size=400)


def rich_and_poor() -> list[dict[str, Any]]:
    """200 documents each: of a grammar of 800 words, of one of 4 words, and of letters by chance."""
    rows: list[dict[str, Any]] = make_prose(200, seed=1, topic="rich", length=80, vocabulary=800)  # type: ignore[assignment]
    rows += make_prose(200, seed=2, topic="poor", length=80, vocabulary=4)
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    for k in range(200):
        rows.append({"id": f"noise{k}", "text": "".join(letters[rng.integers(0, 26, 500)]), "source": "noise"})
    return rows


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(rich_and_poor())


def test_weights_go_to_what_can_still_be_learned(pool: Corpus, workspace: Workspace) -> None:
    budget = 30_000
    learned = assay.learn_quota(
        pool, by="source", budget=f"{budget} tokens", rounds=3, proxy=SMALL, workspace=workspace
    )
    assert learned.groups == ("noise", "poor", "rich")
    np.testing.assert_allclose(learned.weights.sum(axis=1), 1)
    assert learned.weights.shape == (4, 3) and learned.gaps.shape == (3, 3) and (learned.weights > 0).all()
    for before, after, gap in zip(learned.weights, learned.weights[1:], learned.gaps, strict=False):
        order = np.argsort(gap)
        assert (np.diff((after / before)[order]) > 0).all()  # the higher the gap the more is drawn
    noise, poor, rich = learned.gaps.T
    assert (rich > poor + 0.05).all() and (rich > noise + 0.05).all()
    assert (np.diff(rich) < 0).all()  # more was drawn, and learned, of it in each round
    assert learned.weights[-1, 2] > learned.weights[0, 2]
    assert learned.tokens.sum() == pytest.approx(budget)
    tokens = assay.tokenize(pool, vocab_size=400, workspace=workspace)
    chosen = assay.select(pool, learned.quota, budget=f"{budget} tokens", tokens=tokens, workspace=workspace)
    assert budget <= chosen.manifest.summary["chosen"] < budget + 1500
    assert str(learned).count("\n") == 3
    again = assay.learn_quota(pool, by="source", budget=f"{budget} tokens", rounds=3, proxy=SMALL, workspace=workspace)
    np.testing.assert_array_equal(again.weights, learned.weights)


def test_the_rounds_go_by_clusters_too(pool: Corpus, workspace: Workspace) -> None:
    clusters = assay.Clusters(num_clusters=3, embedding=assay.Embedding(dimensions=8))
    scores = assay.score(pool, clusters, workspace=workspace)
    learned = assay.learn_quota(pool, scores, budget="20k tokens", rounds=2, proxy=SMALL, workspace=workspace)
    assert learned.quota.by == "clusters.cluster" and set(learned.groups) >= {"0", "1", "2"}


def test_what_is_asked_for_must_be_there(pool: Corpus, workspace: Workspace) -> None:
    with pytest.raises(BudgetError, match="the pool without what is held out has only"):
        assay.learn_quota(pool, by="source", budget="9M tokens", proxy=SMALL, workspace=workspace)
    with pytest.raises(InvalidParameterError, match="'kind' is neither a column"):
        assay.learn_quota(pool, by="kind", budget="9k tokens", proxy=SMALL, workspace=workspace)
    with pytest.raises(InvalidParameterError, match="`within` .*needs no score"):
        assay.learn_quota(pool, by="source", within=assay.Top(), budget="9k tokens", workspace=workspace)
    with pytest.raises(InvalidParameterError, match="`budget` .*in tokens"):
        assay.learn_quota(pool, by="source", budget="9k documents", workspace=workspace)


@pytest.mark.parametrize("seed", range(5))
def test_what_does_not_fit_goes_to_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, room = rng.dirichlet(np.full(20, 0.3)), rng.uniform(0, 10, 20) * (rng.random(20) < 0.8)
    given = allocate(0.7 * room.sum(), weights, room)
    assert given.sum() == pytest.approx(0.7 * room.sum()) and (given <= room + 1e-12).all() and (given >= 0).all()
    is_open = (given < room - 1e-9) & (weights > 0)
    np.testing.assert_allclose(given[is_open] / weights[is_open], (given[is_open] / weights[is_open]).mean())
    assert allocate(room.sum() * 2, weights, room).tolist() == room.tolist()


def test_weights_stay_on_the_simplex_whatever_the_gaps() -> None:
    weights = reweighted(np.array([0.2, 0.3, 0.5]), np.array([900.0, -900.0, 899.0]))
    assert weights.sum() == pytest.approx(1) and np.isfinite(weights).all()
