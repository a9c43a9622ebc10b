"""Which documents each n-gram stands in, sorted out for `merging`: the part of its work that is done once.

Most n-grams stand in one source alone. How many of these have a count of 1, 2, 3 and 4 depends on how much is read of
that source only, and is looked up in a table; only n-grams of several sources, and those whose context is asked for,
are kept to be counted mixture by mixture, each with the documents by which it comes to be counted.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import mix64
from assay.kernels.hashtable import find

_SMALL = 48
_LARGE = 4096


@njit(nogil=True, cache=True)
def ngram_occurrences(keys, documents, buckets, first_word, tokens, starts, visits, order, bits, end_id, begin_id):
    """`kneser_ney.ngram_keys` with the document of each n-gram beside it; equal keys stay in order of documents.

    Args:
        keys, documents: room for them and one more [n-grams + 1] uint64, int32.
        visits: rows of the documents, in the order in which they are numbered [documents].
    """
    last_word = first_word + len(buckets) - 1
    fill = np.full(begin_id + 1, buckets[-1], np.int64)
    step = np.zeros(begin_id + 1, np.int64)
    fill[first_word:last_word] = buckets[:-1]
    step[first_word:last_word] = 1
    shift = np.uint64(bits)
    top = np.uint64(bits * (order - 2)) if order > 1 else np.uint64(0)
    for document in range(len(visits)):
        row = visits[document]
        key = np.uint64(0)
        for _ in range(order - 1):
            key = (key >> shift) | (np.uint64(begin_id) << top)
        for i in range(starts[row], starts[row + 1]):
            word = np.uint64(tokens[i])
            keys[fill[word]] = key
            documents[fill[word]] = document
            fill[word] += step[word]
            if order > 1:
                key = (key >> shift) | (word << top)
        keys[fill[end_id]] = key
        documents[fill[end_id]] = document
        fill[end_id] += step[end_id]
    largest = 0
    for word in range(len(buckets) - 1):
        largest = max(largest, buckets[word + 1] - buckets[word])
    spare_keys = np.empty(largest, np.uint64)
    spare_documents = np.empty(largest, np.int32)
    for word in range(len(buckets) - 1):
        low, high = buckets[word], buckets[word + 1]
        if high - low <= _SMALL:
            _insertion_sort(keys[low:high], documents[low:high])
        else:
            _radix_sort(keys[low:high], documents[low:high], spare_keys, spare_documents, bits * (order - 1))


@njit(nogil=True, cache=True)
def _insertion_sort(keys, documents):
    for i in range(1, len(keys)):
        key, document = keys[i], documents[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            documents[j] = documents[j - 1]
            j -= 1
        keys[j] = key
        documents[j] = document


@njit(nogil=True, cache=True)
def _radix_sort(keys, documents, spare_keys, spare_documents, key_bits):
    digit_bits = 8 if len(keys) < _LARGE else 11
    digits = np.zeros(1 << digit_bits, np.int64)
    low = np.uint64(len(digits) - 1)
    source, target = keys, spare_keys[: len(keys)]
    beside, beside_target = documents, spare_documents[: len(keys)]
    swapped = False
    for shift in range(0, key_bits, digit_bits):
        digits[:] = 0
        for key in source:
            digits[(key >> np.uint64(shift)) & low] += 1
        total = 0
        for d in range(len(digits)):
            count = digits[d]
            digits[d] = total
            total += count
        for i in range(len(source)):
            d = (source[i] >> np.uint64(shift)) & low
            target[digits[d]] = source[i]
            beside_target[digits[d]] = beside[i]
            digits[d] += 1
        source, target = target, source
        beside, beside_target = beside_target, beside
        swapped = not swapped
    if swapped:
        keys[:] = source
        documents[:] = beside


@njit(nogil=True, cache=True)
def differing_orders(keys, buckets, order, bits):
    """The shortest order at which each n-gram differs from the one before it; order + 1 where it is the same [n-grams].

    Args:
        keys, buckets: sorted, as `ngram_occurrences` leaves them.
    """
    differs = np.empty(buckets[-1], np.uint8)
    for word in range(len(buckets) - 1):
        for i in range(buckets[word], buckets[word + 1]):
            difference = keys[i] ^ keys[i - 1] if i > buckets[word] else np.uint64(0)
            k = order + 1
            while difference:
                difference >>= np.uint64(bits)
                k -= 1
            differs[i] = k if i > buckets[word] else 1
    return differs


@njit(nogil=True, cache=True)
def sort_out(
    order,
    differs,
    keys,
    documents,
    buckets,
    first_word,
    sources,
    source_starts,
    tables,
    hashes,
    slots,
    pair_starts,
    pair_words,
):
    """Which n-grams of an order must be counted mixture by mixture, and by which documents.

    An n-gram of the highest order is counted by its occurrences, a shorter one by the longer n-grams that end in it
    (its parts). A part is there as soon as one of its documents is read; only the first of each source matters.

    Args:
        order: of the n-grams. differs, documents, buckets: sorted n-grams of the highest order.
        keys: contexts at this order [n-grams]. sources: of each document [documents].
        source_starts: first document of each source [sources + 1].
        tables: what n-grams of one source add to the number of those with a count of 1 to 4, at each number of
            documents of the source read, as differences [whole passes, 4, documents + sources] int32, changed.
        hashes, slots: contexts asked for, as of `kneser_ney.add_context_totals`.
        pair_starts, pair_words: words asked for after each context, sorted [contexts + 1], [pairs].

    Returns:
        alone_contexts, alone_documents: n-grams with one part of one document, whose word is not asked for [n-grams];
        contexts, asked, shared, bounds, firsts: the others of a context asked for, and those of several sources:
        context or -1, pair or -1, whether of several sources [n-grams], and the documents of their parts: n-gram g has
        its parts' documents in firsts[bounds[g] : bounds[g + 1]]; where a part has several, of different sources, each
        but its first is stored as -1 - document. All int32, but `shared` bool.
    """
    size = len(differs)
    alone_contexts, alone_documents = np.empty(size, np.int32), np.empty(size, np.int32)
    contexts, asked, shared = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.bool_)
    bounds, firsts = np.zeros(size + 1, np.int32), np.empty(size, np.int32)
    first_of = np.full(len(source_starts) - 1, -1, np.int32)
    touched = np.empty(len(first_of), np.int32)
    smallest = np.empty(5, np.int32)
    num_alone = num_grams = num_firsts = 0
    for word in range(len(buckets) - 1):
        i = buckets[word]
        while i < buckets[word + 1]:
            begin, is_shared = num_firsts, False
            j = i
            while j == i or (j < buckets[word + 1] and differs[j] > order):
                num_touched = 0
                part = j
                while j == part or (j < buckets[word + 1] and differs[j] > order + 1):
                    source = sources[documents[j]]
                    if first_of[source] < 0:
                        touched[num_touched] = source
                        num_touched += 1
                    if first_of[source] < 0 or documents[j] < first_of[source]:
                        first_of[source] = documents[j]
                    j += 1
                for n in range(num_touched):
                    document = first_of[touched[n]]
                    first_of[touched[n]] = -1
                    firsts[num_firsts] = document if n == 0 else -1 - document
                    num_firsts += 1
                is_shared |= num_touched > 1 or sources[firsts[num_firsts - 1]] != sources[firsts[begin]]
            if not is_shared:
                _enter(tables, firsts, begin, num_firsts, sources[firsts[begin]], source_starts, smallest)
            context = find(hashes, slots, mix64(keys[i]))
            pair = -1
            if context >= 0:
                pair = _find_word(pair_words, pair_starts[context], pair_starts[context + 1], first_word + word)
            if context >= 0 and num_firsts == begin + 1 and pair < 0:
                alone_contexts[num_alone] = context
                alone_documents[num_alone] = firsts[begin]
                num_alone += 1
                num_firsts = begin
            elif context >= 0 or is_shared:
                contexts[num_grams], asked[num_grams], shared[num_grams] = context, pair, is_shared
                num_grams += 1
                bounds[num_grams] = num_firsts
            else:
                num_firsts = begin
            i = j
    return (
        alone_contexts[:num_alone].copy(),
        alone_documents[:num_alone].copy(),
        contexts[:num_grams].copy(),
        asked[:num_grams].copy(),
        shared[:num_grams].copy(),
        bounds[: num_grams + 1].copy(),
        firsts[:num_firsts].copy(),
    )


@njit(nogil=True, cache=True)
def _enter(tables, documents, begin, end, source, source_starts, smallest):
    """Adds an n-gram of one source to the tables of `sort_out`, as differences along the documents read.

    Args:
        documents: of its parts, in documents[begin:end]. smallest: room for five of them.
    """
    num = 0  # counts above 4 are not told apart, so no more than five documents matter
    for i in range(begin, end):
        place = num
        while place > 0 and smallest[place - 1] > documents[i]:
            if place < 5:
                smallest[place] = smallest[place - 1]
            place -= 1
        if place < 5:
            smallest[place] = documents[i]
            num = min(num + 1, 5)
    first = source_starts[source] + source  # of a source's cells: one more than it has documents
    for passes in range(len(tables)):
        for more in range(num + 1):
            count = passes * (end - begin) + more
            if 1 <= count <= 4:
                cell = first if more == 0 else smallest[more - 1] + source + 1
                tables[passes, count - 1, cell] += 1
                if more < num:
                    tables[passes, count - 1, smallest[more] + source + 1] -= 1


@njit(nogil=True, cache=True)
def sum_tables(tables, source_starts):
    """Turns differences into what they sum to, source by source, in place."""
    for source in range(len(source_starts) - 1):
        low, high = source_starts[source] + source, source_starts[source + 1] + source + 1
        for passes in range(tables.shape[0]):
            for count in range(4):
                for cell in range(low + 1, high):
                    tables[passes, count, cell] += tables[passes, count, cell - 1]


@njit(nogil=True, cache=True)
def _find_word(words, low, high, word):
    """Where `word` stands in words[low:high], sorted, or -1."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and words[low] == word else -1


