"""Files, names and texts of people who mean harm; docs/security.md lists each threat with its test here."""

import ast
import gzip
import io
import json
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import assay
from assay import terminal
from assay.api.recipe import Recipe
from assay.api.recipe_parts import Calibration
from assay.artifacts.kinds import Corpus
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace
from assay.corpus import failures, jsonl, parquet, warc
from assay.corpus.failures import read_failures
from assay.errors import ArtifactError, InputError, InvalidParameterError
from tests.conftest import make_documents, make_prose, write_jsonl

SOURCE = Path(__file__).parents[1] / "src" / "assay"
RUNS_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch.load"}

TRUSTED = "cluster.py"  # pickles between driver and workers, as Ray itself does; see docs/security.md


class Payload:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


# ---- code that hides in data


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_file_reads_what_could_run_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found = {name.split(".")[0] for name in names} & RUNS_CODE
            assert not found or path.name == TRUSTED, ast.unparse(node)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.load", "__import__", "yaml.unsafe_load", "yaml.full_load"}
            assert not any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords)
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
            if called == "yaml.load":
                assert ast.unparse(node.args[1]) == "_Loader"


def test_the_yaml_loader_is_a_safe_one() -> None:
    from assay.artifacts.yamlfile import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)


def test_a_pickle_in_place_of_a_fitted_state_is_not_run(
    make_corpus: Callable[..., Corpus], workspace: Workspace, tmp_path: Path
) -> None:
    pool, target = make_corpus(make_documents(30)), make_corpus(make_documents(9, seed=2), "target")
    scores = assay.score(pool, "dsir", target=target, workspace=workspace)
    expected = scores.to_table()
    poison = np.array([Payload(tmp_path / "owned")], object)
    buffer = io.BytesIO()
    np.savez(buffer, log_ratio=poison)
    for content in (pickle.dumps(Payload(tmp_path / "owned")), buffer.getvalue()):
        (scores.folder / "state.npz").write_bytes(content)
        (scores.folder / "manifest.json").unlink()
        scores.part_path(0).unlink()
        assert assay.score(pool, "dsir", target=target, workspace=workspace).to_table().equals(expected)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("load", [Recipe.load, Calibration.load])
def test_yaml_makes_no_objects(tmp_path: Path, load: Any) -> None:
    (tmp_path / "r.yaml").write_text(f"pool: !!python/object/apply:os.system ['touch {tmp_path / 'owned'}']")
    with pytest.raises(InvalidParameterError, match="r.yaml is not YAML: could not determine a constructor"):
        load(tmp_path / "r.yaml")
    assert not (tmp_path / "owned").exists()


# ---- small files that become large


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ), "it stands for more than 100,000 values"),
        ("a: &a [*a]", "it stands for more than 100,000 values"),
        ("a: " + "[" * 50_000, "it is nested too deep"),
        ("a: " + "x" * 1_000_001, "it is longer than 1,000,000 characters"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ('a: "\\0"', "line 1 has a character that no text has"),
        ('a: "\\ud800"', "line 1 has a character that no text has"),
    ],
)  # fmt: skip
def test_a_small_recipe_cannot_become_a_large_one(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    started = time.process_time()
    for load in (Recipe.load, Calibration.load):
        with pytest.raises(InvalidParameterError, match=f"r.yaml is not YAML: {problem}"):
            load(tmp_path / "r.yaml")
    assert time.process_time() - started < 10


def test_aliases_are_fine_in_a_recipe(tmp_path: Path) -> None:
    text = "pool: p.jsonl\ntarget: t.jsonl\nbudget: 1k tokens\narms: {a: &a {score: dsir}, b: *a}"
    (tmp_path / "r.yaml").write_text(text)
    arms = Recipe.load(tmp_path / "r.yaml").arms
    assert arms["a"] == arms["b"]


GOOD = b'{"text": "a good line"}\n'
ZEROS = gzip.compress(bytes(16 << 20), 9)
# A frame that says it holds 2^60 bytes and needs a window of 2 GB: magic, descriptor, window, size, one block of RLE.
ZSTD = bytes.fromhex("28b52ffd") + b"\xc0" + b"\xa8" + (1 << 60).to_bytes(8, "little") + b"\x03\x00\x80" + b"x"
PEAK = """
import json, pathlib, sys
import assay
from assay.artifacts.cost import peak_memory
from assay.corpus.failures import read_failures
folder, found = pathlib.Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.jsonl*")):
    corpus = assay.read(path, max_failed_share=0.9, workspace=folder / "w")
    said = [f"{f.line} {f.reason}" for f in read_failures(corpus.folder)]
    found[path.name] = [corpus.num_documents, *said[:3]]
print(json.dumps({"found": found, "peak_mb": peak_memory() >> 20}))
"""


def test_what_inflates_or_never_ends_is_set_aside_in_little_memory(tmp_path: Path) -> None:
    zst = pa.compress(GOOD, "zstd", asbytes=True)
    zeros_zst = pa.compress(bytes(8 << 20), "zstd", asbytes=True)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(GOOD) + ZEROS * 20)  # 320 MB in 320 kB
    (tmp_path / "b.jsonl.zst").write_bytes(zst + zeros_zst * 40)
    (tmp_path / "c.jsonl.zst").write_bytes(zst + ZSTD)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(GOOD + gzip.compress(ZEROS)[:99].replace(b"\n", b"")))
    with open(tmp_path / "e.jsonl", "wb") as stream:
        stream.write(GOOD + b'{"text": "')
        stream.seek(1 << 30, 1)  # a hole, which reads as zeros
        stream.write(b'"}\n' + GOOD)
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["found"] == {
        "a.jsonl.gz": [1, "2 inflates_too_far"],
        "b.jsonl.zst": [1, "2 inflates_too_far"],
        "c.jsonl.zst": [1, "2 unreadable_file"],
        "d.jsonl.gz": [1, "2 invalid_utf8"],
        "e.jsonl": [2, "2 line_too_long"],
    }
    assert result["peak_mb"] < 900


