"""Documents to measure on: the shared pool where a checkout has one, else text of this Python installation."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from assay.demo import POOL, gather

_SHARED = Path(__file__).parents[2] / "shared" / "data" / "pool"
_BENCHMARKS = _SHARED.parent / "benchmarks"


def pool_files(folder: Path) -> str:
    """A glob of .jsonl.zst files with `id` and `text`."""
    if _SHARED.is_dir():
        return str(_SHARED / "*.jsonl.zst")
    gather(folder)
    return str(folder / POOL)


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
