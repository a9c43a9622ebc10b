"""What stands more than once in a document: lines, paragraphs, runs of words (Gopher's repetition rules).

Runs are found level by level: one of n words can only stand twice where its first n - 1 words do, so beyond pairs next
to nothing has to be looked up in ordinary text.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, hash_bytes, mix64
from assay.kernels.lines import num_characters, strip

SHORT_LINE = 30


@njit(nogil=True, cache=True, inline="always")
def _insert(keys, mask, key):
    """Slot of `key` in an open table, and whether it was there; 0 marks an empty slot."""
    key = key | np.uint64(1)
    slot = (key >> np.uint64(1)) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return slot, True
        slot = (slot + np.uint64(1)) & mask
    keys[slot] = key
    return slot, False


@njit(nogil=True, cache=True)
def _cleared(keys, num):
    """Empties as much of the table as `num` keys need; its mask."""
    size = 16
    while size < 2 * num:
        size *= 2
    keys[:size] = 0
    return np.uint64(size - 1)


@njit(nogil=True, cache=True)
def line_repetition(lines, hashes, count, flags, keys, result):
    """Lines that stood before: Gopher's, parted by any number of newlines, and FineWeb's, blank ones left out."""
    mask = _cleared(keys, count + 1)
    elements, duplicates, characters = 0, 0, 0
    kept, kept_characters, newline_free, short = 0, 0, 0, 0
    for k in range(count):
        size = lines[k, 2]
        newline_free += size
        is_edge = k == 0 or k == count - 1  # a text that starts or ends with a newline has an empty first or last line
        if size == 0 and not is_edge:
            continue
        is_known = _insert(keys, mask, hashes[k])[1]
        elements += 1
        duplicates += is_known
        characters += size * is_known
        if not lines[k, 3]:
            kept += 1
            kept_characters += size * is_known
            short += size <= SHORT_LINE
    result[10], result[11] = duplicates / max(1, elements), characters / max(1, newline_free + count - 1)
    result[22] = short / max(1, kept)
    result[23] = kept_characters / max(1, newline_free)


@njit(nogil=True, cache=True)
def paragraph_repetition(data, lines, hashes, count, flags, keys, result):
    """Paragraphs that stood before; they are parted by empty lines, and white space around the text is left out."""
    first, last = 0, count
    while first < last and lines[first, 3]:
        first += 1
    while last > first and lines[last - 1, 3]:
        last -= 1
    mask = _cleared(keys, last - first + 1)
    paragraphs, duplicates, characters = 0, 0, 0
    h, size, is_open = np.uint64(0), 0, False
    whole = 0
    for k in range(count):
        whole += lines[k, 2]
    for k in range(first, last + 1):
        if k == last or lines[k, 0] == lines[k, 1]:
            if is_open:
                is_known = _insert(keys, mask, mix64(h))[1]
                paragraphs += 1
                duplicates += is_known
                characters += size * is_known
            h, size, is_open = np.uint64(0), 0, False
            continue
        line_hash, line_size = hashes[k], lines[k, 2]
        if k == first or k == last - 1:
            bare, bare_end = lines[k, 0], lines[k, 1]
            stripped, stripped_end = strip(data, bare, bare_end, flags)
            bare = stripped if k == first else bare
            bare_end = stripped_end if k == last - 1 else bare_end
            line_hash, line_size = hash_bytes(data, bare, bare_end), num_characters(data, bare, bare_end)
        h = h * GOLDEN + line_hash
        size += line_size + is_open
        is_open = True
    result[8] = duplicates / max(1, paragraphs)
    result[9] = characters / max(1, whole + count - 1)


@njit(nogil=True, cache=True)
def top_shares(hashes, sizes, ids, counts, firsts, slots, keys, num_words, result):
    """Characters of the most frequent n-gram times its count, for n = 2, 3, 4.

    Args:
        hashes, sizes: of each word. ids, counts, firsts [2, words]: room for the n-gram at each word, and for each how
            often and where it first stands. Afterwards ids[0], counts[0] are those of 4-grams; n-gram 0 stands nowhere.
        slots, keys: room for a table.
    """
    for level in range(2, 5):
        num_grams = num_words - level + 1
        if num_grams < 1:
            break
        new, old = level & 1, 1 - (level & 1)
        candidates = num_grams
        if level > 2:  # a longer n-gram stands twice only where both shorter ones in it do
            candidates = 0
            for i in range(num_grams):
                candidates += counts[old, ids[old, i]] > 1
        mask = _cleared(keys, candidates)
        counts[new, 0] = 0
        distinct = 0
        for i in range(num_grams):
            if level == 2:
                h = mix64(hashes[i] * GOLDEN + hashes[i + 1])
            elif counts[old, ids[old, i]] > 1 and counts[old, ids[old, i + 1]] > 1:
                h = mix64(np.uint64(ids[old, i]) << np.uint64(32) | np.uint64(ids[old, i + 1]))
            else:
                ids[new, i] = 0
                continue
            slot, is_known = _insert(keys, mask, h)
            if not is_known:
                distinct += 1
                slots[slot] = distinct
                counts[new, distinct] = 0
                firsts[distinct] = i
            ids[new, i] = slots[slot]
            counts[new, slots[slot]] += 1
        top, top_at = 1, 0
        for k in range(1, distinct + 1):
            if counts[new, k] > top:
                top, top_at = counts[new, k], firsts[k]
        characters = level - 1
        for k in range(level):
            characters += sizes[top_at + k]
        result[level - 2] = characters * top


@njit(nogil=True, cache=True)
def duplicate_grams(hashes, sizes, ids, counts, keys, num_words, result):
    """Characters in n-grams that stood before, n = 5 to 10 [6]; what is counted once is not counted again.

    Args:
        ids, counts: the 4-gram at each word, and how often each stands; see `top_shares`.
    """
    candidates = 0
    for i in range(num_words - 4):
        candidates += counts[ids[i]] > 1
    if candidates == 0:
        return
    for n in range(5, 11):
        mask = _cleared(keys, candidates)
        i = 0
        while i < num_words - n + 1:
            if counts[ids[i]] < 2:
                i += 1
                continue
            h = hashes[i]
            for k in range(1, n):
                h = mix64(h * GOLDEN + hashes[i + k])
            if _insert(keys, mask, h)[1]:
                for k in range(n):
                    result[n - 5] += sizes[i + k]
                i += n
            else:
                i += 1
