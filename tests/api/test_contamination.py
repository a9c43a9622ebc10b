"""Benchmarks opened, contamination scored through the verbs and the recipe, and its report."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import assay
from assay.api.recipe import Recipe
from assay.api.showing import show
from assay.api.staging import prepare
from assay.artifacts.workspace import Workspace
from assay.errors import InputError, InvalidParameterError
from tests.conftest import make_documents, write_jsonl

QUESTION = "Which lake in the northern mountains is fed by seven rivers but drained by none?"
ITEMS = [
    {"id": 7, "question": QUESTION, "choices": ["Ormuth", "Talla"], "answer": 0, "answer_text": "Ormuth", "text": ""},
    {"id": 8, "question": "Who built the glass tower?", "answer_text": "Ada Quill", "text": ""},
]


def write_sets(folder: Path) -> Path:
    (folder / "sets/quiz").mkdir(parents=True)
    (folder / "sets/old").mkdir()
    write_jsonl(folder / "sets/quiz/test.jsonl", ITEMS)
    write_jsonl(folder / "sets/old/test.jsonl", [{"id": "a", "text": "Nobody had ever asked the heron its real name."}])
    return folder / "sets"


def write_pool(folder: Path) -> Path:
    rows = make_documents(30, seed=1)
    rows[3]["text"] += f" {QUESTION.upper()} It is ORMUTH. " + rows[4]["text"]
    rows[5]["text"] = "nobody had ever asked the heron its real name; " + rows[5]["text"]
    return write_jsonl(folder / "pool.jsonl", rows)


def test_benchmarks_are_named_by_folder_and_file(tmp_path: Path, workspace: Workspace) -> None:
    folder = write_sets(tmp_path)
    sets = assay.benchmarks(folder / "*/*.jsonl", workspace=workspace)
    assert {name: corpus.num_documents for name, corpus in sets.items()} == {"old/test": 1, "quiz/test": 2}
    assert list(assay.benchmarks(folder / "quiz/test.jsonl", workspace=workspace)) == ["quiz/test"]
    write_jsonl(folder / "quiz/test.2.jsonl", ITEMS)
    with pytest.raises(InputError, match="are both benchmark 'quiz/test'"):
        assay.benchmarks(folder, workspace=workspace)


def test_items_are_found_counted_and_left_out(tmp_path: Path, workspace: Workspace) -> None:
    pool = assay.read(write_pool(tmp_path), workspace=workspace)
    sets = assay.benchmarks(write_sets(tmp_path), workspace=workspace)
    scores = assay.score(pool, assay.Contamination(), target=sets, workspace=workspace)
    assert scores.manifest.summary == {
        "items_found": {"old/test": 1, "quiz/test": 1},
        "documents_affected": {"old/test": 1, "quiz/test": 1},
        "lower_is_better": ["contamination.share", "contamination.items"],
    }
    clean = assay.select(
        pool, scores=scores, where="contamination.items = 0", budget="28 documents", workspace=workspace
    )
    assert clean.manifest.counts["kept"] == 28 and sum(clean.manifest.counts["dropped"].values()) == 2
    tests = "contamination.part like '%answer%' and contamination.item like 'quiz/%'"
    asked = assay.select(pool, scores=scores, where=tests, budget="1 documents", workspace=workspace)
    taken = [i for i, r in zip(pool.table(0, ["id"])["id"].to_pylist(), asked.repeats(0), strict=True) if r]
    assert taken == ["w-3"]


def test_the_report_sets_item_and_document_side_by_side(tmp_path: Path, workspace: Workspace) -> None:
    pool = assay.read(write_pool(tmp_path), workspace=workspace)
    sets = assay.benchmarks(write_sets(tmp_path), workspace=workspace)
    assay.score(pool, "contamination", target=sets, workspace=workspace)
    screen = StringIO()
    Console(width=200, file=screen).print(show("contamination", workspace))
    text = screen.getvalue()
    assert re.search(r"quiz/test +2 +1 +1\b", text) and re.search(r"old/test +1 +1 +1\b", text)
    for expected in ("quiz/test:7", "question+answer, 100%", "in w-3"):
        assert expected in text
    assert "WHICH LAKE IN THE NORTHERN" in text and "Nobody had ever asked the heron" in text


def recipe(folder: Path, **changes: object) -> dict[str, object]:
    arm = {"score": "language", "select": {"quota": {"by": "language.code"}}, "where": "contamination.items = 0"}
    content = {
        "pool": str(write_pool(folder)),
        "target": str(write_jsonl(folder / "target.jsonl", list(make_documents(40, seed=2)))),
        "benchmarks": str(write_sets(folder) / "*/*.jsonl"),
        "budget": "300 tokens",
        "arms": {"clean": arm},
    }
    return {**content, **changes}


def test_a_recipe_names_benchmarks_once(tmp_path: Path, workspace: Workspace) -> None:
    stage = prepare(Recipe.from_dict(recipe(tmp_path)), workspace)
    scores = {made.name: made for made in stage.scores["clean"]}
    assert scores.keys() == {"language", "contamination"}
    assert scores["contamination"].manifest.summary["items_found"] == {"old/test": 1, "quiz/test": 1}
    assert set(scores["contamination"].manifest.inputs) == {"corpus", "target.old/test", "target.quiz/test"}


def test_a_recipe_without_benchmarks_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=r"Arm 'clean' uses contamination.*Add `benchmarks: "):
        Recipe.from_dict(recipe(tmp_path, benchmarks=None))


def test_the_same_bytes_whatever_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.corpus import jsonl, parts

    def run(folder: str) -> list[object]:
        workspace = Workspace(tmp_path / folder)
        pool = assay.read(tmp_path / "pool.jsonl", workspace=workspace)
        sets = assay.benchmarks(tmp_path / "sets", workspace=workspace)
        scores = assay.score(pool, "contamination", target=sets, workspace=workspace)
        return [pool.num_parts, scores.to_table().to_pylist(), json.dumps(scores.manifest.summary)]

    write_pool(tmp_path)
    write_sets(tmp_path)
    whole = run("a")
    monkeypatch.setattr(parts, "PART_BYTES", 2_000)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 1_000)
    cut = run("b")
    assert cut[0] > whole[0] and cut[1:] == whole[1:]
