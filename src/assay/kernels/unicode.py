"""Character classes and lower case for every code point, as flat tables that kernels index.

Words are split as by the regular expression ``\\w+|[^\\w\\s]+`` of NLTK's WordPunctTokenizer on Python strings: a word
character is ``str.isalnum() or "_"``, white space is ``str.isspace()``. Lower case is one code point to one code point
(Unicode simple case mapping): the two places where ``str.lower`` differs are the final sigma, which stays a plain
sigma, and U+0130, which becomes a plain "i".
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

SPACE, WORD, OTHER = 0, 1, 2
NOT_ASCII = 3
REPLACEMENT = np.uint32(0xFFFD)
_NUM_CODE_POINTS = 0x110000
_LAST_PLANE_WITH_LETTERS = 0x40000


class Tables(NamedTuple):
    """What kernels need to know of Unicode.

    ascii: class << 8 | lower case of each byte below 128, NOT_ASCII << 8 above [256] uint16.
    classes: SPACE, WORD or OTHER of each code point [0x110000] uint8. lower: its lower case [0x110000] uint32.
    """

    ascii: np.ndarray
    classes: np.ndarray
    lower: np.ndarray


@cache
def tables() -> Tables:
    """The tables, built from the running Python's Unicode database in about 0.1 s, once in a process."""
    classes = np.full(_NUM_CODE_POINTS, OTHER, np.uint8)
    lower = np.arange(_NUM_CODE_POINTS, dtype=np.uint32)
    for code in range(_LAST_PLANE_WITH_LETTERS):
        character = chr(code)
        if character.isalnum() or character == "_":
            classes[code] = WORD
            lowered = character.lower()
            if lowered != character:
                lower[code] = ord(lowered[0])
        elif character.isspace():
            classes[code] = SPACE
    ascii = np.full(256, NOT_ASCII << 8, np.uint16)
    ascii[:128] = classes[:128].astype(np.uint16) << 8 | lower[:128].astype(np.uint16)
    return Tables(ascii, classes, lower)


@njit(nogil=True, cache=True)
def decode(data, i, end):
    """Code point at byte `i` and its width in bytes; an ill-formed sequence is U+FFFD of width 1."""
    lead = np.uint32(data[i])
    if lead < 0x80:
        return lead, 1
    if lead < 0xC2 or lead > 0xF4:
        return REPLACEMENT, 1
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if i + width > end:
        return REPLACEMENT, 1
    code = lead & np.uint32(0x7F >> width)
    for k in range(1, width):
        byte = np.uint32(data[i + k])
        if byte & np.uint32(0xC0) != 0x80:
            return REPLACEMENT, 1
        code = (code << np.uint32(6)) | (byte & np.uint32(0x3F))
    if code >= 0x110000:
        return REPLACEMENT, 1
    return code, width
