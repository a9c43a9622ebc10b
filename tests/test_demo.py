"""The demo's pool: whole packages on one side, code and its documentation told apart, nothing lost at a cut."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from assay import demo
from assay.errors import InputError


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    folder: Path = tmp_path_factory.mktemp("demo")
    demo.gather(folder)
    return {
        name: [json.loads(line) for line in pa.input_stream(str(folder / name)).read().decode().splitlines()]
        for name in (demo.POOL, demo.TARGET, demo.HELDOUT)
    }


def test_no_package_is_on_two_sides(gathered: dict[str, list[dict[str, str]]]) -> None:
    packages = [{row["package"] for row in rows} for rows in gathered.values()]
    assert all(packages)
    assert not (packages[0] & packages[1] or packages[0] & packages[2] or packages[1] & packages[2])


def test_the_pool_is_real_and_of_many_kinds(gathered: dict[str, list[dict[str, str]]]) -> None:
    pool = gathered[demo.POOL]
    assert len({row["id"] for row in pool}) == len(pool)
    assert {row["source"] for row in pool} >= {"documentation", "source code", "package metadata"}
    assert sum(len(row["text"]) for row in pool) > 4_000_000
    assert {row["source"] for row in gathered[demo.TARGET] + gathered[demo.HELDOUT]} == {"documentation"}


def test_code_and_its_docstrings_become_two_documents() -> None:
    docstring = "What this module is about, told at such length that it is worth keeping. " * 6
    code = f'"""{docstring}"""\n' + "value = 1\n" * 60
    documents = list(demo._documents(Path("/lib"), Path("/lib/package/module.py"), code))
    assert [d.source for d in documents] == ["source code", "documentation"]
    assert docstring.strip() == documents[1].text.strip() and docstring not in documents[0].text
    assert documents[0].package == "package"


def test_long_files_are_cut_at_line_ends_and_nothing_is_lost() -> None:
    text = "".join(f"line {k} of a long file\n" for k in range(5000))
    pieces = list(demo._cut("file", text, "data files", "package"))
    assert "".join(piece.text for piece in pieces) == text
    assert len(pieces) > 1 and all(len(piece.text) <= 40_000 for piece in pieces)
    assert len({piece.id for piece in pieces}) == len(pieces)


def test_an_installation_without_text_is_refused() -> None:
    with pytest.raises(InputError, match="too little text for the demo"):
        demo._divide({"one": [demo.Document("a", "text", "documentation", "one")]})
