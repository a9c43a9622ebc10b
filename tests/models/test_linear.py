"""The hashed n-gram model against slow versions of its formulas, planted truth, and what may not change it."""

import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError, InvalidParameterError
from assay.models import calibration, linear_fit
from assay.models.linear import Linear, features
from assay.models.linear_fit import Settings, fit, fit_pairs
from tests.conftest import make_documents

ODD = ["", " \n", "one", "One one ONE.", "Ünïcödé straße 漢字 🙂", "a b " * 400, None, "x" * 3000]


def texts(documents: list[str | None]) -> pa.Array:
    return pa.array(documents, pa.large_string())


def topics(num: int, seed: int = 0, length: int = 30) -> tuple[list[str], np.ndarray]:
    """Documents of two topics that share half of their words, and which topic."""
    shared = make_documents(2 * num, seed=seed + 1, topic="s", length=length)
    own = [d for k, t in enumerate("ab") for d in make_documents(num, seed=seed + 2 + k, topic=t, length=length // 4)]
    documents = [f"{a['text']} {b['text']}" for a, b in zip(shared, own, strict=True)]
    return documents, np.repeat([0.0, 1.0], num)


@pytest.fixture(scope="module")
def trained() -> tuple[Linear, dict]:
    documents, labels = topics(150)
    return fit(features(texts(documents), num_buckets=1 << 14), labels, kind="binary")


def test_rows_are_logarithms_of_counts_scaled_to_length_one() -> None:
    rows = features(texts(["The cat, the CAT.", "", None]), ngrams=2, num_buckets=1 << 28)
    words = ["the", "cat", ",", "the", "cat", "."]
    counts = Counter([*words, *pairwise(words)])
    assert sorted(rows.counts.tolist()) == sorted(counts.values())
    assert (np.diff(rows.starts) == [len(counts), 0, 0]).all()
    length = math.sqrt(sum((1 + math.log(c)) ** 2 for c in counts.values()))
    assert rows.scales.tolist() == pytest.approx([1 / length, 0, 0])


def test_rows_do_not_depend_on_how_the_text_is_cut() -> None:
    many = texts([*ODD, "and another"])
    whole, pieces = features(many), [features(many.slice(k, 3)) for k in range(0, 9, 3)]
    assert whole.buckets.tolist() == [b for piece in pieces for b in piece.buckets.tolist()]
    assert whole.scales.tolist() == [s for piece in pieces for s in piece.scales.tolist()]
    assert whole.keys.tolist() == [key for piece in pieces for key in piece.keys.tolist()]


@pytest.mark.parametrize("ngrams", [1, 3])
@pytest.mark.parametrize("outputs", [1, 3])
def test_margins_from_text_are_the_product_of_rows_and_weights(ngrams: int, outputs: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(512, outputs)).astype(np.float32)  # so few that n-grams share buckets
    kind = "binary" if outputs == 1 else "multiclass"
    model = Linear(kind, tuple("abc"[: max(2, outputs)]), ngrams, weights, rng.normal(size=outputs))
    rows = features(texts(ODD), ngrams=ngrams, num_buckets=512)
    vectors = np.zeros((len(rows), 512))
    for d in range(len(rows)):
        own = slice(rows.starts[d], rows.starts[d + 1])
        vectors[d, rows.buckets[own]] = (1 + np.log(rows.counts[own].astype(float))) * rows.scales[d]
    np.testing.assert_allclose(model.margins(texts(ODD)), vectors @ weights + model.bias, rtol=1e-5, atol=1e-6)


def test_a_planted_topic_is_found_and_its_probability_is_calibrated(trained: tuple[Linear, dict]) -> None:
    model, report = trained
    documents, labels = topics(300, seed=50)
    found = model.predict(texts(documents))
    auc = calibration.area_under_curve(found, labels > 0.5)
    assert auc is not None and auc > 0.97
    assert calibration.calibration_error(found, labels) < 0.06
    assert report["auc"] == pytest.approx(auc, abs=0.02)
    assert report["held_out"] == report["documents"] == 300


def test_held_out_figures_of_noise_are_those_of_chance() -> None:
    documents, _ = topics(400, seed=7)
    labels = np.random.default_rng(0).integers(0, 2, 800).astype(float)
    _, report = fit(features(texts(documents), num_buckets=1 << 14), labels, kind="binary")
    assert 0.43 < report["auc"] < 0.57
    assert report["log_loss"] < 0.72  # ln 2 is that of saying nothing


def test_model_does_not_depend_on_order_or_number_of_threads(
    trained: tuple[Linear, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_fit, "_SHARD_ROWS", 20)
    documents, labels = topics(150)
    models = []
    for threads, order in ((1, np.arange(300)), (4, np.random.default_rng(3).permutation(300))):
        monkeypatch.setattr(linear_fit, "num_workers", lambda threads=threads: threads)
        rows = features(texts([documents[k] for k in order]), num_buckets=1 << 14)
        models.append(fit(rows, labels[order], kind="binary")[0])
    np.testing.assert_array_equal(models[0].weights, models[1].weights)
    np.testing.assert_array_equal(models[0].bias, models[1].bias)
    assert not np.array_equal(models[0].weights, trained[0].weights)  # there were shards


def test_seed_changes_the_model_and_the_same_seed_does_not(trained: tuple[Linear, dict]) -> None:
    documents, labels = topics(150)
    rows = features(texts(documents), num_buckets=1 << 14)
    again, other = (fit(rows, labels, kind="binary", settings=Settings(seed=s))[0] for s in (0, 1))
    np.testing.assert_array_equal(again.weights, trained[0].weights)
    assert not np.array_equal(other.weights, again.weights)


def test_many_documents_are_held_out_by_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_fit, "_CROSS_FITTED", 100)
    documents, labels = topics(400)
    _, report = fit(features(texts(documents * 2), num_buckets=1 << 14), np.tile(labels, 2), kind="binary")
    assert report["documents"] == 1600 and 150 <= report["held_out"] <= 170
    assert report["held_out"] % 2 == 0  # equal texts are held out together


def test_the_only_text_of_a_class_is_learnt_from_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_fit, "_CROSS_FITTED", 100)
    documents, labels = topics(150)
    documents, labels = [*documents, *["lonely only"] * 2], np.concatenate((labels, [2.0, 2.0]))
    model, report = fit(features(texts(documents), num_buckets=1 << 14), labels, kind="multiclass")
    assert report["held_out"] == len(documents)
    assert model.predict(texts(["lonely only"]))[0].argmax() == 2


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "regression"])
def test_a_descent_that_runs_away_is_told(kind: str) -> None:
    documents, labels = topics(30)
    rows = features(texts(documents), num_buckets=1 << 14)
    with (
        np.errstate(all="ignore"),
        pytest.raises(InvalidParameterError, match=r"`learning_rate` \(=1e\+300\) must be low"),
    ):
        fit(rows, labels, kind=kind, settings=Settings(learning_rate=1e300))


