"""Lines and white space of UTF-8 text as Python's str methods see them, and hashes of what stands between newlines."""

import numpy as np
from numba import njit

from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, mix64
from assay.kernels.rule_words import LINE_BREAK, SPACE
from assay.kernels.unicode import decode

NEWLINE = 10


@njit(nogil=True, cache=True)
def num_characters(data, start, end):
    """Code points of a run of bytes."""
    count = 0
    for i in range(start, end):
        count += (data[i] & 0xC0) != 0x80
    return count


@njit(nogil=True, cache=True, inline="always")
def flag_at(data, i, end, flags):
    """Flags of the character at byte `i`."""
    return flags[data[i]] if data[i] < 0x80 else flags[decode(data, i, end)[0]]


@njit(nogil=True, cache=True)
def last_start(data, start, end):
    """Where the last character of a run starts."""
    i = end - 1
    while i > start and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@njit(nogil=True, cache=True)
def line_end(data, i, end, flags):
    """(where the line that starts at `i` ends, where the next one starts), as Python's str.splitlines."""
    while i < end:
        byte = data[i]
        if byte < 0x20:
            if flags[byte] & LINE_BREAK:
                return i, i + (2 if byte == 13 and i + 1 < end and data[i + 1] == NEWLINE else 1)
        elif byte == 0xC2 or byte == 0xE2:  # all other line breaks of Unicode begin with one of these
            code, width = decode(data, i, end)
            if flags[code] & LINE_BREAK:
                return i, i + width
        i += 1
    return end, end


@njit(nogil=True, cache=True)
def strip(data, start, end, flags):
    """The run without white space at its two ends."""
    while start < end and flag_at(data, start, end, flags) & SPACE:
        start += 1 if data[start] < 0x80 else decode(data, start, end)[1]
    while end > start:
        last = last_start(data, start, end)
        if not flag_at(data, last, end, flags) & SPACE:
            break
        end = last
    return start, end


@njit(nogil=True, cache=True)
def find_lines(data, start, end, flags, lines, hashes):
    """What stands between newlines: fills start, end, characters, 1 if blank [lines, 4] and the hash [lines]."""
    count = 0
    i = start
    while i <= end:
        first, characters = i, 0
        h = FNV_OFFSET
        while i < end and data[i] != NEWLINE:
            h = (h ^ np.uint64(data[i])) * FNV_PRIME
            characters += (data[i] & 0xC0) != 0x80
            i += 1
        bare, bare_end = strip(data, first, i, flags)
        lines[count, 0], lines[count, 1], lines[count, 2], lines[count, 3] = first, i, characters, bare == bare_end
        hashes[count] = mix64(h)
        count += 1
        i += 1
    return count
