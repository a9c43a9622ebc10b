"""ZIP-FIT: how well a document compresses together with target texts.

Paper: ZIP-FIT: Embedding-Free Data Selection via Compression-Based Alignment, Obbad et al. 2024 (arXiv:2410.18194),
section 3. Authors' code: stair-lab/ZIP-FIT at d8b6a63, on PyPI as zip-fit 1.0.9. The alignment of a document s is the
mean over target texts t of 1 - NCD(s, t), where NCD(s, t) = (C(s + t) - min(C(s), C(t))) / max(C(s), C(t)) and C is a
compressed size in bytes (normalised compression distance, Cilibrasi and Vitányi 2005, arXiv:cs/0312044).

What differs:
- The compressor works at level 6. The package's default, level 0, stores without compressing and so ranks by length
  (rank correlation -0.99 with it); the paper's lz4 agrees with gzip to 0.81 only, and is not offered. With zstd the
  numbers are the package's; with zlib they lack the 12 bytes by which gzip's header is longer.
- Document and target text are cut to `max_bytes` first, so that neither is much longer than the other for being long,
  and both lie inside the compressor's window: what stands 32 kB apart, deflate does not see to be alike.
- Of the target at most `max_targets` texts are taken, by hash of their ids.
- A mean over a hundred target texts says little more than one over a few, since what is alike in most pairs is what is
  alike in all of them. So by default a document is compared with `anchors` target texts only, spread evenly over their
  compressed sizes. Rank correlation with the exact form (`anchors: 0`) is 0.99 on text of 13 domains; every fit
  measures it on 200 documents of the pool and reports it. One dictionary of the target, which would be faster still,
  ranks otherwise (correlation 0.2 to 0.9), but finds planted documents better: the column `zipfit.primed`.

Cost: `anchors` + 2 compressions a document: 2.3 MB/s and core, 32 times the exact form with 200 target texts. Parts are
worked on side by side, since the compressor lets other threads run. Memory: max_targets * max_bytes and 200
documents. When not to use: where DSIR, `zipfit.primed` or a classifier can be had, which find a target's kind better
and are 50 times faster; see docs/compression.md.
"""

import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check_choice, check_integer
from assay.kernels.arrow import masked, utf8
from assay.memory import num_workers
from assay.models.calibration import spearman
from assay.scorers.base import Column, Scorer, State
from assay.scorers.sampling import merge_samples, sampled, shortened, sketch_sample, thinned

_WINDOW = 1 << 15
_NUM_JUDGED = 200  # documents of the pool on which the two forms are compared
_MIN_JUDGED = 10


class _Compressor(NamedTuple):
    """size: compressed bytes of a text at a level. after: the same of a text behind a dictionary. max_level: most."""

    size: Callable[[bytes, int], int]
    after: Callable[[bytes, int], Callable[[bytes], int]]
    max_level: int


def _zlib_size(data: bytes, level: int) -> int:
    return len(zlib.compress(data, level))


def _zlib_after(dictionary: bytes, level: int) -> Callable[[bytes], int]:
    primed = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, 0, dictionary)

    def size(data: bytes) -> int:
        own = primed.copy()
        return len(own.compress(data)) + len(own.flush()) + 6  # the header and check sum that `_zlib_size` counts

    return size


def _zstd_size(data: bytes, level: int) -> int:
    return len(pa.Codec("zstd", compression_level=level).compress(data, asbytes=True))


def _zstd_after(dictionary: bytes, level: int) -> Callable[[bytes], int]:
    alone = _zstd_size(dictionary, level)
    return lambda data: _zstd_size(dictionary + data, level) - alone


_COMPRESSORS = {
    "zlib": _Compressor(_zlib_size, _zlib_after, 9),
    "zstd": _Compressor(_zstd_size, _zstd_after, 19),
}


