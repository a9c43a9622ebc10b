"""Classifiers find what was planted, whatever they learn from, and say what they cannot learn from."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import Classifier
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InputError, InvalidParameterError
from assay.models.calibration import area_under_curve, spearman
from assay.models.linear import Linear, features
from assay.models.linear_fit import fit
from assay.scorers.lessons import beginnings
from tests.conftest import make_documents, write_jsonl

SMALL = {"num_buckets": 1 << 14}
NOTES = 5


def mixed(num: int, seed: int, share: float = 0.3) -> list[dict[str, Any]]:
    """Documents of a common topic, of which a share has some words of topic g, and a note by how many."""
    rng = np.random.default_rng(seed)
    rows = make_documents(num, seed=seed, topic="c", length=40)
    extra = make_documents(num, seed=seed + 1, topic="g", length=24)
    for k, row in enumerate(rows):
        note = int(rng.integers(1, NOTES)) if rng.uniform() < share else 0
        own = " ".join(extra[k]["text"].split()[: 3 * note])
        row |= {"id": f"{seed}-{k}", "text": f"{row['text']} {own}", "note": note, "kind": "good" if note else "plain"}
    return rows


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(mixed(300, seed=1))


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    return str(write_jsonl(folder / f"{name}.jsonl", rows))


def scored(pool: Corpus, scorer: Classifier, workspace: Workspace, **settings: Any) -> dict[str, np.ndarray]:
    table = assay.score(pool, scorer, workspace=workspace, **settings).to_table()
    return {name: table[name].to_numpy() for name in table.column_names}


def notes_of(pool: Corpus) -> np.ndarray:
    return np.concatenate([pool.table(k, ["note"])["note"].to_numpy() for k in range(pool.num_parts)])


def auc(values: np.ndarray, pool: Corpus) -> float:
    found = area_under_curve(values, notes_of(pool) > 0)
    assert found is not None
    return found


def test_the_target_is_told_from_the_pool(pool: Corpus, make_corpus: Callable[..., Corpus], tmp_path: Path) -> None:
    good = [row for row in mixed(200, seed=50) if row["note"]]
    workspace = Workspace(tmp_path / "w")
    scores = assay.score(pool, Classifier(**SMALL), target=make_corpus(good, "good"), workspace=workspace)
    assert auc(scores.to_table()["classifier.probability"].to_numpy(), pool) > 0.9
    summary = scores.manifest.summary
    assert summary["sources"]["positives"]["documents"] == len(good)
    assert summary["sources"]["sample_of_pool"]["documents"] == 300
    assert summary["auc"] > 0.7  # three tenths of the pool are of the kind wanted, and count as negatives there
    assert summary["calibration_error"] < 0.1


def test_documents_against_documents_and_labels_against_labels(
    pool: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    rows = mixed(400, seed=60, share=0.5)
    sets = {name: written(tmp_path, name, [r for r in rows if r["kind"] == name]) for name in ("good", "plain")}
    by_files = scored(pool, Classifier(positives=sets["good"], negatives=sets["plain"], **SMALL), workspace)
    everything = {"read": written(tmp_path, "all", rows)}
    of_labels = Classifier(labels=everything, column="kind", positive="good", **SMALL)
    by_labels = scored(pool, of_labels, workspace)
    assert auc(by_files["classifier.probability"], pool) > 0.93
    np.testing.assert_allclose(by_labels["classifier.probability"], by_files["classifier.probability"], atol=1e-6)
    flipped = Classifier(labels=everything, column="kind", positive="plain", **SMALL)
    np.testing.assert_allclose(
        scored(pool, flipped, workspace)["classifier.probability"], 1 - by_files["classifier.probability"], atol=0.05
    )
    several = scored(pool, Classifier(labels=everything, column="kind", kind="multiclass", **SMALL), workspace)
    assert np.mean((several["classifier.label"] == "good") == (notes_of(pool) > 0)) > 0.85
    assert several["classifier.confidence"].min() >= 0.5


def test_notes_are_learnt_in_their_order(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    labels = written(tmp_path, "notes", mixed(600, seed=70, share=0.6))
    found = scored(pool, Classifier(labels=labels, column="note", kind="ordinal", **SMALL), workspace)
    correlation = spearman(found["classifier.score"], notes_of(pool))
    assert correlation is not None and correlation > 0.75
    assert found["classifier.score"].min() >= 0 and found["classifier.score"].max() <= NOTES - 1
    np.testing.assert_array_equal(found["classifier.note"], np.floor(found["classifier.score"] + 0.5))


def test_labels_without_text_or_label_are_counted() -> None:
    rows: list[dict[str, Any]] = mixed(100, seed=80, share=0.5)
    for row in rows[:7]:
        row["kind"] = None
    rows[10]["text"] = None
    scorer = Classifier(labels="x", column="kind", positive="good", **SMALL)
    state = scorer.prepare({"labels": scorer.sketch_documents("labels", pa.RecordBatch.from_pylist(rows))})
    report = scorer.fit_summary(state)
    assert report["sources"]["labels"] == {"documents": 100, "without_text": 1, "without_label": 7}
    assert report["documents"] == 92


def test_of_long_texts_the_beginning_is_learnt_in_whole_characters() -> None:
    texts = ["abc", "ab\u00e9c", "\u6f22\u5b57", "\U0001f642x", "", None, "x" * 50]
    for max_bytes in range(1, 12):
        found = beginnings(pa.array(texts).slice(1), max_bytes).to_pylist()
        assert found == [(t or "").encode()[:max_bytes].decode(errors="ignore") for t in texts[1:]]


def test_more_documents_than_wanted_are_a_sample_that_order_does_not_change() -> None:
    rows = [row | {"label": row["kind"]} for row in mixed(120, seed=90, share=0.5)]
    batch = pa.RecordBatch.from_pylist(rows)
    scorer = Classifier(labels="x", kind="multiclass", max_documents=50, **SMALL)

    def state(batches: list[pa.RecordBatch]) -> dict[str, np.ndarray]:
        sketches = [scorer.sketch_documents("labels", b) for b in batches]
        merged = sketches[0]
        for sketch in sketches[1:]:
            merged = scorer.merge(merged, sketch)
        return scorer.prepare({"labels": merged})

    pieces = [batch.slice(0, 1), batch.slice(1, 70), batch.slice(71)]
    one, *others = state(pieces), state([pieces[2], pieces[0], pieces[1]]), state([batch])
    assert scorer.fit_summary(one)["documents"] == 50
    for other in others:
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    rows = mixed(300, seed=100, share=0.5)
    text = "".join(f"__label__{row['kind']} {row['text']}\n" for row in rows)
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    trained = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=10, epoch=20, lr=0.5, thread=10, bucket=100, verbose=0
    )
    trained.save_model(str(tmp_path / "model.bin"))
    labels = np.array([row["note"] > 0 for row in rows], float)
    linear, _ = fit(
        features(pa.array([row["text"] for row in rows]), **SMALL), labels, kind="binary", classes=("n", "y")
    )
    linear.save(tmp_path / "model.npz")
    return {"fasttext": str(tmp_path / "model.bin"), "linear": str(tmp_path / "model.npz")}


def test_models_that_are_there_are_taken_as_they_are(
    pool: Corpus, models: dict[str, str], workspace: Workspace
) -> None:
    good = scored(pool, Classifier(model=models["fasttext"], positive="__label__good"), workspace)
    assert auc(good["classifier.probability"], pool) > 0.85
    likeliest = scored(pool, Classifier(model=models["fasttext"], kind="multiclass"), workspace)
    assert set(likeliest["classifier.label"]) == {"__label__good", "__label__plain"}
    ours = scored(pool, Classifier(model=models["linear"], positive="y"), workspace)["classifier.probability"]
    texts = pa.chunked_array([pool.table(k, ["text"])["text"].combine_chunks() for k in range(pool.num_parts)])
    np.testing.assert_array_equal(ours, Linear.load(models["linear"]).predict(texts.combine_chunks()))
    other = scored(pool, Classifier(model=models["linear"], positive="n"), workspace)["classifier.probability"]
    np.testing.assert_allclose(other, 1 - ours)


def test_a_model_that_is_replaced_is_read_again_though_it_is_as_old(
    pool: Corpus, models: dict[str, str], workspace: Workspace
) -> None:
    path = Path(models["linear"])
    model, scorer = Linear.load(path), Classifier(model=str(path), positive="y")
    os.utime(path, ns=(10**18, 10**18))
    before = scored(pool, scorer, workspace)["classifier.probability"]
    replace(model, weights=-model.weights, bias=-model.bias).save(path)
    os.utime(path, ns=(10**18, 10**18))  # as a copy that keeps times
    np.testing.assert_allclose(scored(pool, scorer, workspace)["classifier.probability"], 1 - before)


def test_models_that_cannot_be_meant_are_refused(
    pool: Corpus, models: dict[str, str], tmp_path: Path, workspace: Workspace
) -> None:
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes(Path(models["fasttext"]).read_bytes()[:5000])
    for settings, error, message in (
        (
            {"model": models["fasttext"]},
            InvalidParameterError,
            "`positive` .=None. must be a label of the model.*__label__good",
        ),
        ({"model": models["fasttext"], "positive": "good"}, InvalidParameterError, "has __label__"),
        (
            {"model": models["fasttext"], "kind": "ordinal"},
            InvalidParameterError,
            "`kind` .='ordinal'. must be binary or",
        ),
        (
            {"model": models["linear"], "kind": "multiclass"},
            InvalidParameterError,
            "`kind` .='multiclass'. must be binary",
        ),
        ({"model": str(damaged), "positive": "a"}, InputError, "damaged, or cut off"),
        ({"model": str(tmp_path / "none.bin"), "positive": "a"}, InvalidParameterError, "must be a file"),
    ):
        with pytest.raises(error, match=message):
            assay.score(pool, Classifier(**settings), workspace=workspace)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "x", "model": "y"}, "It has labels and model; take one of them out"),
        ({"positives": "x", "labels": "y", "positive": "a"}, "It has positives and negatives and labels"),
        ({"labels": "x"}, "`positive` .=None. must be the label whose probability is wanted"),
        ({"positives": "x", "positive": "y"}, "`positive` .='y'. must be left out"),
        ({"positives": "x", "kind": "ordinal"}, "Several classes and notes come from `labels`"),
        ({"labels": "x", "kind": "ordinal", "positive": "5"}, "left out where `kind` is ordinal"),
        ({"kind": "binari"}, "Did you mean 'binary'"),
        ({"newline": "\n"}, "`newline`"),
    ],
)
def test_what_does_not_go_together_is_refused_when_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Classifier(**settings)


def test_what_cannot_be_learnt_from_is_named(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    rows = [{"id": str(k), "text": f"text {k}", "label": "same", "value": float(k)} for k in range(60)]
    rows = [row | {"word": "ab"[k % 2]} for k, row in enumerate(rows)]
    labels = written(tmp_path, "rows", rows)
    for settings, message in (
        ({"labels": labels, "kind": "multiclass"}, "1 different labels .'same'.; a classifier learns from two"),
        ({"labels": labels, "kind": "multiclass", "column": "lable"}, "no column 'lable'; it has id, text"),
        ({"labels": labels, "kind": "ordinal", "column": "word"}, "a label that is no number"),
        ({"labels": labels, "kind": "ordinal", "column": "value"}, "at most 50 notes. .*distil"),
        ({"labels": labels, "positive": "other", "column": "value"}, "`positive` .='other'. must be one of 0, 1"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            assay.score(pool, Classifier(**settings, **SMALL), workspace=workspace)
    empty = written(tmp_path, "wordless", [{"id": "a", "text": ""}, {"id": "b", "text": " \n"}])
    with pytest.raises(InvalidParameterError, match="None of the 2 texts of 'positives' .* has a word"):
        assay.score(pool, Classifier(positives=empty, **SMALL), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="pass target"):
        assay.score(pool, Classifier(**SMALL), workspace=workspace)
    texts = pa.array([None, None], pa.string())
    nothing = Classifier().sketch_target(pa.RecordBatch.from_pydict({"id": ["1", "2"], "text": texts}))
    for states in ({"target": nothing}, {"positives": nothing, "negatives": nothing}):
        with pytest.raises(InvalidParameterError, match=f"no texts in '{next(iter(states))}'"):
            Classifier(**dict.fromkeys(set(states) - {"target"}, "x")).prepare(states)
