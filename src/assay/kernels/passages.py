"""128-bit hashes of whole texts and of runs of words, 64-bit hashes of lines and paragraphs, and what runs cover."""

import numpy as np
from numba import njit

from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, GOLDEN, mix64
from assay.kernels.unicode import NOT_ASCII, SPACE, WORD, decode
from assay.kernels.words import next_words

_ODD = np.uint64(0xD6E8FEB86659FD93)  # a second multiplier, so that two hashes of one text are independent
_PARAGRAPH = np.uint64(0xA0761D6478BD642F)
_BUFFER = 4096


@njit(nogil=True, cache=True, inline="always")
def _absorb(one, other, value):
    """Two independent 64-bit states after one more value."""
    return mix64((one ^ value) * GOLDEN), mix64((other + value) * _ODD)


@njit(nogil=True, cache=True)
def _hash_bytes(data, begin, end):
    one, other = _absorb(FNV_OFFSET, GOLDEN, np.uint64(end - begin))
    value = np.uint64(0)
    for i in range(begin, end):
        value = (value << np.uint64(8)) | np.uint64(data[i])
        if (i - begin) & 7 == 7:
            one, other = _absorb(one, other, value)
            value = np.uint64(0)
    return _absorb(one, other, value)


@njit(nogil=True, cache=True)
def text_keys(data, offsets):
    """128-bit hash of each text [documents, 2] uint64."""
    keys = np.empty((len(offsets) - 1, 2), np.uint64)
    for row in range(len(keys)):
        keys[row, 0], keys[row, 1] = _hash_bytes(data, offsets[row], offsets[row + 1])
    return keys


@njit(nogil=True, cache=True)
def normalised_text_keys(data, offsets, tables):
    """128-bit hash of each text in lower case, without punctuation, with one space for white space [documents, 2].

    A text that has no word (only punctuation, symbols, white space) is hashed as it is.
    """
    keys = np.empty((len(offsets) - 1, 2), np.uint64)
    for row in range(len(keys)):
        one, other = GOLDEN, _ODD
        i, end = offsets[row], offsets[row + 1]
        has_words = False
        is_after_space = False
        value = np.uint64(0)
        room = 3  # characters that still fit into `value`, 21 bits each
        while i < end:
            entry = tables.ascii[data[np.uint64(i)]]
            kind = np.uint8(entry >> 8)
            letter = np.uint64(entry & 0xFF)
            width = 1
            if kind == NOT_ASCII:
                code, width = decode(data, i, end)
                kind = tables.classes[np.uint64(code)]
                letter = np.uint64(tables.lower[np.uint64(code)])
            if kind == WORD:
                for k in range(0 if is_after_space and has_words else 1, 2):
                    value = (value << np.uint64(21)) | (np.uint64(32) if k == 0 else letter)
                    room -= 1
                    if room == 0:
                        one, other = _absorb(one, other, value)
                        value, room = np.uint64(0), 3
                has_words = True
                is_after_space = False
            is_after_space |= kind == SPACE
            i += width
        one, other = _absorb(one, other, value)
        if has_words:
            keys[row, 0], keys[row, 1] = one, other
        else:
            keys[row, 0], keys[row, 1] = _hash_bytes(data, offsets[row], offsets[row + 1])
    return keys


