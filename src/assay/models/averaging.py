"""The weighted average of checkpoints: one model that stands for a model trained on all their data (neural merging).

Na et al. 2024, "Scalable Data Ablation Approximations for Language Models through Modular Training and Merging"
(arXiv:2410.15661): models that went on from a common one, each on a part of the data, are averaged, and the perplexity
of the average ranks unions of parts as models trained on the unions would be ranked.

What differs: weights need not be equal, as the authors' evaluation has them (their code leaves other ones to be done);
in proportion to what each model read, averages of averages are the average of all. Whole numbers among the tensors
(buffers) are not averaged but must be the same.

Cost: one reading of each file; 4 million numbers in memory at a time, whatever the size of the models. No torch.

When not to use it: for models without a common start (the average is no model at all), and for the level of a loss,
which is off: trust ranks, and verify the winner. Of n-gram models merging is exact: `models.merging`.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from assay.artifacts.storage import atomic_path
from assay.errors import InputError, InvalidParameterError, check

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_NOT_COMPARED = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")  # say nothing of what is computed
_BLOCK = 1 << 22  # numbers of a tensor at a time
_MAX_HEADER = 100_000_000  # bytes, as safetensors has it


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Checkpoint(NamedTuple):
    """Where a file of safetensors has its tensors, by name in their order; `first_byte` is where data begin."""

    path: Path
    first_byte: int
    tensors: dict[str, _Tensor]


def average(models: Mapping[str, Path], weights: Sequence[float], folder: Path) -> int:
    """Writes the weighted average of models to a folder, with the tokenizer and configuration that all have.

    Args:
        models: name to folder in the layout of Hugging Face (`model.safetensors`, `config.json`, `tokenizer.json`).
        weights: of each model, 0 or more; divided by their sum.
        folder: is made; each file is written whole or not at all.

    Returns:
        how many numbers a model has.

    Raises:
        InvalidParameterError: no models, or weights that are not one a model, are below 0 or sum to 0; or models that
            differ in configuration, tokenizer, names, types or shapes of tensors, or in a tensor of whole numbers.
        InputError: a file is missing or damaged, or a checkpoint lies in several files.
    """
    shares = checked_shares(weights, list(models))
    for name in (CONFIG, TOKENIZER):
        _require_same(models, name)
    read = {name: _open(path / WEIGHTS) for name, path in models.items()}
    first_name, first = next(iter(read.items()))
    for name, other in read.items():
        _require_same_tensors(first_name, first, name, other)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary, open(temporary, "wb") as out:
        with open(first.path, "rb") as source:
            out.write(source.read(first.first_byte))  # same names, types and places
        for tensor in first.tensors:
            for block in _averaged(tensor, read, shares):
                out.write(block)
    source_folder = models[first_name]
    for path in (source_folder / CONFIG, source_folder / TOKENIZER, source_folder / "tokenizer_config.json"):
        if path.exists():
            with atomic_path(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
    return sum(int(np.prod(tensor.shape)) for tensor in first.tensors.values())


def checked_shares(weights: Sequence[float], names: Sequence[str]) -> np.ndarray:
    """Weights divided by their sum [models] float64.

    Raises:
        InvalidParameterError: no models, or weights that are not one a model, are below 0 or sum to 0.
    """
    check(len(names) > 0, "models", [], "at least one")
    check(len(weights) == len(names), "weights", list(weights), f"one a model, {len(names)}")
    values = np.asarray(weights, np.float64)
    ok = bool(np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0)
    check(ok, "weights", list(weights), "numbers from 0, not all 0")
    return values / values.sum()


def _averaged(tensor: str, read: Mapping[str, _Checkpoint], shares: np.ndarray) -> Iterator[bytes]:
    """The bytes of one tensor's average, a block after another; those that models have, where it holds no floats."""
    dtype, _, begin, end = next(iter(read.values())).tensors[tensor]
    width = np.dtype(_FLOATS.get(dtype, np.uint8)).itemsize
    for low in range(begin, end, _BLOCK * width):
        size = min(end - low, _BLOCK * width)
        if dtype not in _FLOATS:
            yield _same_bytes(tensor, read, low, size)
            continue
        total = np.zeros(size // width)
        for share, (name, checkpoint) in zip(shares, read.items(), strict=True):
            values = _decoded(_bytes(checkpoint, low + checkpoint.tensors[tensor].begin - begin, size), dtype)
            if not np.isfinite(values).all():
                raise InputError(f"Tensor {tensor} of model {name!r} has numbers that are not finite. Train it again.")
            total += share * values
        yield _encoded(total, dtype)


def _same_bytes(tensor: str, read: Mapping[str, _Checkpoint], low: int, size: int) -> bytes:
    first_name, first = next(iter(read.items()))
    mine = _bytes(first, low, size)
    for name, other in read.items():
        begin = other.tensors[tensor].begin + low - first.tensors[tensor].begin
        if _bytes(other, begin, size) != mine:
            raise InvalidParameterError(
                f"Tensor {tensor} holds whole numbers, which are not averaged, and {first_name!r} and {name!r} differ "
                "in it. Merge models of one architecture and one start."
            )
    return mine


def _decoded(data: bytes, dtype: str) -> np.ndarray:
    values = np.frombuffer(data, _FLOATS[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def _encoded(values: np.ndarray, dtype: str) -> bytes:
    if dtype != "BF16":
        return values.astype(_FLOATS[dtype]).tobytes()
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()  # to the nearest, ties to even


def _bytes(checkpoint: _Checkpoint, begin: int, size: int) -> bytes:
    with open(checkpoint.path, "rb") as file:
        file.seek(checkpoint.first_byte + begin)
        data = file.read(size)
    if len(data) != size:
        raise InputError(f"{checkpoint.path} ends too early: damaged. Take another copy.")
    return data


def _open(path: Path) -> _Checkpoint:
    """Reads the header: 8 bytes with its length, then JSON, then the tensors (the format of safetensors)."""
    if not path.exists():
        raise InputError(
            f"{path} does not exist. Models are folders with {WEIGHTS}, {CONFIG} and {TOKENIZER}; a checkpoint that "
            "lies in several files has to be saved as one first."
        )
    try:
        with open(path, "rb") as file:
            return _parsed(path, file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged or no file of safetensors: {error}. Take another copy.") from error


def _parsed(path: Path, file: BinaryIO) -> _Checkpoint:
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= _MAX_HEADER:
        raise ValueError(f"a header of {size:,} bytes")
    header: dict[str, dict[str, Any]] = json.loads(file.read(size))
    tensors = {
        name: _Tensor(entry["dtype"], tuple(entry["shape"]), *map(int, entry["data_offsets"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }
    ordered = dict(sorted(tensors.items(), key=lambda item: item[1].begin))
    end = 0
    for name, tensor in ordered.items():
        if tensor.begin != end or tensor.end < tensor.begin:
            raise ValueError(f"tensor {name} does not start where the one before it ends")
        end = tensor.end
    if file.seek(0, 2) != 8 + size + end:
        raise ValueError(f"it should have {8 + size + end:,} bytes")
    return _Checkpoint(path, 8 + size, ordered)


def _require_same(models: Mapping[str, Path], file: str) -> None:
    contents = {name: _json(folder / file) for name, folder in models.items()}
    first_name, first = next(iter(contents.items()))
    for name, content in contents.items():
        if content != first:
            keys = [key for key in {**first, **content} if first.get(key) != content.get(key)]
            raise InvalidParameterError(
                f"Models {first_name!r} and {name!r} cannot be averaged: their {file} differ in {', '.join(keys)}. "
                "Train all from one start (`start=`)."
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged: {error}. Take another copy.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object. Take another copy.")
    return {key: value for key, value in content.items() if key not in _NOT_COMPARED}


def _require_same_tensors(first_name: str, first: _Checkpoint, name: str, other: _Checkpoint) -> None:
    mine, theirs = first.tensors, other.tensors
    missing = sorted(mine.keys() ^ theirs.keys())
    if missing:
        found = f"{missing[0]} is in one only"
    else:
        different = [tensor for tensor in mine if mine[tensor][:2] != theirs[tensor][:2]]
        if not different:
            return
        a, b = (f"{tensors[different[0]].dtype} {tensors[different[0]].shape}" for tensors in (mine, theirs))
        found = f"{different[0]} is {a} in one and {b} in the other"
    raise InvalidParameterError(f"Models {first_name!r} and {name!r} cannot be averaged: {found}.")
