"""Pools, workspaces and exports on an object store: the same results as on a local folder, whatever happens."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import assay
from assay.artifacts.remote import RemotePath
from assay.artifacts.workspace import Workspace
from assay.cli import app
from assay.errors import ArtifactError, InputError, InvalidParameterError, StorageError
from tests.conftest import make_documents, make_prose, write_jsonl, write_parquet
from tests.s3 import CUT, KEY, SECRET, Server, content, upload_folder

RECIPE = """
pool: {read: "pool-*.jsonl"}
target: {read: target.jsonl, holdout: 0.4}
budget: 4k tokens
seeds: 2
proxy: {ngram: {order: 2, vocab_size: 300}}
arms:
  dsir: {score: {dsir: {smoothing: 0.5}}, select: {sample: {}}, where: minhash.representative}
  unique: {select: {unique: {by: minhash}}}
"""


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for k in range(2):
        write_jsonl(folder / f"pool-{k}.jsonl", make_prose(40, seed=k, topic="g") + make_prose(20, seed=k, topic="t"))
    write_jsonl(folder / "target.jsonl", make_prose(20, seed=99, topic="t", length=60))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def results(found: dict[str, bytes]) -> dict[str, bytes]:
    """What must not differ: all but times, and what manifests say of them."""
    kept = {name: data for name, data in found.items() if name != "files.json"}
    for name in [name for name in kept if name.endswith(".json") and not name.endswith("tokenizer.json")]:
        values = json.loads(kept[name])
        for key in ("cost", "checksum"):
            values.pop(key, None)
        for part in values.get("parts", []):
            part.pop("footer", None)  # told of local parts only
            if part["file"].endswith((".json", ".html")):  # which hold seconds themselves
                del part["bytes"]
        kept[name] = json.dumps(values).encode()
    return {name: data for name, data in kept.items() if not name.endswith(".html")}


def test_a_comparison_on_an_object_store_is_the_one_on_a_local_disk(s3: Server, tmp_path: Path) -> None:
    folder, bucket = folder_of(tmp_path), s3.make_bucket()
    arguments = ["compare", str(folder / "recipe.yaml"), "--set", "write.to={to}", "--set", "write.arm=dsir"]
    ends = []
    for place in (tmp_path, bucket):
        to = [argument.format(to=f"{place}/chosen") for argument in arguments]
        result = CliRunner().invoke(app, [*to, "--workspace", f"{place}/workspace", "--out", f"{place}/out"])
        assert result.exit_code == 0, result.output
        ends.append({name: results(content(place / name)) for name in ("workspace", "chosen", "out")})
    for here, there in zip(ends[0].values(), ends[1].values(), strict=True):
        assert [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)] == []
    assert sum(name.endswith(".parquet") for name in ends[1]["workspace"]) > 20
    assert "_manifest.json" in ends[1]["chosen"]
    assert list((tmp_path / "scratch").glob("*")) == [tmp_path / "scratch" / "files.json"]
    shown = CliRunner().invoke(app, ["show", "--workspace", f"{bucket}/workspace"])
    assert f"artifacts in {bucket}/workspace" in shown.output, shown.output
    everything = b"".join([*content(bucket).values(), *content(tmp_path).values()])
    for secret in (KEY, SECRET):
        assert secret.encode() not in everything


def write_formats(folder: Path) -> dict[str, Any]:
    """A small pool in each format, by the pattern that reads it, with the arguments that it takes."""
    rows = make_documents(300, length=30)
    for name in ("jsonl", "gz", "texts", "pages", "warc", "places"):
        (folder / name).mkdir(parents=True)
    write_jsonl(folder / "jsonl" / "a.jsonl", rows)
    lines = (folder / "jsonl" / "a.jsonl").read_bytes()
    (folder / "gz" / "a.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    with pa.output_stream(str(folder / "gz" / "b.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines.replace(b'"w-', b'"v-'))
    for k in range(3):
        (folder / "texts" / f"{k}.txt").write_text(f"text {k}")
        page = f"<html><body><p>Page {k} says enough to be taken for a page of text.</p></body></html>".encode()
        (folder / "pages" / f"{k}.html.gz").write_bytes(gzip.compress(page, mtime=0))
    record = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ntext\r\n\r\n"
    (folder / "warc" / "a.warc.wet.gz").write_bytes(b"".join(gzip.compress(record, mtime=0) for _ in range(40)))
    write_parquet(folder / "places" / "a.parquet", rows, row_group_size=50)
    return {
        "jsonl/*.jsonl": {},
        "gz/*": {},
        "texts": {},
        "pages/**/*.html.gz": {},
        "warc/a.warc.wet.gz": {},
        "places/*.parquet": {},
    }


def test_every_format_is_read_as_from_a_local_disk(s3: Server, tmp_path: Path) -> None:
    folder, bucket = tmp_path / "data", s3.make_bucket() / "data"
    patterns = write_formats(folder)
    upload_folder(folder, bucket)
    for pattern in patterns:
        here = assay.read(f"{folder}/{pattern}", name="pool", workspace=tmp_path / "here")
        there = assay.read(f"{bucket}/{pattern}", name="pool", workspace=tmp_path / "there")
        assert here.num_documents == there.num_documents and here.column_names == there.column_names, pattern
        for part in range(here.num_parts):
            assert here.table(part, here.column_names) == there.table(part, there.column_names), pattern
            ours, theirs = (corpus.manifest.parts[part] for corpus in (here, there))
            if not pattern.startswith("places"):
                assert ours == theirs
                assert here.part_path(part).read_bytes() == there.part_path(part).read_bytes()
        again = assay.read(f"{bucket}/{pattern}", name="pool", workspace=tmp_path / "there")
        assert again.fingerprint == there.fingerprint


def test_scores_of_a_pool_on_a_store_are_those_of_a_local_one(s3: Server, tmp_path: Path) -> None:
    rows = make_documents(300, length=30)
    bucket = s3.make_bucket()
    path = write_parquet(tmp_path / "pool.parquet", rows, row_group_size=50)
    (bucket / "pool.parquet").upload(path)
    tables = []
    for pool, workspace in ((path, tmp_path / "workspace"), (bucket / "pool.parquet", bucket / "workspace")):
        corpus = assay.read(pool, workspace=workspace)
        scores = [assay.score(corpus, name, workspace=workspace) for name in ("length", "exact", "minhash")]
        chosen = assay.select(corpus, "uniform", budget="50 documents", scores=scores, workspace=workspace)
        parts = [made.part_path(k).read_bytes() for made in (*scores, chosen) for k in range(made.num_parts)]
        tables.append(parts)
    assert tables[0] == tables[1]


def test_only_the_columns_and_row_groups_that_are_wanted_are_fetched(s3: Server, tmp_path: Path) -> None:
    table = pa.table(
        {"id": [str(k) for k in range(2000)], "text": ["x"] * 2000, "ballast": [bytes(range(256)) * 16] * 2000}
    )
    pq.write_table(table, tmp_path / "pool.parquet", compression=None, use_dictionary=False, row_group_size=500)
    path = s3.make_bucket() / "pool.parquet"
    path.upload(tmp_path / "pool.parquet")
    corpus = assay.read(path, workspace=tmp_path / "workspace")
    s3.requests.clear()
    s3.num_bytes = 0
    assert corpus.table(0, ["id"]).num_rows == 2000
    assert s3.num_bytes < 300_000 < path.stat().st_size / 10


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.jsonl.gz", "pool.parquet"])
def test_an_object_that_changes_or_goes_while_it_is_read_is_named(s3: Server, tmp_path: Path, name: str) -> None:
    local = written(tmp_path, name, make_documents(50))
    other = written(tmp_path / "other", name, make_documents(50, seed=1))
    pool = s3.make_bucket() / name
    for change, message in (
        (lambda: pool.upload(other), "was changed while it was read. Run the same command again"),
        (pool.unlink, "is gone: it was there when reading began"),
    ):
        pool.upload(local)
        workspace = Workspace(tmp_path / message[:3])
        with s3.failing(once_read(pool, change)), pytest.raises(InputError, match=f"{pool} {message}"):
            assay.read(pool, workspace=workspace)
        assert workspace.manifests() == []
    pool.upload(local)
    assert assay.read(pool, workspace=workspace).num_documents == 50


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        return write_parquet(folder / name, rows)
    path = write_jsonl(folder / "plain.jsonl", rows)
    (folder / name).write_bytes(
        gzip.compress(path.read_bytes(), mtime=0) if name.endswith(".gz") else path.read_bytes()
    )
    return folder / name


def once_read(pool: RemotePath, change: Callable[[], None]) -> Callable[[str, str], None]:
    """Changes the pool when its fingerprint is known and its content is asked for the first time."""
    state = {"changed": False}

    def fault(method: str, path: str) -> None:
        if method == "GET" and path == f"/{pool.key}" and not state["changed"]:
            state["changed"] = True
            change()

    return fault


def test_parquet_in_place_that_has_changed_is_not_read(s3: Server, tmp_path: Path) -> None:
    pool = s3.make_bucket() / "pool.parquet"
    pool.upload(write_parquet(tmp_path / "one.parquet", make_documents(50)))
    corpus = assay.read(pool, workspace=tmp_path / "workspace")
    pool.upload(write_parquet(tmp_path / "two.parquet", make_documents(50, seed=1)))
    with pytest.raises(InputError, match=f"{pool} has changed since 'pool' was read"):
        corpus.table(0, ["id"])
    pool.unlink()
    with pytest.raises(ArtifactError, match=f"{pool} is missing .* Restore the file or read the corpus again"):
        assay.Corpus(corpus.folder)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["pool.jsonl", "pool.jsonl.gz", "pool.parquet"])
def test_a_connection_that_breaks_for_good_is_not_taken_for_a_damaged_file(
    s3: Server, tmp_path: Path, name: str
) -> None:
    pool = s3.make_bucket() / name
    pool.upload(written(tmp_path, name, make_documents(50)))
    workspace = Workspace(tmp_path / "workspace")
    with s3.failing(lambda method, _: CUT if method == "GET" else None), pytest.raises(StorageError, match=str(pool)):
        assay.read(pool, max_failed_share=0.9, format=None, workspace=workspace)
    assert workspace.manifests() == []
    assert assay.read(pool, workspace=workspace).num_documents == 50


def test_a_run_that_ends_before_its_manifest_goes_on_where_it_was(s3: Server, tmp_path: Path) -> None:
    folder, bucket = folder_of(tmp_path), s3.make_bucket()
    expected = assay.score(assay.read(f"{folder}/pool-*", workspace=tmp_path / "w"), "length", workspace=tmp_path / "w")
    corpus = assay.read(f"{folder}/pool-*", workspace=bucket)
    no_manifest = lambda method, path: 403 if method == "PUT" and path.endswith("manifest.json") else None  # noqa: E731
    with s3.failing(no_manifest), pytest.raises(StorageError, match="Not allowed to write"):
        assay.score(corpus, "length", workspace=bucket)
    s3.requests.clear()
    scores = assay.score(corpus, "length", workspace=bucket)
    assert [path for method, path, _ in s3.requests if method == "PUT" and "part-" in path] == []
    assert scores.fingerprint == expected.fingerprint
    assert [scores.part_path(k).read_bytes() for k in range(2)] == [
        expected.part_path(k).read_bytes() for k in range(2)
    ]


def test_a_damaged_artifact_is_made_again(s3: Server, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(20)), workspace=bucket)
    scores = assay.score(corpus, "length", workspace=bucket)
    before = scores.part_path(0).read_bytes()
    scores.part_path(0).upload(write_jsonl(tmp_path / "other", [{"a": 1}]))
    with pytest.raises(ArtifactError, match=r"part-00000.parquet is missing or is not the .* Delete s3://"):
        assay.artifacts.kinds.Scores(scores.folder)
    assert assay.score(corpus, "length", workspace=bucket).part_path(0).read_bytes() == before


def test_an_export_that_was_not_finished_is_none_and_can_be_written_again(s3: Server, tmp_path: Path) -> None:
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(20)), workspace=tmp_path / "w")
    more, fewer = (assay.select(corpus, budget=f"{n} documents", workspace=tmp_path / "w") for n in (15, 5))
    to = s3.make_bucket() / "chosen"
    assay.write(corpus, more, to, format="jsonl")
    before = content(to)
    no_parts = lambda method, path: 403 if method == "PUT" and "part-" in path else None  # noqa: E731
    with s3.failing(no_parts), pytest.raises(StorageError, match="Not allowed to write"):
        assay.write(corpus, fewer, str(to))
    with pytest.raises(ArtifactError, match="was never finished"):
        assay.artifacts.kinds.Export(to)
    no_manifest = lambda method, path: 403 if method == "PUT" and path.endswith("manifest.json") else None  # noqa: E731
    with s3.failing(no_manifest), pytest.raises(StorageError, match="Not allowed to write"):
        assay.write(corpus, fewer, to)
    s3.requests.clear()
    export = assay.write(corpus, fewer, to)
    assert [path for method, path, _ in s3.requests if method == "PUT" and "part-" in path] == []
    assert {path.name for path in to.iterdir()} == {"_manifest.json", "part-00000.parquet"}
    assert len(pq.read_table(pa.BufferReader(export.part_path(0).read_bytes()))) == 5
    assay.write(corpus, more, to, format="jsonl")
    assert results(content(to)) == results(before)
    (to / "mine.txt").upload(write_jsonl(tmp_path / "mine.txt", []))
    with pytest.raises(ArtifactError, match="'mine.txt', which `assay write` did not put there"):
        assay.write(corpus, fewer, to)


def test_what_is_not_there_or_not_allowed_is_said_in_a_sentence(s3: Server, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    path = write_jsonl(tmp_path / "pool.jsonl", make_documents(5))
    with pytest.raises(InputError, match=r"No file matches 's3://bucket-\d+/\*.jsonl'. Check `read`."):
        assay.read(f"{bucket}/*.jsonl", workspace=tmp_path / "w")
    with pytest.raises(StorageError, match="There is no bucket 'nowhere'"):
        assay.read("s3://nowhere/*.jsonl", workspace=tmp_path / "w")
    with pytest.raises(StorageError, match="There is no bucket 'nowhere'"):
        assay.read(path, workspace="s3://nowhere/workspace")
    with pytest.raises(InvalidParameterError, match="must be a folder, s3://... or gs://..."):
        Workspace("hf://datasets/org/set")
    with s3.failing(lambda *_: 403), pytest.raises(StorageError, match="Not allowed to .* AWS_ACCESS_KEY_ID"):
        assay.read(path, workspace=bucket)


def test_addresses_in_a_recipe_stay_what_they_are_and_keys_in_them_are_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("pool-*.jsonl", "s3://bucket/pool-*.jsonl") + "write: {to: s3://bucket/chosen}\n")
    loaded = assay.Recipe.load(recipe)
    assert (loaded.pool.read, loaded.write.to) == ("s3://bucket/pool-*.jsonl", "s3://bucket/chosen")
    recipe.write_text(RECIPE.replace("pool-*.jsonl", "s3://name:hunter2@bucket/pool-*.jsonl"))
    result = CliRunner().invoke(app, ["score", str(recipe)])
    assert result.exit_code == 1 and "hunter2" not in result.output and "AWS_ACCESS_KEY_ID" in result.output


def test_the_workspace_of_the_environment_may_be_an_address(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.make_bucket()
    monkeypatch.setenv("ASSAY_WORKSPACE", f"{bucket}/deep/workspace/")
    assert Workspace().root == bucket / "deep" / "workspace"
    monkeypatch.setenv("ASSAY_WORKSPACE", "s3://name:hunter2@bucket/workspace")
    with pytest.raises(InvalidParameterError) as caught:
        Workspace()
    assert "hunter2" not in str(caught.value)
