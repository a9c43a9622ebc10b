"""Random projection to few dimensions by a matrix of signs, which is never whole in memory.

Achlioptas 2003, "Database-friendly random projections": with R [dimensions, coordinates] of independent +1 and -1, the
dot product of R x / sqrt(dimensions) and R y / sqrt(dimensions) is that of x and y on average, and differs from it by
at most |x| |y| sqrt(2 / dimensions) (standard deviation). The scale is left out here: vectors are brought to unit
length anyway.

The signs of a coordinate are the bits of hashes of its number and the seed, 64 a word, so that any block of the matrix
can be made anywhere: on any machine, and on a GPU from the words.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, mix64

WORD = 64  # dimensions are a multiple of it
BLOCK = 8192  # coordinates at a time


def seed_key(seed: int) -> np.uint64:
    """What a seed adds to the hash of a coordinate."""
    digest = hashlib.blake2b(f"{seed}/projection".encode(), digest_size=8).digest()
    return np.frombuffer(digest, np.uint64)[0]


@njit(nogil=True, cache=True, inline="always")
def _word(coordinate, k, key):
    return mix64(mix64(np.uint64(coordinate) ^ key) + np.uint64(k) * GOLDEN)


@njit(nogil=True, cache=True)
def sign_words(first, number, dimensions, key):
    """Bits of the signs of `number` coordinates from `first` on [number, dimensions / 64] uint64; 1 stands for +1."""
    words = np.empty((number, dimensions // WORD), np.uint64)
    for row in range(number):
        for k in range(words.shape[1]):
            words[row, k] = _word(first + row, k, key)
    return words


def coordinate_blocks(num_coordinates: int) -> Iterator[tuple[int, int]]:
    """First coordinate and number of each block."""
    for first in range(0, num_coordinates, BLOCK):
        yield first, min(BLOCK, num_coordinates - first)


@njit(nogil=True, cache=True)
def project_sparse(starts, coordinates, values, dimensions, key):
    """R times each sparse vector [vectors, dimensions] float64; sums in the order of the entries.

    Args:
        starts: where the entries of each vector start [vectors + 1]. coordinates, values: of the entries [entries].
    """
    result = np.zeros((len(starts) - 1, dimensions))
    for row in range(len(starts) - 1):
        sums = result[row]
        for entry in range(starts[row], starts[row + 1]):
            value = values[entry]
            for k in range(dimensions // WORD):
                word = _word(coordinates[entry], k, key)
                for bit in range(WORD):
                    is_plus = (word >> np.uint64(bit)) & np.uint64(1)
                    sums[WORD * k + bit] += value if is_plus else -value
    return result
