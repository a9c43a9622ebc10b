"""Counts of many unions of documents at once: what `kneser_ney` counts for one, for 64 mixtures of sources in one pass.

A mixture reads the first documents of each source. So each occurrence of an n-gram is there or not depending on one
thing, its document, and a block of 64 mixtures has a mask of 64 bits for every document: who reads it. Counts are kept
as planes of bits (plane j holds bit j of the count of each of the 64 mixtures); adding an occurrence to all of them is
one load and a few logical operations, and nothing in the inner loops depends on how many mixtures there are.
"""

import numpy as np
from numba import njit

LANES = 64  # mixtures of a block: bits of a mask
ROW_LANES = 32  # of which so many have their probabilities in memory at once
PLANES = 40  # of a count: all are below 2^31, sums of two carry once more
_FEW = 64


@njit(nogil=True, cache=True)
def who_reads(limits, source_starts):
    """For each document, which mixtures read it [documents] uint64.

    Args:
        limits: how many documents of its source each mixture reads [sources, at most 64].
    """
    masks = np.zeros(source_starts[-1], np.uint64)
    for source in range(len(limits)):
        first = source_starts[source]
        for lane in range(limits.shape[1]):
            if limits[source, lane] > 0:
                masks[first + limits[source, lane] - 1] |= np.uint64(1) << np.uint64(lane)
        for document in range(source_starts[source + 1] - 2, first - 1, -1):
            masks[document] |= masks[document + 1]
    return masks


@njit(nogil=True, cache=True, inline="always")
def _add(planes, mask, level):
    """Adds 2^level to the counts of the mixtures in `mask`; returns one more than the highest plane changed."""
    while mask:
        carry = planes[level] & mask
        planes[level] ^= mask
        mask = carry
        level += 1
    return level


@njit(nogil=True, cache=True, inline="always")
def _add_three(a, b, c):
    """Sum of three bits: what is left in place, and what is carried."""
    either = a ^ b
    return either ^ c, (a & b) | (either & c)


@njit(nogil=True, cache=True, inline="always")
def _sum(planes, level, readers, first, num):
    """Adds 2^level to the counts of each of `num` sets of mixtures; returns one more than the highest plane in use.

    Four at a time are summed among themselves first, which is fewer operations and no branches.
    """
    ones, twos, fours = planes[level], planes[level + 1], planes[level + 2]
    used = 0
    i = first
    end = first + num
    while i + 4 <= end:
        ones, carried = _add_three(ones, readers[i], readers[i + 1])
        ones, carried_too = _add_three(ones, readers[i + 2], readers[i + 3])
        twos, carried = _add_three(twos, carried, carried_too)
        carried_too = fours & carried
        fours ^= carried
        if carried_too:
            used = max(used, _add(planes, carried_too, level + 3))
        i += 4
    while i < end:
        carried = ones & readers[i]
        ones ^= readers[i]
        carried_too = twos & carried
        twos ^= carried
        carried = fours & carried_too
        fours ^= carried_too
        if carried:
            used = max(used, _add(planes, carried, level + 3))
        i += 1
    planes[level], planes[level + 1], planes[level + 2] = ones, twos, fours
    return max(used, level + (3 if fours else 2 if twos else 1 if ones else 0))


@njit(nogil=True, cache=True, inline="always")
def _gather(readers, firsts, begin, end, masks):
    """Who reads the parts in firsts[begin:end]; a part of several documents is read once, by whom it is first read."""
    seen = np.uint64(0)
    for i in range(begin, end):
        sign = np.int64(firsts[i]) >> 31  # -1 for a further document of the same part
        seen &= np.uint64(sign)
        new = masks[np.uint64(firsts[i] ^ sign)] & ~seen
        seen |= new
        readers[i - begin] = new


@njit(nogil=True, cache=True)
def _add_passes(planes, used, firsts, begin, end, sources, passes):
    """Adds what the occurrences in firsts[begin:end] are counted in whole readings of their sources."""
    for level in range(passes.shape[1]):
        for i in range(begin, end):
            used = max(used, _add(planes, passes[sources[firsts[i]], level], level))
    return used


@njit(nogil=True, cache=True)
def _flush(spectrum, several, num):
    for k in range(4):
        _sum(spectrum, k * PLANES, several, k * _FEW, num)


