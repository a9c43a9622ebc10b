"""KL reduction against word counts taken one by one, and what it must be at both ends."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import assay
from assay import DSIR, Top
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError, InvalidParameterError
from tests.conftest import make_documents

MANY = 1 << 22  # buckets, so that no two words share one


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(make_documents(80, topic="a") + make_documents(80, topic="b"))


@pytest.fixture
def target(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(make_documents(30, seed=5, topic="a"), "target")


def unigrams(texts: list[str]) -> Counter[str]:
    return Counter(word for text in texts for word in text.split())


def texts(corpus: Corpus) -> list[str]:
    return [t for k in range(corpus.num_parts) for t in corpus.table(k, ["text"])["text"].to_pylist()]


def test_equals_counts_of_words_taken_one_by_one_documents_seen_twice_counted_twice(
    pool: Corpus, target: Corpus, workspace: Workspace
) -> None:
    chosen = assay.select(pool, budget="250 documents", where="source = 'a'", max_repeats=4, workspace=workspace)
    repeats = np.concatenate([chosen.repeats(k) for k in range(pool.num_parts)])
    assert set(repeats) >= {0, 3, 4}
    seen = [text for text, times in zip(texts(pool), repeats, strict=True) for _ in range(times)]
    wanted, everything, taken = unigrams(texts(target)), unigrams(texts(pool)), unigrams(seen)
    expected = 0.0
    for word, count in wanted.items():
        share = {name: c[word] / c.total() + 1e-8 for name, c in (("pool", everything), ("taken", taken))}
        expected += count / wanted.total() * np.log(share["taken"] / share["pool"])
    found = assay.kl_reduction(pool, chosen, target, ngrams=1, num_buckets=MANY)
    assert found == {"target": pytest.approx(expected, rel=1e-9)}


def test_all_of_the_pool_is_no_nearer_than_the_pool(pool: Corpus, target: Corpus, workspace: Workspace) -> None:
    everything = assay.select(pool, budget="160 documents", workspace=workspace)
    assert assay.kl_reduction(pool, everything, target)["target"] == pytest.approx(0, abs=1e-12)


def test_the_better_choice_is_nearer_to_its_target_and_farther_from_another(
    pool: Corpus, target: Corpus, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    scores = assay.score(pool, DSIR(smoothing=0.5), target=target, workspace=workspace)
    best = assay.select(pool, Top(), scores=scores, by="dsir.per_ngram", budget="60 documents", workspace=workspace)
    random = assay.select(pool, budget="60 documents", workspace=workspace)
    targets = {"a": target, "b": make_corpus(make_documents(30, seed=6, topic="b"), "other")}
    of_best, of_random = (assay.kl_reduction(pool, s, targets, num_buckets=100) for s in (best, random))
    assert of_best["a"] > 0.15 and abs(of_random["a"]) < 0.05
    assert of_best["b"] < -0.15


def test_what_cannot_be_compared_is_refused(
    pool: Corpus, target: Corpus, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    chosen = assay.select(pool, budget="10 documents", workspace=workspace)
    empty = make_corpus([{"id": "e", "text": " "}], "empty")
    with pytest.raises(InvalidParameterError, match="Target 'target' has no words"):
        assay.kl_reduction(pool, chosen, empty)
    nothing = assay.select(empty, budget="1 documents", workspace=workspace)
    with pytest.raises(InvalidParameterError, match="has no words, so it is near to nothing"):
        assay.kl_reduction(empty, nothing, target)
    with pytest.raises(AssayError):
        assay.kl_reduction(target, chosen, target)
    for wrong in ({"num_buckets": 1}, {"ngrams": 0}):
        with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
            assay.kl_reduction(pool, chosen, target, **wrong)
    with pytest.raises(InvalidParameterError, match="`target`"):
        assay.kl_reduction(pool, chosen, {})
