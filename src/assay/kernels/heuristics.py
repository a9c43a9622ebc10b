"""Every quantity behind the rules of Gopher, C4 and FineWeb, in one pass over each document.

Words come from `kernels.rule_words`, repetition from `kernels.repetition`, C4's lines from `kernels.c4`.
"""

import numpy as np
from numba import njit

from assay.kernels.c4 import c4_keeps
from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, mix64
from assay.kernels.lines import NEWLINE, find_lines, flag_at, last_start, line_end, num_characters, strip
from assay.kernels.repetition import duplicate_grams, line_repetition, paragraph_repetition, top_shares
from assay.kernels.rule_words import ALPHA, PUNCTUATION, SPACE, SYMBOL, TERMINAL, split_words
from assay.kernels.unicode import decode

COLUMNS = (
    "gopher.word_count",
    "gopher.mean_word_length",
    "gopher.hash_ratio",
    "gopher.ellipsis_ratio",
    "gopher.bullet_lines",
    "gopher.ellipsis_lines",
    "gopher.alpha_words",
    "gopher.stop_words",
    "gopher.dup_paragraphs",
    "gopher.dup_paragraph_chars",
    "gopher.dup_lines",
    "gopher.dup_line_chars",
    "gopher.top_2gram_share",
    "gopher.top_3gram_share",
    "gopher.top_4gram_share",
    "gopher.dup_5gram_share",
    "gopher.dup_6gram_share",
    "gopher.dup_7gram_share",
    "gopher.dup_8gram_share",
    "gopher.dup_9gram_share",
    "gopher.dup_10gram_share",
    "fineweb.terminal_lines",
    "fineweb.short_lines",
    "fineweb.dup_line_chars",
    "fineweb.newline_ratio",
    "c4.lines",
    "c4.lines_dropped",
    "c4.sentences",
    "c4.lorem_ipsum",
    "c4.curly_brackets",
)
_ROOM = 1 << 17
_WORD, _SIGNS, _SENTENCE_END = range(3)


@njit(nogil=True, cache=True)
def _ends_with_ellipsis(data, start, end):
    if end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46:
        return True
    return end - start >= 3 and data[end - 1] == 0xA6 and data[end - 2] == 0x80 and data[end - 3] == 0xE2  # …


@njit(nogil=True, cache=True)
def _word_figures(data, starts, ends, num_words, flags, stop_words, hashes, sizes, kinds, result):
    """Fills `hashes`, `sizes` and `kinds` of the words, and the figures of Gopher that are counted over words."""
    num_real, characters, num_alpha = 0, 0, 0
    seen = np.uint64(0)
    for k in range(num_words):
        h = FNV_OFFSET
        size, is_alpha, is_real, is_punctuation, kind = 0, False, False, True, np.uint16(0)
        i, end = starts[k], ends[k]
        while i < end:
            byte = data[i]
            if byte < 0x80:
                kind, width = flags[byte], 1
                h = (h ^ np.uint64(byte)) * FNV_PRIME
            else:
                code, width = decode(data, i, end)
                kind = flags[code]
                h = (h ^ np.uint64(code)) * FNV_PRIME
            is_alpha |= (kind & ALPHA) != 0
            is_real |= (kind & SYMBOL) == 0
            is_punctuation &= (kind & PUNCTUATION) != 0
            size += 1
            i += width
        hashes[k], sizes[k] = mix64(h), size
        kinds[k] = _SENTENCE_END if size == 1 and kind & TERMINAL else (_SIGNS if is_punctuation else _WORD)
        num_alpha += is_alpha
        if is_real:
            num_real += 1
            characters += size
        for s in range(len(stop_words)):
            if stop_words[s] == hashes[k]:
                seen |= np.uint64(1) << np.uint64(s)
    result[0] = num_real
    result[1] = characters / max(1, num_real)
    result[6] = num_alpha / max(1, num_words)
    found = 0
    while seen:
        found += np.int64(seen & np.uint64(1))
        seen >>= np.uint64(1)
    result[7] = found