@njit(nogil=True, cache=True)
def _longest(starts):
    longest = 0
    for i in range(len(starts) - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    return longest


@njit(nogil=True, cache=True, inline="always")
def _store(planes, first, used, store, cursor):
    """Moves planes to `store` and clears them; returns where the next go."""
    for level in range(used):
        store[cursor + level] = planes[first + level]
        planes[first + level] = 0
    return cursor + used


@njit(nogil=True, cache=True)
def count_block(
    spectrum,
    totals,
    total_widths,
    counts,
    count_widths,
    alone_starts,
    alone_documents,
    gram_starts,
    asked,
    shared,
    bounds,
    firsts,
    masks,
    sources,
    passes,
):
    """Counts n-grams and contexts of one order in 64 mixtures; all counts are planes of bits, stored in sequence.

    Args:
        spectrum: added to, how many n-grams of several sources have a count of 1 to 4 [4, planes].
        totals: room for four counts a context: sum of counts, and words that follow once, twice, more [planes].
        total_widths: how many planes each of them has [contexts, 4] uint8.
        counts: room for the counts of n-grams asked for, in order [planes]; count_widths: their planes [pairs] uint8.
        alone_starts, alone_documents, gram_starts, asked, shared, bounds, firsts: `occurrences.sort_out`, by context.
        masks: `who_reads`. sources: of each document.
        passes: planes of how often each source is read whole [sources, planes], 0 planes where it does not matter.
    """
    gram = np.zeros(PLANES, np.uint64)
    sums = np.zeros(4 * PLANES, np.uint64)  # of a context: counts, words that follow once, twice, more
    used_of = np.zeros(4, np.int64)
    num_contexts = len(total_widths)
    once_each = passes.shape[1] == 0  # then n-grams of one part are there once or not at all
    readers = np.empty(max(_longest(bounds), _longest(alone_starts)), np.uint64)
    size = _longest(gram_starts) + _longest(alone_starts)
    parts = np.empty(5 * size, np.uint64)  # to be summed: bits 0 and 1 of counts; who counts 1, 2, more
    several, num_several = np.empty(4 * _FEW, np.uint64), 0
    total_cursor = count_cursor = 0
    for context in range(num_contexts + 1):
        used_of[:] = 0
        begin, end = alone_starts[context], alone_starts[context + 1]
        if once_each and end > begin:
            _gather(readers, alone_documents, begin, end, masks)
            used_of[:2] = _sum(sums, 0, readers, 0, end - begin)
            sums[PLANES : PLANES + used_of[0]] = sums[: used_of[0]]
            begin = end
        num_alone = end - begin
        num = num_alone + gram_starts[context + 1] - gram_starts[context]
        for n in range(num):
            g = gram_starts[context] + n - num_alone
            if n < num_alone:
                gram[0] = masks[alone_documents[begin + n]]
                used = _add_passes(gram, 1, alone_documents, begin + n, begin + n + 1, sources, passes)
            else:
                _gather(readers, firsts, bounds[g], bounds[g + 1], masks)
                used = _sum(gram, 0, readers, 0, bounds[g + 1] - bounds[g])
                if not once_each:
                    used = _add_passes(gram, used, firsts, bounds[g], bounds[g + 1], sources, passes)
            low, middle, high = gram[0], gram[1], gram[2]
            above = np.uint64(0)
            for level in range(3, used):
                above |= gram[level]
            is_once, is_twice = low & ~(middle | high | above), middle & ~(low | high | above)
            parts[n], parts[size + n], parts[2 * size + n], parts[3 * size + n] = low, middle, is_once, is_twice
            parts[4 * size + n] = (low & middle) | high | above
            for level in range(2, used):
                used_of[0] = max(used_of[0], _add(sums, gram[level], level))
            if n >= num_alone and shared[g]:
                several[num_several], several[_FEW + num_several] = is_once, is_twice
                several[2 * _FEW + num_several] = low & middle & ~(high | above)
                several[3 * _FEW + num_several] = high & ~(low | middle | above)
                num_several += 1
                if num_several == _FEW:
                    _flush(spectrum, several, num_several)
                    num_several = 0
            if n >= num_alone and asked[g] >= 0:
                count_widths[asked[g]] = used
                count_cursor = _store(gram, 0, used, counts, count_cursor)
            else:
                for level in range(used):
                    gram[level] = 0
        if context == num_contexts:
            break
        if num > 0:
            for k in range(5):
                place = max(0, k - 1)
                base = place * PLANES
                used = _sum(sums, base + (k == 1), parts, k * size, num) - base
                used_of[place] = max(used_of[place], used)
        for k in range(4):
            total_widths[context, k] = used_of[k]
            total_cursor = _store(sums, k * PLANES, used_of[k], totals, total_cursor)
    _flush(spectrum, several, num_several)


@njit(nogil=True, cache=True)
def lane_values(planes, num_lanes):
    """Counts from their planes [lanes] int64."""
    values = np.zeros(num_lanes, np.int64)
    for level in range(len(planes)):
        for lane in range(num_lanes):
            values[lane] |= np.int64((planes[level] >> np.uint64(lane)) & np.uint64(1)) << level
    return values


@njit(nogil=True, cache=True, inline="always")
def _expand(values, planes, cursor, width, first_lane):
    """Counts of some lanes from their planes, as floats."""
    for lane in range(len(values)):
        values[lane] = 0.0
    unit = 1.0
    for level in range(width):
        plane = planes[cursor + level] >> np.uint64(first_lane)
        for lane in range(len(values)):
            values[lane] += unit if plane & (np.uint64(1) << np.uint64(lane)) else 0.0
        unit *= 2.0


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate_block(
    probabilities,
    first_row,
    first_context,
    last_context,
    total_cursor,
    count_cursor,
    discounts,
    totals,
    total_widths,
    counts,
    count_widths,
    pair_starts,
    parents,
    first_lane,
):
    """One step of Kneser-Ney's recursion for some mixtures, with the operations of `kneser_ney.interpolate`.

    Args:
        probabilities: rows of shorter n-grams, and from `first_row` on room for those of some contexts of this order
            [rows, lanes].
        first_context, last_context: which these are. total_cursor, count_cursor: where their counts start.
        discounts: D_1, D_2, D_3+ [3, mixtures].
        totals, total_widths, counts, count_widths: as `count_block` leaves them.
        pair_starts: where the n-grams asked for after each context start [contexts + 1]; parents: their rows without
            the first word [pairs].
        first_lane: which of the block's mixtures is the first here.

    Returns:
        where the counts of the next context start.
    """
    num_lanes = probabilities.shape[1]  # no constant: loops of few steps are unrolled before they can become vectors
    total, mass = np.empty(num_lanes), np.empty(num_lanes)
    once, twice, more = np.empty(num_lanes), np.empty(num_lanes), np.empty(num_lanes)
    count, value = np.empty(num_lanes), np.empty(num_lanes)
    last_lane = first_lane + num_lanes
    d1, d2 = discounts[0, first_lane:last_lane].copy(), discounts[1, first_lane:last_lane].copy()
    d3 = discounts[2, first_lane:last_lane].copy()
    first_pair = pair_starts[first_context]
    for context in range(first_context, last_context):
        num_total, num_once = total_widths[context, 0], total_widths[context, 1]
        num_twice, num_more = total_widths[context, 2], total_widths[context, 3]
        _expand(total, totals, total_cursor, num_total, first_lane)
        total_cursor += num_total
        _expand(once, totals, total_cursor, num_once, first_lane)
        total_cursor += num_once
        for lane in range(num_lanes):
            mass[lane] = d1[lane] * once[lane]
        if num_twice > 0:
            _expand(twice, totals, total_cursor, num_twice, first_lane)
            total_cursor += num_twice
            for lane in range(num_lanes):
                mass[lane] += d2[lane] * twice[lane]
        if num_more > 0:
            _expand(more, totals, total_cursor, num_more, first_lane)
            total_cursor += num_more
            for lane in range(num_lanes):
                mass[lane] += d3[lane] * more[lane]
        for pair in range(pair_starts[context], pair_starts[context + 1]):
            parent, row = parents[pair], first_row + pair - first_pair
            for lane in range(num_lanes):
                value[lane] = probabilities[parent, lane]
            if count_widths[pair] > 0:
                _expand(count, counts, count_cursor, count_widths[pair], first_lane)
                count_cursor += count_widths[pair]
                for lane in range(num_lanes):
                    c = count[lane]
                    discount = d3[lane] if c > 2.0 else d2[lane]
                    discount = discount if c > 1.0 else d1[lane]
                    count[lane] = c - (discount if c > 0.0 else 0.0)
                for lane in range(num_lanes):
                    known = (count[lane] + mass[lane] * value[lane]) / total[lane]
                    value[lane] = known if total[lane] > 0.0 else value[lane]
            else:
                for lane in range(num_lanes):
                    known = mass[lane] * value[lane] / total[lane]
                    value[lane] = known if total[lane] > 0.0 else value[lane]
            for lane in range(num_lanes):
                probabilities[row, lane] = value[lane]
    return total_cursor, count_cursor


@njit(nogil=True, cache=True)
def sum_documents(bits, rows, starts, out):
    """Bits of each document in each mixture, summed as `numpy.cumsum` over all tokens does [documents, lanes].

    Args:
        bits: of each row [rows, ROW_LANES]. rows: of each token [tokens].
        starts: where documents start [documents + 1].
    """
    num_lanes = bits.shape[1]
    so_far, before = np.zeros(num_lanes), np.zeros(num_lanes)
    for document in range(len(starts) - 1):
        for lane in range(num_lanes):
            before[lane] = so_far[lane]
        for i in range(starts[document], starts[document + 1]):
            row = rows[i]
            for lane in range(num_lanes):
                so_far[lane] += bits[row, lane]
        for lane in range(num_lanes):
            out[document, lane] = so_far[lane] - before[lane]
