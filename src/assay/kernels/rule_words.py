"""Words as rule-based filters count them: punctuation, contractions and hyphenated parts are words of their own.

Gopher's and FineWeb's thresholds were set on the words of tokenizers in the manner of the Penn Treebank, so that
"well-known (don't)." is well - known ( do n't ) . and not two words. The rules are those of spaCy's English tokenizer
as far as they matter for counting: what is peeled off the ends of a run without white space, where a run is cut
inside, abbreviations and addresses that stay whole. Left out are emoticons, units behind numbers, and most of its
1,300 special cases.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from assay.kernels.hashing import hash_bytes
from assay.kernels.unicode import decode

SPACE, ALPHA, LOWER, UPPER, DIGIT, PUNCTUATION, SYMBOL, ICON = (np.uint16(1 << k) for k in range(8))
_LEAD, _TRAIL, _HYPHEN, _QUOTE, LINE_BREAK, TERMINAL = (np.uint16(1 << k) for k in range(8, 14))
_LAST_PLANE_WITH_LETTERS = 0x40000
_BOTH_ENDS = set(",:;!?()[]{}<>_#*&'\"`")
_FRONT_ONLY = set("%=$+")
_ABBREVIATIONS = (
    "a.m. p.m. A.M. P.M. e.g. i.e. E.g. I.e. E.G. I.E. vs. v.s. Mr. Mrs. Ms. Dr. Prof. St. Mt. Jr. Sr. Inc. Ltd. Corp. "
    "Co. Bros. Gen. Gov. Rep. Rev. Sen. Adm. Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ala. Ariz. "
    "Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont. "
    "N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis. D.C. Ph.D. o.c. and/or"
)
# Unicode's property Sentence_Terminal, with three Khmer signs that end sentences as well.
_TERMINALS = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 "
    "17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 "
    "2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB "
    "FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 "
    "111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 "
    "1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 "
    "16B37-16B38 16B44 16E98 1BC9F 1DA88 "
)


class Flags(NamedTuple):
    """flags: kind of character of each code point [0x110000] uint16. kept: sorted hashes of abbreviations uint64."""

    flags: np.ndarray
    kept: np.ndarray


@cache
def flags() -> Flags:
    """The tables, built from the running Python's Unicode database once in a process."""
    import unicodedata

    table = np.zeros(0x110000, np.uint16)
    for code in range(_LAST_PLANE_WITH_LETTERS):
        c = chr(code)
        category = unicodedata.category(c)
        bits = SPACE * c.isspace() | ALPHA * c.isalpha() | LOWER * (category == "Ll") | UPPER * (category == "Lu")
        bits |= (
            DIGIT * (category == "Nd")
            | PUNCTUATION * (category[0] == "P")
            | SYMBOL * (category[0] in "PS" or category == "Cc")
        )
        bits |= ICON * (category == "So") | _QUOTE * (category in ("Pi", "Pf") or c in "'\"`´")
        if code < 128:
            peel = c in _BOTH_ENDS
            bits |= _LEAD * (peel or c in _FRONT_ONLY) | _TRAIL * peel | _HYPHEN * (c in "-~")
        else:
            bits |= (_LEAD | _TRAIL) * (category[0] == "P" or category == "So") | _LEAD * (category == "Sc")
            bits |= _HYPHEN * (c in "–—")
        bits |= LINE_BREAK * (len(f"a{c}b".splitlines()) == 2)
        table[code] = bits
    for span in _TERMINALS.split():
        first, _, last = span.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] |= TERMINAL
    kept = np.unique(
        [hash_bytes(np.frombuffer(word.encode(), np.uint8), 0, len(word)) for word in _ABBREVIATIONS.split()]
    )
    return Flags(table, kept)


@njit(nogil=True, cache=True, inline="always")
def _before(data, i, first):
    """Where the character that ends at byte `i` starts."""
    i -= 1
    while i > first and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@njit(nogil=True, cache=True, inline="always")
def _flag(data, i, end, flags):
    if i >= end:
        return np.uint16(0)
    byte = data[i]
    if byte < 0x80:
        return flags[byte]
    return flags[decode(data, i, end)[0]]


@njit(nogil=True, cache=True, inline="always")
def _width(byte):
    return 1 if byte < 0x80 else (2 if byte < 0xE0 else (3 if byte < 0xF0 else 4))


