"""`assay.losses`: a table of what models of known order lose on a sample of the pool, for `PreSelect(losses=...)`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.api.build import build_parts, part_bytes
from assay.api.content import model_path, path_fingerprint
from assay.artifacts.kinds import Corpus, check_corpus
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.model import Model
from assay.artifacts.storage import Location, atomic_path, read_parquet
from assay.artifacts.workspace import Draft, Workspace
from assay.corpus.sharing import share_one
from assay.errors import InputError, check, check_integer, check_number
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings
from assay.models.lm import document_sums
from assay.scorers.ngrams import DIGITS, model_of
from assay.scorers.sampling import sample_share
from assay.selection.noise import keyed_hashes, uniforms

VERSION = 1
_TABLE = "losses.parquet"


def losses(
    corpus: Corpus,
    models: Mapping[str, Model | str | Path],
    *,
    ability: Mapping[str, float] | None = None,
    sample: int = 10_000,
    workspace: Workspace | str | Location | None = None,
) -> str:
    """Path of a Parquet file with the bits per byte of some documents under each model, the least able model first.

    What a model loses is kept for itself: a further model, or another order, judges nothing again.

    Args:
        models: trained models or folders of language models, by what to call them, from the least able to the ablest.
        ability: a figure for each, such as a mean accuracy on benchmarks; they are then put in its order.
        sample: about how many documents of the pool, drawn by the hash of the id; those without text left out.

    Returns:
        the path; columns `id` and one a model, float64.

    Raises:
        InvalidParameterError: fewer than two models, no such folder, or an ability missing, not finite or the same
        twice.
        InputError: none of the documents drawn has text that every model finds tokens in.
    Cost: each model reads the sample once.
    """
    check_corpus(corpus)
    way_out = 'Write {"small": "models/small", "large": "models/large"}.'
    check(isinstance(models, Mapping) and len(models) > 1, "models", models, "two folders at least, by name", way_out)
    check("id" not in models, "models", list(models), "without one called id")
    check_integer("sample", sample, 2)
    space = Workspace(workspace)
    order = list(models) if ability is None else _ordered(models, ability)
    paths = {name: model_path(models[name]) for name in order}
    drafts = {name: _draft(corpus, paths[name], sample, space) for name in order}
    for name, draft in drafts.items():
        if draft.finished() is None:
            _judge(corpus, paths[name], sample, draft, name)
    inputs = {f"model.{name}": draft.fingerprint for name, draft in drafts.items()}
    table = space.open_draft("losses", corpus.name, VERSION, {"order": order}, inputs)
    if table.finished() is None:
        table.start()
        share_one(lambda: _join(drafts, table), table.folder / MANIFEST)
    return str(table.folder / _TABLE)


def _ordered(models: Mapping[str, Any], ability: Mapping[str, float]) -> list[str]:
    missing = [name for name in models if name not in ability]
    check(not missing, "ability", list(ability), f"given for every model; {', '.join(missing)} has none")
    for name in models:
        check_number(f"ability.{name}", ability[name], "a finite number", np.isfinite)
    values = [ability[name] for name in models]
    way_out = "Of two equally able models leave one out: which is better is what the method goes by."
    check(len(set(values)) == len(values), "ability", dict(ability), "different for every model", way_out)
    return sorted(models, key=lambda name: ability[name])


def _draft(corpus: Corpus, folder: str, sample: int, workspace: Workspace) -> Draft:
    inputs = {"corpus": corpus.fingerprint, "model": path_fingerprint("models", folder, workspace)}
    return workspace.open_draft("model_losses", corpus.name, VERSION, {"sample": sample}, inputs)


def _judge(corpus: Corpus, folder: str, sample: int, draft: Draft, name: str) -> None:
    draft.start()
    work = partial(_judge_part, corpus, folder, sample_share(sample, corpus.num_documents))
    entries, _, schema = build_parts(draft, work, part_bytes(corpus.manifest.parts), f"losses of {name}")
    draft.finish(schema=schema, parts=entries, counts={"in": corpus.num_documents})


def _judge_part(corpus: Corpus, folder: str, share: float, part: int) -> tuple[pa.Table, dict[str, Any]]:
    """`id` and `bits_per_byte` of the documents of a part that are drawn; NaN where the model finds no tokens."""
    lm = model_of(folder)
    pieces = [pa.table({"id": pa.array([], pa.large_string()), "bits_per_byte": pa.array([], pa.float64())})]
    for batch in corpus.batches(part, ["id", "text"]):
        ids = utf8(batch.column("id"))
        is_in = uniforms(keyed_hashes(hash_strings(ids.data, ids.offsets), 0, "losses")) < share
        rows = batch.filter(pa.array(is_in & (np.diff(utf8(batch.column("text")).offsets) > 0)))
        tokens, starts = lm.encode(rows.column("text"))
        bits = document_sums(-lm.log_probabilities(tokens, starts), starts) / np.log(2)
        bits[np.diff(starts) == 0] = np.nan
        found = np.round(bits / np.diff(utf8(rows.column("text")).offsets), DIGITS)
        pieces.append(pa.table({"id": rows.column("id").cast(pa.large_string()), "bits_per_byte": found}))
    return pa.concat_tables(pieces).combine_chunks(), {}


def _join(drafts: Mapping[str, Draft], table: Draft) -> None:
    """Writes the table: models side by side, documents that share an id or that a model cannot judge left out."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name, draft in drafts.items():
        manifest = draft.finished()
        assert manifest is not None
        own = pa.concat_tables([read_parquet(draft.folder / part["file"], None) for part in manifest.parts])
        columns.setdefault("id", own["id"])
        columns[name] = own["bits_per_byte"]
    found = pa.table(columns)
    num_drawn = len(found)
    ids, first = np.unique(found["id"].to_numpy(zero_copy_only=False), return_index=True)
    found = found.take(pa.array(np.sort(first)))
    is_judged = np.logical_and.reduce([np.isfinite(found[name].to_numpy()) for name in drafts])
    num_unjudged = int((~is_judged).sum())
    found = found.filter(pa.array(is_judged))
    if not len(found):
        raise InputError(f"None of the {num_drawn} documents drawn has text that every model finds tokens in.")
    path = table.folder / _TABLE
    with atomic_path(path) as temporary:
        pq.write_table(found, temporary)
    dropped = {"id_again": num_drawn - len(ids), "without_tokens": num_unjudged}
    table.finish(
        schema={field.name: str(field.type) for field in found.schema},
        parts=[{"file": _TABLE, "rows": len(found), "bytes": path.stat().st_size}],
        counts={"in": num_drawn, "kept": len(found), "dropped": {k: v for k, v in dropped.items() if v}},
        summary={name: float(pc.mean(found[name]).as_py()) for name in drafts},
    )
