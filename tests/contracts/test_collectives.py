"""The contract that every collective method in the table meets, through `assay.score` on a corpus in several files."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.api import collecting as glue
from assay.api.exchange import Exchange
from assay.api.recipe import named_scorer
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.corpus import engine, sharing
from assay.errors import AssayError
from assay.models.embedding import Embedding
from assay.scorers import SCORERS, Clusters, Collective, Length
from tests.conftest import in_this_process, make_documents
from tests.contracts.test_groupings import by_id, read_files

SMALL = Embedding(dimensions=8)
CLUSTERS = Clusters(num_clusters=4, embedding=SMALL)
NESTED: dict[str, dict[str, Any]] = {"clusters": {"clusters": CLUSTERS}, "of": {"of": Length(), "embedding": SMALL}}
EXAMPLES: dict[str, Collective] = {
    name: kind(group_size=16, **NESTED.get("".join(kind.nested), {"embedding": SMALL}))  # type: ignore[assignment]
    for name, kind in SCORERS.items()
    if issubclass(kind, Collective)
}


def documents() -> list[dict[str, Any]]:
    """120 documents of four topics, some of them copies, and some in which no model finds anything to go by."""
    rows = [row for k in range(4) for row in make_documents(28, seed=k, topic="abcd"[k], length=60)]
    rows += [row | {"id": f"copy of {row['id']}"} for row in rows[:6]]
    return [*rows, {"id": "empty", "text": ""}, {"id": "blank", "text": " \n"}]  # type: ignore[list-item]


@pytest.fixture(params=EXAMPLES, scope="module")
def method(request: pytest.FixtureRequest) -> Collective:
    return EXAMPLES[request.param]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_files(tmp_path_factory.mktemp("contract") / "three", documents(), 3)


def test_parts_line_up_with_the_corpus_and_columns_are_typed(method: Collective, corpus: Corpus) -> None:
    scores = assay.score(corpus, method, workspace=corpus.folder.parent)
    columns = method.columns(())
    for part in range(corpus.num_parts):
        table = scores.table(part)
        assert len(table) == corpus.manifest.parts[part]["rows"]
        assert table.schema.types == [column.type for column in columns]
    assert scores.column_names == [column.name for column in columns]
    assert all(name.startswith(f"{method.name}.") for name in scores.column_names)
    assert scores.manifest.counts["in"] == corpus.num_documents
    assert scores.manifest.summary["groups"] >= 120 // 16
    assert sorted(path.suffix for path in scores.folder.iterdir()) == [".json", *[".parquet"] * 3]


def test_documents_without_a_vector_have_no_score_and_all_others_have(method: Collective, corpus: Corpus) -> None:
    scores = by_id(corpus, method)
    assert scores["empty"] == scores["blank"] == [None] * len(method.columns(()))
    assert not any(None in row for name, row in scores.items() if name not in ("empty", "blank"))


def test_order_files_and_partitions_change_nothing(
    method: Collective, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = by_id(corpus, method)
    assert len({tuple(row) for row in expected.values()}) > 8
    rows = [documents()[k] for k in np.random.default_rng(3).permutation(len(documents()))]
    monkeypatch.setattr(glue, "_PARTITION_BYTES", 1 << 10)
    for num_files in (1, 7):
        assert by_id(read_files(tmp_path / str(num_files), rows, num_files), method) == expected


def test_one_thread_gives_the_same_bytes(
    method: Collective, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = assay.score(corpus, method, workspace=corpus.folder.parent)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    monkeypatch.setattr(engine._worker, "busy", True, raising=False)
    one = assay.score(corpus, method, workspace=tmp_path / "one")
    assert [one.part_path(k).read_bytes() for k in range(3)] == [many.part_path(k).read_bytes() for k in range(3)]


@in_this_process
@pytest.mark.parametrize(
    ("where", "last", "number"), [(Exchange, "send", 2), (Exchange, "send_sorted", 5), (glue, "_as_part", 2)]
)
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    method: Collective,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    last: str,
    number: int,
) -> None:
    expected = assay.score(corpus, method, workspace=corpus.folder.parent)
    real, calls = getattr(where, last), []

    def fails_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise OSError("the lights went out")
        return real(*arguments)

    monkeypatch.setattr(glue, "_PARTITION_BYTES", 1 << 10)
    monkeypatch.setattr(where, last, fails_once)
    with pytest.raises(OSError, match="lights"):
        assay.score(corpus, method, workspace=tmp_path)
    again = assay.score(corpus, method, workspace=tmp_path)
    assert [again.part_path(k).read_bytes() for k in range(3)] == [expected.part_path(k).read_bytes() for k in range(3)]


def test_null_text_gives_null(method: Collective, workspace: Workspace, tmp_path: Path) -> None:
    rows = [*documents()[:9], {"id": "gone", "text": "to be null"}]
    written = read_files(tmp_path / "nulls", rows, 1)
    path = written.part_path(0)
    table = pq.read_table(path)
    column = pa.array([None if row["id"] == "gone" else row["text"] for row in rows], table["text"].type)
    pq.write_table(table.set_column(table.column_names.index("text"), "text", column), path)
    written.manifest.parts[0]["bytes"] = path.stat().st_size
    written.manifest.parts[0].pop("footer", None)
    scores = by_id(written, method, workspace)
    assert scores["gone"] == [None] * len(method.columns(()))
    assert all(None not in row for i, row in scores.items() if i != "gone")


def test_a_corpus_of_one_document_is_no_trouble(method: Collective, tmp_path: Path) -> None:
    assert None not in by_id(read_files(tmp_path / "one", documents()[:1], 1), method)["a-0"]


def test_what_is_taken_one_by_one_is_ranked_without_gaps(method: Collective, corpus: Corpus) -> None:
    if not method.columns(())[0].name.endswith(".rank"):
        pytest.skip(f"{method.name} does not choose")
    ranks = [row[0] for row in by_id(corpus, method).values() if row[0] is not None]
    counts = np.bincount(ranks)
    assert (np.diff(counts) <= 0).all() and counts.sum() == corpus.num_documents - 2
    budget = f"{counts[0]} documents"
    scores = assay.score(corpus, method, workspace=corpus.folder.parent)
    chosen = assay.select(corpus, "top", scores=scores, budget=budget, workspace=corpus.folder.parent)
    kept = chosen.to_table()["repeats"].to_numpy() > 0
    assert set(scores.to_table().columns[0].to_numpy()[kept]) == {0}


def test_parameters_round_trip_and_are_checked_when_built(method: Collective) -> None:
    assert named_scorer("scorer", {method.name: method.parameters()}) == method
    assert pickle.loads(pickle.dumps(method)) == method
    json.dumps(method.parameters())
    with pytest.raises(TypeError):
        type(method)(no_such_parameter=1)
    for name, value in method.parameters().items():
        for bad in (-1, "many") if isinstance(value, int | float | str) else (-1,):
            with pytest.raises(AssayError, match=name):
                type(method)(**{name: bad})
