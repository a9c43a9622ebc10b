"""The contract that every grouping in the table meets, through `assay.score` on a corpus in several files."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.api import grouping as glue
from assay.api.exchange import Exchange
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.corpus import engine, sharing
from assay.errors import AssayError
from assay.scorers import SCORERS, Grouping
from tests.conftest import in_this_process, make_documents, words, write_jsonl

GROUPINGS = [name for name, kind in SCORERS.items() if issubclass(kind, Grouping)]
MENU = "\n".join(" ".join(words(12, seed=k, topic="menu")) for k in range(9))
ODD = [
    "",
    "",
    " \n\t ",
    "one",
    "One!",
    "🙂",
    "🙂🙂",
    "Ünïcödé WÖRDS straße İstanbul ΣΊΣΥΦΟΣ 漢字かな交じり文 🙂🙂 e\u0301",
    "x" * 5000,
    "\x00\x01 control \ufffd",
    " ".join(words(20_000, seed=2)),
]


def documents() -> list[dict[str, str]]:
    """120 documents: some alone, some copied, some with a word changed, some around the same menu, some odd."""
    rows = make_documents(40, seed=1, topic="a", length=150)
    texts = [row["text"] for row in rows]
    texts += texts[:10] + texts[:3]
    texts += [" ".join("changed" if k == 20 else w for k, w in enumerate(t.split())) for t in texts[5:25]]
    texts += [f"{t[:200]}\n\n{MENU}\n\n{t[200:400]}" for t in texts[25:35]]
    texts += ODD
    return [{"id": f"d{k}", "text": text} for k, text in enumerate(texts)]


def read_files(folder: Path, rows: list[dict[str, str]], num_files: int) -> Corpus:
    """A corpus of so many parts: each file gives one."""
    folder.mkdir(parents=True)
    for k in range(num_files):
        write_jsonl(folder / f"f{k}.jsonl", rows[k::num_files])  # type: ignore[arg-type]
    return assay.read(str(folder / "*.jsonl"), id="id", workspace=folder / "w")


def by_id(corpus: Corpus, method: Any, workspace: Any = None) -> dict[str, list[Any]]:
    scores = assay.score(corpus, method, workspace=workspace or corpus.folder.parent)
    ids = [i for part in range(corpus.num_parts) for i in corpus.table(part, ["id"])["id"].to_pylist()]
    columns = [column.to_pylist() for column in scores.to_table().columns]
    return {i: list(row) for i, row in zip(ids, zip(*columns, strict=True), strict=True)}


@pytest.fixture(params=GROUPINGS, scope="module")
def method(request: pytest.FixtureRequest) -> Grouping:
    return SCORERS[request.param]()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_files(tmp_path_factory.mktemp("contract") / "three", documents(), 3)


def test_parts_line_up_with_the_corpus_and_columns_are_typed(method: Grouping, corpus: Corpus) -> None:
    scores = assay.score(corpus, method.name, workspace=corpus.folder.parent)
    columns = method.columns(())
    for part in range(corpus.num_parts):
        table = scores.table(part)
        assert len(table) == corpus.manifest.parts[part]["rows"]
        assert table.schema.types == [column.type for column in columns]
    assert scores.column_names == [column.name for column in columns]
    assert all(name.startswith(f"{method.name}.") for name in scores.column_names)
    assert scores.manifest.counts["in"] == corpus.num_documents
    assert sorted(path.suffix for path in scores.folder.iterdir()) == [".json", *[".parquet"] * 3]


def test_order_files_and_partitions_change_nothing(
    method: Grouping, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = by_id(corpus, method)
    assert len({tuple(row) for row in expected.values()}) > 1
    rows = [documents()[k] for k in np.random.default_rng(3).permutation(len(documents()))]
    for num_files in (1, 7):
        make_partitions_small(monkeypatch)
        assert by_id(read_files(tmp_path / str(num_files), rows, num_files), method) == expected


def test_one_thread_gives_the_same_bytes(
    method: Grouping, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = assay.score(corpus, method, workspace=corpus.folder.parent)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    monkeypatch.setattr(engine._worker, "busy", True, raising=False)
    one = assay.score(corpus, method, workspace=tmp_path / "one")
    assert [one.part_path(k).read_bytes() for k in range(3)] == [many.part_path(k).read_bytes() for k in range(3)]


def make_partitions_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PARTITION_BYTES", "_HOME_BYTES"):
        monkeypatch.setattr(glue, name, 1 << 10)


@in_this_process
@pytest.mark.parametrize(
    ("where", "last", "number"), [(Exchange, "send_sorted", 2), (Exchange, "receive", 4), (glue, "_as_part", 2)]
)
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    method: Grouping,
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

    make_partitions_small(monkeypatch)
    monkeypatch.setattr(where, last, fails_once)
    with pytest.raises(OSError, match="lights"):
        assay.score(corpus, method, workspace=tmp_path)
    again = assay.score(corpus, method, workspace=tmp_path)
    assert [again.part_path(k).read_bytes() for k in range(3)] == [expected.part_path(k).read_bytes() for k in range(3)]


def test_null_text_gives_null(method: Grouping, workspace: Workspace, corpus: Corpus, tmp_path: Path) -> None:
    rows = [*documents()[:5], {"id": "gone", "text": "to be null"}]
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


def test_clusters_have_one_representative_and_their_size(method: Grouping, corpus: Corpus) -> None:
    if f"{method.name}.cluster" not in [column.name for column in method.columns(())]:
        pytest.skip(f"{method.name} makes no clusters")
    clusters: dict[int, list[list[Any]]] = {}
    for size, cluster, representative in by_id(corpus, method).values():
        clusters.setdefault(cluster, []).append([size, representative])
    assert max(map(len, clusters.values())) > 1
    for members in clusters.values():
        assert [size for size, _ in members] == [len(members)] * len(members)
        assert sum(representative for _, representative in members) == 1


def test_parameters_round_trip_and_are_checked_when_built(method: Grouping) -> None:
    assert type(method)(**method.parameters()) == method
    assert pickle.loads(pickle.dumps(method)) == method
    with pytest.raises(TypeError):
        type(method)(no_such_parameter=1)
    for name, value in method.parameters().items():
        for bad in (-1, "many") if value is not None else ():
            with pytest.raises(AssayError, match=f"`{name}` "):
                type(method)(**{name: bad})


def test_recipes_filter_by_a_grouping(tmp_path: Path) -> None:
    corpus = read_files(tmp_path / "pool", documents(), 2)
    space = corpus.folder.parent
    scores = assay.score(corpus, "minhash", workspace=space)
    num_clusters = scores.manifest.summary["clusters"]
    budget = f"{num_clusters} documents"
    chosen = assay.select(corpus, scores=scores, where="minhash.representative", budget=budget, workspace=space)
    assert chosen.manifest.counts["kept"] == num_clusters < corpus.num_documents
    recipe = {
        "pool": {"read": corpus},
        "target": {"read": str(write_jsonl(tmp_path / "t.jsonl", make_documents(20, seed=9)))},
        "budget": "1k tokens",
        "arms": {"clean": {"score": {"repeats": {"min_characters": 20}}, "where": "minhash.representative"}},
    }
    arm = assay.Recipe.from_dict(recipe).arms["clean"]
    assert [s.name for s in arm.scorers()] == ["repeats", "minhash"] and arm.by == "repeats.lines"
    json.dumps(arm.scorers()[1].parameters())
