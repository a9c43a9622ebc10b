"""Embedding models from a folder: sentence-transformers, and model2vec's static ones. Nothing is downloaded.

Long documents: a transformer reads `max_seq_length` tokens at a time (256 or 512), and everything after would be
ignored. So a document is cut into the fewest pieces that fit, of equal length, without overlap; its vector is the mean
of theirs. Of more than 16 pieces 16 are taken, evenly spread from the first to the last. With pooling "position" the
weight of a token goes by its place in the whole document. Static models have no such limit: all tokens are read.

Where it runs: ASSAY_DEVICE is auto (default: a GPU if there is one), cpu, cuda, cuda:1 or mps. Vectors differ between
devices in about the fourth digit; float16 keeps three.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, MissingExtraError, check
from assay.models.embedding import Encoder

DEVICE = "ASSAY_DEVICE"
MAX_PIECES = 16
_BATCH, _BATCH_BYTES = 1024, 1 << 20  # texts at a time: with "position" all their tokens' vectors are in memory
_busy = threading.Lock()  # torch has threads of its own, and a second batch would only take memory


def model_folder(path: str, name: str = "embedding.model") -> Path:
    """The folder that a path means; `name`: of the parameter that it stands in.

    Raises:
        InvalidParameterError: there is none.
    """
    folder = Path(path).expanduser()
    way_out = "Models are not downloaded: put the model's files into a folder and give its path."
    check(folder.is_dir(), name, path, '"words" or a folder that is there', way_out)
    return folder


def load_encoder(path: str) -> Encoder:
    """The model in a folder.

    Raises:
        InvalidParameterError: no such folder, no model in it, or a damaged one.
        MissingExtraError: the package that it needs is not installed.
    """
    folder = model_folder(path)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    try:
        if _is_static(folder):
            return StaticEncoder(folder)
        if (folder / "modules.json").is_file():
            return TransformerEncoder(folder)
    except ImportError as error:
        raise MissingExtraError(
            f"The embedding model in {folder} needs {error.name}, which is not installed. "
            "Run: pip install 'assay[embed]'"
        ) from error
    except (InvalidParameterError, MemoryError):
        raise
    except Exception as error:  # tokenizers and safetensors have errors of their own, which share no other class
        raise InvalidParameterError(f"The embedding model in {folder} cannot be loaded: {error}") from error
    raise InvalidParameterError(
        f"`embedding.model` (={path}) must be a folder with a sentence-transformers model (modules.json) or a "
        "model2vec one (config.json with model_type model2vec); it has neither."
    )


class StaticEncoder:
    """A model2vec model: one vector a token, whatever stands around it; about 5 MB/s and core."""

    def __init__(self, folder: Path):
        from model2vec import StaticModel

        self._model = StaticModel.from_pretrained(folder)

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return int(self._model.dim)

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without known tokens, or null."""
        result = np.zeros((len(texts), self.dimensions), np.float32)
        for rows, batch in _batches(texts):
            if pooling == "mean":
                result[rows] = self._model.encode(batch, max_length=None, use_multiprocessing=False).astype(np.float32)
            else:
                sequences = self._model.encode_as_sequence(batch, use_multiprocessing=False)
                for row, tokens in zip(rows, sequences, strict=True):
                    result[row] = position_mean(tokens.astype(np.float32), 0)
        return unit_rows(_finite(result))


