"""MinHash: sets of hashed shingles, their signatures and keys, and which of the documents that share a key are alike.

A signature holds, for each of many permutations of the 32-bit numbers, the least value that the set takes. Two sets
agree at a place with the probability of their Jaccard similarity J (Broder 1997, "On the resemblance and containment of
documents"). The permutations are x -> a * x + b modulo 2^32 with odd a; shingles are well mixed before, so all of them
are as good as random, and a step is one multiplication, one addition and one minimum on eight or sixteen lanes.
"""

import numpy as np
from numba import njit

from assay.kernels.grouping import root_of, roots
from assay.kernels.hashing import GOLDEN, mix64

_NONE = np.uint32(0xFFFFFFFF)


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
def _fill(shingles, start, end, slots, stamp):
    """Puts the shingles of one document into the table; returns the mask that finds them."""
    size = 16
    while size < 2 * (end - start):
        size *= 2
    mask = np.uint64(size - 1)
    for i in range(start, end):
        entry = (stamp << np.uint64(32)) | np.uint64(shingles[i])
        slot = np.uint64(shingles[i]) & mask
        while slots[slot] >> np.uint64(32) == stamp:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry
    return mask


@njit(nogil=True, cache=True)
def _is_alike(size, shingles, start, end, slots, stamp, mask, threshold):
    """Whether a document's Jaccard similarity with that of `size` shingles in `slots` is at least `threshold`."""
    other_size = end - start
    # |A and B| >= t / (1 + t) (|A| + |B|) is the same as J >= t; stop when too many of B are not in A.
    needed = threshold * (size + other_size) / (1 + threshold) - 1e-9
    spare = other_size - needed
    if spare < 0 or size < needed:
        return False
    missed = 0
    for i in range(start, end):
        entry = (stamp << np.uint64(32)) | np.uint64(shingles[i])
        slot = np.uint64(shingles[i]) & mask
        while slots[slot] >> np.uint64(32) == stamp and slots[slot] != entry:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] != entry:
            missed += 1
            if missed > spare:
                return False
    return True


@njit(nogil=True, cache=True)
def _is_one_tree(members, trees):
    joined = True
    for k in range(1, len(members)):
        joined &= root_of(trees, members[k]) == root_of(trees, members[0])
    return joined


@njit(nogil=True, cache=True)
def _join(trees, a, b):
    """Makes one tree of those of two nodes; the lesser root is that of both."""
    one, other = root_of(trees, a), root_of(trees, b)
    trees[max(one, other)] = min(one, other)


@njit(nogil=True, cache=True)
def _link_bucket(members, shingles, starts, threshold, max_leaders, slots, stamp, trees):
    """Joins the trees of those documents of one bucket that are alike; see `link`. Returns table and last stamp."""
    # In a small bucket, whatever joined two documents before spares comparing them. In a large one only this bucket
    # may decide who leads, or it would matter which bucket comes first.
    is_small = len(members) <= max_leaders
    own = trees if is_small else np.arange(len(members))
    nodes = members if is_small else np.arange(len(members))
    has_led = np.zeros(len(members), np.bool_)
    num_leaders = 0
    for one in range(len(members)):
        if num_leaders == max_leaders:
            break
        if not is_small and root_of(own, one) != one:
            continue
        has_led[one] = True
        num_leaders += 1
        start, end = starts[members[one]], starts[members[one] + 1]
        is_filled = False
        mask = np.uint64(0)
        for two in range(len(members)):
            if has_led[two] or root_of(own, nodes[two]) == root_of(own, nodes[one]):
                continue
            if not is_filled:
                if len(slots) < 4 * (end - start):  # the power of two that `_fill` takes is below that
                    slots = np.zeros(8 * (end - start), np.uint64)
                    stamp = np.uint64(0)
                stamp += np.uint64(1)
                mask = _fill(shingles, start, end, slots, stamp)
                is_filled = True
            other = members[two]
            if _is_alike(end - start, shingles, starts[other], starts[other + 1], slots, stamp, mask, threshold):
                _join(own, nodes[one], nodes[two])
                if not is_small:
                    _join(trees, members[one], other)
    return slots, stamp


@njit(nogil=True, cache=True)
def link(buckets, bucket_starts, shingles, starts, threshold, max_leaders):
    """Trees of documents that share buckets and are alike, or that such documents connect.

    In a bucket of up to `max_leaders` documents every two are compared, unless they are in one tree already. In a
    larger one each is compared with leaders only: the first document, the first that is not linked to it, and so on up
    to `max_leaders`; so the work grows with the bucket, not with its square.

    Args:
        buckets, bucket_starts: documents of each bucket, in order [members] int64, and where each bucket starts
            [buckets + 1].
        shingles, starts: as `distinct_shingles` gives them.
        threshold: least Jaccard similarity of two that are alike.

    Returns:
        the root of each document's tree [documents] int64, itself where it stands alone.
    """
    trees = np.arange(len(starts) - 1)
    slots = np.zeros(1 << 12, np.uint64)
    stamp = np.uint64(0)
    for bucket in range(len(bucket_starts) - 1):
        members = buckets[bucket_starts[bucket] : bucket_starts[bucket + 1]]
        if not _is_one_tree(members, trees):
            slots, stamp = _link_bucket(members, shingles, starts, threshold, max_leaders, slots, stamp, trees)
    return roots(trees)
