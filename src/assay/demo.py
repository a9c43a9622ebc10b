"""`assay demo`: a real comparison with no download, on the text of the Python installation it runs in.

Pool: source code, tests, documentation (docstrings and text files), licences, package metadata and data files of the
standard library and the installed packages, labelled by kind. Target: documentation of some packages; tested on the
documentation of others. No document of a target or test package is in the pool.
"""

import json
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

import pyarrow as pa

from assay.api.comparing import compare
from assay.artifacts.comparison import Comparison
from assay.errors import InputError
from assay.progress import note, step

RECIPE, POOL, TARGET, HELDOUT = "recipe.yaml", "pool.jsonl.zst", "target.jsonl", "heldout.jsonl"
_POOL_BYTES = 32_000_000
_SIDE_BYTES = 1_500_000
_DOCUMENTATION = "documentation"
_MIN_CHARACTERS, _MAX_CHARACTERS = 300, 40_000
_DOCSTRING = re.compile(r'^[ \t]*[rRuU]?"""(.*?)"""', re.DOTALL | re.MULTILINE)
_KINDS = {
    ".rst": _DOCUMENTATION,
    ".md": _DOCUMENTATION,
    ".txt": _DOCUMENTATION,
    ".html": "web pages",
    ".pyi": "type stubs",
    ".pyx": "source code",
    ".c": "C source",
    ".h": "C source",
    ".cc": "C source",
    ".hpp": "C source",
    ".json": "data files",
    ".csv": "data files",
    ".xml": "data files",
    ".decTest": "data files",
    ".po": "message catalogues",
    ".pot": "message catalogues",
}
_METADATA = {"METADATA", "RECORD", "entry_points.txt", "top_level.txt", "PKG-INFO", "SOURCES.txt"}
_LICENCE = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """A piece of text with the package it belongs to and what kind it is."""

    id: str
    text: str
    source: str
    package: str


def run_demo(folder: Path, workspace: Path | None = None) -> Comparison:
    """Gathers the pool into `folder`, writes a recipe beside it, and compares.

    Raises:
        InputError: the installation has too little text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / HELDOUT).exists():
        gather(folder)
    (folder / RECIPE).write_text(files("assay").joinpath("demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return compare(folder / RECIPE, workspace=workspace or folder / ".assay", out=folder)


def gather(folder: Path) -> None:
    """Puts pool, target and held-out documents of this Python installation into `folder`.

    Raises:
        InputError: the installation has too little text.
    """
    roots = dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
    documents: dict[str, list[Document]] = defaultdict(list)
    num_skipped = 0
    paths = sorted({(root, path) for root in roots for path in _text_files(root)})
    with step("gather text of this Python installation", len(paths), "files") as advance:
        for root, path in paths:
            advance(1)
            try:
                text = path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                num_skipped += 1
                continue
            for document in _documents(root, path, text):
                documents[document.package].append(document)
    if num_skipped:
        note(f"{num_skipped} files are not UTF-8 text and were passed over")
    pool, target, heldout = _divide(documents)
    _write(folder / POOL, pool)
    _write(folder / TARGET, target)
    _write(folder / HELDOUT, heldout)


def _text_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if "__pycache__" in parts or (parts[0] in ("site-packages", "dist-packages")):
            continue
        if (path.suffix in _KINDS or path.suffix == ".py" or _kind(path) is not None) and path.is_file():
            yield path


def _kind(path: Path) -> str | None:
    if path.name in _METADATA:
        return "package metadata"
    if _LICENCE.search(path.stem) and path.suffix in ("", ".txt", ".md", ".rst", ".third-party"):
        return "licences"
    return _KINDS.get(path.suffix)


def _documents(root: Path, path: Path, text: str) -> Iterator[Document]:
    """The documents of one file: code and the documentation inside it become two, so nothing stands twice."""
    relative = path.relative_to(root)
    package = re.split(r"[-.]", relative.parts[0])[0].lower().lstrip("_")
    if path.suffix == ".py":
        docstrings = "\n\n".join(_dedent(d) for d in _DOCSTRING.findall(text) if len(d) > 80)
        is_test = any(part.startswith("test") for part in relative.parts)
        yield from _cut(relative.as_posix(), _DOCSTRING.sub("", text), "tests" if is_test else "source code", package)
        if not is_test:
            yield from _cut(f"{relative.as_posix()}#doc", docstrings, _DOCUMENTATION, package)
    else:
        yield from _cut(relative.as_posix(), text, _kind(path) or _DOCUMENTATION, package)


def _cut(name: str, text: str, kind: str, package: str) -> Iterator[Document]:
    """The text in pieces of at most 40,000 characters that end at a line end; none when it is too short."""
    piece: list[str] = []
    size = number = 0
    for line in [*text.splitlines(keepends=True), None]:
        if line is None or size + len(line) > _MAX_CHARACTERS:
            joined = "".join(piece)
            if len(joined.strip()) >= _MIN_CHARACTERS:
                yield Document(f"{name}#{number}" if number else name, joined, kind, package)
                number += 1
            piece, size = [], 0
        if line is not None:
            piece.append(line)
            size += len(line)


def _dedent(docstring: str) -> str:
    first, _, rest = docstring.strip("\n").partition("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest.splitlines() if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:] for line in rest.splitlines())])


def _divide(documents: dict[str, list[Document]]) -> tuple[list[Document], list[Document], list[Document]]:
    """Pool, target and held-out documents; packages take turns by how much documentation they have."""
    prose = {package: [d for d in docs if d.source == _DOCUMENTATION] for package, docs in documents.items()}
    order = sorted(documents, key=lambda p: (-sum(len(d.text) for d in prose[p]), p))
    sides = {package: ("pool", "target", "heldout", "pool")[k % 4] for k, package in enumerate(order)}
    target = _draw([d for p in order if sides[p] == "target" for d in prose[p]], _SIDE_BYTES)
    heldout = _draw([d for p in order if sides[p] == "heldout" for d in prose[p]], _SIDE_BYTES)
    pool = _draw([d for p in order if sides[p] == "pool" for d in documents[p]], _POOL_BYTES)
    if min(len(target), len(heldout)) < 20 or sum(len(d.text) for d in pool) < 4_000_000:
        raise InputError(
            "This Python installation has too little text for the demo. Run it in an environment with more packages."
        )
    return pool, target, heldout


def _draw(documents: list[Document], num_characters: int) -> list[Document]:
    """About so many characters of the documents, drawn by a hash of their ids, in order of id."""
    total = sum(len(d.text) for d in documents)
    share = num_characters / max(total, 1)

    def is_drawn(document: Document) -> bool:
        return int.from_bytes(blake2b(document.id.encode(), digest_size=4).digest(), "big") < share * 2**32

    return sorted((d for d in documents if is_drawn(d)), key=lambda d: d.id)


def _write(path: Path, documents: list[Document]) -> None:
    lines = [
        json.dumps({"id": d.id, "text": d.text, "source": d.source, "package": d.package}, ensure_ascii=False)
        for d in documents
    ]
    with pa.output_stream(str(path), compression="zstd" if path.suffix == ".zst" else None) as stream:
        stream.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
