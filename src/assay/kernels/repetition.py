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
def top_shares(hashes, sizes, ids, counts, firsts, slots, keys, repeated, num_words, result):
    """Characters of the most frequent n-gram times its count, for n = 2, 3, 4.

    Args:
        hashes, sizes: of each word. ids, counts, firsts [2, words]: room for the n-gram at each word, and for each how
            often and where it first stands. slots, keys: room for a table.
        repeated: filled with the words, ascending, at which a 4-gram starts that stands more than once [words].

    Returns:
        the number of such words.
    """
    num_repeated = 0
    for level in range(2, 5):
        new, old = level & 1, 1 - (level & 1)
        if level == 2:
            num_repeated = max(0, num_words - 1)
            distinct = _pairs(hashes, num_repeated, ids[new], counts[new], firsts, slots, keys, repeated)
        else:  # a longer n-gram stands twice only where both shorter ones in it do
            num_repeated, distinct = _longer(
                num_repeated, ids[old], ids[new], counts[new], firsts, slots, keys, repeated
            )
        if num_words < level:
            break
        top, top_at = 1, 0
        for k in range(1, distinct + 1):
            if counts[new, k] > top:
                top, top_at = counts[new, k], firsts[k]
        characters = level - 1
        for k in range(level):
            characters += sizes[top_at + k]
        result[level - 2] = characters * top
        kept = 0
        for k in range(num_repeated):
            i = repeated[k]
            repeated[kept] = i
            kept += counts[new, ids[new, i]] > 1
        num_repeated = kept
    return num_repeated


@njit(nogil=True, cache=True)
def _pairs(hashes, num_pairs, ids, counts, firsts, slots, keys, places):
    """Numbers the pairs of words from 1 on, in the order in which they first stand; how many there are."""
    mask = _cleared(keys, num_pairs)
    distinct = 0
    for i in range(num_pairs):
        slot, is_known = _insert(keys, mask, mix64(hashes[i] * GOLDEN + hashes[i + 1]))
        if not is_known:
            distinct += 1
            slots[slot] = distinct
            counts[distinct] = 0
            firsts[distinct] = i
        ids[i] = slots[slot]
        counts[ids[i]] += 1
        places[i] = i
    return distinct


@njit(nogil=True, cache=True)
def _longer(num_places, shorter, ids, counts, firsts, slots, keys, places):
    """The same for n-grams whose two parts of n - 1 words both start at one of `places`; keeps those places."""
    mask = _cleared(keys, num_places)
    distinct, kept = 0, 0
    for k in range(num_places - 1):
        i = places[k]
        if places[k + 1] != i + 1:
            continue
        h = mix64(np.uint64(shorter[i]) << np.uint64(32) | np.uint64(shorter[i + 1]))
        slot, is_known = _insert(keys, mask, h)
        if not is_known:
            distinct += 1
            slots[slot] = distinct
            counts[distinct] = 0
            firsts[distinct] = i
        ids[i] = slots[slot]
        counts[ids[i]] += 1
        places[kept] = i
        kept += 1
    return kept, distinct


@njit(nogil=True, cache=True)
def duplicate_grams(hashes, sizes, repeated, num_repeated, keys, num_words, result):
    """Characters in n-grams that stood before, n = 5 to 10 [6]; what is counted once is not counted again.

    Args:
        repeated: where 4-grams start that stand more than once; see `top_shares`.
    """
    for n in range(5, 11):
        mask = _cleared(keys, num_repeated)
        following = 0
        for place in range(num_repeated):
            i = repeated[place]
            if i < following or i > num_words - n:
                continue
            h = hashes[i]
            for k in range(1, n):
                h = mix64(h * GOLDEN + hashes[i + k])
            if _insert(keys, mask, h)[1]:
                for k in range(n):
                    result[n - 5] += sizes[i + k]
                following = i + n
