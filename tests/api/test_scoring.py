"""What scorers learn from beside pool and target: documents, files, other scorers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import assay
from assay.api.recipe import Recipe, named_scorer
from assay.api.scoring import merged
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError, InputError, InvalidParameterError
from assay.scorers import PREFIXES, SCORERS, Column, Length, Method, Scorer, State
from assay.scorers.sampling import merge_samples, sampled, sketch_sample
from tests.conftest import make_documents, write_jsonl


@dataclass(frozen=True, kw_only=True)
class Learner(Scorer):
    """Adds up what it learns from: the notes of its documents, a number in a file, a sample's size."""

    name: ClassVar[str] = "learner"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    documents: ClassVar[tuple[str, ...]] = ("notes",)
    files: ClassVar[tuple[str, ...]] = ("number",)
    nested: ClassVar[tuple[str, ...]] = ("of",)

    notes: Any = None
    number: str | None = None
    of: Method | None = None

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        return [Column("learner.sum", pa.int64(), False, "all it has learnt")]

    def document_columns(self, name: str) -> tuple[str, ...]:
        return ("note", "not_there")

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        assert name == "notes" and batch.schema.names == ["id", "text", "note"]
        if "poison" in batch.column("text").to_pylist():
            raise ValueError("cannot be learnt from")
        return {"notes": np.array([pc.sum(batch.column("note")).as_py()])}

    def prepare(self, targets: Mapping[str, State]) -> State:
        return {"notes": targets.get("notes", {"notes": np.zeros(1, np.int64)})["notes"]}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        assert prepared["num_documents"] == [60]
        return sketch_sample(batch, 60, 10)

    def merge(self, a: State, b: State) -> State:
        return merge_samples(a, b) if "sample.keys" in a else super().merge(a, b)

    def finish(self, prepared: State, pool: State) -> State:
        number = int(Path(self.number).read_text()) if self.number else 0
        return {"sum": prepared["notes"] + len(sampled(pool, 10)) + number}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        return [pa.array(np.repeat(state["sum"], len(batch)))]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS, "learner", Learner)
    monkeypatch.setitem(PREFIXES, "learner", "learner")


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(make_documents(60))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "notes.jsonl", [{"body": f"text {k}", "note": k} for k in range(5)])


def total(pool: Corpus, scorer: Scorer, workspace: Workspace) -> int:
    scores = assay.score(pool, scorer, workspace=workspace)
    (value,) = set(scores.to_table()["learner.sum"].to_pylist())
    return value


def test_documents_a_file_and_a_sample_are_learnt_from(
    pool: Corpus, notes: Path, tmp_path: Path, workspace: Workspace
) -> None:
    number = tmp_path / "number"
    number.write_text("1000")
    settings = {"read": str(notes), "text": "body"}
    assert total(pool, Learner(notes=settings, number=str(number)), workspace) == 10 + 10 + 1000
    assert total(pool, Learner(notes=assay.read(notes, text="body", workspace=workspace)), workspace) == 20
    assert total(pool, Learner(), workspace) == 10


def test_content_and_not_its_path_makes_the_fingerprint(
    pool: Corpus, notes: Path, tmp_path: Path, workspace: Workspace
) -> None:
    def mark(path: Path, number: Path) -> str:
        scorer = Learner(notes={"read": str(path), "text": "body"}, number=str(number))
        return assay.score(pool, scorer, workspace=workspace).fingerprint

    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, text in ((one, "1"), (same, "1"), (other, "2")):
        path.write_text(text)
    longer = write_jsonl(tmp_path / "longer.jsonl", [{"body": f"text {k}", "note": k} for k in range(6)])
    assert mark(notes, one) == mark(notes, same)
    assert len({mark(notes, one), mark(notes, other), mark(longer, one)}) == 3


