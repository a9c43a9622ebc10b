"""Documents on which a scorer, a refiner or a grouping raises: found, set aside, counted; and errors that are ours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.api.isolating import PATIENCE
from assay.artifacts import kinds
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.corpus.failures import describe, read_failures
from assay.errors import InputError
from assay.refiners import Refiner
from assay.scorers import DSIR, Column, Exact, MinHash, Scorer, State
from tests.conftest import make_documents, write_jsonl

POISON = "poison"


class Boom(Exception):
    """What a scorer raises that has met a document it cannot bear."""


def taste(batch: pa.RecordBatch, error: type[BaseException] = Boom) -> None:
    for text in batch.column("text").to_pylist():
        if text is not None and POISON in text:
            raise error(f"cannot bear\n{text[:20]}")


@dataclass(frozen=True, kw_only=True)
class Taster(Scorer):
    """Length of the text, until it meets poison; the fit counts all characters."""

    name: ClassVar[str] = "taster"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True

    error: type[BaseException] = Boom
    at_fit: bool = False
    at_score: bool = True

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        return [Column("taster.length", pa.float64(), True, "characters"), Column("taster.n", pa.int64(), None, "all")]

    def parameters(self) -> dict[str, Any]:
        return {"error": self.error.__name__, "at_fit": self.at_fit, "at_score": self.at_score}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        if self.at_fit:
            taste(batch, self.error)
        return {"n": np.array([sum(len(t or "") for t in batch.column("text").to_pylist())])}

    def finish(self, prepared: State, pool: State) -> State:
        return pool

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        if self.at_score:
            taste(batch, self.error)
        texts = batch.column("text").to_pylist()
        length = pa.array([None if t is None else float(len(t)) for t in texts], pa.float64())
        return [length, pa.array([None if t is None else int(state["n"][0]) for t in texts], pa.int64())]


@dataclass(frozen=True, kw_only=True)
class Chewer(Refiner):
    """Cuts the last character off."""

    name: ClassVar[str] = "chewer"
    version: ClassVar[int] = 1

    def refine(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        taste(pa.RecordBatch.from_arrays([text], ["text"]))
        return pa.array([(t or "")[:-1] for t in text.to_pylist()]), pa.array([1] * len(text), pa.int64())


def documents(num: int = 90, poisoned: tuple[int, ...] = (7, 8, 41, 89)) -> list[dict[str, str]]:
    rows = make_documents(num, seed=3, length=12)
    for k in poisoned:
        rows[k] = rows[k] | {"text": f"{rows[k]['text']} {POISON}"}
    return rows


@pytest.fixture(params=[1, 5, 10_000])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Batches of so many documents."""
    monkeypatch.setattr(kinds, "_MAX_BATCH_ROWS", request.param)
    yield request.param


MakeCorpus = Callable[..., Corpus]


@pytest.mark.parametrize(("at_fit", "at_score"), [(False, True), (True, False), (True, True)])
def test_poisonous_documents_are_set_aside_and_the_rest_scored(
    make_corpus: MakeCorpus, workspace: Workspace, cut: int, at_fit: bool, at_score: bool
) -> None:
    rows = documents()
    corpus = make_corpus(rows)
    scorer = Taster(at_fit=at_fit, at_score=at_score)
    with pytest.raises(InputError, match=r"4 of 90 rows of 'pool' cannot be used \(4 scorer_failed\)") as stopped:
        assay.score(corpus, scorer, workspace=workspace)
    assert "pool, part 0, document 8: makes the scorer fail (id 'w-7': Boom: cannot bear" in str(stopped.value)
    assert "max_failed_share: 0.045" in str(stopped.value)
    scores = assay.score(corpus, scorer, max_failed_share=0.05, workspace=workspace)
    assert scores.manifest.counts == {
        "in": 90, "failed": {"scorer_failed": 4}, "nulls": {"taster.length": 4, "taster.n": 4}
    }  # fmt: skip
    total = sum(len(row["text"]) for row in rows if not (at_fit and POISON in row["text"]))
    expected = [
        {"taster.length": None, "taster.n": None}
        if POISON in row["text"]
        else {"taster.length": len(row["text"]), "taster.n": total}
        for row in rows
    ]
    assert scores.to_table().to_pylist() == expected
    assert scores.failed_rows(0) == [7, 8, 41, 89]
    failures = read_failures(scores.folder)
    assert [f.raw.decode() for f in failures] == [rows[k]["text"] for k in (7, 8, 41, 89)]
    assert "set aside 4" in repr(scores)


