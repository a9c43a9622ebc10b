"""PreSelect: text on which better models do better than worse ones.

Paper: Predictive Data Selection: The Data That Predicts Is the Data That Teaches, Shum et al. 2025 (arXiv:2503.00808),
section 2. Authors' code: hkust-nlp/PreSelect at 258c632. The predictive strength of a document is the share of pairs of
models in which the one that is better on benchmarks has the lower loss on the document. A classifier learns the strong
documents of a sample against the weak ones, and is applied to all.

What differs:
- Losses come from a table of any models (`losses`), or from our own: a ladder of n-gram models that have read 1, 4, 16
  and 64 parts of the target (`models.ladder`), each part drawn four times. The paper's are six Llamas and know many
  things; ours know the target, so this default looks for text that predicts the target.
- Equal losses count half. The paper's positives are documents with all pairs right and its negatives the lowest (in the
  code: the first that are not perfect); ours are the `top` share of each end, ties drawn by hash of the id.
- Each document is judged by itself, where the authors' code lets it see the end of the one before.
- The classifier is ours (`models.linear`: words and pairs of words, calibrated) in place of fastText.

How much of the order of documents is noise is reported: `reliability`, the rank correlation of the strengths that two
halves of the models give, stepped up to all models (Spearman-Brown); `agreement`, the rank correlation of classifier
and strength on documents that it has not learnt from.

Cost: 3 seconds for the ladder on 2,000 documents (once, whatever the size of the pool), then 60 MB/s and core. Memory:
60 MB for the sample at most, 500 MB for the ladder. When not to use: where reliability is near 0; on text of one kind
twelve models agree with ninety to 0.3 only. See docs/preselect.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from assay.errors import InputError, InvalidParameterError, NotFittedError, check, check_integer, check_number
from assay.kernels.arrow import from_utf8, masked, utf8
from assay.kernels.hashing import hash_strings
from assay.models.calibration import spearman
from assay.models.ladder import RUNGS, climb
from assay.models.linear import BINARY, Linear, features
from assay.models.linear_fit import fit
from assay.scorers.base import Column, Scorer, State
from assay.scorers.sampling import merge_samples, sampled, shortened, sketch_sample, thinned

_MAX_TARGETS = 4000
_MAX_BYTES = 4000  # of each text that the ladder reads or judges
_MAX_LEARNT_BYTES = 20_000  # of each text that the classifier learns from
_MIN_JUDGED = 12
_READERS = {
    ".parquet": pq.read_table,
    ".csv": pyarrow.csv.read_csv,
    ".jsonl": pyarrow.json.read_json,
}


@dataclass(frozen=True, kw_only=True)
class PreSelect(Scorer):
    """Probability that a document is one on which better models do better.

    losses: a .parquet, .csv or .jsonl file with a column `id` and one column for each model: its loss on the document,
        summed over it or per byte (per token only where all models share a tokenizer); None = our ladder on the target.
    models: columns of `losses`, from the least able model to the ablest; none = all but `id`, as they stand.
    sample: documents of the pool to judge and learn from; the ladder reads half as many more.
    draws: how often each rung of the ladder is drawn.
    top: share of the judged documents that is taken as examples from each end.
    """

    name: ClassVar[str] = "preselect"
    version: ClassVar[int] = 2
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("losses",)

    losses: str | None = None
    models: tuple[str, ...] = ()
    sample: int = 2000
    draws: int = 4
    top: float = 0.1

    def __post_init__(self) -> None:
        ok = isinstance(self.models, list | tuple) and all(isinstance(name, str) for name in self.models)
        ok = ok and len(set(self.models)) == len(self.models)
        way_out = "Name each once, from the least able model to the ablest."
        check(ok, "models", self.models, "a list of different columns", way_out)
        object.__setattr__(self, "models", tuple(self.models))
        is_used = not self.models or self.losses is not None
        check(is_used, "models", self.models, "left out without `losses`", "The ladder's order is known.")
        check_integer("sample", self.sample, _MIN_JUDGED)
        check_integer("draws", self.draws, 1, 100)
        check_number("top", self.top, "a share above 0, at most 0.5", lambda share: 0 < share <= 0.5)

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        """Only where the ladder takes the place of losses."""
        return self.losses is None

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`preselect.probability` alone; several targets are read as one."""
        meaning = "probability of being a document of high predictive strength"
        return [Column("preselect.probability", pa.float64(), True, meaning)]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Target documents of least hash, and the start of each."""
        return thinned(shortened(sketch_sample(batch, 0, _MAX_TARGETS), _MAX_BYTES), _MAX_TARGETS)

    def merge(self, a: State, b: State) -> State:
        """The documents of least hash of both."""
        most = max(_MAX_TARGETS, 2 * self._num_read) if self.losses is None else self._num_read
        return thinned(merge_samples(a, b), most) if a else {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """`text` of the target [bytes] and `text_bytes` [texts]; or `keys`, `strength` and `reliability` of the table.

        Raises:
            InvalidParameterError: a target has no text.
            InputError: the table of losses cannot be read, has not these columns, or holds no number where it must.
        """
        if self.losses is not None:
            return self._judge(self.losses)
        for name, state in targets.items():
            if not state["sample.text_bytes"].sum():
                raise InvalidParameterError(f"Target {name!r} has no text; the ladder's models need some to read.")
        texts = [utf8(sampled(state, _MAX_TARGETS).column("text")) for state in targets.values()]
        return {
            "text": np.concatenate([text.data[text.offsets[0] : text.offsets[-1]] for text in texts]),
            "text_bytes": np.concatenate([np.diff(text.offsets) for text in texts]),
        }

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample; with a table, of the documents in it."""
        num_documents = int(prepared["num_documents"][0])
        if "keys" in prepared:  # how many of the table are in this pool is not known beforehand
            is_known = np.isin(_hashes(batch.column("id")), prepared["keys"])
            batch, num_documents = batch.filter(pa.array(is_known)), 0
        sample = sketch_sample(batch, num_documents, self._num_read)
        return shortened(sample if num_documents else thinned(sample, self._num_read), _MAX_LEARNT_BYTES)

    def finish(self, prepared: State, pool: State) -> State:
        """The classifier, and figures about what it was learnt from.

        Raises:
            InvalidParameterError: too few documents, or all as strong as each other.
        """
        if "keys" in prepared and not len(pool["sample.keys"]):
            raise InvalidParameterError(f"`losses` (={self.losses}) names no document of this pool by its id.")
        rows = sampled(pool, self._num_read)
        if "keys" in prepared:
            place = np.searchsorted(prepared["keys"], _hashes(rows.column("id")))
            strength, figures = prepared["strength"][place], {"reliability": prepared["reliability"]}
        else:
            rows, strength, figures = self._climb(rows, prepared)
        model, learnt = self._learn(rows.column("text"), strength)
        return model.state() | {f"figure.{key}": value for key, value in (figures | learnt).items()}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`judged`, `examples`, `reliability`, `agreement`, `auc`; with a ladder `heldout_bits_per_byte` by rung."""
        figures = {key.removeprefix("figure."): state[key] for key in state if key.startswith("figure.")}
        shown = {key: [None if np.isnan(x) else float(x) for x in np.atleast_1d(a)] for key, a in figures.items()}
        rungs = shown.pop("heldout_bits_per_byte", None)
        ladder = {} if rungs is None else {"heldout_bits_per_byte": dict(zip(map(str, RUNGS), rungs, strict=True))}
        return {key: values[0] for key, values in shown.items()} | ladder

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Probability per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "figure.judged" not in state:
            raise NotFittedError(
                "PreSelect has not been fitted; `assay.score(corpus, PreSelect(), target=...)` fits and scores."
            )
        text = batch.column("text")
        return [masked(Linear.of_state(state).predict(text), utf8(text).is_valid)]

    @property
    def _num_read(self) -> int:
        return self.sample if self.losses is not None else self.sample + self.sample // 2

    def _judge(self, path: str) -> State:
        ids, losses = read_losses(path, self.models)
        strength = predictive_strength(losses, np.arange(losses.shape[1]))
        keys, rows = np.unique(_hashes(ids), return_index=True)
        if len(keys) < len(ids):
            raise InputError(
                f"`losses` (={path}) has {len(ids) - len(keys)} documents more than once. Leave one of each."
            )
        order = np.arange(losses.shape[1])
        return {"keys": keys, "strength": strength[rows], "reliability": np.array([reliability(losses, order)])}

    def _climb(self, rows: pa.RecordBatch, prepared: State) -> tuple[pa.RecordBatch, np.ndarray, State]:
        """Documents with text that the ladder judges, their strength, and what is known of it."""
        rows = rows.filter(pa.array(np.diff(utf8(rows.column("text")).offsets) > 0))
        self._require(len(rows))
        num_background = len(rows) // 3
        short = [row[:_MAX_BYTES] for row in _as_bytes(rows.column("text"))]
        target = _as_texts(np.split(prepared["text"], np.cumsum(prepared["text_bytes"])[:-1]))
        found = climb(_as_texts(short[num_background:]), _as_texts(short[:num_background]), target, self.draws)
        figures = {
            "reliability": np.array([reliability(found.bits, found.rungs)]),
            "heldout_bits_per_byte": found.heldout_bits_per_byte,
        }
        return rows.slice(num_background), predictive_strength(found.bits, found.rungs), figures

    def _learn(self, texts: pa.Array, strength: np.ndarray) -> tuple[Linear, State]:
        """Strongest against weakest; and how the outcome agrees with strength where it was not learnt from."""
        self._require(len(strength))
        number = min(max(2, round(self.top * len(strength))), len(strength) // 2)
        order = np.argsort(-strength, kind="stable")  # documents stand by hash of their id, which decides ties
        weakest, strongest = order[-number:], order[:number]
        if strength[weakest].mean() == strength[strongest].mean():
            raise InvalidParameterError(
                "No document is of more predictive strength than another: the models' losses are in the same order on "
                "all. Give other models, or another target."
            )
        labels = np.repeat([1.0, 0.0], number)
        model, report = fit(features(texts.take(pa.array(np.concatenate([strongest, weakest])))), labels, kind=BINARY)
        between = order[number:-number]
        agreement = spearman(model.predict(texts.take(pa.array(between))), strength[between])
        figures = {"judged": len(strength), "examples": number, "agreement": agreement, "auc": report["auc"]}
        return model, {key: np.array([np.nan if x is None else x], np.float64) for key, x in figures.items()}

    def _require(self, number: int) -> None:
        if number < _MIN_JUDGED:
            raise InvalidParameterError(
                f"PreSelect has {number} documents with text to learn from and needs at least {_MIN_JUDGED}. Give a "
                "larger pool, or losses of more of its documents."
            )


def predictive_strength(losses: np.ndarray, ability: np.ndarray) -> np.ndarray:
    """Share of pairs of models, of different ability, in which the abler has the lower loss (Shum et al. 2025, eq. 2).

    Equal losses count half. Any rising function of a document's losses gives the same.

    Args:
        losses: of each document under each model [documents, models], finite. ability: of each model [models].
    Returns:
        strength [documents], 0 to 1.
    Raises:
        InvalidParameterError: no two models differ in ability.

    >>> predictive_strength(np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 2.0]]), np.array([0, 1, 2])).round(3)
    array([1.   , 0.167])
    """
    worse, better = np.nonzero(ability[:, None] < ability[None, :])
    check(len(worse) > 0, "ability", ability.tolist(), "of at least two values", "Give models of which one is better.")
    right = np.zeros(len(losses))
    for i, j in zip(worse.tolist(), better.tolist(), strict=True):
        right += (losses[:, j] < losses[:, i]) + 0.5 * (losses[:, j] == losses[:, i])
    return right / len(worse)


def reliability(losses: np.ndarray, ability: np.ndarray) -> float:
    """How well the order of documents by strength would come out again with as many other models, 0 to 1 (or below).

    The rank correlation of the strengths that every other model by ability gives and that the rest give, stepped up to
    all models (Spearman 1910, Brown 1910: 2 r / (1 + r)). NaN for fewer than four models, or without differences.

    Args:
        losses: [documents, models]. ability: [models].
    """
    order = np.argsort(ability, kind="stable")
    halves = order[::2], order[1::2]
    if any(len(np.unique(ability[half])) < 2 for half in halves):
        return float("nan")
    correlation = spearman(*(predictive_strength(losses[:, half], ability[half]) for half in halves))
    return float("nan") if correlation is None or correlation <= -1 else 2 * correlation / (1 + correlation)


def read_losses(path: str, models: tuple[str, ...]) -> tuple[pa.Array, np.ndarray]:
    """Ids [documents] and losses [documents, models] of a table.

    Raises:
        InputError: it is not such a file, lacks a column, or a loss is missing or not a finite number.
    """
    reader = _READERS.get(Path(path).suffix)
    if reader is None:
        raise InputError(f"`losses` (={path}) must be a file whose name ends in {', '.join(_READERS)}.")
    try:
        table = reader(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"`losses` (={path}) cannot be read: {' '.join(str(error).split())[:200]}") from None
    names = models or tuple(name for name in table.column_names if name != "id")
    missing = [name for name in ("id", *names) if name not in table.column_names]
    if missing:
        raise InputError(f"`losses` (={path}) has no column {missing[0]!r}; it has {', '.join(table.column_names)}.")
    if len(names) < 2:
        raise InputError(f"`losses` (={path}) has {len(names)} column of losses; two models are the least to compare.")
    try:
        ids = table.column("id").cast(pa.large_string()).combine_chunks()
    except pa.ArrowException:
        raise InputError(
            f"`losses` (={path}): column 'id' holds no ids, but {table.schema.field('id').type}."
        ) from None
    if ids.null_count:
        raise InputError(f"`losses` (={path}): {ids.null_count} documents have no id. Leave them out.")
    columns = []
    for name in names:
        try:
            values = table.column(name).cast(pa.float64()).to_numpy()
        except pa.ArrowException:
            raise InputError(f"`losses` (={path}): column {name!r} does not hold numbers.") from None
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"`losses` (={path}): the loss of {name!r} on document {ids[row].as_py()!r} is {values[row]} and must "
                "be a finite number. Leave the document out, or the model."
            )
        columns.append(values)
    return ids, np.stack(columns, axis=1)


def _hashes(ids: pa.Array) -> np.ndarray:
    text = utf8(ids)
    return hash_strings(text.data, text.offsets)


def _as_bytes(texts: pa.Array) -> list[bytes]:
    text = utf8(texts)
    bounds = text.offsets.tolist()
    return [text.data[a:b].tobytes() for a, b in pairwise(bounds)]


def _as_texts(pieces: "list[bytes] | list[np.ndarray]") -> pa.Array:
    """Texts, of which some may end inside a character."""
    data = b"".join(bytes(piece) for piece in pieces)
    return from_utf8(np.frombuffer(data, np.uint8), np.cumsum([0, *(len(piece) for piece in pieces)]))
