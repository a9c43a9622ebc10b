"""Passages of an index found in documents: n-grams of words as anchors, then each candidate's best window.

A *passage* is a run of words to look for. Documents are read once; an n-gram that stands in passages points to where
it stands in them. What is gathered for a passage is looked at closely only when there may be enough of it.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, mix64
from assay.kernels.hashtable import find
from assay.kernels.unicode import SPACE, WORD
from assay.kernels.words import _buffers, next_words

_SLACK = 10  # words that may stand between the words of a passage, besides half its length
_ROUNDING = 1e-6  # of sums of weights
_MAX_PAIRS = 1 << 25  # a second and 300 MB for one document


class Passages(NamedTuple):
    """What to look for.

    starts: where each passage's words start [passages + 1] int64. weights: of each word [words] float32; 0 for one that
    no kept n-gram covers. totals: summed weight [passages] float32. min_share: share of that which must stand in one
    window of a document [passages] float32. min_hits: n-grams below which a passage cannot count [passages] int32.
    min_run: words in a row that count at any share [passages] int32.
    keys, slots: kept n-grams [keys] uint64 and `hashtable.build` of them. sieve: `build_sieve` of them.
    key_starts: where each key's places start [keys + 1] int32. places: first word of the n-gram, of each passage in
    descending order [places] int32. passage_of: passage of each place [places] int32.
    """

    starts: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    min_share: np.ndarray
    min_hits: np.ndarray
    min_run: np.ndarray
    keys: np.ndarray
    slots: np.ndarray
    sieve: np.ndarray
    key_starts: np.ndarray
    places: np.ndarray
    passage_of: np.ndarray


@njit(nogil=True, cache=True)
def word_hashes(data, offsets, tables):
    """Hash of each word, lower-cased, punctuation and white space passed over.

    Returns:
        hashes [words] uint64, and where each document's start [documents + 1] int64.
    """
    starts = np.zeros(len(offsets), np.int64)
    words = np.empty(max(1024, (offsets[-1] - offsets[0]) // 4), np.uint64)
    num_words = 0
    hashes, kinds = _buffers()
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            if num_words + found > len(words):
                words = np.concatenate((words, np.empty(len(words) + found, np.uint64)))
            for j in range(found):
                words[num_words] = mix64(hashes[j])
                num_words += np.int64(kinds[j] == WORD)
        starts[row + 1] = num_words
    return words[:num_words], starts


@njit(nogil=True, cache=True, inline="always")
def _gram(words, i, order):
    h = np.uint64(0)
    for k in range(order):
        h = h * GOLDEN + words[i + k]
    return mix64(h)


@njit(nogil=True, cache=True)
def ngram_hashes(words, starts, order):
    """All n-grams that lie inside one passage.

    Returns:
        hashes [n-grams] uint64, first word of each [n-grams] int32, passage of each [n-grams] int32.
    """
    hashes = np.empty(len(words), np.uint64)
    places = np.empty(len(words), np.int32)
    passages = np.empty(len(words), np.int32)
    found = 0
    for passage in range(len(starts) - 1):
        for i in range(starts[passage], starts[passage + 1] - order + 1):
            hashes[found] = _gram(words, i, order)
            places[found] = i
            passages[found] = passage
            found += 1
    return hashes[:found], places[:found], passages[:found]


@njit(nogil=True, cache=True)
def build_sieve(keys):
    """One bit for each key, by its highest 26 bits [2^20] uint64: 8 MB, near the processor, where the slots are not.

    Most n-grams of a document are no keys, and are known by a bit that is 0.
    """
    sieve = np.zeros(1 << 20, np.uint64)
    for key in keys:
        sieve[key >> np.uint64(44)] |= np.uint64(1) << ((key >> np.uint64(38)) & np.uint64(63))
    return sieve


@njit(nogil=True, cache=True, inline="always")
def _may_be_key(sieve, key):
    return (sieve[key >> np.uint64(44)] >> ((key >> np.uint64(38)) & np.uint64(63))) & np.uint64(1)


@njit(nogil=True, cache=True)
def find_passages(words, starts, order, index, min_words, max_places):
    """Passages that stand in documents.

    Args:
        words, starts: `word_hashes` of the documents.
        order: length of the n-grams. index: `Passages`.
        min_words: words of a passage that must stand in one window of the document.
        max_places: an n-gram at more places than this is a form of words; a run counts if at most half are.

    Returns:
        of each find: document, passage [finds] int64, share [finds] float64, first word and one past the last word of
        the window, counted from the document's first [finds] int64. Ordered by document.
    """
    num_passages = len(index.totals)
    longest = np.int64(0)
    for passage in range(num_passages):
        longest = max(longest, index.starts[passage + 1] - index.starts[passage])
    hits_of = np.zeros(num_passages, np.int32)  # of the document at hand; then where its hits go
    touched = np.empty(num_passages, np.int32)
    hit_at, hit_key = np.empty(1024, np.int32), np.empty(1024, np.int32)
    at, place, is_rare = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.uint8)
    cover = np.zeros(longest + order, np.int32)
    last_at, runs = np.full(longest + 1, -2, np.int32), np.zeros((longest + 1, 2), np.int32)
    finds, shares, num_finds = np.empty((64, 4), np.int64), np.empty(64), 0
    for row in range(len(starts) - 1):
        origin = starts[row]
        num_hits, num_touched = 0, 0
        for i in range(origin, starts[row + 1] - order + 1):
            gram = _gram(words, i, order)
            if not _may_be_key(index.sieve, gram):
                continue
            key = find(index.keys, index.slots, gram)
            if key < 0:
                continue
            if num_hits == len(hit_at):
                hit_at = np.concatenate((hit_at, np.empty_like(hit_at)))
                hit_key = np.concatenate((hit_key, np.empty_like(hit_key)))
            hit_at[num_hits], hit_key[num_hits] = i - origin, key
            num_hits += 1
        num_hits = _without_commonest(hit_at, hit_key, num_hits, index.key_starts)
        for h in range(num_hits):
            for j in range(index.key_starts[hit_key[h]], index.key_starts[hit_key[h] + 1]):
                passage = index.passage_of[j]
                if hits_of[passage] == 0:
                    touched[num_touched] = passage
                    num_touched += 1
                hits_of[passage] += 1
        # Hits of passages that may count, passage by passage; hits_of becomes the end of each one's.
        num_kept = 0
        for k in range(num_touched):
            passage = touched[k]
            if hits_of[passage] < index.min_hits[passage]:
                hits_of[passage] = -1
            else:
                num_kept += hits_of[passage]
                hits_of[passage] = num_kept - hits_of[passage]
        if num_kept > len(at):
            at, place = np.empty(2 * num_kept, np.int32), np.empty(2 * num_kept, np.int32)
            is_rare = np.empty(2 * num_kept, np.uint8)
        for h in range(num_hits if num_kept else 0):
            first_place, last_place = index.key_starts[hit_key[h]], index.key_starts[hit_key[h] + 1]
            for j in range(first_place, last_place):
                passage = index.passage_of[j]
                if hits_of[passage] >= 0:
                    at[hits_of[passage]], place[hits_of[passage]] = hit_at[h], index.places[j]
                    is_rare[hits_of[passage]] = last_place - first_place <= max_places
                    hits_of[passage] += 1
        start = 0
        for k in range(num_touched):
            passage = touched[k]
            end = hits_of[passage]
            hits_of[passage] = 0
            if end < 0:
                continue
            hits = slice(start, end)
            base = index.starts[passage]
            if index.min_run[passage] == index.starts[passage + 1] - base:
                is_rare[hits] = 1  # the whole passage must stand there: then common words will do
            min_hits = index.min_run[passage] - order + 1
            has_run = _has_run(at[hits], place[hits], is_rare[hits], base, min_hits, last_at, runs)
            share, num_words, first, last = _best_window(at[hits], place[hits], passage, order, index, cover)
            start = end
            if has_run or (share >= index.min_share[passage] and num_words >= min_words):
                if num_finds == len(shares):
                    finds, shares = np.concatenate((finds, finds)), np.concatenate((shares, shares))
                finds[num_finds, 0], finds[num_finds, 1] = row, passage
                finds[num_finds, 2], finds[num_finds, 3] = first, last
                shares[num_finds] = share
                num_finds += 1
    return finds[:num_finds, 0], finds[:num_finds, 1], shares[:num_finds], finds[:num_finds, 2], finds[:num_finds, 3]


@njit(nogil=True, cache=True)
def _without_commonest(hit_at, hit_key, num_hits, key_starts):
    """Moves hits up, in place, over those that a document cannot be asked about; returns how many stay.

    A table of zeros beside a benchmark of such tables would be looked at for each pair of zeros. So of a document
    with more than `_MAX_PAIRS` pairs of a place in it and one in passages, the n-grams of most places are left out.
    """
    pairs = np.zeros(64, np.int64)  # by binary digits of the number of places
    for h in range(num_hits):
        places = np.int64(key_starts[hit_key[h] + 1] - key_starts[hit_key[h]])
        pairs[_digits(places)] += places
    left = pairs.sum()
    if left <= _MAX_PAIRS:
        return num_hits
    most = 63
    while left > _MAX_PAIRS:
        left -= pairs[most]
        most -= 1
    kept = 0
    for h in range(num_hits):
        if _digits(np.int64(key_starts[hit_key[h] + 1] - key_starts[hit_key[h]])) <= most:
            hit_at[kept], hit_key[kept] = hit_at[h], hit_key[h]
            kept += 1
    return kept


@njit(nogil=True, cache=True, inline="always")
def _digits(number):
    digits = 0
    while number >> digits:
        digits += 1
    return digits


@njit(nogil=True, cache=True)
def _has_run(at, place, is_rare, base, min_hits, last_at, runs):
    """Whether a document and a passage have `min_hits` n-grams in a row in common, at least half of them rare.

    Hits come by place in the document, those at one place by descending place in the passage: the place before in the
    passage then still tells of the place before in the document.
    """
    found = False
    for h in range(len(at)):
        i = place[h] - base + 1
        is_next = np.int32(last_at[i - 1] == at[h] - 1)
        runs[i, 0] = is_next * runs[i - 1, 0] + 1
        runs[i, 1] = is_next * runs[i - 1, 1] + is_rare[h]
        last_at[i] = at[h]
        found |= runs[i, 0] >= min_hits and 2 * runs[i, 1] >= runs[i, 0]
    for h in range(len(at)):
        last_at[place[h] - base + 1] = -2
    return found


@njit(nogil=True, cache=True)
def _best_window(at, place, passage, order, index, cover):
    """The stretch of the document that covers most of the passage's weight.

    A phrase that stands once in the document and twice in the passage counts once.

    Returns:
        share of the weight, words of the passage covered, first word and one past the last word of the stretch.
    """
    base = index.starts[passage]
    length = index.starts[passage + 1] - base
    span = length + length // 2 + _SLACK
    best, weight, num_words, best_words, first, last = 0.0, 0.0, 0, 0, 0, 0
    low, seen = 0, 0  # seen: words of the document that the hits cover
    for h in range(len(at)):
        while at[low] < at[h] + order - span:
            for k in range(place[low] - base, place[low] - base + order):
                cover[k] -= 1
                if cover[k] == 0:
                    weight -= index.weights[base + k]
                    num_words -= 1
            seen -= min(order, at[low + 1] - at[low])
            low += 1
        for k in range(place[h] - base, place[h] - base + order):
            cover[k] += 1
            if cover[k] == 1:
                weight += index.weights[base + k]
                num_words += 1
        seen += order if h == low else min(order, at[h] - at[h - 1])
        counted = min(seen, num_words)
        if weight * counted > (best + _ROUNDING) * num_words:
            best, best_words, first, last = weight * counted / num_words, counted, at[low], at[h] + order
    cover[: length + order] = 0
    total = index.totals[passage]
    return min(1.0, best / total) if total > 0 else 0.0, best_words, first, last


@njit(nogil=True, cache=True)
def follows(words, first, last, answers, answer_starts, items):
    """Whether each item's answer stands, word for word, in words[first:last] [finds], bool.

    Args:
        first, last: where to look, in `words` [finds]. items: whose answer to look for [finds].
        answers, answer_starts: words of all answers, and where each item's start [items + 1]; none is never found.
    """
    result = np.zeros(len(items), np.bool_)
    for f in range(len(items)):
        start, end = answer_starts[items[f]], answer_starts[items[f] + 1]
        length = end - start
        for i in range(first[f], last[f] - length + 1 if length > 0 else first[f]):
            k = 0
            while k < length and words[i + k] == answers[start + k]:
                k += 1
            if k == length:
                result[f] = True
                break
    return result


@njit(nogil=True, cache=True)
def hash_runs(words, starts, sizes):
    """One hash for each run words[start : start + size] [runs], uint64."""
    hashes = np.empty(len(starts), np.uint64)
    for k in range(len(starts)):
        h = np.uint64(sizes[k])
        for i in range(starts[k], starts[k] + sizes[k]):
            h = mix64(h * GOLDEN + words[i])
        hashes[k] = h
    return hashes
