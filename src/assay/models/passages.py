"""An index of passages to be found in documents: which n-grams of words stand where, and what each word weighs.

A word weighs ln(1 + passages / passages that have it), its inverse document frequency: of a question, names and terms
count, "which of the following" does not. An n-gram of more than `_MAX_PASSAGES` passages is no anchor, for speed, and a
word that stands in no other weighs nothing.

Memory: about 24 bytes for each word, and 16 for each distinct n-gram.
"""

import numpy as np

from assay.kernels.contamination import Passages, build_sieve, ngram_hashes
from assay.kernels.hashtable import build

_MAX_PASSAGES = 10_000
_LONG = 24
_SHARE_OF_SHORT = 0.85


def build_passages(
    words: np.ndarray,
    starts: np.ndarray,
    *,
    order: int,
    min_share: float,
    min_words: int,
    min_run: int,
) -> Passages:
    """The index of some passages, each of at least `order` words.

    Args:
        words: hashes [words] uint64. starts: where each passage's start [passages + 1] int64.
        order: length of the n-grams.
        min_share: share of the weight that must be found, of a passage of `_LONG` words or more; a shorter one, which
            may be made of common phrases, needs more of it, `_SHARE_OF_SHORT` at `min_words` words.
        min_words: see `find_passages`.
        min_run: words in a row that count at any share; a passage of fewer than `min_words` words counts when all of
            them stand in a row.
    """
    sizes = np.diff(starts)
    passage_of_word = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    # Reversed before a stable sort, so that the places of one n-gram descend.
    hashes, places, passages = (column[::-1] for column in ngram_hashes(words, starts, order))
    keys, counts, which, by_key = _grouped(hashes, passages)
    is_kept = counts <= _MAX_PASSAGES
    taken = by_key[is_kept[which]]
    num_places = np.bincount(which, minlength=len(keys))[is_kept]
    weights = _rarity(words, passage_of_word, len(sizes))
    weights[~_covered(places[taken], order, len(words))] = 0
    totals = np.bincount(passage_of_word, weights, len(sizes))
    heaviest = np.maximum.reduceat(weights, starts[:-1]) if len(sizes) else np.empty(0)
    runs = np.where(sizes < min_words, sizes, min_run)
    share = np.interp(sizes, [min_words, _LONG], [max(min_share, _SHARE_OF_SHORT), min_share])
    with np.errstate(invalid="ignore", divide="ignore"):
        hits = np.ceil(share * totals / (order * heaviest) - 1e-3)
    hits = np.where(heaviest > 0, np.maximum(hits, -(-min_words // order)), 1)
    keys = keys[is_kept]
    return Passages(
        starts=starts,
        weights=weights.astype(np.float32),
        totals=totals.astype(np.float32),
        min_share=share.astype(np.float32),
        min_hits=np.maximum(1, np.minimum(hits, runs - order + 1)).astype(np.int32),
        min_run=runs.astype(np.int32),
        keys=keys,
        slots=build(keys),
        sieve=build_sieve(keys),
        key_starts=np.concatenate([[0], np.cumsum(num_places)]).astype(np.int32),
        places=places[taken],
        passage_of=passages[taken],
    )


def _grouped(values: np.ndarray, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct values, how many passages have each, and the sorted order of all: which value, which element."""
    order = np.argsort(values, kind="stable")
    ordered, owners = values[order], passages[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    which = np.cumsum(is_new) - 1
    is_new_owner = is_new.copy()
    is_new_owner[1:] |= owners[1:] != owners[:-1]
    distinct = ordered[is_new]
    return distinct, np.bincount(which[is_new_owner], minlength=len(distinct)), which, order


def _rarity(words: np.ndarray, passage_of_word: np.ndarray, num_passages: int) -> np.ndarray:
    """ln(1 + passages / passages that have the word) of each word [words], float64."""
    distinct, counts, which, order = _grouped(words, passage_of_word)
    weights = np.empty(len(words))
    weights[order] = np.log1p(num_passages / counts)[which] if len(distinct) else 0.0
    return weights


def _covered(places: np.ndarray, order: int, num_words: int) -> np.ndarray:
    """Whether each word lies in an n-gram that starts at one of `places` [words], bool."""
    steps = np.bincount(places, minlength=num_words + order) - np.bincount(places + order, minlength=num_words + order)
    return np.cumsum(steps)[:num_words] > 0