def test_a_scorer_in_a_scorer_is_asked_for_as_well(pool: Corpus, notes: Path, workspace: Workspace) -> None:
    inner = Learner(notes={"read": str(notes), "text": "body"}, number="a file")
    outer = Learner(of=inner)
    assert outer.document_sets() == {"of.notes": inner.notes} and outer.paths() == {"of.number": "a file"}
    assert outer.parameters()["of"] == {"learner": inner.parameters()}
    assert named_scorer("score", {"learner": outer.parameters()}) == outer
    assert Learner(of=Length()).question() != Learner(of=inner).question() != Learner().question()


@pytest.mark.parametrize(
    ("scorer", "error", "message"),
    [
        (Learner(notes="nowhere.jsonl"), InputError, "nowhere"),
        (Learner(notes=3), AssayError, "3"),
        (Learner(notes={"text": "body"}), InvalidParameterError, "`notes` .*read"),
        (Learner(notes={"read": "x", "column": "y"}), InvalidParameterError, "column"),
        (Learner(number="nowhere"), InvalidParameterError, r"`number` \(=nowhere\) must be a file or a folder"),
    ],
)
def test_what_is_not_there_is_named(
    pool: Corpus, workspace: Workspace, scorer: Scorer, error: type[AssayError], message: str
) -> None:
    with pytest.raises(error, match=message):
        assay.score(pool, scorer, workspace=workspace)


def test_a_document_that_a_scorer_fails_on_is_named(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    rows = [{"id": f"n{k}", "text": "poison" if k == 3 else "t", "note": k} for k in range(5)]
    bad = write_jsonl(tmp_path / "bad.jsonl", rows)
    with pytest.raises(InputError, match="'learner' fails on document 'n3' of 'notes' .ValueError: cannot be"):
        assay.score(pool, Learner(notes=str(bad)), workspace=workspace)


def test_states_are_merged_two_by_two_and_in_order() -> None:
    done: list[tuple[str, str]] = []

    def join(a: State, b: State) -> State:
        done.append((a["text"], b["text"]))  # type: ignore[arg-type]
        return {"text": a["text"] + b["text"]}

    states = [{"text": letter} for letter in "abcdefg"]
    assert merged(join, states) == {"text": "abcdefg"}  # type: ignore[arg-type,comparison-overlap]
    assert max(len(a) + len(b) for a, b in done[:-2]) <= 4
    with pytest.raises(TypeError):
        merged(join, [])


def test_recipes_take_paths_from_their_folder_and_give_parameters_to_bare_scorers(tmp_path: Path, notes: Path) -> None:
    arms = """
      plain: {score: learner}
      other: {score: {learner: {of: {learner: {notes: {read: notes.jsonl, text: body}}}}}}
      reads: {where: learner.sum > 1}
    """
    (tmp_path / "recipe.yaml").write_text(
        "pool: p.jsonl\ntarget: t.jsonl\nbudget: 1k tokens\nscorers: {learner: {notes: notes.jsonl}}\narms:" + arms
    )
    found = Recipe.load(tmp_path / "recipe.yaml").arms
    assert found["plain"].scorer == Learner(notes=str(notes))
    assert found["other"].scorer == Learner(of=Learner(notes={"read": str(notes), "text": "body"}))
    assert found["reads"].scorers() == [Learner(notes=str(notes))]
    with pytest.raises(InvalidParameterError, match=r"scorers.learner.*no 'nots'"):
        Recipe.from_dict(
            {"pool": "p", "target": "t", "budget": "1k tokens", "arms": {}, "scorers": {"learner": {"nots": 1}}}
        )


def test_low_is_better_where_the_scorer_says_so(pool: Corpus, workspace: Workspace) -> None:
    assert assay.score(pool, Learner(), workspace=workspace).lower_is_better == {"learner.sum"}
    assert assay.score(pool, "repeats", workspace=workspace).lower_is_better >= {"repeats.lines"}
    assert assay.score(pool, "length", workspace=workspace).lower_is_better == set()