@njit(nogil=True, cache=True)
def _line_figures(data, start, end, num_words, flags, result):
    """Gopher's symbols and line ends, and FineWeb's lines."""
    hashes, ellipses, newlines = 0, 0, 0
    for i in range(start, end):
        hashes += data[i] == 35
        newlines += data[i] == NEWLINE
    i = start
    while i < end:
        byte = data[i]
        if byte == 46 and i + 2 < end and data[i + 1] == 46 and data[i + 2] == 46:
            ellipses += 1
            i += 2
        elif byte == 0xE2 and i + 2 < end and data[i + 1] == 0x80 and data[i + 2] == 0xA6:
            ellipses += 1
        i += 1
    result[2] = hashes / max(1, num_words)
    result[3] = ellipses / max(1, num_words)
    result[24] = newlines / max(1, num_words)
    lines, bullets, trailing = 0, 0, 0
    i = start
    while i < end:
        stop, following = line_end(data, i, end, flags)
        first, last = strip(data, i, stop, flags)
        lines += 1
        if first < last:
            bullets += data[first] == 45 or (
                data[first] == 0xE2 and last - first >= 3 and data[first + 1] == 0x80 and data[first + 2] == 0xA2
            )
            trailing += _ends_with_ellipsis(data, first, last)
        i = following
    result[4] = bullets / max(1, lines)
    result[5] = trailing / max(1, lines)


@njit(nogil=True, cache=True)
def _terminal_lines(data, lines, count, flags):
    """Share of lines, blank ones left out, that end in a sign that ends sentences."""
    kept, terminal = 0, 0
    for k in range(count):
        if not lines[k, 3]:
            kept += 1
            last = last_start(data, lines[k, 0], lines[k, 1])
            terminal += (flag_at(data, last, lines[k, 1], flags) & TERMINAL) != 0
    return terminal / max(1, kept)


@njit(nogil=True, cache=True)
def _sentences(kinds, first_word, last_word):
    """Sentences among some words: one starts behind a word that ends one, at the first word that is no punctuation."""
    sentences, is_over = 1, False
    for k in range(first_word, last_word):
        if kinds[k] == _SENTENCE_END:
            is_over = True
        elif is_over and kinds[k] == _WORD:
            sentences += 1
            is_over = False
    return sentences


@njit(nogil=True, cache=True)
def _c4_figures(data, start, end, starts, kinds, num_words, flags, phrases, firsts, grams, result):
    i, word = start, 0
    while i < end:
        stop, following = line_end(data, i, end, flags)
        first, last = strip(data, i, stop, flags)
        is_kept, has_lorem, has_bracket = c4_keeps(data, first, last, flags, phrases, firsts, grams)
        while word < num_words and starts[word] < first:
            word += 1
        first_word = word
        while word < num_words and starts[word] < last:
            word += 1
        result[25] += 1
        result[26] += not is_kept
        result[28] += has_lorem
        result[29] += has_bracket
        if is_kept:
            result[27] += _sentences(kinds, first_word, word)
        i = following


@njit(nogil=True, cache=True)
def _most_words(data, start, end, flags):
    """No less than the words of a document: runs of ASCII letters and digits, and all other bytes one by one."""
    count = 1
    in_run = False
    for i in range(start, end):
        is_plain = data[i] < 0x80 and (
            flags[data[i]] & SPACE != 0 or 48 <= data[i] <= 57 or 97 <= data[i] | 0x20 <= 122
        )
        is_space = data[i] < 0x80 and flags[data[i]] & SPACE != 0
        count += not is_space and not (in_run and is_plain)
        in_run = is_plain and not is_space
    return count