def test_what_is_too_long_does_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 200)
    lines = [json.dumps({"text": "x" * n}) for n in (10, 188, 189, 300, 5, 5000, 188)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    for block in (7, 100, 199, 1000, 1 << 20):
        monkeypatch.setattr(jsonl, "_BLOCK_BYTES", block)
        corpus = assay.read(tmp_path / "pool.jsonl", max_failed_share=0.9, workspace=tmp_path / str(block))
        assert corpus.num_documents == 4
        assert [(f.line, f.reason) for f in read_failures(corpus.folder)] == [(k, "line_too_long") for k in (3, 4, 6)]


def test_a_parquet_dictionary_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of 1 MB, named 20,000 times in a file of 50 kB."""
    indices = pa.array([0] * 19_999 + [1], pa.int32())
    text = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * (1 << 20), "y"]))
    pq.write_table(pa.table({"text": text}), tmp_path / "pool.parquet", compression="zstd")
    seen: list[int] = []
    real = parquet.utf8
    monkeypatch.setattr(parquet, "utf8", lambda column: seen.append(column.nbytes) or real(column))
    with pytest.raises(InputError, match="pool.parquet inflates further than any text does .* Leave it out"):
        assay.read(tmp_path / "pool.parquet", workspace=tmp_path / "w")
    assert max(seen) < 300 << 20


def test_a_warc_member_is_bounded(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(body: bytes) -> bytes:
        head = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        return gzip.compress(head + body + b"\r\n\r\n", 9)

    for module in (failures, warc):
        assert module.inflates_too_far is failures.inflates_too_far
    monkeypatch.setattr(failures, "FREE_INFLATED_BYTES", 1 << 20)
    path = tmp_path / "pool.warc.gz"
    path.write_bytes(record(b"before") + record(bytes(32 << 20)) + record(b"after"))
    corpus = assay.read(path, max_failed_share=0.5, workspace=workspace)
    assert corpus.table(0, ["text"])["text"].to_pylist() == ["before", "after"]
    assert [f.reason for f in read_failures(corpus.folder)] == ["inflates_too_far"]


# ---- paths that lead elsewhere


@pytest.mark.parametrize("file", ["../../secret", "/etc/passwd", "sub/part", "..", "a\0b", "s3://bucket/x", ""])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_manifest_cannot_lead_out_of_its_folder(
    make_corpus: Callable[..., Corpus], workspace: Workspace, file: str, in_place: bool
) -> None:
    corpus = make_corpus(make_documents(5))
    path = corpus.folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["checksum"]  # a forger would make a new one
    content["parts"][0]["file"] = file
    if in_place:
        content["parts"][0] |= {"row_groups": [0], "footer": "0" * 16}
        content["parameters"]["folder"] = ["/srv/pool"]
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="is not a manifest of this version of Assay|must be|cannot be used"):
        Manifest.load(corpus.folder)


@pytest.mark.parametrize("name", ["../../escape", "/abs", "a/b", "..", ".", "nul\0", "x" * 300, "\ud800"])
def test_names_of_corpora_and_arms_stay_names(tmp_path: Path, name: str) -> None:
    space = Workspace(tmp_path / "deep" / "workspace")
    folder = space.open_draft("corpus", name, 1, {}, {}).folder
    assert folder.parent == space.root and folder.name.startswith("corpus-")
    assert "\0" not in folder.name and len(folder.name) < 100 and folder.name.encode()


def test_writing_replaces_nothing_that_it_did_not_write(
    make_corpus: Callable[..., Corpus], workspace: Workspace, tmp_path: Path
) -> None:
    corpus = make_corpus(make_documents(5))
    chosen = assay.select(corpus, budget="2 documents", workspace=workspace)
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys").write_text("mine")
    (tmp_path / "link").symlink_to(home)
    forged = Manifest(kind="export", name="x", fingerprint="0" * 16, version=1, parameters={}, inputs={}, schema={},
                      parts=[{"file": "../keys", "rows": 1, "bytes": 4}])  # fmt: skip
    for to in (home, tmp_path / "link", tmp_path / "sub" / ".." / "home"):
        with pytest.raises(ArtifactError, match="is not empty and was not written by `assay write`"):
            assay.write(corpus, chosen, to)
    forged.save(home, "_manifest.json")
    with pytest.raises(ArtifactError, match="was not written by `assay write`"):
        assay.write(corpus, chosen, home)
    assert (home / "keys").read_text() == "mine"


# ---- texts that command a terminal or a browser, and secrets

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
CONTROL = "\x1b[2J\x1b]8;;http://evil\x07click\x1b]8;;\x07\u202etxt.exe\x9b31m[red]brackets[/red]"
SECRET = "Hunter2-VeryLongSecret"


class Markup(HTMLParser):
    """Names of all tags and attributes of a page, as a browser sees them."""

    def read(self, html: str) -> tuple[set[str], set[str]]:
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)
        return self.tags, self.attributes

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A comparison of names and texts full of commands, in an environment full of secrets: folder, all that it said."""
    folder = tmp_path_factory.mktemp("evil")
    rows = make_prose(120, seed=1, topic="g") + make_prose(60, seed=2, topic="t")
    for k, row in enumerate(rows):
        mark = f"{SCRIPT}{CONTROL}"
        row |= {"id": f"{k}{mark}", "text": f"{mark} {row['text']}", "source": f"{k % 3}{mark}", SCRIPT: k}
    write_jsonl(folder / "pool.jsonl", rows)
    write_jsonl(folder / "target.jsonl", make_prose(40, seed=9, topic="t"))
    recipe = {
        "pool": "pool.jsonl",
        "target": {SCRIPT: {"read": "target.jsonl"}},
        "budget": "3k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 2, "vocab_size": 300}},
        "arms": {f"a{SCRIPT}": {"score": "dsir"}, "b[red]": {"where": f"source <> '{SCRIPT}' and length.words > 70"}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    environment = {
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "HF_TOKEN": SECRET,
        "OPENAI_API_KEY": SECRET,
        "PATH": "/usr/bin:/bin",
    }
    said = ""
    token = f"token={SECRET}"
    for code, *command in (
        (0, "compare", "recipe.yaml"),
        (0, "show", "dropped", "b[red]"),
        (0, "show"),
        (1, "score", "recipe.yaml", "--set", token),
    ):
        call = [sys.executable, "-m", "assay.cli", *command]
        done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr
        said += done.stdout + done.stderr
    return folder, said


def test_text_in_the_report_is_escaped(evil: tuple[Path, str]) -> None:
    html = (evil[0] / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in html
    tags, attributes = Markup().read(html)
    assert "svg" in tags and not tags & {"script", "img", "iframe", "object", "embed", "link", "foreignobject", "a"}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {"src", "xlink:href"}
    assert "default-src 'none'" in html.split("<title>")[0]


def test_text_in_the_terminal_commands_nothing(evil: tuple[Path, str]) -> None:
    said = evil[1]
    assert "click" in said and "[red]brackets[/red]" in said
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)


def test_secrets_of_the_environment_are_written_nowhere(evil: tuple[Path, str]) -> None:
    folder, said = evil
    assert SECRET not in said
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": {"read": "x", "token": SECRET}},
        {"pool": {"token": SECRET}},
        {"arms": {"a": {"score": {"dsir": {}, "token": SECRET}}}},
        {"proxy": {"ngram": {}, "api_key": SECRET}},
        {"password": SECRET},
        {"pool": {"read": [{"secret": SECRET}]}},
    ],
)
def test_secrets_in_a_recipe_are_not_repeated_in_errors(changes: dict[str, Any]) -> None:
    recipe = {"pool": "p", "target": "t", "budget": "1k tokens", "arms": {}}
    with pytest.raises(InvalidParameterError) as told:
        Recipe.from_dict(recipe | changes)
    assert SECRET not in str(told.value)


def test_a_broken_recipe_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"pool: x\ntoken: {SECRET}: oops\n")
    with pytest.raises(InvalidParameterError, match=r"not YAML: mapping values are not allowed here \(line 2") as told:
        Recipe.load(tmp_path / "r.yaml")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("text", [SCRIPT, CONTROL, "[bold]x[/bold]", "plain\ttext ü 漢 🙂"])
def test_what_is_shown_is_what_stands_there(text: str) -> None:
    stream = io.StringIO()
    terminal.console(file=stream, width=200, force_terminal=True).print(text)
    shown = stream.getvalue().rstrip("\n")
    signs = terminal.printable(text).replace("\u2407", "")  # rich leaves out the bell
    assert shown == signs.expandtabs(8)
    assert terminal.printable(shown) == shown
