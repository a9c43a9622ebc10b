"""MinHash: sets of hashed shingles, their signatures and keys, and which of the documents that share a key are alike.

A signature holds, for each of many permutations of the 32-bit numbers, the least value that the set takes. Two sets
agree at a place with the probability of their Jaccard similarity J (Broder 1997, "On the resemblance and containment of
documents"). The permutations are x -> a * x + b modulo 2^32 with odd a; shingles are well mixed before, so all of them
are as good as random, and a step is one multiplication, one addition and one minimum on eight or sixteen lanes.
"""

import numpy as np
from numba import njit

from assay.kernels.grouping import root_of
from assay.kernels.hashing import GOLDEN, mix64

HEADER = 3  # 32-bit words before the shingles of a document: how many there are, and its order as two halves
_NONE = np.uint32(0xFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)


@njit(nogil=True, cache=True)
def distinct_shingles(hashes, starts):
    """The high halves of each document's hashes, every value once.

    Args:
        hashes, starts: uint64 [shingles], and where each document's start [documents + 1], as `word_windows` gives.

    Returns:
        shingles uint32, in the order of first occurrence, and where each document's start [documents + 1] int64.
    """
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    size = 16
    while size < 2 * longest:
        size *= 2
    # A slot holds row + 1 and the value, so that the table need not be cleared; short documents use its beginning.
    slots = np.zeros(size, np.uint64)
    shingles = np.empty(len(hashes), np.uint32)
    ends = np.zeros(len(starts), np.int64)
    found = 0
    for row in range(len(starts) - 1):
        size = 16
        while size < 2 * (starts[row + 1] - starts[row]):
            size *= 2
        mask = np.uint64(size - 1)
        stamp = np.uint64(row + 1)
        for i in range(starts[row], starts[row + 1]):
            value = hashes[i] >> np.uint64(32)
            entry = (stamp << np.uint64(32)) | value
            slot = hashes[i] & mask
            while slots[slot] >> np.uint64(32) == stamp and slots[slot] != entry:
                slot = (slot + np.uint64(1)) & mask
            is_new = slots[slot] != entry
            slots[slot] = entry
            shingles[found] = value
            found += np.int64(is_new)
        ends[row + 1] = found
    return shingles[:found], ends


@njit(nogil=True, cache=True)
def signatures(shingles, starts, factors, offsets):
    """MinHash signature of each document [documents, permutations] uint32; all ones without shingles.

    Args:
        shingles, starts: as `distinct_shingles` gives them.
        factors, offsets: a (odd) and b of each permutation [permutations], uint32.
    """
    num = len(factors)
    result = np.full((len(starts) - 1, num), _NONE, np.uint32)
    for row in range(len(starts) - 1):
        least = result[row]
        i, end = starts[row], starts[row + 1]
        while i + 4 <= end:  # four at a time, so that `least` is loaded and stored once for them
            x0, x1, x2, x3 = shingles[i], shingles[i + 1], shingles[i + 2], shingles[i + 3]
            for k in range(num):
                a, b = factors[k], offsets[k]
                low = min(np.uint32(a * x0 + b), np.uint32(a * x1 + b))
                high = min(np.uint32(a * x2 + b), np.uint32(a * x3 + b))
                least[k] = min(least[k], min(low, high))
            i += 4
        while i < end:
            x0 = shingles[i]
            for k in range(num):
                least[k] = min(least[k], np.uint32(factors[k] * x0 + offsets[k]))
            i += 1
    return result


@njit(nogil=True, cache=True)
def band_keys(signature, num_bands, num_rows):
    """One hash of every band of a signature, mixed with the band's number [documents, bands] uint64.

    Args:
        signature: at least bands x rows permutations [documents, permutations], as `signatures` gives.
    """
    keys = np.empty((len(signature), num_bands), np.uint64)
    for row in range(len(signature)):
        for band in range(num_bands):
            h = mix64(np.uint64(band + 1))
            for k in range(band * num_rows, (band + 1) * num_rows):
                h = mix64(h * GOLDEN + np.uint64(signature[row, k]))
            keys[row, band] = h
    return keys


@njit(nogil=True, cache=True)
def pack(shingles, starts, order):
    """Documents as `link` reads them: a header, then the shingles.

    Args:
        order: of each document [documents] uint64; the lesser comes first.

    Returns:
        packed uint32, and where each document's header starts in it [documents] int64; -1 without shingles.
    """
    packed = np.empty(len(shingles) + HEADER * len(order), np.uint32)
    locations = np.full(len(order), -1, np.int64)
    n = 0
    for row in range(len(order)):
        size = starts[row + 1] - starts[row]
        if size == 0:
            continue
        locations[row] = n
        packed[n] = size
        packed[n + 1] = order[row] >> np.uint64(32)
        packed[n + 2] = order[row] & _LOW
        packed[n + HEADER : n + HEADER + size] = shingles[starts[row] : starts[row + 1]]
        n += HEADER + size
    return packed[:n], locations