@njit(nogil=True, cache=True)
def measure_rules(data, offsets, flags, kept, stop_words, phrases, firsts_of_phrases, grams):
    """All quantities of `COLUMNS`.

    Args:
        data, offsets: UTF-8 bytes of all documents, and where each starts [documents + 1].
        flags, kept: of `rule_words.flags()`. stop_words: hashes of at most 64 words, uint64.
        phrases, firsts_of_phrases, grams: of `c4_phrases()`.

    Returns:
        float64 [documents, columns].
    """
    num_documents = len(offsets) - 1
    result = np.zeros((num_documents, 30))
    room = _ROOM
    places, numbers, kinds, hashes, keys = _buffers(room)
    lines, line_hashes = np.empty((1024, 4), np.int64), np.empty(1024, np.uint64)
    for row in range(num_documents):
        start, end = offsets[row], offsets[row + 1]
        num_lines = 1
        for i in range(start, end):
            num_lines += data[i] == NEWLINE
        if end - start + 2 > room:
            most = max(_most_words(data, start, end, flags), num_lines) + 2
            if most > room:
                room = most
                places, numbers, kinds, hashes, keys = _buffers(room)
        if num_lines > len(lines):
            lines, line_hashes = np.empty((2 * num_lines, 4), np.int64), np.empty(2 * num_lines, np.uint64)
        num_words = split_words(data, start, end, flags, kept, places[0], places[1], places[2])
        figures = result[row]
        sizes, firsts, slots, repeated, ids, counts = numbers
        _word_figures(data, places[0], places[1], num_words, flags, stop_words, hashes, sizes, kinds, figures)
        _line_figures(data, start, end, num_words, flags, figures)
        find_lines(data, start, end, flags, lines, line_hashes)
        line_repetition(lines, line_hashes, num_lines, flags, keys, figures)
        paragraph_repetition(data, lines, line_hashes, num_lines, flags, keys, figures)
        figures[21] = _terminal_lines(data, lines, num_lines, flags)
        num_repeated = top_shares(hashes, sizes, ids, counts, firsts, slots, keys, repeated, num_words, figures[12:15])
        if num_repeated:
            duplicate_grams(hashes, sizes, repeated, num_repeated, keys, num_words, figures[15:21])
        figures[12:21] /= max(1, num_characters(data, start, end))
        _c4_figures(data, start, end, places[0], kinds, num_words, flags, phrases, firsts_of_phrases, grams, figures)
    return result


@njit(nogil=True, cache=True)
def letter_words(data, offsets, flags, kept):
    """Every word that has a letter, as the rules count words.

    Args:
        data, offsets: UTF-8 bytes of all documents, and where each starts [documents + 1].
        flags, kept: of `rule_words.flags()`.

    Returns:
        hashes [words] uint64 as `word_hash` computes them, and the bytes where each word starts and ends.
    """
    hashes, starts, ends = np.empty(_ROOM, np.uint64), np.empty(_ROOM, np.int64), np.empty(_ROOM, np.int64)
    places = (np.empty(_ROOM, np.int64), np.empty(_ROOM, np.int64), np.empty(_ROOM, np.int64))
    count = 0
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        if end - start + 2 > len(places[0]):
            size = 2 * (end - start + 2)
            places = (np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64))
        num_words = split_words(data, start, end, flags, kept, places[0], places[1], places[2])
        if count + num_words > len(hashes):
            size = 2 * (count + num_words)
            hashes, starts, ends = _grown(hashes, size), _grown(starts, size), _grown(ends, size)
        for k in range(num_words):
            h, has_letter = FNV_OFFSET, False
            i, stop = places[0][k], places[1][k]
            while i < stop:
                code, width = decode(data, i, stop)
                h = (h ^ np.uint64(code)) * FNV_PRIME
                has_letter |= (flags[code] & ALPHA) != 0
                i += width
            if has_letter:
                hashes[count], starts[count], ends[count] = mix64(h), places[0][k], places[1][k]
                count += 1
    return hashes[:count], starts[:count], ends[:count]


@njit(nogil=True, cache=True)
def _grown(array, size):
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True, cache=True)
def _buffers(size):
    """Room for documents of at most `size` words and as many lines."""
    table = 16
    while table < 2 * size:
        table *= 2
    places = (np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64))
    numbers = (
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(table, np.int32),
        np.empty(size, np.int32),
        np.empty((2, size), np.int32),
        np.empty((2, size), np.int32),
    )
    return places, numbers, np.empty(size, np.uint8), np.empty(size, np.uint64), np.empty(table, np.uint64)


def word_hash(word):
    """Hash of a word as `measure_rules` computes it."""
    h = int(FNV_OFFSET)
    for character in word:
        h = ((h ^ ord(character)) * int(FNV_PRIME)) % 2**64
    return mix64(np.uint64(h))