@njit(nogil=True, cache=True)
def line_keys(data, offsets, min_characters):
    """Hashes of each document's lines and paragraphs of at least so many characters.

    White space (ASCII) at both ends of a line does not count. A paragraph is a run of lines that are not blank; where
    it is one line only, it is hashed differently from the line.

    Returns:
        keys uint64 [units], their sizes in characters int64 [units], whether each is a paragraph bool [units], where
        each document's start [documents + 1] int64, and all characters of its lines [documents] int64.
    """
    room = 1024
    keys, sizes, is_paragraph = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.bool_)
    starts = np.zeros(len(offsets), np.int64)
    totals = np.zeros(len(offsets) - 1, np.int64)
    found = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        paragraph, paragraph_size = _PARAGRAPH, 0
        while begin <= end:
            stop = begin
            while stop < end and data[stop] != 10:
                stop += 1
            left, right = begin, stop
            while left < right and (data[left] == 32 or 9 <= data[left] <= 13):
                left += 1
            while right > left and (data[right - 1] == 32 or 9 <= data[right - 1] <= 13):
                right -= 1
            h = FNV_OFFSET
            size = 0
            for i in range(left, right):
                h = (h ^ np.uint64(data[i])) * FNV_PRIME
                size += np.int64(data[i] & 0xC0 != 0x80)
            if found + 2 > room:
                room *= 2
                keys = np.concatenate((keys, np.empty_like(keys)))
                sizes = np.concatenate((sizes, np.empty_like(sizes)))
                is_paragraph = np.concatenate((is_paragraph, np.empty_like(is_paragraph)))
            if size >= min_characters and size > 0:
                keys[found], sizes[found], is_paragraph[found] = mix64(h), size, False
                found += 1
            if size > 0:
                paragraph = mix64(paragraph * GOLDEN + mix64(h))
                paragraph_size += size
                totals[row] += size
            if (size == 0 or stop == end) and paragraph_size > 0:
                if paragraph_size >= min_characters:
                    keys[found], sizes[found], is_paragraph[found] = paragraph, paragraph_size, True
                    found += 1
                paragraph, paragraph_size = _PARAGRAPH, 0
            begin = stop + 1
        starts[row + 1] = found
    return keys[:found], sizes[:found], is_paragraph[:found], starts, totals


@njit(nogil=True, cache=True)
def window_keys(data, offsets, length, tables):
    """128-bit hashes of all runs of `length` words; words as in `word_windows`.

    Returns:
        keys [windows, 2] uint64, and where each document's start [documents + 1] int64; none for shorter documents.
    """
    starts = np.zeros(len(offsets), np.int64)
    keys = np.empty((max(_BUFFER, (offsets[-1] - offsets[0]) // 4), 2), np.uint64)
    num_windows = 0
    ring = np.zeros((length, 2), np.uint64)
    power, other_power = np.uint64(1), np.uint64(1)
    for _ in range(length):
        power, other_power = power * GOLDEN, other_power * _ODD
    hashes, kinds = np.empty(_BUFFER, np.uint64), np.empty(_BUFFER, np.uint8)
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        slot = 0
        rolling, other = np.uint64(0), np.uint64(0)
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            if num_windows + found > len(keys):
                keys = np.concatenate((keys, np.empty_like(keys)))
            for j in range(found):
                if kinds[j] != WORD:
                    continue
                word, other_word = mix64(hashes[j]), mix64(hashes[j] ^ _ODD)
                rolling, other = rolling * GOLDEN + word, other * _ODD + other_word
                if num_words >= length:
                    rolling -= ring[slot, 0] * power
                    other -= ring[slot, 1] * other_power
                ring[slot, 0], ring[slot, 1] = word, other_word
                slot = slot + 1 if slot + 1 < length else 0
                num_words += 1
                if num_words >= length:
                    keys[num_windows, 0], keys[num_windows, 1] = mix64(rolling), other
                    num_windows += 1
        starts[row + 1] = num_windows
    return keys[:num_windows], starts


@njit(nogil=True, cache=True)
def covered_characters(data, offsets, length, starts, is_hit, tables):
    """Characters of each document that lie in some of its runs of `length` words, from first to last word of the run.

    Args:
        starts: where each document's runs start [documents + 1], as `window_keys` gives it.
        is_hit: which runs count [windows] bool.

    Returns:
        int64 [documents, 2]: characters covered, and all characters (code points).
    """
    result = np.zeros((len(offsets) - 1, 2), np.int64)
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        num_windows = starts[row + 1] - starts[row]
        kind = np.uint8(SPACE)
        word = -1
        until = -1  # last word of the runs that count so far
        covered = 0
        characters = 0
        gap = 0  # characters since the last word
        while i < end:
            entry = tables.ascii[data[np.uint64(i)]]
            next_kind = np.uint8(entry >> 8)
            width = 1
            if next_kind == NOT_ASCII:
                code, width = decode(data, i, end)
                next_kind = tables.classes[np.uint64(code)]
            if next_kind == WORD:
                if kind != WORD:
                    word += 1
                    covered += gap if word <= until else 0
                    gap = 0
                    if word < num_windows and is_hit[starts[row] + word]:
                        until = word + length - 1
                covered += np.int64(word <= until)
            else:
                gap += 1
            kind = next_kind
            characters += 1
            i += width
        result[row, 0] = covered
        result[row, 1] = characters
    return result