def test_a_finished_artifact_is_held_against_the_limit_of_who_asks(
    make_corpus: MakeCorpus, workspace: Workspace
) -> None:
    corpus = make_corpus(documents())
    scores = assay.score(corpus, Taster(), max_failed_share=0.05, workspace=workspace)
    assert assay.score(corpus, Taster(), max_failed_share=1, workspace=workspace) == scores
    with pytest.raises(InputError, match="4 of 90 rows"):
        assay.score(corpus, Taster(), workspace=workspace)


def test_parts_are_the_same_bytes_however_batches_are_cut(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(documents())
    found = []
    for size in (1, 4, 33, 1000):
        monkeypatch.setattr(kinds, "_MAX_BATCH_ROWS", size)
        for method in (Taster(at_fit=True), PoisonedExact(), PoisonedMinHash()):
            made = assay.score(corpus, method, max_failed_share=0.1, workspace=tmp_path / f"cut-{size}")
            files = sorted(p for p in made.folder.rglob("*.parquet"))
            found.append((method.name, [(p.name, p.read_bytes()) for p in files]))
    assert all(entry in found[:3] for entry in found[3:])
    assert [name for name, _ in found[0][1]] == ["fit-00000.parquet", "part-00000.parquet"]


def test_a_choice_counts_them_as_set_aside_and_takes_none(make_corpus: MakeCorpus, workspace: Workspace) -> None:
    corpus = make_corpus(documents())
    scores = assay.score(corpus, Taster(), max_failed_share=0.05, workspace=workspace)
    for policy, where in (("top", None), ("uniform", "taster.length > 0 or taster.length is null")):
        chosen = assay.select(corpus, policy, scores=scores, where=where, budget="86 documents", workspace=workspace)
        assert chosen.manifest.counts == {"in": 90, "kept": 86, "dropped": {}, "failed": {"scorer_failed": 4}}
        assert np.flatnonzero(chosen.is_dropped_for(0, "failed")).tolist() == [7, 8, 41, 89]


@dataclass(frozen=True, kw_only=True)
class PoisonedExact(Exact):
    def records(self, batch: pa.RecordBatch, order: np.ndarray) -> tuple[np.ndarray, Any]:
        taste(batch)
        return super().records(batch, order)


@dataclass(frozen=True, kw_only=True)
class PoisonedMinHash(MinHash):
    def sketch(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        taste(batch)
        return super().sketch(batch)


@pytest.mark.parametrize("method", [PoisonedExact(), PoisonedMinHash()])
def test_groupings_leave_them_out_of_every_cluster(
    make_corpus: MakeCorpus, workspace: Workspace, tmp_path: Path, cut: int, method: Any
) -> None:
    rows = documents() + [row | {"id": f"copy-{row['id']}"} for row in documents()[:20]]
    corpus = make_corpus(rows)
    with pytest.raises(InputError, match="6 of 110 rows of 'pool' cannot be used"):
        assay.score(corpus, method, workspace=workspace)
    found = assay.score(corpus, method, max_failed_share=0.1, workspace=workspace)
    clean = make_corpus([row for row in rows if POISON not in row["text"]], "clean")
    expected = assay.score(clean, type(method).__mro__[1](), workspace=tmp_path / "clean").to_table()
    poisoned = [k for k, row in enumerate(rows) if POISON in row["text"]]
    assert found.failed_rows(0) == poisoned and found.manifest.counts["failed"] == {"scorer_failed": 6}
    table = found.to_table()
    assert table.take(np.delete(np.arange(110), poisoned)).equals(expected)
    assert all(set(row.values()) == {None} for row in table.take(poisoned).to_pylist())


def test_a_refiner_leaves_them_out_and_the_balance_holds(
    make_corpus: MakeCorpus, workspace: Workspace, cut: int
) -> None:
    rows = documents()
    rows[0]["text"] = "x"  # of which nothing is left
    corpus = make_corpus(rows)
    with pytest.raises(
        InputError, match=r"(?s)4 of 90 rows of .pool. cannot be used \(4 refiner_failed\).*document 8: makes"
    ):
        assay.refine(corpus, Chewer(), workspace=workspace)
    refined = assay.refine(corpus, Chewer(), max_failed_share=0.05, workspace=workspace)
    assert refined.manifest.counts == {
        "in": 90, "documents": 85, "dropped": {"no_text_left": 1}, "failed": {"refiner_failed": 4}
    }  # fmt: skip
    ids = refined.table(0, ["parent_id"])["parent_id"].to_pylist()
    assert ids == [row["id"] for k, row in enumerate(rows) if k not in (0, 7, 8, 41, 89)]
    with pytest.raises(InputError, match="4 of 90 rows"):
        assay.refine(corpus, Chewer(), workspace=workspace)
    chosen = assay.select(refined, budget="10 documents", workspace=workspace)
    counts = chosen.manifest.counts
    assert counts["in"] == 90 == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["failed"].values())


@pytest.mark.parametrize("num", [3, PATIENCE + 50])
def test_an_error_that_every_document_causes_is_ours_and_comes_as_it_is(
    make_corpus: MakeCorpus, workspace: Workspace, cut: int, num: int
) -> None:
    corpus = make_corpus(documents(num, tuple(range(num))))
    with pytest.raises(Boom, match="cannot bear"):
        assay.score(corpus, Taster(), max_failed_share=1, workspace=workspace)
    with pytest.raises(Boom, match="cannot bear"):
        assay.refine(corpus, Chewer(), max_failed_share=1, workspace=workspace)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, OSError, ImportError])