class TransformerEncoder:
    """A sentence-transformers model."""

    def __init__(self, folder: Path):
        from sentence_transformers import SentenceTransformer

        device = os.environ.get(DEVICE, "auto")
        wanted = None if device == "auto" else device
        try:
            self._model = SentenceTransformer(str(folder), device=wanted, local_files_only=True)
        except (RuntimeError, AssertionError) as error:  # torch says either where it cannot use a device
            raise InvalidParameterError(f"`{DEVICE}` (={device!r}) cannot be used: {error}") from error
        self._tokenizer: Any = self._model.tokenizer
        if not self._tokenizer.is_fast or self._model.max_seq_length is None:
            raise InvalidParameterError(
                f"The embedding model in {folder} must have a tokenizer.json and a max_seq_length, to cut documents by."
            )
        self._room = max(1, self._model.max_seq_length - self._tokenizer.num_special_tokens_to_add())
        self.dimensions = len(self._encoded(["1"])[0])  # asked of the model: its own answer has changed its name

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without tokens, or null."""
        result = np.zeros((len(texts), self.dimensions), np.float32)
        for rows, batch in _batches(texts):
            owners, firsts, pieces = self._pieces(batch)
            if not pieces:
                continue
            with _busy:
                vectors = self._encoded(pieces) if pooling == "mean" else self._tokens(pieces, firsts)
            if vectors.shape[1] != self.dimensions:
                raise InvalidParameterError(
                    f"`embedding.pooling` (='position') must be mean for this model: a token has {vectors.shape[1]} "
                    f"numbers, a text {self.dimensions}."
                )
            np.add.at(result, rows[owners], _finite(vectors))
        return unit_rows(result)

    def _pieces(self, texts: list[str]) -> tuple[np.ndarray, list[int], list[str]]:
        """Which text each piece is of, its first token's place in it, and the piece."""
        owners, firsts, pieces = [], [], []
        options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        for owner, spans in enumerate(self._tokenizer(texts, **options)["offset_mapping"]):
            for start, end in cuts(len(spans), self._room):
                owners.append(owner)
                firsts.append(start)
                pieces.append(texts[owner][spans[start][0] : spans[end - 1][1]])
        return np.array(owners, np.int64), firsts, pieces

    def _encoded(self, pieces: list[str]) -> np.ndarray:
        vectors: np.ndarray = self._model.encode(pieces, show_progress_bar=False).astype(np.float32)
        return unit_rows(vectors)

    def _tokens(self, pieces: list[str], firsts: list[int]) -> np.ndarray:
        """The sum of each piece's token vectors, weighted by their place in the document."""
        options = {"output_value": "token_embeddings", "convert_to_numpy": False, "show_progress_bar": False}
        found = self._model.encode(pieces, **options)
        return np.stack([position_mean(t.float().cpu().numpy(), k) for t, k in zip(found, firsts, strict=True)])


def cuts(num_tokens: int, room: int) -> list[tuple[int, int]]:
    """Where the pieces of a document of `num_tokens` start and end: as few as fit, equally long, 16 at most.

    >>> cuts(5, 8), cuts(9, 4), len(cuts(10**6, 254))
    ([(0, 5)], [(0, 3), (3, 6), (6, 9)], 16)
    """
    number = -(-num_tokens // room)
    bounds = [num_tokens * k // number for k in range(number + 1)] if number else []
    taken = range(number) if number <= MAX_PIECES else np.linspace(0, number - 1, MAX_PIECES).astype(int)
    return [(bounds[k], bounds[k + 1]) for k in taken]


def position_mean(tokens: np.ndarray, first: int) -> np.ndarray:
    """Token vectors [tokens, dimensions] added up, the i-th of the document with weight i; zeros where there are none.

    Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning" (arXiv:2503.01807), RDS+: weights
    i / (1 + ... + n). The divisor is left out, since vectors are brought to unit length.
    """
    weights = np.arange(first + 1, first + 1 + len(tokens), dtype=np.float32)
    total: np.ndarray = weights @ tokens
    return total


def _finite(vectors: np.ndarray) -> np.ndarray:
    """The vectors.

    Raises:
        InvalidParameterError: one has a number that is none.
    """
    if not np.isfinite(vectors).all():
        raise InvalidParameterError(
            "`embedding.model` gives vectors with NaN or infinite numbers. Its files are damaged, or it does not work "
            f"on this device: take another copy, or {DEVICE}=cpu."
        )
    return vectors


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit length; those of zeros stay as they are."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _batches(texts: pa.Array) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Rows of some texts, and these; nulls are left out."""
    rows = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
    megabytes = np.cumsum(pc.binary_length(texts).drop_null().to_numpy(zero_copy_only=False)) // _BATCH_BYTES
    for together in np.split(rows, np.flatnonzero(np.diff(megabytes)) + 1):
        for start in range(0, len(together), _BATCH):
            some = together[start : start + _BATCH]
            yield some, texts.take(pa.array(some)).to_pylist()


def _is_static(folder: Path) -> bool:
    """Whether it is model2vec's; those of old versions say so in config.json only."""
    modules, config = _json(folder / "modules.json"), _json(folder / "config.json")
    if isinstance(modules, list) and modules and isinstance(modules[0], dict):
        return str(modules[0].get("type")).endswith(".StaticEmbedding")
    return isinstance(config, dict) and config.get("model_type") == "model2vec"


def _json(file: Path) -> Any:
    """What stands in a file; None where it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
