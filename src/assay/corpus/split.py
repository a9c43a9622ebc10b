"""Cutting a small corpus in two: text to choose by, and text to test on that nothing else may see."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.artifacts.kinds import Corpus
from assay.artifacts.storage import atomic_path
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError, check_number
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings
from assay.progress import note

VERSION = 1
MAX_HOLDOUT_BYTES = 16 << 20
_PART = "part-00000.parquet"


def split_holdout(corpus: Corpus, share: float, workspace: Workspace) -> tuple[Corpus, Corpus]:
    """(documents to fit on, documents to test on), drawn by the hash of their ids.

    The same document falls on the same side whatever else is in the corpus, as far as the share allows. At most 16 MB
    are tested on; held-out documents beyond that are used for nothing.

    Raises:
        InvalidParameterError: share outside (0, 1), no document to fit on, or fewer than two to test on.
    """
    check_number("holdout", share, "a share above 0 and below 1", lambda x: 0 < x < 1)
    num_held = round(share * corpus.num_documents)
    if num_held < 2 or corpus.num_documents - num_held < 1:
        raise InvalidParameterError(
            f"`holdout` (={share}) leaves {corpus.num_documents - num_held} and {num_held} of the "
            f"{corpus.num_documents} documents of {corpus.name!r}; it must leave 1 to choose by and 2 to test on. "
            "Give more target documents or another share."
        )
    table = _whole(corpus)
    order = _hash_order(table)
    fit = table.take(pa.array(np.sort(order[num_held:])))
    held = _limited(table, order[:num_held], corpus.name)
    return (
        store_subset(fit, corpus, "fit", {"holdout": share, "side": "fit"}, workspace),
        store_subset(held, corpus, "heldout", {"holdout": share, "side": "test"}, workspace),
    )


def limit_holdout(corpus: Corpus, workspace: Workspace) -> Corpus:
    """`corpus`, or when it is larger than 16 MB as many of its documents, drawn by the hash of their ids.

    Raises:
        InvalidParameterError: fewer than two documents to test on.
    """
    if corpus.num_documents < 2:
        raise InvalidParameterError(f"{corpus.name!r} has one document; at least 2 are needed to test on.")
    if corpus.num_bytes <= MAX_HOLDOUT_BYTES:
        return corpus
    table = _whole(corpus)
    held = _limited(table, _hash_order(table), corpus.name)
    return store_subset(held, corpus, "heldout", {"side": "test"}, workspace)


def leave_out_seen(heldout: Corpus, fits: Sequence[Corpus], workspace: Workspace) -> Corpus:
    """`heldout` without the documents whose text is also in one of `fits`, white space at its ends apart.

    Raises:
        InvalidParameterError: fewer than two documents are left to test on.
    """
    table = _whole(heldout)
    hashes = _text_hashes(table["text"])
    is_seen = np.zeros(len(table), np.bool_)
    for batch in (batch for fit in fits for part in range(fit.num_parts) for batch in fit.batches(part, ["text"])):
        is_seen |= np.isin(hashes, _text_hashes(batch.column("text")))
    is_seen &= hashes != _text_hashes(pa.array([""]))[0]
    num_seen = int(is_seen.sum())
    if num_seen == 0:
        return heldout
    if len(table) - num_seen < 2:
        raise InvalidParameterError(
            f"{num_seen} of the {len(table)} documents of {heldout.name!r} are word for word among those that arms are "
            "chosen by, and at least 2 others are needed to test on. Give other held-out documents."
        )
    note(f"{num_seen} of the {len(table)} documents of {heldout.name} left out: arms are chosen by the same texts")
    unseen = table.filter(pa.array(~is_seen))
    parameters = {"side": "test", "unseen_by": sorted(fit.fingerprint for fit in fits)}
    return store_subset(unseen, heldout, "unseen", parameters, workspace, num_seen)


def _text_hashes(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    text = utf8(pc.utf8_trim_whitespace(column))
    return hash_strings(text.data, text.offsets)


def _whole(corpus: Corpus) -> pa.Table:
    return pa.Table.from_batches([b for k in range(corpus.num_parts) for b in corpus.batches(k)]).combine_chunks()


def _hash_order(table: pa.Table) -> np.ndarray:
    ids = utf8(table["id"])
    return np.argsort(hash_strings(ids.data, ids.offsets), kind="stable")


def _limited(table: pa.Table, order: np.ndarray, name: str) -> pa.Table:
    """The first rows in `order` that fit into 16 MB together, in the order of the table."""
    sizes = np.diff(utf8(table["text"]).offsets)
    taken = order[np.cumsum(sizes[order]) <= MAX_HOLDOUT_BYTES]
    if len(taken) < 2:
        raise InvalidParameterError(
            f"The first two documents of {name!r} to test on are longer than {MAX_HOLDOUT_BYTES / 1e6:.0f} MB "
            "together, which is all that is tested on. Cut them into shorter ones."
        )
    return table.take(pa.array(np.sort(taken)))


def store_subset(
    table: pa.Table | Callable[[], pa.Table],
    source: Corpus,
    side: str,
    parameters: Mapping[str, object],
    workspace: Workspace,
    num_seen: int = 0,
) -> Corpus:
    """A corpus of some documents of another, or the one that is there already.

    Args:
        table: `id` and `text`, or what makes them, which is asked only where they are not there yet.
        side: what it is called after the source's name. parameters: what they were chosen by.
    """
    inputs = {"corpus": source.fingerprint}
    draft = workspace.open_draft("corpus", f"{source.name}-{side}", VERSION, parameters, inputs)
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        table = table if isinstance(table, pa.Table) else table()
        with atomic_path(draft.folder / _PART) as path:
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)
        text = utf8(table["text"])
        num_bytes = int(text.offsets[-1] - text.offsets[0])
        part = {
            "file": _PART,
            "rows": len(table),
            "bytes": (draft.folder / _PART).stat().st_size,
            "text_bytes": num_bytes,
            "label": source.name,
        }
        share = num_bytes / max(1, source.num_bytes)
        manifest = draft.finish(
            schema={"id": "string", "text": "string"},
            parts=[part],
            counts={"documents": len(table), "failed": {}, "seen": num_seen},
            summary={"estimated_tokens": round(source.manifest.summary["estimated_tokens"] * share)},
        )
    return Corpus(draft.folder, manifest)