@njit(nogil=True, cache=True)
def orders(packed, locations):
    """The order of each document [documents] uint64, read from its header."""
    result = np.empty(len(locations), np.uint64)
    for i in range(len(locations)):
        at = locations[i]
        result[i] = (np.uint64(packed[at + 1]) << np.uint64(32)) | np.uint64(packed[at + 2])
    return result


@njit(nogil=True, cache=True)
def _fill(packed, at, slots, stamp):
    """Puts the shingles of the document at `at` into the table; returns the mask that finds them."""
    size = 16
    while size < 2 * np.int64(packed[at]):
        size *= 2
    mask = np.uint64(size - 1)
    for i in range(at + HEADER, at + HEADER + np.int64(packed[at])):
        entry = (stamp << np.uint64(32)) | np.uint64(packed[i])
        slot = np.uint64(packed[i]) & mask
        while slots[slot] >> np.uint64(32) == stamp:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry
    return mask


@njit(nogil=True, cache=True)
def _is_alike(packed, leader, other, slots, stamp, mask, threshold):
    """Whether the Jaccard similarity of two documents is at least `threshold`; the leader's shingles are in `slots`."""
    size, other_size = np.int64(packed[leader]), np.int64(packed[other])
    # |A and B| >= t / (1 + t) (|A| + |B|) is the same as J >= t; stop when too many of B are not in A.
    needed = threshold * (size + other_size) / (1 + threshold) - 1e-9
    spare = other_size - needed
    if spare < 0 or size < needed:
        return False
    missed = 0
    for i in range(other + HEADER, other + HEADER + other_size):
        entry = (stamp << np.uint64(32)) | np.uint64(packed[i])
        slot = np.uint64(packed[i]) & mask
        while slots[slot] >> np.uint64(32) == stamp and slots[slot] != entry:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] != entry:
            missed += 1
            if missed > spare:
                return False
    return True


@njit(nogil=True, cache=True)
def _link_bucket(members, packed, threshold, max_leaders, slots, stamp, pairs):
    """Fills `pairs` with those of one bucket; see `link`. Returns how many, the table, and its last stamp."""
    parents = np.arange(len(members)).astype(np.int32)
    has_led = np.zeros(len(members), np.bool_)
    num_leaders = 0
    num_pairs = 0
    for one in range(len(members)):
        if num_pairs == len(members) - 1 or num_leaders == max_leaders:  # all are one tree
            break
        if parents[one] != one and len(members) > max_leaders:
            continue
        leader = members[one]
        if len(slots) < 4 * np.int64(packed[leader]):  # the power of two that `_fill` takes is below that
            slots = np.zeros(8 * np.int64(packed[leader]), np.uint64)
            stamp = np.uint64(0)
        stamp += np.uint64(1)
        mask = _fill(packed, leader, slots, stamp)
        has_led[one] = True
        num_leaders += 1
        for two in range(len(members)):
            if has_led[two] or root_of(parents, two) == root_of(parents, one):
                continue
            if _is_alike(packed, leader, members[two], slots, stamp, mask, threshold):
                a, b = root_of(parents, one), root_of(parents, two)
                parents[max(a, b)] = min(a, b)
                pairs[num_pairs, 0], pairs[num_pairs, 1] = leader, members[two]
                num_pairs += 1
    return num_pairs, slots, stamp


@njit(nogil=True, cache=True)
def link(buckets, starts, packed, threshold, max_leaders):
    """Pairs of documents that share a bucket and are alike, enough of them to connect all that are.

    In a bucket of up to `max_leaders` documents every two are compared, unless pairs before connect them. In a larger
    one each is compared with leaders only: the first document, the first that is not linked to it, and so on up to
    `max_leaders`; so the work grows with the bucket, not with its square.

    Args:
        buckets, starts: header positions of the documents of each bucket, in order [members] int64, and where each
            bucket starts [buckets + 1].
        packed: what `pack` made.
        threshold: least Jaccard similarity of a pair.

    Returns:
        header positions [pairs, 2] int64.
    """
    pairs = np.empty((len(buckets), 2), np.int64)
    num_pairs = 0
    slots = np.zeros(1 << 12, np.uint64)
    stamp = np.uint64(0)
    for bucket in range(len(starts) - 1):
        members = buckets[starts[bucket] : starts[bucket + 1]]
        found, slots, stamp = _link_bucket(members, packed, threshold, max_leaders, slots, stamp, pairs[num_pairs:])
        num_pairs += found
    return pairs[:num_pairs]
