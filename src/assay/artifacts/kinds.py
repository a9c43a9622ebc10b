"""The nouns: each artifact opened for reading, one part at a time.

Part k of everything made from a corpus has the same rows in the same order as part k of the corpus, so reading them
together needs no join.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from assay.artifacts.cost import count_read
from assay.artifacts.manifest import Manifest, is_in_place
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, location, open_arrow, open_parquet, read_parquet, within
from assay.errors import ArtifactError, InputError, InvalidParameterError, SchemaError, check, did_you_mean

LOWER_IS_BETTER = "lower_is_better"
ANSWERS = "answers.parquet"
BATCH_BYTES = 16 << 20
_MAX_BATCH_ROWS = 1 << 16


class Artifact:
    """A finished folder and its manifest."""

    kind: ClassVar[str]

    def __init__(self, folder: Location, manifest: Manifest | None = None):
        self.folder = location(folder)
        self.manifest = manifest or Manifest.load(self.folder)
        if self.manifest.kind != self.kind:
            raise ArtifactError(f"{folder} holds a {self.manifest.kind}, not a {self.kind}.")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for everything that made this artifact."""
        return self.manifest.fingerprint

    @property
    def name(self) -> str:
        """What its maker called it."""
        return self.manifest.name

    @property
    def num_parts(self) -> int:
        """Number of parts; the same for a corpus and all that is computed from it."""
        return len(self.manifest.parts)

    def part_path(self, part: int) -> Location:
        """The file of one part."""
        return within(self.folder, self.manifest.parts[part]["file"])

    @contextmanager
    def reading(self, part: int) -> Iterator[Location]:
        """The file of one part, to be read in the block; where that fails it is said in one sentence.

        A part of our own that is damaged is deleted, and with it what says that it is there, so that the next run makes
        it again. A file that is read in place is left alone.

        Raises:
            InputError: a file that is read in place has changed, is damaged or gone.
            ArtifactError: a part of our own is.
        """
        entry, path = self.manifest.parts[part], self.part_path(part)
        is_source = is_in_place(entry)
        kind = InputError if is_source else ArtifactError
        way_out = (
            "Restore it, or read the corpus again." if is_source else "Run the same command again: it is made anew."
        )
        try:
            if "footer" in entry and (footer := footer_hash(path)) != entry["footer"]:
                if not footer:
                    raise FileNotFoundError
                if is_source:
                    raise InputError(f"{path} has changed since {self.name!r} was read. {way_out}")
                raise pa.ArrowInvalid("its footer is not as it was written")
            yield path
        except FileNotFoundError:
            raise kind(f"{path} is gone. {way_out}") from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the disk's fault, not the file's
            why = str(error).splitlines()[0]
            if not is_source:
                for file in (path, *self.folder.glob("*.json")):
                    file.unlink(missing_ok=True)
            raise kind(f"{path} is damaged ({why}). {way_out}") from error

    def facts(self) -> dict[str, str]:
        """What a person wants to know first, label to text; shown by `repr` and `assay show`."""
        return {}

    def require_made_from(self, corpus: "Corpus") -> None:
        """Raises InvalidParameterError when this was computed for another corpus: rows would not belong together."""
        if self.manifest.inputs.get("corpus") != corpus.fingerprint:
            raise InvalidParameterError(
                f"{self.kind.capitalize()} {self.name!r} ({self.fingerprint}) was made from another corpus than "
                f"{corpus.name!r} ({corpus.fingerprint}). Make it from this one."
            )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.folder == self.folder  # a folder's name holds the fingerprint

    def __hash__(self) -> int:
        return hash(self.folder)

    def __repr__(self) -> str:
        facts = [f"{label} {text}" for label, text in self.facts().items()]
        return f"{type(self).__name__}({', '.join([self.name, *facts, f'fingerprint {self.fingerprint}'])})"

    def _repr_html_(self) -> str:
        from html import escape

        rows = [*self.facts().items(), ("fingerprint", self.fingerprint), ("folder", str(self.folder))]
        cells = "".join(f"<tr><th style='text-align:left'>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
        return f"<b>{type(self).__name__}</b> {escape(self.name)}<table>{cells}</table>"


class Corpus(Artifact):
    """Documents: `id`, `text` and whatever else the source has, in Parquet parts of its own or where they lay."""

    kind = "corpus"

    @property
    def num_documents(self) -> int:
        """Documents that can be read, those set aside left out."""
        return sum(part["rows"] for part in self.manifest.parts)

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of text."""
        return sum(part["text_bytes"] for part in self.manifest.parts)

    @property
    def column_names(self) -> list[str]:
        """Columns of every batch."""
        return list(self.manifest.schema)

    def facts(self) -> dict[str, str]:
        facts = {
            "documents": f"{self.num_documents:,}",
            "text": f"{self.num_bytes / 1e6:,.1f} MB",
            "tokens": f"about {human_count(self.manifest.summary['estimated_tokens'])}",
        }
        if failed := self.manifest.counts.get("failed"):
            facts["set aside"] = f"{sum(failed.values()):,}"
        if dropped := self.manifest.counts.get("dropped"):
            facts["left out"] = f"{sum(dropped.values()):,}"
        return facts

    def batches(self, part: int, columns: Sequence[str] = ("id", "text")) -> Iterator[pa.RecordBatch]:
        """The rows of one part, about 16 MB at a time.

        Raises:
            SchemaError: a column that the corpus does not have.
        """
        self.require(columns)
        entry = self.manifest.parts[part]
        stored = {name: self._stored_name(name) for name in columns}
        rows_per_batch = max(1, min(_MAX_BATCH_ROWS, BATCH_BYTES * entry["rows"] // max(1, entry["text_bytes"])))
        skip = np.array(entry.get("skip", []), np.int64)
        first = 0
        for batch in self._stored_batches(part, rows_per_batch, list(stored.values())):
            result = pa.RecordBatch.from_arrays(
                [self._column(batch, name, stored[name], entry, first) for name in columns], names=list(columns)
            )
            count_read(batch.nbytes)
            inside = skip[(skip >= first) & (skip < first + len(result))] - first
            first += len(result)
            if len(inside):
                keep = np.ones(len(result), np.bool_)
                keep[inside] = False
                result = result.filter(pa.array(keep))
            if len(result):
                yield result

    def _stored_batches(self, part: int, rows_per_batch: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """All rows of one part, with those of the named columns that its file has."""
        entry = self.manifest.parts[part]
        with self.reading(part) as path, open_parquet(path) as file:
            wanted = [name for name in columns if name in set(file.schema_arrow.names)]
            yield from file.iter_batches(rows_per_batch, entry.get("row_groups"), wanted, use_threads=False)

    def table(self, part: int, columns: Sequence[str]) -> pa.Table:
        """The named columns of one part, whole; not meant for `text`."""
        self.require(columns)
        types = [(name, self._type(name) or pa.string()) for name in columns]
        batches = list(self.batches(part, columns)) if columns else []
        return pa.Table.from_batches(batches) if batches else pa.schema(types).empty_table()

    def require(self, columns: Sequence[str]) -> None:
        """Raises SchemaError when a column is not in the corpus."""
        for name in columns:
            if name not in self.manifest.schema:
                has = ", ".join(repr(c) for c in self.column_names)
                raise SchemaError(
                    f"Column {name!r} is not in corpus {self.name!r}; it has {has}. "
                    f"{did_you_mean(name, self.column_names)}".rstrip()
                )

    def _stored_name(self, name: str) -> str:
        return self.manifest.parameters.get("columns", {}).get(name, name)

    def _type(self, name: str) -> pa.DataType | None:
        try:
            return pa.type_for_alias(self.manifest.schema[name])
        except ValueError:
            return None  # nested types are handed on as they are

    def _column(self, batch: pa.RecordBatch, name: str, stored: str, entry: dict[str, Any], first: int) -> pa.Array:
        if name == "id" and stored == "":
            start = entry["first_row"] + first
            return pa.array([f"{entry['label']}:{row}" for row in range(start, start + len(batch))])
        wanted = self._type(name)
        if stored not in batch.schema.names:
            return pa.nulls(len(batch), wanted or pa.string())
        return as_type(batch.column(stored), wanted)


class _Columns(Artifact):
    """One Parquet file a part, rows aligned with a corpus."""

    @property
    def num_rows(self) -> int:
        """Rows in all parts; as many as the corpus has documents."""
        return sum(part["rows"] for part in self.manifest.parts)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self.manifest.schema)

    def table(self, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of one part."""
        with self.reading(part) as path:
            table = read_parquet(path, columns)
        count_read(table.nbytes)
        return table

    def to_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of all parts, in corpus order; holds everything in memory."""
        return pa.concat_tables([self.table(k, columns) for k in range(self.num_parts)])


class Scores(_Columns):
    """Score columns of one scorer: a number per document, null where it could not be scored."""

    kind = "scores"

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The columns of which low values are the better ones."""
        return frozenset(self.manifest.summary.get(LOWER_IS_BETTER, ()))

    def failed_rows(self, part: int) -> list[int]:
        """Rows of a part on which the scorer raised; all their scores are null."""
        rows: list[int] = self.manifest.parts[part].get("failed", [])
        return rows

    def facts(self) -> dict[str, str]:
        facts = {"documents": f"{self.num_rows:,}", "columns": ", ".join(self.column_names)}
        if failed := self.manifest.counts.get("failed"):
            facts["set aside"] = f"{sum(failed.values()):,}"
        if "effective_sample_size" in self.manifest.summary:
            facts["effective sample size"] = f"{self.manifest.summary['effective_sample_size']:,.1f} documents"
        if "clusters" in self.manifest.summary:
            facts["clusters"] = f"{self.manifest.summary['clusters']:,}"
        return facts


class Selection(_Columns):
    """Which documents to train on: `repeats` per document (0 = left out) and the `reason` of those left out."""

    kind = "selection"

    def facts(self) -> dict[str, str]:
        counts, unit = self.manifest.counts, self.manifest.parameters["unit"]
        facts = {"documents": f"{counts['kept']:,} of {counts['in']:,}"}
        if unit != "documents":
            facts["tokens" if unit == "share" else unit] = human_count(self.manifest.summary["chosen"])
        return facts

    def repeats(self, part: int) -> np.ndarray:
        """How often each document of a part is seen [documents], int32."""
        return self.table(part, ["repeats"])["repeats"].to_numpy()

    def is_dropped_for(self, part: int, reason: str) -> np.ndarray:
        """Whether each document of a part was left out for a reason [documents], bool."""
        reasons = self.table(part, ["reason"])["reason"]
        return pc.fill_null(pc.equal(reasons, reason), False).to_numpy()


class Export(Artifact):
    """Chosen documents as files for a trainer to read, each as often as it is to be seen."""

    kind = "export"

    def facts(self) -> dict[str, str]:
        counts, parts = self.manifest.counts, self.manifest.parts
        return {
            "documents": f"{counts['kept']:,} of {counts['in']:,}",
            "files": f"{len(parts):,}, {human_count(sum(part['bytes'] for part in parts))}B",
            "selection": self.manifest.inputs["selection"],
        }


class Tokens(Artifact):
    """Token ids of each document, `tokens` list<uint16>, mapped into memory where local; made by one tokenizer."""

    kind = "tokens"

    def ids(self, part: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a part, one document after another [tokens] uint16, and where each starts [documents + 1] int64."""
        with self.reading(part) as path, open_arrow(path) as source:
            column = pa.ipc.open_file(source).read_all()["tokens"].combine_chunks()
        count_read(column.nbytes)
        if isinstance(column, pa.ChunkedArray):
            return np.empty(0, np.uint16), np.zeros(1, np.int64)
        return column.values.to_numpy(), column.offsets.to_numpy()

    def facts(self) -> dict[str, str]:
        return {"tokens": human_count(self.manifest.summary["tokens"])}


class SoftLabels(Artifact):
    """A model's likeliest tokens in the place of each token: `tokens`, `ids` and `log_probabilities`, k to a token."""

    kind = "soft_labels"

    @property
    def k(self) -> int:
        """How many there are for each token."""
        return int(self.manifest.summary["k"])

    def labels(self, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of a part: token ids [tokens], where each document's start [documents + 1], and in each token's place the
        likeliest ids [tokens, k], descending, with their log probabilities [tokens, k] float16.
        """
        with self.reading(part) as path, open_arrow(path) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
        count_read(table.nbytes)
        if not len(table):
            ids, values = np.empty((0, self.k), np.uint16), np.empty((0, self.k), np.float16)
            return np.empty(0, np.uint16), np.zeros(1, np.int64), ids, values
        tokens, ids, values = (table[name].combine_chunks() for name in ("tokens", "ids", "log_probabilities"))
        likeliest, chances = (column.values.to_numpy().reshape(-1, self.k) for column in (ids, values))
        return tokens.values.to_numpy(), tokens.offsets.to_numpy(), likeliest, chances

    def facts(self) -> dict[str, str]:
        mass = f"{self.manifest.summary['mass']:.1%}"
        return {"tokens": human_count(self.manifest.summary["tokens"]), "a token": f"{self.k}, {mass} of probability"}


class Embeddings(Artifact):
    """A vector of unit length per document, `embedding` fixed_size_list<halffloat>, mapped into memory where local.

    Null where the text is null; zeros where the model found nothing in it to go by.
    """

    kind = "embeddings"

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return int(self.manifest.summary["dimensions"])

    def vectors(self, part: int) -> pa.FixedSizeListArray:
        """The vectors of one part, in the order of its documents."""
        with self.reading(part) as path, open_arrow(path) as source:
            column = pa.ipc.open_file(source).read_all()["embedding"].combine_chunks()
        count_read(column.nbytes)
        return column

    def facts(self) -> dict[str, str]:
        count = sum(part["rows"] for part in self.manifest.parts)
        model = f"{self.manifest.summary['model']}, pooling {self.manifest.parameters['pooling']}"
        return {"documents": f"{count:,}", "dimensions": f"{self.dimensions:,}", "model": model}


class Run(_Columns):
    """A trained proxy: per held-out document `id`, `target`, `bits`, `bytes`, `tokens`."""

    kind = "run"

    def answers(self) -> pa.Table | None:
        """Per item of the benchmarks that it was asked, what came of it (`proxy.evaluate.SCHEMA`); None without any."""
        try:
            return read_parquet(within(self.folder, ANSWERS), None)
        except FileNotFoundError:
            return None

    def facts(self) -> dict[str, str]:
        summary, facts = self.manifest.summary, {}
        if "tokens" in summary:  # a run of a comparison
            facts["trained on"] = f"{human_count(summary['tokens'])} tokens"
        if "bits_per_byte" in summary:
            facts["held-out loss"] = f"{summary['bits_per_byte']:.4f} bits per byte"
        for name, value in summary.get("by_target", {}).items():
            facts[f"loss of {name}"] = f"{value:.4f} bits per byte"
        return facts


def footer_hash(path: Location) -> str:
    """Hash of a Parquet file's footer, which tells sizes, places and extremes of all that the file holds.

    Of an object, what its store says of the content. Empty where there is no such file.
    """
    try:
        if isinstance(path, RemotePath):
            return path.fingerprint()
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(4), "little")
            file.seek(max(0, size - 8 - length))
            return hashlib.blake2b(size.to_bytes(8, "little") + file.read(), digest_size=8).hexdigest()
    except FileNotFoundError:
        return ""


def as_type(column: pa.Array | pa.ChunkedArray, wanted: pa.DataType | None) -> pa.Array | pa.ChunkedArray:
    """`column` as a type that all parts share: anything may become text (nested values JSON), and integers floats.

    Integers above 2^53 are then rounded, as in every tool that reads JSON numbers as floats.
    """
    if wanted is None or column.type == wanted:
        return column
    if pa.types.is_nested(column.type):
        values = column.to_pylist()
        return pa.array([v if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in values], wanted)
    return column.cast(wanted, safe=not pa.types.is_floating(wanted))


def human_count(number: float) -> str:
    """1234567 as "1.23M": three significant figures with k, M, G or T."""
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.3g}"


def check_corpus(value: object, name: str = "corpus") -> None:
    """Raises InvalidParameterError unless `value` is an opened corpus."""
    check(isinstance(value, Corpus), name, value, "a corpus, as assay.read(...) opens")
