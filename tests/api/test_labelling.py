"""Label loops: rounds by file, resumed anywhere; oracles; what a planted class is worth; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError
from assay.models.linear import MULTICLASS, features
from assay.models.linear_fit import fit
from tests.conftest import make_documents

CLASSES = ["a", "b", "c"]


def documents(number: int, seed: int = 0) -> list[dict[str, str]]:
    """Three classes: half of the words name the class, half are common; c is rare."""
    sizes = {"a": number, "b": number, "c": max(2, number // 20)}
    common = iter(make_documents(sum(sizes.values()), seed=seed + 99, topic="w", length=20))
    rows = [r for name, size in sizes.items() for r in make_documents(size, seed=seed, topic=name, length=12)]
    # A line separator inside a text is no end of a line of JSON.
    return [{**row, "text": f"{row['text']}\u2028 {next(common)['text']}"} for row in rows]


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(documents(150))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def answer(path: Path, lines: slice = slice(None)) -> None:
    rows = rows_of(path)
    for row in rows[lines]:
        row["label"] = row["id"].split("-")[0]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_rounds_by_file_can_be_stopped_anywhere_and_end_as_an_oracle_ends_them(
    pool: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    settings = {"classes": CLASSES, "budget": 30, "batch": 12, "workspace": workspace}
    to = tmp_path / "by-hand"
    found = assay.label(pool, to, **settings)
    assert (found.num_labels, found.accuracy, found.to_answer) == (0, None, to / "ask-001.jsonl")
    answer(found.to_answer, slice(5))
    half = assay.label(pool, to, **settings)
    assert (half.num_labels, half.to_answer) == (5, found.to_answer)
    assert len(rows_of(half.path)) == 5
    answer(half.to_answer)
    while (found := assay.label(pool, to, **settings)).to_answer is not None:
        answer(found.to_answer)
    assert [len(rows_of(path)) for path in sorted(to.glob("ask-*"))] == [12, 12, 6]
    assert found.num_labels == 30 and found.accuracy is not None
    ids = [row["id"] for row in rows_of(found.path)]
    assert len(set(ids)) == 30
    for oracle in ({row["id"]: row["source"] for row in documents(150)}, lambda texts: [text[0] for text in texts]):
        told = assay.label(pool, tmp_path / str(type(oracle)), oracle=oracle, **settings)
        assert told.path.read_bytes() == found.path.read_bytes()
    more = assay.label(pool, to, **{**settings, "budget": 31})
    assert len(rows_of(more.to_answer)) == 1


def test_labels_are_learnt_from_by_a_classifier(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    oracle = {row["id"]: row["source"] for row in documents(150)}
    found = assay.label(
        pool, tmp_path / "to", classes=CLASSES, budget=60, oracle=oracle, pseudo=True, workspace=workspace
    )
    rows = rows_of(found.path)
    by_model = [row for row in rows if row["by"] == "model"]
    assert len(by_model) == found.num_pseudo > 20
    assert np.mean([row["label"] == oracle[row["id"]] for row in by_model]) > 0.9
    assert all(row["label"] == oracle[row["id"]] for row in rows if row["by"] == "annotator")
    classifier = assay.Classifier(labels=str(found.path), kind="multiclass", num_buckets=1 << 16)
    scored = assay.score(pool, classifier, workspace=workspace).to_table(["classifier.label"])["classifier.label"]
    ids = [row["id"] for batch in pool.batches(0, ["id"]) for row in batch.to_pylist()]
    assert np.mean([label == oracle[id] for id, label in zip(ids, scored.to_pylist(), strict=True)]) > 0.95


def test_asking_for_what_is_uncertain_beats_asking_at_random(
    make_corpus: Callable[..., Corpus], tmp_path: Path, workspace: Workspace
) -> None:
    oracle = {row["id"]: row["source"] for row in documents(400)}
    pool, test = make_corpus(documents(400)), documents(200, seed=7)
    test_is = np.array([CLASSES.index(row["source"]) for row in test])
    found = {}
    for strategy in ("random", "margin"):
        settings = {"classes": CLASSES, "budget": 60, "batch": 10, "strategy": strategy, "workspace": workspace}
        labels = assay.label(pool, tmp_path / strategy, oracle=oracle, **settings)
        rows = rows_of(labels.path)
        given = np.array([CLASSES.index(row["label"]) for row in rows], float)
        model, _ = fit(features(pa.array([r["text"] for r in rows])), given, kind=MULTICLASS, classes=CLASSES)
        is_right = model.predict(pa.array([row["text"] for row in test])).argmax(axis=1) == test_is
        found[strategy] = np.mean([is_right[test_is == c].mean() for c in range(3)]), (given == 2).sum()
    assert found["margin"][0] > found["random"][0] + 0.05
    assert found["margin"][1] > 2 * found["random"][1]  # of the rare class


def test_what_cannot_be_labelled_is_skipped_and_never_asked_for_again(
    pool: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    skip_c = {row["id"]: "skip" if row["source"] == "c" else row["source"] for row in documents(150)}
    settings = {"classes": CLASSES[:2], "strategy": "diverse", "candidates": 40, "workspace": workspace}
    found = assay.label(pool, tmp_path / "to", budget=100, oracle=skip_c, **settings)
    assert found.num_labels == 40 and found.to_answer is None  # there were no more
    asked = [row["id"] for path in sorted((tmp_path / "to").glob("ask-*")) for row in rows_of(path)]
    assert len(asked) == len(set(asked)) == 40
    assert found.num_skipped == sum(skip_c[id] == "skip" for id in asked)
    assert len(rows_of(found.path)) == 40 - found.num_skipped


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a-1", "label": "z"}', "`label` .='z'. must be one of a, b, c, skip, or null"),
        ('{"id": "nobody", "label": "a"}', "'nobody' was not asked for"),
        ('{"id": "a-1"}', "must be JSON with `id` and `label`"),
        ("label: a", "must be JSON with `id` and `label`"),
        ('{"id": ["a-1"], "label": "a"}', "was not asked for"),
    ],
)
def test_answers_that_make_no_sense_are_refused(
    pool: Corpus, tmp_path: Path, workspace: Workspace, line: str, message: str
) -> None:
    found = assay.label(pool, tmp_path / "to", classes=CLASSES, workspace=workspace)
    found.to_answer.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(AssayError, match=f"ask-001.jsonl, line 1.*{message}"):
        assay.label(pool, tmp_path / "to", classes=CLASSES, workspace=workspace)


def test_answers_are_read_as_editors_store_them_and_never_written_over(
    pool: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    settings = {"classes": CLASSES, "budget": 12, "batch": 4, "strategy": "random", "workspace": workspace}
    for name in ("ask-001.jsonl", "ask-002.jsonl"):
        found = assay.label(pool, tmp_path / "to", **settings)
        assert found.to_answer == tmp_path / "to" / name
        answer(found.to_answer)
    second = found.to_answer.read_text(encoding="utf-8")
    found.to_answer.write_bytes(second.encode("utf-16"))
    with pytest.raises(AssayError, match=r"ask-002\.jsonl is no UTF-8 text"):
        assay.label(pool, tmp_path / "to", **settings)
    found.to_answer.write_bytes(second.encode("utf-8-sig"))
    (tmp_path / "to" / "ask-001.jsonl").unlink()
    found = assay.label(pool, tmp_path / "to", **settings)
    assert found.num_labels == 4 and found.to_answer.name == "ask-003.jsonl"


def test_a_model_is_as_sure_of_its_labels_as_before_it_learnt_from_them(
    pool: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    oracle = {row["id"]: row["source"] for row in documents(150)}
    settings = {"classes": CLASSES, "budget": 40, "oracle": oracle, "workspace": workspace}
    rows = rows_of(assay.label(pool, tmp_path / "to", pseudo=True, **settings).path)
    by_people, by_model = ([row for row in rows if row["by"] == who] for who in ("annotator", "model"))
    given = np.array([CLASSES.index(row["label"]) for row in by_people], float)
    texts = pa.array([row["text"] for row in by_people])
    model, _ = fit(features(texts, num_buckets=1 << 16), given, kind=MULTICLASS, classes=CLASSES)
    sure = model.predict(pa.array([row["text"] for row in by_model])).max(axis=1)
    np.testing.assert_allclose([row["confidence"] for row in by_model], sure, atol=1e-4)


def test_texts_that_are_all_the_same_are_asked_for_until_the_budget_is_spent(
    make_corpus: Callable[..., Corpus], tmp_path: Path, workspace: Workspace
) -> None:
    same = make_corpus([{"text": "the same words again"}] * 9)
    answers = iter("ababababa")
    settings = {"classes": CLASSES, "batch": 3, "workspace": workspace}
    found = assay.label(same, tmp_path / "to", oracle=lambda texts: [next(answers) for _ in texts], **settings)
    assert (found.num_labels, found.accuracy) == (9, None)


def test_a_folder_of_something_else_is_refused(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    assay.label(pool, tmp_path / "to", classes=CLASSES, workspace=workspace)
    with pytest.raises(AssayError, match="with another 'classes'"):
        assay.label(pool, tmp_path / "to", classes=["a", "b"], workspace=workspace)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(AssayError, match="an empty folder"):
        assay.label(pool, tmp_path / "other", classes=CLASSES, workspace=workspace)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["a"]}, "`classes`"),
        ({"classes": "ab"}, "`classes`"),
        ({"classes": ["a", "skip"]}, "`classes`"),
        ({"strategy": "clever"}, "`strategy`"),
        ({"budget": 0}, "`budget`"),
        ({"batch": 0}, "`batch`"),
        ({"candidates": 0}, "`candidates`"),
        ({"oracle": {}}, "`oracle`"),
        ({"oracle": lambda texts: []}, "`oracle`"),
        ({"oracle": lambda texts: None}, "`oracle` .=None. must be a function"),
        ({"oracle": lambda texts: [1] * len(texts)}, "`oracle` .*must be one that answers with one of a, b, c, skip"),
        ({"oracle": 3}, "`oracle` .=3. must be a function"),
    ],
)
def test_bad_parameters_are_refused(
    pool: Corpus, tmp_path: Path, workspace: Workspace, settings: dict, message: str
) -> None:
    with pytest.raises(AssayError, match=message):
        assay.label(pool, tmp_path / "to", **{"classes": CLASSES, "workspace": workspace, **settings})
