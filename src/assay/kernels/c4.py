"""What C4 says of single lines (Raffel et al. 2020, arXiv:1910.10683, section 2.2)."""

import numpy as np
from numba import njit

from assay.kernels.lines import NEWLINE, line_end, strip
from assay.kernels.rule_words import SPACE
from assay.kernels.unicode import decode

LONG_WORD = 1000
_SHORTEST_PHRASE, _LONGEST_PHRASE = 10, 14


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


@njit(nogil=True, cache=True, inline="always")
def _gram(data, i):
    """Place of four bytes, in any case, in the table of `c4_phrases`."""
    four = np.uint32(data[i]) | np.uint32(data[i + 1]) << np.uint32(8)
    four |= np.uint32(data[i + 2]) << np.uint32(16) | np.uint32(data[i + 3]) << np.uint32(24)
    return ((four | np.uint32(0x20202020)) * np.uint32(0x9E3779B1)) >> np.uint32(16) & np.uint32(0xFFFF)


@njit(nogil=True, cache=True)
def _contains(data, start, end, phrases, firsts, grams):
    """Bits of the phrases (ASCII, lower case) that a line contains in any case, uint64.

    The shortest has ten bytes, so that one of every seven places is inside it with four bytes to go.
    """
    found = np.uint64(0)
    for i in range(start, end - 3, _SHORTEST_PHRASE - 3):
        if grams[_gram(data, i)]:
            for at in range(max(start, i - _LONGEST_PHRASE), i + 1):
                found |= _phrases_at(data, at, end, phrases, firsts)
    return found


@njit(nogil=True, cache=True)
def _phrases_at(data, i, end, phrases, firsts):
    """Bits of the phrases that begin at byte `i`."""
    found = np.uint64(0)
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
def _has_long_word(data, start, end, flags):
    """Whether a word has more than LONG_WORD characters; looks closer only where no space stands in as many bytes."""
    i = start
    while end - i > LONG_WORD:
        space = i + LONG_WORD
        while space >= i and data[space] != 32:
            space -= 1
        if space < i:
            break
        i = space + 1
    if end - i <= LONG_WORD:
        return False
    size = 0
    while i < end:
        code, width = decode(data, i, end)
        size = 0 if flags[code] & SPACE else size + 1
        if size > LONG_WORD:
            return True
        i += width
    return False


@njit(nogil=True, cache=True)
def _has_three_words(data, start, end, flags):
    words, in_word = 0, False
    i = start
    while i < end and words < 3:
        code, width = decode(data, i, end)
        is_space = flags[code] & SPACE != 0
        words += not is_space and not in_word
        in_word = not is_space
        i += width
    return words == 3


@njit(nogil=True, cache=True)
def c4_keeps(data, start, end, flags, phrases, firsts, grams):
    """What C4's rules say of one line, white space stripped.

    Returns:
        (kept, lorem ipsum in it, curly bracket in it); a line that is not kept counts for neither.
    """
    stop = _without_citations(data, start, end)
    last = data[stop - 1] if stop > start else np.uint8(0)
    is_terminal = last == 46 or last == 63 or last == 33 or last == 34 or last == 39  # . ? ! " '
    if not is_terminal or not _has_three_words(data, start, end, flags) or _has_long_word(data, start, end, flags):
        return False, False, False
    if stop - start >= 3 and last == 46 and data[stop - 2] == 46 and data[stop - 3] == 46:
        return False, False, False
    found = _contains(data, start, stop, phrases, firsts, grams)
    if found & np.uint64(1):
        return True, True, False
    if found & np.uint64(2):
        return False, False, False
    for i in range(start, stop):
        if data[i] == 123:
            return True, False, True
    return found == 0, False, False


def c4_phrases():
    """C4's phrases as bytes, where each starts, and which four bytes stand in one, by `_gram` [65536] bool."""
    words = "lorem ipsum,javascript,terms of use,privacy policy,cookie policy,uses cookies,use of cookies,use cookies"
    listed = words.split(",")
    assert min(map(len, listed)) == _SHORTEST_PHRASE and max(map(len, listed)) == _LONGEST_PHRASE
    grams = np.zeros(1 << 16, np.bool_)
    for word in listed:
        data = np.frombuffer(word.encode(), np.uint8)
        for i in range(len(data) - 3):
            grams[_gram(data, i)] = True
    firsts = np.concatenate(([0], np.cumsum([len(word) for word in listed])))
    return np.frombuffer("".join(listed).encode(), np.uint8), firsts, grams


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
def keep_lines(data, offsets, flags, phrases, firsts, grams):
    """Documents without the lines that C4 takes out, and without citations; what is left is joined by newlines.

    Args:
        data, offsets: UTF-8 bytes of all documents, and where each starts [documents + 1].
        flags: of `rule_words.flags()`. phrases, firsts, grams: of `c4_phrases()`.

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
            if c4_keeps(data, first, last, flags, phrases, firsts, grams)[0]:
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