@njit(nogil=True, cache=True)
def _is_kept(data, start, end, kept):
    """Whether a run is an abbreviation that keeps its full stop."""
    if end - start > 6 or (data[end - 1] != 46 and data[end - 1] != 114):
        return False
    h = hash_bytes(data, start, end)
    k = np.searchsorted(kept, h)
    return k < len(kept) and kept[k] == h


@njit(nogil=True, cache=True)
def _is_address(data, start, end, flags):
    """Whether a run is a web or mail address: a scheme, www., or labels joined by dots before the first slash."""
    dots = 0
    letters = 0
    for i in range(start, end):
        byte = data[i]
        if byte == 58 and i + 2 < end and data[i + 1] == 47 and data[i + 2] == 47:  # ://
            return True
        if byte == 47:  # /
            break
        if byte == 46:  # .
            if i == start or i + 1 == end or letters == 0 or flags[data[i + 1]] & UPPER:  # the end.Next one
                return False
            dots += 1
            letters = 0
        elif byte >= 0x80 or not (flags[byte] & (ALPHA | DIGIT) or byte in (45, 64, 95)):
            return False
        else:
            letters += 1 if flags[byte] & ALPHA else 0
    return dots > 0 and letters >= 2


@njit(nogil=True, cache=True)
def _contraction(data, lo, hi):
    """Bytes of a contraction's second half at the end of a run ("n't", "'re"), else 0."""
    for back in (2, 3, 4, 5):
        p = hi - back
        if p < lo:
            break
        width = (
            1
            if data[p] == 39
            else (3 if p + 2 < hi and data[p] == 0xE2 and data[p + 1] == 0x80 and data[p + 2] == 0x99 else 0)
        )
        if width == 0:
            continue
        a = data[p + width] | 0x20 if p + width < hi else 0
        b = data[p + width + 1] | 0x20 if p + width + 1 < hi else 0
        size = hi - p - width
        if size == 1 and (a == 109 or a == 100) and p > lo:  # 'm 'd
            return back
        if size == 1 and a == 116 and p - 1 > lo and data[p - 1] | 0x20 == 110:  # n't
            return back + 1
        if size == 2 and p > lo and ((a == 114 and b == 101) or (a == 118 and b == 101) or (a == 108 and b == 108)):
            return back
        return 0
    return 0


@njit(nogil=True, cache=True)
def _suffix(data, lo, hi, flags, kept):
    """Bytes to peel off the end of a run, or 0."""
    last = _before(data, hi, lo)
    byte = data[last]
    if byte == 46:  # .
        first = last
        while first > lo and data[first - 1] == 46:
            first -= 1
        if last > first:
            return hi - first
        if last == lo:
            return 0
        before = _before(data, last, lo)
        kind = _flag(data, before, last, flags)
        if kind & UPPER:
            return 1 if before > lo and _flag(data, _before(data, before, lo), before, flags) & UPPER else 0
        if kind & (DIGIT | LOWER | _TRAIL | _QUOTE) or data[before] in (37, 43, 45):  # % + -
            return 0 if _is_kept(data, lo, hi, kept) else 1
        return 0
    kind = _flag(data, last, hi, flags)
    if kind & _TRAIL:
        return hi - last
    if (byte == 115 or byte == 83) and last > lo:  # 's
        before = _before(data, last, lo)
        if data[before] == 39 or (data[before] == 0xE2 and last - before == 3 and data[before + 2] == 0x99):
            return hi - before
    is_sign = (byte == 36 or byte == 37 or byte == 43 or kind & _LEAD) and last > lo  # $ % + behind a number
    return hi - last if is_sign and _flag(data, _before(data, last, lo), last, flags) & DIGIT else 0


@njit(nogil=True, cache=True)
def _cut(data, i, lo, hi, flags):
    """Bytes of a separator at `i` inside a run, or 0."""
    byte = data[i]
    if byte == 46:  # .
        stop = i
        while stop < hi and data[stop] == 46:
            stop += 1
        if stop - i > 1:
            return stop - i
    kind = _flag(data, i, hi, flags)
    if kind & ICON or (byte == 0xE2 and decode(data, i, hi)[0] == 0x2026):
        return _width(byte)
    if i == lo:
        return 0
    before = _flag(data, _before(data, i, lo), i, flags)
    width = _width(byte)
    if kind & _HYPHEN and before & (ALPHA | DIGIT):  # so only the first of a line of hyphens looks where it ends
        stop = i
        while stop < hi and data[stop] == byte:
            stop += 1
        width = max(width, stop - i) if byte == 45 else width
        if _flag(data, i + width, hi, flags) & ALPHA:
            return width
    after = _flag(data, i + width, hi, flags)
    if byte == 44:  # ,
        return 1 if before & ALPHA and after & ALPHA else 0
    if byte == 46:
        return 1 if before & (LOWER | _QUOTE) and after & (UPPER | _QUOTE) else 0
    if byte == 58 or byte == 60 or byte == 62 or byte == 61 or byte == 47:  # : < > = /
        return 1 if before & (ALPHA | DIGIT) and after & ALPHA else 0
    if byte == 43 or byte == 45 or byte == 42 or byte == 94:  # + - * ^
        return 1 if before & DIGIT and (after & DIGIT or (i + 1 < hi and data[i + 1] == 45)) else 0
    return 0


