"""The row about count merging: losses under many mixtures, from one reading of their sources."""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.models import merging as model
from assay.models.merging import MergedCounts
from assay.models.ngram import Queries, score_once
from assay.models.tokenizer import BPE
from benchmarks.data import pool_files, some_texts

_VOCAB, _ORDER = 8192, 4
_SOURCE_TOKENS, _MIXTURE_TOKENS, _HELD_TOKENS = 1_000_000, 1_000_000, 300_000
_BYTES_PER_TOKEN = 5
_MIXTURES, _TRAININGS, _RUNS = 256, 4, 3


def merge(folder: Path) -> dict[str, Any]:
    """Losses of held-out documents under mixtures of a pool's sources, against training on each; seconds of one thread.

    What is done once for all mixtures, the sorted reading of all sources, is not in the rate; it is in `once_s`.
    """
    tokens, starts, sources, held, held_starts, vocab_size = _documents(folder)
    queries = Queries.of(held, held_starts, vocab_size=vocab_size, order=_ORDER)
    counts = MergedCounts.of(tokens, starts, sources, vocab_size=vocab_size, order=_ORDER)
    read = _mixtures(starts, sources)
    unions = [_union(tokens, starts, sources, row) for row in read[:_TRAININGS]]
    model.num_workers = lambda: 1  # the rows say one core
    counts.bits(queries, held_starts, read[:1])  # compiles
    counts._prepared = None
    began = time.process_time()
    counts.bits(queries, held_starts, read[:1])
    once = time.process_time() - began
    score_once(queries, *unions[0])
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_RUNS):
        began = time.process_time()
        counts.bits(queries, held_starts, read)
        seconds[0].append((time.process_time() - began) / len(read))
        began = time.process_time()
        for union in unions:
            score_once(queries, *union)
        seconds[1].append((time.process_time() - began) / len(unions))
    mine, peer = (1 / statistics.median(times) for times in seconds)
    num_sources = int(sources.max()) + 1
    unit = f"mixtures/s, {len(tokens) / 1e6:.0f}M tokens of {num_sources} sources, 1M a mixture, one core"
    row = {"ours": mine, "peer": peer, "unit": unit, "ratio": mine / peer, "peer_name": "training on each mixture"}
    return row | {"once_s": round(once, 2)}


def _documents(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Tokens, starts and sources of the documents to read, tokens and starts of held-out ones, size of vocabulary."""
    pool = Path(pool_files(folder))
    files = sorted(pool.parent.glob(pool.name))
    texts = [some_texts(str(file), (_SOURCE_TOKENS + _HELD_TOKENS // len(files)) * _BYTES_PER_TOKEN) for file in files]
    bpe = BPE.train((text[:5000] for some in texts for text in some[:150]), _VOCAB)
    read: list[np.ndarray] = []
    held: list[np.ndarray] = []
    sources: list[int] = []
    for source, some in enumerate(texts):
        ids, starts = bpe.encode(pa.array(some, pa.large_string()))
        first = int(np.searchsorted(starts, _HELD_TOKENS / len(files)))
        last = int(np.searchsorted(starts, starts[first] + _SOURCE_TOKENS, side="right")) - 1
        documents = np.split(ids, starts[1:-1])
        held += documents[:first]
        read += documents[first:last]
        sources += [source] * (last - first)
    flat = [(np.concatenate(some), np.cumsum([0, *map(len, some)])) for some in (read, held)]
    return *flat[0], np.array(sources), *flat[1], bpe.vocab_size


def _mixtures(starts: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Documents read of each source, of weights drawn uniformly from the simplex [mixtures, sources]."""
    num = int(sources.max()) + 1
    weights = np.random.default_rng(0).dirichlet(np.ones(num), _MIXTURES)
    sizes = [np.cumsum(np.diff(starts)[sources == source]) for source in range(num)]
    read = [np.searchsorted(size, weights[:, k] * _MIXTURE_TOKENS) for k, size in enumerate(sizes)]
    return np.stack(read, axis=1)


def _union(
    tokens: np.ndarray, starts: np.ndarray, sources: np.ndarray, read: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([np.flatnonzero(sources == source)[:number] for source, number in enumerate(read)])
    sizes = np.diff(starts)[rows]
    return np.concatenate([tokens[starts[k] : starts[k + 1]] for k in rows]), np.cumsum([0, *sizes])