def test_what_no_document_can_cause_is_raised_at_once(
    make_corpus: MakeCorpus, workspace: Workspace, error: type[BaseException]
) -> None:
    with pytest.raises(error, match="cannot bear"):
        assay.score(make_corpus(documents()), Taster(error=error), max_failed_share=1, workspace=workspace)


def test_an_error_that_only_documents_together_cause_is_raised(make_corpus: MakeCorpus, workspace: Workspace) -> None:
    class Crowd(Taster):
        def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
            if len(batch) > 40:
                raise OverflowError("too many at once")
            return super().score(batch, state)

    with pytest.raises(OverflowError, match="too many at once"):
        assay.score(make_corpus(documents(poisoned=())), Crowd(), max_failed_share=1, workspace=workspace)


def test_a_poisonous_target_document_is_named(
    tmp_path: Path, make_corpus: MakeCorpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketch = DSIR.sketch_target

    def poisoned(self: DSIR, batch: pa.RecordBatch) -> State:
        taste(batch)
        return sketch(self, batch)

    monkeypatch.setattr(DSIR, "sketch_target", poisoned)
    target = make_corpus(documents(), "wanted")
    with pytest.raises(
        InputError, match=r"Scorer 'dsir' fails on document 'w-7' of target 'wanted' \(Boom: cannot bear"
    ):
        assay.score(make_corpus(documents(poisoned=())), "dsir", target=target, workspace=workspace)


def test_they_may_stand_anywhere_among_many_parts(tmp_path: Path, workspace: Workspace) -> None:
    for k in range(3):  # the first file is nothing but poison
        write_jsonl(tmp_path / f"pool-{k}.jsonl", [
            {"id": f"{k}-{i}", "text": f"text {i} {POISON if k == 0 or i == k else ''}"} for i in range(4)
        ])  # fmt: skip
    corpus = assay.read(tmp_path / "pool-*.jsonl", name="pool", workspace=workspace)
    scores = assay.score(corpus, Taster(), max_failed_share=0.5, workspace=workspace)
    assert [scores.failed_rows(part) for part in range(3)] == [[0, 1, 2, 3], [1], [2]]
    assert describe(read_failures(scores.folder)[4]).startswith("pool, part 1, document 2: makes the scorer fail")