def test_soft_labels_say_how_likely() -> None:
    """Documents with a share of words of topic b, and that share as their label."""
    rng = np.random.default_rng(0)
    pools = [np.array([f"{t}{k}" for k in range(50)]) for t in "ab"]
    shares = rng.uniform(size=400)
    documents = [
        " ".join(np.where(rng.uniform(size=60) < s, *(rng.choice(p, 60) for p in pools[::-1]))) for s in shares
    ]
    model, report = fit(features(texts(documents), num_buckets=1 << 14), shares, kind="binary")
    predicted = model.predict(texts(documents))
    assert np.corrcoef(predicted, shares)[0, 1] > 0.95
    assert np.abs(predicted - shares).mean() < 0.07
    assert report["auc"] > 0.95


def notes(num: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Documents with a hidden quality that adds good words and takes bad ones, and its note from 0 to 3."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=num)
    documents = []
    for q in quality:
        is_good = rng.uniform(size=40) < calibration.sigmoid(2 * q)
        words = np.where(is_good, rng.integers(0, 30, 40), rng.integers(30, 60, 40))
        documents.append(" ".join(f"w{w}" for w in words))
    return documents, np.digitize(quality, [-0.8, 0.3, 1.2]).astype(float)


def test_ordinal_notes_are_told_better_than_by_chance_and_keep_their_order() -> None:
    documents, labels = notes(800, seed=1)
    model, report = fit(features(texts(documents), num_buckets=1 << 14), labels, kind="ordinal")
    others, truth = notes(400, seed=2)
    probabilities = model.predict(texts(others))
    assert probabilities.shape == (400, 4)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    expected = probabilities @ np.arange(4)
    found = calibration.spearman(expected, truth)
    assert found is not None and found > 0.85
    assert np.mean(probabilities.argmax(axis=1) == truth) > 0.65
    assert report["spearman"] == pytest.approx(found, abs=0.04)
    assert report["calibration_error"] < 0.05
    assert (np.diff(model.bias) < 0).all()


def test_several_classes_and_their_names() -> None:
    documents = [d["text"] for t in "abc" for d in make_documents(60, seed=ord(t), topic=t, length=12)]
    labels = np.repeat([0.0, 1.0, 2.0], 60)
    model, report = fit(features(texts(documents)), labels, kind="multiclass", classes=("x", "y", "z"))
    assert model.classes == ("x", "y", "z")
    assert report["accuracy"] > 0.97
    np.testing.assert_allclose(model.predict(texts(documents)).sum(axis=1), 1)


def test_regression_finds_a_planted_value() -> None:
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(["up", "down", "left", "right"], 30)) for _ in range(400)]
    values = np.array([100 + 7.0 * d.split().count("up") for d in documents])
    model, report = fit(features(texts(documents), ngrams=1), values, kind="regression")
    assert report["spearman"] > 0.9
    assert np.abs(model.predict(texts(documents)) - values).mean() < 0.5 * values.std()


