"""`assay.kl_reduction`: how much closer to a target a selection is than the pool, before anything is trained.

Xie et al. 2023 (arXiv:2302.03169), section 5, found it to go with accuracy after training (r = 0.89 over eight ways to
choose, a BERT-sized model). It is a figure of word counts: a selection of ten copies of the target has the best there
is. Cost: a pass over the pool, 170 MB/s and core, and one over what is chosen; memory: the buckets.
"""

from collections.abc import Iterable, Mapping
from functools import partial, reduce

import numpy as np
import pyarrow as pa

from assay.api.build import part_bytes
from assay.artifacts.kinds import Corpus, Selection, check_corpus
from assay.corpus.engine import map_step
from assay.errors import InvalidParameterError, check, check_integer
from assay.kernels.arrow import utf8
from assay.kernels.unicode import tables
from assay.kernels.words import MAX_ORDER, count_ngrams
from assay.scorers.dsir import log_ratio


def kl_reduction(
    corpus: Corpus,
    selection: Selection,
    target: Corpus | Mapping[str, Corpus],
    *,
    ngrams: int = 2,
    num_buckets: int = 10_000,
) -> dict[str, float]:
    """KL(target, pool) - KL(target, selection) over hashed n-grams, nats; above 0 where the selection is closer.

    Args:
        corpus: the pool. selection: what was chosen of it; a document counts as often as it is to be seen.
        target: one, or several by name.
        ngrams, num_buckets: as of `DSIR`. A selection with fewer n-grams than buckets has empty ones, each of which
            tells heavily against it; take fewer buckets then.

    Returns:
        By target; of a single one by the name "target".

    Raises:
        InvalidParameterError: a target, or what is chosen, has no words; or the selection is of another corpus.
    """
    check_corpus(corpus)
    check(isinstance(selection, Selection), "selection", selection, "a selection, as assay.select(...) makes")
    selection.require_made_from(corpus)
    check_integer("ngrams", ngrams, 1, MAX_ORDER)
    check_integer("num_buckets", num_buckets, 2, 1 << 28)
    targets = dict(target) if isinstance(target, Mapping) else {"target": target}
    check(len(targets) > 0, "target", targets, "at least one corpus")
    for name, documents in targets.items():
        check_corpus(documents, name)
    count = partial(_counted, ngrams=ngrams, num_buckets=num_buckets)
    pool, chosen = count(corpus, None), count(corpus, selection)
    if not chosen.any():
        raise InvalidParameterError(f"Selection {selection.name!r} has no words, so it is near to nothing.")
    found = {}
    for name, documents in targets.items():
        counts = count(documents, None)
        if not counts.any():
            raise InvalidParameterError(f"Target {name!r} has no words to compare with.")
        found[name] = reduction(counts, pool, chosen)
    return found


def reduction(target: np.ndarray, pool: np.ndarray, selection: np.ndarray) -> float:
    """KL(target, pool) - KL(target, selection), nats, from counts of n-grams [buckets].

    Probabilities have 1e-8 added, as in DSIR's weights, of which this is a mean.

    >>> counts = np.array([90, 10]), np.array([50, 50])
    >>> round(reduction(counts[0], counts[1], counts[0]), 4)
    0.3681
    """
    gain = log_ratio(target, pool, 0.0) - log_ratio(target, selection, 0.0)
    return float(np.dot(target / target.sum(), gain))


def _counted(corpus: Corpus, selection: Selection | None, ngrams: int, num_buckets: int) -> np.ndarray:
    """N-grams of a corpus, or of what is chosen of it [buckets] int64."""
    work = partial(_count_part, corpus, selection, ngrams, num_buckets)
    amounts = part_bytes(corpus.manifest.parts)
    what = f"count words of {corpus.name if selection is None else selection.name}"
    return reduce(np.add, map_step(None, what, work, range(corpus.num_parts), amounts, "bytes"))


def _count_part(corpus: Corpus, selection: Selection | None, ngrams: int, num_buckets: int, part: int) -> np.ndarray:
    counts = np.zeros(num_buckets, np.int64)
    done = 0
    repeats = None if selection is None else selection.repeats(part)
    for batch in corpus.batches(part, ["text"]):
        of_batch = None if repeats is None else repeats[done : done + len(batch)]
        for texts, times in _repeated(batch.column("text"), of_batch):
            own = np.zeros(num_buckets, np.int64)
            text = utf8(texts)
            count_ngrams(text.data, text.offsets, ngrams, own, tables())
            counts += times * own
        done += len(batch)
    return counts


def _repeated(texts: pa.Array, repeats: np.ndarray | None) -> Iterable[tuple[pa.Array, int]]:
    """The texts that are seen as often as each other, and how often that is."""
    if repeats is None:
        return [(texts, 1)]
    return [(texts.filter(pa.array(repeats == times)), int(times)) for times in np.unique(repeats) if times]
