"""`assay.refine`: what becomes of documents, and what is found again."""

from pathlib import Path

import pytest

import assay
from assay.api.recipe import Recipe
from assay.api.staging import prepare
from assay.artifacts.workspace import Workspace
from assay.errors import InputError, InvalidParameterError
from tests.conftest import make_prose, write_jsonl

ROWS = [
    {"id": "a", "text": "A whole sentence stays.\nMenu\nHome", "source": "web", "n": 1},
    {"id": "b", "text": "Menu\nHome", "source": "web", "n": 2},
    {"id": "c", "text": "Nothing is wrong here.", "source": "book", "n": None},
]


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> assay.Corpus:
    return assay.read(write_jsonl(tmp_path / "pool.jsonl", ROWS), workspace=workspace)


def test_documents_know_what_they_were_made_from(corpus: assay.Corpus, workspace: Workspace) -> None:
    refined = assay.refine(corpus, "c4", workspace=workspace)
    assert refined.table(0, refined.column_names).to_pylist() == [
        {"id": "a/c4", "text": "A whole sentence stays.", "parent_id": "a", "edits": 2, "source": "web", "n": 1},
        {"id": "c/c4", "text": "Nothing is wrong here.", "parent_id": "c", "edits": 0, "source": "book", "n": None},
    ]
    counts = refined.manifest.counts
    assert counts["in"] == 3 == counts["documents"] + sum(counts["dropped"].values())
    assert counts["dropped"] == {"no_text_left": 1}
    assert refined.manifest.summary["edits"] == 4 and refined.manifest.summary["changed"] == 2
    assert refined.num_bytes == len("A whole sentence stays." + "Nothing is wrong here.")


def test_a_refined_corpus_is_found_again_and_is_as_any_other(corpus: assay.Corpus, workspace: Workspace) -> None:
    refined = assay.refine(corpus, assay.C4(), workspace=workspace)
    assert assay.refine(corpus, "c4", workspace=workspace) == refined
    again = assay.refine(refined, "c4", workspace=workspace)
    assert again.table(0, ["id", "parent_id"]).to_pylist()[0] == {"id": "a/c4/c4", "parent_id": "a/c4"}
    words = assay.score(refined, "length", workspace=workspace).to_table(["length.words"])
    assert words["length.words"].to_pylist() == [4, 4]


def test_a_choice_accounts_for_documents_of_which_nothing_was_left(tmp_path: Path, workspace: Workspace) -> None:
    rows = [*ROWS, {"id": "d", "text": None}]
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", rows), max_failed_share=0.5, workspace=workspace)
    refined = assay.refine(assay.refine(corpus, "c4", workspace=workspace), "c4", workspace=workspace)
    chosen = assay.select(refined, budget="1 documents", workspace=workspace)
    assert refined.manifest.counts["in"] == 3
    assert chosen.manifest.counts == {
        "in": 4, "kept": 1, "dropped": {"no_text_left": 1, "over_budget": 1}, "failed": {"null_text": 1}
    }  # fmt: skip


def test_what_cannot_be_refined_is_explained(tmp_path: Path, corpus: assay.Corpus, workspace: Workspace) -> None:
    with pytest.raises(InvalidParameterError, match=r"`refiner` \(='c5'\) must be one of c4"):
        assay.refine(corpus, "c5", workspace=workspace)
    with pytest.raises(InvalidParameterError, match="`refiner` .* must be a refiner such as C4()"):
        assay.refine(corpus, 4, workspace=workspace)
    empty = assay.read(write_jsonl(tmp_path / "menu.jsonl", [{"text": "Menu"}]), workspace=workspace)
    with pytest.raises(InputError, match="c4 leaves no text of any document of 'menu'"):
        assay.refine(empty, "c4", workspace=workspace)


@pytest.mark.parametrize("refine", ["c4", {"c4": {}}, ["c4"], [{"c4": None}]])
def test_a_recipe_can_refine_its_pool(tmp_path: Path, workspace: Workspace, refine: object) -> None:
    rows = [{**row, "text": f"{row['text']} and more.\nMenu"} for row in make_prose(30, seed=1, topic="g")]
    recipe = {
        "pool": {"read": str(write_jsonl(tmp_path / "pool.jsonl", rows)), "refine": refine},
        "target": str(write_jsonl(tmp_path / "target.jsonl", make_prose(20, seed=2, topic="g"))),
        "budget": "1k tokens",
        "arms": {},
    }
    pool = prepare(Recipe.from_dict(recipe), workspace).bench.pool
    assert pool.num_documents == 30 and pool.manifest.summary["edits"] == 30
    with pytest.raises(InvalidParameterError, match=r"`pool.refine` \(='c5'\) must be one of c4"):
        Recipe.from_dict(recipe | {"pool": {"read": "x", "refine": "c5"}})