def test_pairwise_training_recovers_planted_strengths() -> None:
    documents, labels = notes(500, seed=5)
    rng = np.random.default_rng(0)
    lower, upper = rng.integers(0, 500, (2, 4000))
    lower, upper = lower[lower != upper], upper[lower != upper]
    shares = calibration.sigmoid(2.0 * (labels[upper] - labels[lower]))
    rows = features(texts(documents), num_buckets=1 << 14)
    model, report = fit_pairs(rows, lower, upper, shares)
    others, truth = notes(400, seed=6)
    found = calibration.spearman(model.predict(texts(others)), truth)
    assert found is not None and found > 0.85
    assert report["accuracy"] > 0.8
    flipped, _ = fit_pairs(rows, upper, lower, 1 - shares)
    np.testing.assert_allclose(flipped.predict(texts(others)), model.predict(texts(others)), atol=0.2)


def test_calibration_is_the_likeliest() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(size=3000)
    labels = (rng.uniform(size=3000) < calibration.sigmoid(2.5 * margins - 1)).astype(float)
    assert calibration.platt(margins, labels) == pytest.approx((2.5, -1), abs=0.2)
    worse = calibration.platt(-margins, labels)
    assert 0 < worse[0] < 0.01  # the order stays, the probability is the base rate
    assert calibration.sigmoid(np.array(worse[1])) == pytest.approx(labels.mean(), abs=0.01)
    assert np.isfinite(calibration.platt(np.array([-1.0, 1.0]), np.array([0.0, 1.0]))).all()
    three = rng.normal(size=(3000, 3))
    drawn = np.array([rng.choice(3, p=p) for p in calibration.softmax(0.5 * three)])
    assert calibration.temperature(three, drawn) == pytest.approx(0.5, abs=0.1)
    scale, shifts = calibration.ordinal(margins, np.digitize(margins + rng.logistic(size=3000) / 3, [-1, 0.5]), 3)
    assert scale == pytest.approx(3, abs=0.3)
    assert shifts == pytest.approx([3, -1.5], abs=0.3)


def test_figures_by_hand() -> None:
    assert calibration.area_under_curve(np.array([1.0, 2, 2, 3]), np.array([False, False, True, True])) == 0.875
    assert calibration.area_under_curve(np.array([1.0]), np.array([True])) is None
    assert calibration.spearman(np.array([1.0, 2, 3]), np.array([1.0, 10, 100])) == pytest.approx(1)
    assert calibration.spearman(np.array([1.0, 1]), np.array([1.0, 2])) is None
    assert calibration.ranks(np.array([3.0, 1, 3])).tolist() == [1.5, 0, 1.5]
    assert calibration.calibration_error(np.full(10, 0.5), np.ones(10)) == pytest.approx(0.5)


def test_a_saved_model_is_read_back_and_damage_is_told(tmp_path: Path, trained: tuple[Linear, dict]) -> None:
    model, path = trained[0], tmp_path / "model.npz"
    model.save(path)
    assert Linear.load(path).predict(texts(ODD)).tolist() == model.predict(texts(ODD)).tolist()
    with pytest.raises(InputError, match="There is no model"):
        Linear.load(tmp_path / "other.npz")
    content = path.read_bytes()
    for bad in (content[: len(content) // 2], b"", b"text", content[:-30]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="holds no linear model"):
            Linear.load(path)
    state = model.state()
    for change in (
        {"linear.weights": state["linear.weights"].astype(np.float64)},
        {"linear.bias": np.array([np.nan])},
        {"linear.kind": np.array("other")},
        {"linear.ngrams": np.array(99)},
        {"linear.classes": np.array(["a", "b", "c"])},
    ):
        np.savez(path, **{**state, **change})
        with pytest.raises(InputError, match="holds no linear model"):
            Linear.load(path)
    np.savez(path, **{**state, "linear.classes": np.array([model, model], object)})
    with pytest.raises(InputError, match="holds no linear model"):
        Linear.load(path)


def test_what_cannot_be_learnt_is_refused() -> None:
    rows = features(texts(["a b", "c d", "e f"]), num_buckets=64)
    for labels, kind, message in (
        ([1.0, 1, 1], "binary", "of both classes"),
        ([0.0, 2, 1], "binary", "from 0 to 1"),
        ([0.0, np.nan, 1], "binary", "finite numbers"),
        ([0.0, 1], "binary", "one per document"),
        ([0.0, 0, 0], "multiclass", "All 3 documents have the label"),
        ([0.0, 1.5, 0], "ordinal", "classes, integers from 0"),
        ([2.0, 2, 2], "regression", "of more than one value"),
        ([0.0, 1, 1], "pairwise", re.escape("`kind` (='pairwise') must be one of binary")),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            fit(rows, np.array(labels), kind=kind)
    with pytest.raises(InvalidParameterError, match="two documents of different text"):
        fit(features(texts(["same", "same"])), np.array([0.0, 1]), kind="binary")
    for lower, upper, shares, message in (
        ([], [], [], "at least one pair"),
        ([0], [0], [0.5], "two different documents"),
        ([0], [9], [0.5], "positions of documents"),
        ([0], [1], [1.5], "from 0 to 1"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            fit_pairs(rows, np.array(lower), np.array(upper), np.array(shares))
    for bad in ({"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}):
        with pytest.raises(InvalidParameterError, match=f"`{next(iter(bad))}` "):
            Settings(**bad)
