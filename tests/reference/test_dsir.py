"""DSIR against its authors' package, data-selection 1.0.3, on the package's own test documents."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from data_selection import HashedNgramDSIR
from data_selection.hashed_ngram_dsir import get_ngram_counts

from assay.scorers import DSIR
from assay.scorers.dsir import log_ratio
from tests.conftest import make_documents, write_jsonl

NUM_TARGET = 20
MIN_DOMAIN = 40


def score(target: list[str], pool: list[str], **parameters: float) -> dict[str, np.ndarray]:
    scorer = DSIR(**parameters)
    to_batch = lambda texts: pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], names=["text"])  # noqa: E731
    prepared = scorer.prepare({"target": scorer.sketch_target(to_batch(target))})
    state = scorer.finish(prepared, scorer.sketch_pool(to_batch(pool), prepared))
    columns = [column.name for column in scorer.columns(("target",))]
    return dict(zip(columns, (c.to_numpy() for c in scorer.score(to_batch(pool), state)), strict=True))


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float:
    positives = int(is_positive.sum())
    rank_sum = ranks(scores)[is_positive].sum() - positives * (positives - 1) / 2
    return float(rank_sum / (positives * (len(scores) - positives)))


@pytest.fixture(scope="module")
def toy_pile(shared: Path) -> tuple[list[str], list[str]]:
    """Texts and domains of the package's 1,000 test documents."""
    lines = (shared / "papers/dsir/toy_pile_data.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["contents"] for row in rows], [row["metadata"]["pile_set_name"] for row in rows]


@pytest.fixture(scope="module")
def tasks(toy_pile: tuple[list[str], list[str]]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The planted-domain yardstick: per large domain, 20 of its documents as target, the others, and who is of it."""
    _, domains = toy_pile
    found = []
    for domain, size in Counter(domains).items():
        if size >= MIN_DOMAIN:
            members = np.flatnonzero(np.array(domains) == domain)
            target = np.random.default_rng(0).choice(members, NUM_TARGET, replace=False)
            rest = np.setdiff1d(np.arange(len(domains)), target)
            found.append((target, rest, np.isin(rest, members)))
    assert len(found) == 9
    return found


@pytest.mark.parametrize("source", ["generated", "toy pile"])
def test_log_weights_equal_the_package_given_its_bucket_counts(
    source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if source == "generated":
        texts = [d["text"] for topic in "ab" for d in make_documents(60, seed=1, topic=topic)]
    else:
        texts = request.getfixturevalue("toy_pile")[0]
    raw = write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in texts])
    target = write_jsonl(tmp_path / "target.jsonl", [{"text": text} for text in texts[:50]])
    package = HashedNgramDSIR([str(raw)], [str(target)], cache_dir=str(tmp_path / "cache"), num_proc=1)
    package.fit_importance_estimator(num_tokens_to_fit="all")
    package.compute_importance_weights()
    expected = np.load(tmp_path / "cache/log_importance_weights/0.npy")

    counts = np.array([get_ngram_counts(text) for text in texts])
    ours = counts @ log_ratio(counts[:50].sum(axis=0), counts.sum(axis=0), smoothing=0.0)

    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_ranking_agrees_with_the_package(
    toy_pile: tuple[list[str], list[str]], tasks: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Only collisions differ: with ten times the buckets there are fewer, and the rankings come together."""
    texts, _ = toy_pile
    for num_buckets, at_least in ((10_000, 0.97), (100_000, 0.995)):
        counts = np.array([get_ngram_counts(text, num_buckets=num_buckets) for text in texts], np.int32)
        agreement = []
        for target, _, _ in tasks:
            expected = counts @ log_ratio(counts[target].sum(axis=0), counts.sum(axis=0), smoothing=0.0)
            ours = score([texts[k] for k in target], texts, num_buckets=num_buckets)["dsir.log_weight"]
            agreement.append(spearman(ours, expected))
        assert np.mean(agreement) >= at_least


def test_planted_domains_are_found(
    toy_pile: tuple[list[str], list[str]], tasks: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """The yardstick of the method notes: smoothing and per-n-gram weights lift the mean AUC from 0.82 to 0.95."""
    texts, _ = toy_pile
    published, improved = [], []
    for target, rest, is_member in tasks:
        chosen, pool = [texts[k] for k in target], [texts[k] for k in rest]
        published.append(area_under_curve(score(chosen, pool)["dsir.log_weight"], is_member))
        improved.append(area_under_curve(score(chosen, pool, smoothing=0.5)["dsir.per_ngram"], is_member))
    assert np.mean(improved) >= 0.93
    assert min(improved) >= 0.80
    assert np.mean(published) == pytest.approx(0.82, abs=0.02)


def test_a_target_like_the_pool_gives_no_weight() -> None:
    texts = [d["text"] for d in make_documents(50, seed=3)]
    np.testing.assert_allclose(score(texts, texts)["dsir.log_weight"], 0.0, atol=1e-9)


def test_smoothing_towards_the_pool_shrinks_every_weight() -> None:
    pool = [d["text"] for topic in "ab" for d in make_documents(50, seed=4, topic=topic)]
    spread = [np.ptp(score(pool[:50], pool, smoothing=a)["dsir.per_ngram"]) for a in (0.0, 0.5, 0.99)]
    assert spread[0] > spread[1] > spread[2]