@njit(nogil=True, cache=True)
def by_context(num_contexts, contexts):
    """Where each context's n-grams start [contexts + 1], and the n-grams in that order, else in their own; int64.

    Args:
        contexts: of each n-gram, -1 for none, which come last [n-grams].
    """
    starts = np.zeros(num_contexts + 2, np.int64)
    for context in contexts:
        starts[(context if context >= 0 else num_contexts) + 1] += 1
    for context in range(num_contexts + 1):
        starts[context + 1] += starts[context]
    fill = starts.copy()
    order = np.empty(len(contexts), np.int64)
    for i in range(len(contexts)):
        context = contexts[i] if contexts[i] >= 0 else num_contexts
        order[fill[context]] = i
        fill[context] += 1
    return starts, order


@njit(nogil=True, cache=True)
def take_grams(bounds, firsts, order):
    """`bounds` and `firsts` of `sort_out` for its n-grams in another order."""
    new_bounds, new_firsts = np.zeros(len(bounds), np.int32), np.empty(len(firsts), np.int32)
    n = 0
    for place in range(len(order)):
        gram = order[place]
        for i in range(bounds[gram], bounds[gram + 1]):
            new_firsts[n] = firsts[i]
            n += 1
        new_bounds[place + 1] = n
    return new_bounds, new_firsts
