"""Documents to measure on: the shared pool where a checkout has one, else text of this Python installation."""

import argparse
import ast
import email.message
import gzip
import inspect
import json
import logging
import pathlib
import pickle
import pydoc
import subprocess
import typing
import unittest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay import embed, read
from assay.demo import POOL, gather
from assay.kernels.vectors import snapped

_SHARED = Path(__file__).parents[2] / "shared" / "data" / "pool"
_BENCHMARKS = _SHARED.parent / "benchmarks"


class PeerMissing(Exception):
    """What a row compares with cannot be had here."""


def pool_files(folder: Path) -> str:
    """A glob of .jsonl.zst files with `id` and `text`."""
    if _SHARED.is_dir():
        return str(_SHARED / "*.jsonl.zst")
    gather(folder)
    return str(folder / POOL)


def web_pages() -> list[bytes]:
    """HTML pages: real ones where a checkout has the shared data, else the documentation of Python's own modules."""
    folder = _SHARED.parent / "raw" / "html" / "article-extraction-benchmark" / "html"
    if folder.is_dir():
        return [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.html.gz"))]
    modules = (argparse, ast, email.message, inspect, logging, pathlib, pickle, subprocess, typing, unittest)
    return [pydoc.HTMLDoc().document(module).encode() for module in modules]


def warc_file(folder: Path, pages: list[bytes]) -> Path:
    """A .warc.gz of these pages, a gzip member each, as crawlers write it."""
    path = folder / "pages.warc.gz"
    with open(path, "wb") as stream:
        for k, page in enumerate(pages):
            body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
            head = f"WARC-Type: response\r\nWARC-Record-ID: <urn:page:{k}>\r\nContent-Type: application/http\r\n"
            record = b"WARC/1.0\r\n%bContent-Length: %d\r\n\r\n%b\r\n\r\n" % (head.encode(), len(body), body)
            stream.write(gzip.compress(record))
    return path


def target_file(folder: Path, pool: str) -> Path:
    """200 documents of the pool's first file as the target."""
    with pa.input_stream(str(first_file(pool)), compression="zstd") as stream:
        lines = stream.read().decode().split("\n")[:200]
    path = folder / "target.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def benchmark_files(folder: Path, pool: str) -> str:
    """A glob of benchmark sets; where there is no shared data, 2,000 runs of 40 words of the pool stand for items."""
    if _BENCHMARKS.is_dir():
        return str(_BENCHMARKS / "*/*.jsonl.zst")
    words = " ".join(some_texts(pool, 1_000_000)).split()
    items = [{"id": str(k), "text": " ".join(words[60 * k : 60 * k + 40])} for k in range(2000)]
    (folder / "items").mkdir()
    path = folder / "items/test.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return str(path)


def first_file(pool: str) -> Path:
    """The first file of a glob."""
    path = Path(pool)
    return sorted(path.parent.glob(path.name))[0]


def some_texts(pool: str, num_bytes: int) -> list[str]:
    """Documents drawn at random from all files of the pool, about `num_bytes` of text."""
    path = Path(pool)
    texts: list[str] = []
    for file in sorted(path.parent.glob(path.name)):
        with pa.input_stream(str(file), compression="zstd") as stream:
            texts += [json.loads(line)["text"] for line in stream.read().decode().split("\n") if line]
    order = np.random.default_rng(0).permutation(len(texts))
    sizes = np.cumsum([len(texts[k].encode()) for k in order])
    return [texts[k] for k in order[: int(np.searchsorted(sizes, num_bytes)) + 1]]


def domain_passages(files: list[Path], number: int) -> tuple[list[str], np.ndarray]:
    """Up to `number` passages of 500 characters of each file's documents, and which file's they are."""
    texts: list[str] = []
    labels: list[int] = []
    for label, file in enumerate(files):
        found = some_texts(str(file), 1 << 40)
        cuts = [(text, k) for text in found for k in range(0, max(1, len(text) - 250), 500)]
        picks = np.random.default_rng(label).permutation(len(cuts))[:number]
        texts += [cuts[k][0][cuts[k][1] : cuts[k][1] + 500] for k in picks]
        labels += [label] * len(picks)
    return texts, np.array(labels)


def document_vectors(folder: Path, num: int) -> np.ndarray:
    """Snapped vectors of the embedded model [num, 128] of paragraphs of the pool, drawn at random."""
    texts = [t for text in some_texts(pool_files(folder), 60_000_000) for t in text.split("\n\n") if len(t) > 200]
    order = np.random.default_rng(0).permutation(len(texts))[: num + num // 10]
    path = folder / "paragraphs.jsonl"
    rows = [json.dumps({"id": f"{k}", "text": texts[k]}) + "\n" for k in order]
    path.write_text("".join(rows), encoding="utf-8")
    found = embed(read(path, workspace=folder / "w"), workspace=folder / "w")
    flat = [np.asarray(found.vectors(part).flatten()) for part in range(found.num_parts)]
    vectors = snapped(np.concatenate(flat).reshape(-1, found.dimensions))
    return vectors[vectors.any(axis=1)][:num]


def million_rows(folder: Path, num_rows: int = 1_000_000) -> Path:
    """A JSONL file of short synthetic documents."""
    path = folder / "million.jsonl"
    rng = np.random.default_rng(0)
    words = np.array([f"word{k}" for k in range(5000)])
    with open(path, "w", encoding="utf-8") as stream:
        for start in range(0, num_rows, 10_000):
            picks = rng.zipf(1.3, (10_000, 8)) % 5000
            stream.writelines(
                json.dumps({"id": f"{start + k}", "text": " ".join(words[row])}) + "\n" for k, row in enumerate(picks)
            )
    return path


def million_near_duplicates(folder: Path, pool: str, num_rows: int = 1_000_000) -> Path:
    """A Parquet file of documents of the pool with words replaced: none in a third of them, up to 10 % in the others.

    Each document is drawn at random, so that about eight of a kind come together; `family` says which are.
    """
    path = folder / "near.parquet"
    words = [text.split(" ") for text in some_texts(pool, 1 << 40)]
    rng = np.random.default_rng(1)
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("family", pa.int32())])
    with pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False) as writer:
        for start in range(0, num_rows, 5_000):
            families = rng.integers(0, len(words), 5_000)
            rates = np.maximum(0, rng.uniform(-0.05, 0.1, 5_000))
            texts = []
            for family, rate in zip(families, rates, strict=True):
                edited = list(words[family])
                for at in rng.integers(0, len(edited), rng.binomial(len(edited), rate)):
                    edited[at] = f"edit{rng.integers(1 << 30)}"
                texts.append(" ".join(edited))
            ids = [f"{start + k}" for k in range(len(texts))]
            writer.write_table(pa.table([ids, texts, families.astype(np.int32)], schema=schema))
    return path