@njit(nogil=True, cache=True)
def _split_run(data, lo, hi, flags, kept, starts, ends, stack, n):
    """Appends the words of a run without white space, of which not all characters are ASCII letters and digits."""
    if data[lo] == 39 and hi - lo <= 3 and hi - lo >= 2 and (data[hi - 1] == 39 or flags[data[hi - 1]] & ALPHA):
        starts[n], ends[n] = lo, hi  # 's 're '' standing alone
        return n + 1, 0
    if not _is_kept(data, lo, hi, kept):
        while lo < hi:
            byte = data[lo]
            width = _width(byte)
            if byte == 46:
                stop = lo
                while stop < hi and data[stop] == 46:
                    stop += 1
                if stop - lo < 2:
                    break
                width = stop - lo
            elif not _flag(data, lo, hi, flags) & _LEAD or (byte == 43 and lo + 1 < hi and flags[data[lo + 1]] & DIGIT):
                break
            starts[n], ends[n] = lo, min(lo + width, hi)
            lo = ends[n]
            n += 1
    depth = 0
    while lo < hi:
        if _is_kept(data, lo, hi, kept):
            break
        size = _suffix(data, lo, hi, flags, kept)
        if size == 0:
            break
        hi -= size
        stack[depth] = hi
        depth += 1
    tail = _contraction(data, lo, hi)
    if tail:
        hi -= tail
        stack[depth] = hi
        depth += 1
    if lo < hi:
        first = lo
        if not _is_address(data, lo, hi, flags) and not _is_kept(data, lo, hi, kept):
            i = lo
            while i < hi:
                size = _cut(data, i, lo, hi, flags)
                if size == 0:
                    i += _width(data[i])
                    continue
                if i > first:
                    starts[n], ends[n] = first, i
                    n += 1
                starts[n], ends[n] = i, min(i + size, hi)
                n += 1
                i += size
                first = i
        if first < hi:
            starts[n], ends[n] = first, hi
            n += 1
    return n, depth


@njit(nogil=True, cache=True)
def split_words(data, start, end, flags, kept, starts, ends, stack):
    """Splits one document into words.

    Args:
        flags, kept: of `flags()`.
        starts, ends: filled with the bytes where words start and end; room for one word a byte and one more.
        stack: room for as many.

    Returns:
        the number of words.
    """
    n = 0
    i = start
    while i < end:
        byte = data[i]
        kind = flags[byte] if byte < 0x80 else _flag(data, i, end, flags)
        if kind & SPACE:
            i += _width(byte)
            continue
        lo = i
        odd = -1  # the first byte that is no ASCII letter or digit
        while i < end:
            byte = data[i]
            if byte < 0x80:
                kind = flags[byte]
                if kind & SPACE:
                    break
                if odd < 0 and not kind & (ALPHA | DIGIT):
                    odd = i
                i += 1
            else:
                code, width = decode(data, i, end)
                if flags[code] & SPACE:
                    break
                if odd < 0:
                    odd = i
                i += width
        if odd < 0:
            starts[n], ends[n] = lo, i
            n += 1
            continue
        if odd == i - 1 and odd > lo:  # most of them: a word and a comma or full stop
            kind = flags[data[odd]]
            if kind & _TRAIL or (data[odd] == 46 and flags[data[odd - 1]] & (LOWER | DIGIT) and i - lo > 6):
                starts[n], ends[n] = lo, odd
                starts[n + 1], ends[n + 1] = odd, i
                n += 2
                continue
        n, depth = _split_run(data, lo, i, flags, kept, starts, ends, stack, n)
        for k in range(depth - 1, -1, -1):
            starts[n], ends[n] = stack[k], (stack[k - 1] if k else i)
            n += 1
    return n
