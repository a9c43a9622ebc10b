"""What C4 says of single lines (Raffel et al. 2020, arXiv:1910.10683, section 2.2)."""

import numpy as np
from numba import njit

from assay.kernels.lines import NEWLINE, line_end, strip
from assay.kernels.rule_words import SPACE
from assay.kernels.unicode import decode

LONG_WORD = 1000


@njit(nogil=True, cache=True)
def _without_citations(data, start, end):
    """Where a line ends when citations at its end are left out: [12], [], [edit], [citation needed]."""
    while end - start >= 2 and data[end - 1] == 93:  # ]
        i = end - 2
        while i >= start and data[i] != 91 and end - i < 18:  # [
            i -= 1
        if i < start or data[i] != 91:
            break
        is_number = True
        for k in range(i + 1, end - 1):
            is_number &= 48 <= data[k] <= 57
        size = end - i - 2
        if not (is_number or (size == 4 and data[i + 1] == 101) or (size == 15 and data[i + 1] == 99)):
            break
        end = i
    return end


@njit(nogil=True, cache=True)
def _contains(data, start, end, phrases, firsts, pairs):
    """Bits of the phrases (ASCII, lower case) that a line contains in any case, uint64."""
    found = np.uint64(0)
    for i in range(start, end - 1):
        if not pairs[np.uint16(data[i] | 0x20) << np.uint16(8) | np.uint16(data[i + 1] | 0x20)]:
            continue
        for p in range(len(firsts) - 1):
            size = firsts[p + 1] - firsts[p]
            if i + size > end:
                continue
            k = 0
            while k < size and (data[i + k] | (0x20 if 65 <= data[i + k] <= 90 else 0)) == phrases[firsts[p] + k]:
                k += 1
            if k == size:
                found |= np.uint64(1) << np.uint64(p)
    return found


@njit(nogil=True, cache=True)
def c4_keeps(data, start, end, flags, phrases, firsts, pairs):
    """What C4's rules say of one line, white space stripped.

    Returns:
        (kept, lorem ipsum in it, curly bracket in it); a line that is not kept counts for neither.
    """
    words, size = 0, 0
    longest = 0
    in_word = False
    i = start
    while i < end:
        byte = data[i]
        kind, width = (flags[byte], 1)
        if byte >= 0x80:
            code, width = decode(data, i, end)
            kind = flags[code]
        if kind & SPACE:
            in_word = False
        else:
            words += not in_word
            size = size + 1 if in_word else 1
            longest = max(longest, size)
            in_word = True
        i += width
    stop = _without_citations(data, start, end)
    last = data[stop - 1] if stop > start else np.uint8(0)
    is_terminal = last == 46 or last == 63 or last == 33 or last == 34 or last == 39  # . ? ! " '
    if longest > LONG_WORD or not is_terminal or words < 3:
        return False, False, False
    if stop - start >= 3 and last == 46 and data[stop - 2] == 46 and data[stop - 3] == 46:
        return False, False, False
    found = _contains(data, start, stop, phrases, firsts, pairs)
    if found & np.uint64(1):
        return True, True, False
    if found & np.uint64(2):
        return False, False, False
    for i in range(start, stop):
        if data[i] == 123:
            return True, False, True
    return found == 0, False, False


def c4_phrases():
    """C4's phrases as bytes, where each starts, and which pairs of letters begin one [65536] bool."""
    words = "lorem ipsum,javascript,terms of use,privacy policy,cookie policy,uses cookies,use of cookies,use cookies"
    listed = words.split(",")
    pairs = np.zeros(1 << 16, np.bool_)
    for word in listed:
        pairs[ord(word[0]) << 8 | ord(word[1])] = True
    firsts = np.concatenate(([0], np.cumsum([len(word) for word in listed])))
    return np.frombuffer("".join(listed).encode(), np.uint8), firsts, pairs


@njit(nogil=True, cache=True)
def _citation_at(data, i, end):
    """Bytes of a citation at `i`: [12], [], [edit], [citation needed]; else 0."""
    stop = i + 1
    while stop < end and 48 <= data[stop] <= 57:
        stop += 1
    if stop < end and data[stop] == 93:
        return stop + 1 - i
    for word in (b"edit]", b"citation needed]"):
        size = len(word)
        if i + 1 + size <= end:
            k = 0
            while k < size and data[i + 1 + k] == word[k]:
                k += 1
            if k == size:
                return size + 1
    return 0


@njit(nogil=True, cache=True)
def keep_lines(data, offsets, flags, phrases, firsts, pairs):
    """Documents without the lines that C4 takes out, and without citations; what is left is joined by newlines.

    Args:
        data, offsets: UTF-8 bytes of all documents, and where each starts [documents + 1].
        flags: of `rule_words.flags()`. phrases, firsts, pairs: of `c4_phrases()`.

    Returns:
        bytes and offsets of the new texts, and the lines taken out of each document [documents] int64.
    """
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    dropped = np.zeros(len(offsets) - 1, np.int64)
    at = 0
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        while i < end:
            stop, following = line_end(data, i, end, flags)
            first, last = strip(data, i, stop, flags)
            if c4_keeps(data, first, last, flags, phrases, firsts, pairs)[0]:
                if at > out_offsets[row]:
                    out[at] = NEWLINE
                    at += 1
                k = first
                while k < last:
                    size = _citation_at(data, k, last) if data[k] == 91 else 0
                    if size == 0:
                        out[at] = data[k]
                        at, k = at + 1, k + 1
                    k += size
            else:
                dropped[row] += 1
            i = following
        out_offsets[row + 1] = at
    return out[:at], out_offsets, dropped
