"""`assay.refine`: documents in, changed documents out, each knowing what it was made from."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.api.build import build_parts, part_bytes
from assay.api.isolating import PART, REFINER_FAILED, Quarantine, conclude
from assay.artifacts.kinds import Corpus, check_corpus
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.corpus.failures import check_failed_share
from assay.errors import InputError, check, check_choice, check_number
from assay.refiners import REFINERS, Refiner

NO_TEXT_LEFT = "no_text_left"


def refine(
    corpus: Corpus,
    refiner: Refiner | str,
    *,
    max_failed_share: float = 0.0,
    workspace: Workspace | str | Location | None = None,
) -> Corpus:
    """Changes the text of every document; finds the result again when the same was done before.

    The new corpus has the columns of the old one, with a new `text`, `parent_id` (the id of what a document was made
    from), `edits` (how many changes), and the refiner's name behind each id, so that old and new may stand in one pool.
    Documents of which no text is left are left out and counted: `counts["dropped"]["no_text_left"]`.

    Args:
        refiner: a refiner with its parameters, or the name of one ("c4").
        max_failed_share: share of documents on which the refiner may raise. They are set aside in the failed/ folder of
            the new corpus, with id and error, and are not part of it; above this share refining stops.

    Raises:
        InvalidParameterError: unknown refiner.
        InputError: no document has any text left, or the refiner raises on more documents than allowed.
    """
    check_corpus(corpus)
    check_number("max_failed_share", max_failed_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)
    if isinstance(refiner, str):
        check_choice("refiner", refiner, REFINERS)
        refiner = REFINERS[refiner]()
    check(isinstance(refiner, Refiner), "refiner", refiner, "a refiner such as C4(), or the name of one")
    parameters = {"refiner": refiner.name, **refiner.parameters()}
    name = f"{corpus.name}-{refiner.name}"
    draft = Workspace(workspace).open_draft("corpus", name, refiner.version, parameters, {"corpus": corpus.fingerprint})
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        amounts = part_bytes(corpus.manifest.parts)
        work = partial(_refine_part, corpus, refiner, draft.folder)
        entries, figures, schema = build_parts(draft, work, amounts, f"refine {name}")
        failed, _ = conclude(corpus, draft.folder, max_failed_share, partial(_refine_batch, refiner))
        before = Counter(corpus.manifest.counts.get("dropped", {}))  # by an earlier refiner
        failed_before = corpus.manifest.counts["failed"]
        dropped = sum((Counter(f["dropped"]) for f in figures), before)
        parts = [
            {**entry, "text_bytes": f["text_bytes"], "label": old["label"]}
            for entry, f, old in zip(entries, figures, corpus.manifest.parts, strict=True)
            if entry["rows"]
        ]
        if not parts:
            raise InputError(f"{refiner.name} leaves no text of any document of {corpus.name!r}.")
        share = sum(part["text_bytes"] for part in parts) / max(1, corpus.num_bytes)
        manifest = draft.finish(
            schema=schema,
            parts=parts,
            counts={
                "in": corpus.num_documents + before.total() + failed_before.get(REFINER_FAILED, 0),
                "documents": sum(part["rows"] for part in parts),
                "dropped": dict(dropped),
                "failed": dict(Counter(failed_before) + Counter(failed)),
            },
            summary={
                "estimated_tokens": round(corpus.manifest.summary["estimated_tokens"] * share),
                "edits": sum(f["edits"] for f in figures),
                "changed": sum(f["changed"] for f in figures),
            },
        )
    before, after = (made.counts["failed"].get(REFINER_FAILED, 0) for made in (corpus.manifest, manifest))
    num_failed = after - before
    failed = Counter({REFINER_FAILED: num_failed})
    check_failed_share(corpus.name, corpus.num_documents - num_failed, failed, draft.folder, max_failed_share)
    return Corpus(draft.folder, manifest)


def _refine_batch(refiner: Refiner, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
    return refiner.refine(batch.column("text"))


def _refine_part(corpus: Corpus, refiner: Refiner, folder: Location, part: int) -> tuple[pa.Table, dict[str, Any]]:
    others = [name for name in corpus.column_names if name not in ("id", "text", "parent_id", "edits")]
    pieces = []
    aside = Quarantine(corpus, part, REFINER_FAILED)
    for batch in corpus.batches(part, ["id", "text", *others]):
        text, edits = aside.run(partial(_refine_batch, refiner), batch)
        columns = {
            "id": pc.binary_join_element_wise(batch.column("id").cast(pa.string()), refiner.name, "/"),
            "text": text,
            "parent_id": batch.column("id").cast(pa.string()),
            "edits": edits,
            **{name: batch.column(name) for name in others},
        }
        pieces.append(pa.table(columns))
    aside.save(folder, PART)
    table = pa.concat_tables(pieces)
    if aside.rows:
        table = table.take(pa.array(np.delete(np.arange(len(table)), aside.rows)))
    sizes = pc.binary_length(table["text"])
    kept = table.filter(pc.greater(sizes, 0))
    figures = {
        "dropped": {NO_TEXT_LEFT: len(table) - len(kept)} if len(kept) < len(table) else {},
        "text_bytes": pc.sum(sizes, min_count=0).as_py(),
        "edits": pc.sum(table["edits"], min_count=0).as_py(),
        "changed": pc.sum(pc.greater(table["edits"], 0), min_count=0).as_py(),
    }
    return kept, figures
