"""64-bit mixing shared by every kernel that hashes words, n-grams or ids.

The finaliser is that of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"): every input bit flips every output bit with probability close to one half, so high bits can be
used as buckets and low bits as table slots.
"""

import numpy as np
from numba import njit

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNMIX_1 = np.uint64(0x96DE1B173F119089)  # _MIX_1 times this is 1 modulo 2^64
_UNMIX_2 = np.uint64(0x319642B2D24D8EC3)


@njit(nogil=True, cache=True, inline="always")
def mix64(x):
    """SplitMix64 finaliser of one uint64; a bijection."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True, inline="always")
def hash_bytes(data, start, end):
    """FNV-1a with a final mix of a run of bytes, uint64."""
    h = FNV_OFFSET
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * FNV_PRIME
    return mix64(h)


@njit(nogil=True, cache=True)
def hash_strings(data, offsets):
    """`hash_bytes` of each string.

    Args:
        data: UTF-8 bytes [bytes], uint8.
        offsets: where each string starts and ends in `data` [strings + 1], int64.
    Returns:
        hashes [strings], uint64; the same on every machine and in every process.
    """
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(hashes)):
        hashes[row] = hash_bytes(data, offsets[row], offsets[row + 1])
    return hashes


@njit(nogil=True, cache=True)
def mix64_array(values):
    """`mix64` of each value [values], uint64."""
    mixed = np.empty(len(values), np.uint64)
    for i in range(len(values)):
        mixed[i] = mix64(values[i])
    return mixed


@njit(nogil=True, cache=True)
def unmix64_array(mixed):
    """The values [values] uint64 that `mix64_array` turned into these."""
    values = np.empty(len(mixed), np.uint64)
    for i in range(len(mixed)):
        x = mixed[i]
        x = (x ^ (x >> np.uint64(31)) ^ (x >> np.uint64(62))) * _UNMIX_2
        x = (x ^ (x >> np.uint64(27)) ^ (x >> np.uint64(54))) * _UNMIX_1
        values[i] = x ^ (x >> np.uint64(30)) ^ (x >> np.uint64(60))
    return values