@dataclass(frozen=True, kw_only=True)
class ZipFit(Scorer):
    """Compression alignment of each document with the target.

    anchors: target texts that a document is compared with; 0 = all of them, the exact form.
    max_targets: texts taken of each target.
    max_bytes: what is read of a document and of a target text, from its start.
    compressor: zlib (deflate, as in gzip) or zstd. level: how hard it works.
    """

    name: ClassVar[str] = "zipfit"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    anchors: int = 5
    max_targets: int = 200
    max_bytes: int = 4000
    compressor: str = "zlib"
    level: int = 6

    def __post_init__(self) -> None:
        check_integer("anchors", self.anchors, 0)
        check_integer("max_targets", self.max_targets, 1, 10_000)
        check_integer("max_bytes", self.max_bytes, 1, _WINDOW // 2)
        check_choice("compressor", self.compressor, _COMPRESSORS)
        check_integer("level", self.level, 1, _COMPRESSORS[self.compressor].max_level)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`zipfit.alignment` (the score), `zipfit.primed`, and both per target when there are several.

        With several targets, the two are those of the target that fits best.
        """
        kinds = {
            "zipfit.alignment": "mean of 1 - NCD with target texts",
            "zipfit.primed": "bytes saved by a dictionary of the target, relative as in NCD",
        }
        each = [
            Column(f"{name}.{t}", pa.float64(), True, f"{meaning}, target {t}")
            for t in (targets if len(targets) > 1 else ())
            for name, meaning in kinds.items()
        ]
        return [Column(name, pa.float64(), True, meaning) for name, meaning in kinds.items()] + each

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """At most `max_targets` target documents, those of least hash."""
        return thinned(shortened(sketch_sample(batch, 0, self.max_targets), self.max_bytes), self.max_targets)

    def merge(self, a: State, b: State) -> State:
        """The documents of least hash of both."""
        return thinned(merge_samples(a, b), max(self.max_targets, _NUM_JUDGED)) if a else {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """Texts of each target, cut, by compressed size: `text` [bytes], `text_bytes` and `target`, its number [texts].

        Raises:
            InvalidParameterError: a target has no text.
        """
        texts: list[bytes] = []
        owners: list[int] = []
        for k, (name, state) in enumerate(targets.items()):
            found = [t for t in self._texts(sampled(state, self.max_targets)) if t] if len(state["sample.keys"]) else []
            if not found:
                raise InvalidParameterError(f"Target {name!r} has no text; ZIP-FIT needs some to compress with.")
            texts += sorted(found, key=lambda text: (self._size(text), text))
            owners += [k] * len(found)
        return {
            "text": np.frombuffer(b"".join(texts), np.uint8),
            "text_bytes": np.array([len(text) for text in texts]),
            "target": np.array(owners),
        }

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be among the documents on which the forms are compared."""
        return shortened(sketch_sample(batch, int(prepared["num_documents"][0]), _NUM_JUDGED), self.max_bytes)

    def finish(self, prepared: State, pool: State) -> State:
        """The texts, and `agreement` [1]: rank correlation of both forms on a sample of the pool; NaN: too small."""
        agreement = np.nan
        if self.anchors and len(pool["sample.keys"]) >= _MIN_JUDGED:
            texts = self._texts(sampled(pool, _NUM_JUDGED))
            forms = [self._best(texts, self._against(prepared, anchors)) for anchors in (0, self.anchors)]
            found = spearman(*forms)
            agreement = np.nan if found is None else found
        return prepared | {"agreement": np.array([agreement])}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`agreement_with_exact`: rank correlation of `zipfit.alignment` with the exact form; None where not known."""
        value = float(state["agreement"][0])
        return {} if self.anchors == 0 else {"agreement_with_exact": None if np.isnan(value) else value}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Alignments per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "text_bytes" not in state:
            raise NotFittedError(
                "ZIP-FIT has not been fitted; `assay.score(corpus, ZipFit(), target=...)` fits and scores."
            )
        scores = self._scores(self._texts(batch), self._against(state, self.anchors))
        is_valid = utf8(batch.column("text")).is_valid
        num_targets = scores.shape[1]
        best = list(scores.max(axis=1).T)
        each = list(scores.reshape(len(scores), 2 * num_targets).T) if num_targets > 1 else []
        return [masked(np.ascontiguousarray(column), is_valid) for column in (*best, *each)]

    def _texts(self, batch: pa.RecordBatch) -> list[bytes]:
        """Each text as bytes, cut, which may be inside a character."""
        text = utf8(batch.column("text"))
        data = text.data
        ends = np.minimum(text.offsets[1:], text.offsets[:-1] + self.max_bytes)
        return [data[a:b].tobytes() for a, b in zip(text.offsets[:-1].tolist(), ends.tolist(), strict=True)]

    def _size(self, data: bytes) -> int:
        return _COMPRESSORS[self.compressor].size(data, self.level)

    def _against(self, state: State, anchors: int) -> "list[_Target]":
        """What to compare with, of each target."""
        ends = np.cumsum(state["text_bytes"])
        data = state["text"].tobytes()
        all_texts = [
            data[end - size : end] for end, size in zip(ends.tolist(), state["text_bytes"].tolist(), strict=True)
        ]
        against = []
        for owner in np.unique(state["target"]):
            texts = [text for text, k in zip(all_texts, state["target"], strict=True) if k == owner]
            slices = b"".join(text[: max(1, _WINDOW // len(texts))] for text in texts)[:_WINDOW]
            number = min(anchors, len(texts)) or len(texts)
            taken = [(2 * k + 1) * len(texts) // (2 * number) for k in range(number)]
            sizes = np.array([self._size(text) for text in texts])
            after = _COMPRESSORS[self.compressor].after(slices, self.level)
            against.append(_Target([texts[k] for k in taken], sizes[taken], sizes, after))
        return against

    def _best(self, texts: list[bytes], against: "list[_Target]") -> np.ndarray:
        """Alignment of each text with the target that fits best [texts], on all cores."""
        with ThreadPoolExecutor(num_workers()) as threads:
            scores = threads.map(lambda text: self._scores([text], against)[0, :, 0].max(), texts)
            return np.array(list(scores))

    def _scores(self, texts: list[bytes], against: "list[_Target]") -> np.ndarray:
        """Alignment and saving of each text with each target [texts, targets, 2]."""
        scores = np.empty((len(texts), len(against), 2))
        for row, text in enumerate(texts):
            size = self._size(text)
            for k, target in enumerate(against):
                joint = np.array([self._size(text + other) for other in target.texts])
                scores[row, k, 0] = np.mean(alignments(joint, size, target.sizes))
                scores[row, k, 1] = (size - target.after(text)) * np.mean(1 / np.maximum(size, target.all_sizes))
        return scores


class _Target(NamedTuple):
    """texts: to compare with. sizes: theirs, compressed. all_sizes: of all. after: size of a text behind it."""

    texts: list[bytes]
    sizes: np.ndarray
    all_sizes: np.ndarray
    after: Callable[[bytes], int]


def alignments(joint: np.ndarray, size: int, target_sizes: np.ndarray) -> np.ndarray:
    """1 - NCD of a document with each target text [texts] (Obbad et al. 2024, section 3).

    Args:
        joint: compressed bytes of the document with each target text behind it [texts].
        size, target_sizes: compressed bytes of the document alone, and of each target text alone [texts].

    >>> alignments(np.array([100, 140]), 60, np.array([80, 80]))
    array([0.5, 0. ])
    """
    return 1 - (joint - np.minimum(size, target_sizes)) / np.maximum(size, target_sizes)
