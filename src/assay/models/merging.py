"""What n-gram models of any mixture of sources lose on held-out documents, without training one (count merging).

Na et al. 2024, "Scalable Data Ablation Approximations for Language Models through Modular Training and Merging"
(arXiv:2410.15661): train a model on each part of the data once, and average their parameters in place of training on a
union of parts. Of networks that is an approximation (`models.averaging`). Counts add up, so of n-gram models it is
exact: the answers equal those of `models.ngram.score_once` on the union, to the last bit.

What differs: parts need not be read whole. A mixture reads the first documents of each source, as many as it says, and
a source that has fewer is read again from its first. So thousands of mixtures can be ranked in the time of a few dozen
trainings; the first question costs one reading of all sources.

Cost: `docs/merging.md` has it measured. When not to use it: for a handful of mixtures, training them is as fast; and
the loss of an n-gram model is a loss of rung 0, so what it chooses is to be verified on the rung that matters.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from assay.errors import InvalidParameterError, check
from assay.kernels.kneser_ney import count_words
from assay.kernels.merging import (
    LANES,
    PLANES,
    ROW_LANES,
    count_block,
    interpolate_block,
    lane_values,
    sum_documents,
    who_reads,
)
from assay.kernels.occurrences import (
    by_context,
    differing_orders,
    ngram_occurrences,
    sort_out,
    sum_tables,
    take_grams,
)
from assay.memory import num_workers
from assay.models.ngram import Queries, bits_for, check_order, estimate_discounts, word_ranges

_TABLE_PASSES = 5  # an n-gram seen in five whole passes has a count above 4
_MOST = 2**31 - 1
_CHUNK_ROWS = 4096  # probabilities of n-grams that are computed together: 1 MB
_Size = tuple[int, int]  # of a vocabulary, and the longest n-gram
_Counted = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The distinct n-grams of one order asked for: by context, and there by word.

    starts: where those of each context start [contexts + 1]. words: their last words [pairs].
    of_token: each held-out token's [tokens]. example: a token of each [pairs].
    """

    starts: np.ndarray
    words: np.ndarray
    of_token: np.ndarray
    example: np.ndarray


@dataclass(frozen=True, eq=False)
class _Order:
    """What is counted of one order, mixture by mixture: arrays as `kernels.merging.count_block` takes them.

    tables: what n-grams of one source add to the counts of counts [whole passes, 4, documents + sources].
    pair_starts: where the n-grams asked for after each context start [contexts + 1]; parents: their rows without the
        first word, among the probabilities [pairs]; examples: a held-out token of each [pairs].
    chunks: where the contexts of each chunk start [chunks + 1]; first_rows: row of the first pair of each [chunks].
    """

    tables: np.ndarray
    alone_starts: np.ndarray
    alone_documents: np.ndarray
    gram_starts: np.ndarray
    asked: np.ndarray
    shared: np.ndarray
    bounds: np.ndarray
    firsts: np.ndarray
    pair_starts: np.ndarray
    parents: np.ndarray
    examples: np.ndarray
    chunks: np.ndarray
    first_rows: np.ndarray

    def rooms(self, passes: int) -> tuple[int, int]:
        """Planes that the counts of contexts, and of n-grams asked for, can have at so many readings."""
        parts = np.diff(self.bounds.astype(np.int64))
        reached = np.concatenate(([0], np.cumsum(parts)))[self.gram_starts] + self.alone_starts
        grams = np.diff(self.gram_starts + self.alone_starts)[:-1]
        totals = _bit_lengths(np.diff(reached)[:-1] * passes).sum() + 3 * _bit_lengths(grams).sum()
        return int(totals), int(_bit_lengths(parts[self.asked >= 0] * passes).sum())


class MergedCounts:
    """Documents of several sources, ready to be asked about any mixture of them; made by `of`."""

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, sources: np.ndarray, num_sources: int, made_for: _Size):
        self.tokens, self.starts, self.made_for = tokens, starts, made_for
        self.visits = np.argsort(sources, kind="stable")
        self.sources = np.ascontiguousarray(sources[self.visits], np.int32)
        self.source_starts = np.searchsorted(self.sources, np.arange(num_sources + 1)).astype(np.int64)
        self._sizes = np.concatenate(([0], np.cumsum(np.diff(starts)[self.visits])))
        self._prepared: tuple[Queries, _Prepared] | None = None

    @classmethod
    def of(
        cls,
        tokens: np.ndarray,
        starts: np.ndarray,
        sources: np.ndarray,
        *,
        vocab_size: int,
        order: int,
        num_sources: int | None = None,
    ) -> "MergedCounts":
        """Takes the documents as they are; they are counted when it is known what is asked.

        Args:
            tokens: ids of all documents [tokens]; starts: where each document starts [documents + 1].
            sources: of each document, from 0 [documents]. Those of a source are read in the order in which they stand.
            vocab_size, order: as of `models.ngram.train`.
            num_sources: how many there are, where the last have no documents.

        Raises:
            InvalidParameterError: an order whose contexts do not fit 64 bits, no tokens, 2^31 tokens or more, or
                sources that are not one a document.
        """
        check_order(order, vocab_size)
        check(len(tokens) > 0, "tokens", len(tokens), "at least one token")
        check(len(tokens) + len(starts) <= _MOST, "tokens", len(tokens), "fewer than 2^31", "Take a sample of each.")
        check(len(sources) == len(starts) - 1, "sources", len(sources), f"one a document, {len(starts) - 1}")
        num = int(sources.max()) + 1 if num_sources is None else num_sources
        low, high = int(sources.min()), int(sources.max())
        check(low >= 0 and high < num, "sources", (low, high), f"from 0 to {num - 1}")
        return cls(tokens, starts, sources, num, (vocab_size, order))

    def bits(self, queries: Queries, starts: np.ndarray, read: np.ndarray) -> np.ndarray:
        """Bits of each held-out document under a model trained on each mixture, which none is.

        They equal, to the last bit, those of `score_once(queries, *union)` where `union` holds the first documents of
        each source whole, and again from the first where more are read than there are.

        Args:
            queries: the held-out documents; what is counted for them is kept until others are asked about.
            starts: where each held-out document starts [documents + 1].
            read: how many documents of each source are read [mixtures, sources], integers from 0.

        Returns:
            bits [mixtures, documents] float64. 64 mixtures cost about twice what one does.

        Raises:
            InvalidParameterError: no queries, or some for another order or vocabulary, a mixture that reads nothing,
                more than 2^31 tokens, or documents of a source that has none.
        """
        check(queries.made_for == self.made_for, "queries.made_for", queries.made_for, f"{self.made_for}, as counted")
        num_tokens = len(queries.words)
        check(
            int(starts[-1]) == num_tokens, "starts", int(starts[-1]), f"the starts of the queries' {num_tokens} tokens"
        )
        check(num_tokens > 0, "queries", num_tokens, "about at least one held-out token")
        read = self._checked(read)
        if self._prepared is None or self._prepared[0] is not queries:
            self._prepared = None  # before the next is made: both would not be needed at once
            self._prepared = queries, _prepare(self, queries)
        prepared, starts = self._prepared[1], np.asarray(starts, np.int64)
        out = np.empty((len(read), len(starts) - 1))

        def answer(first: int) -> None:
            last = min(first + LANES, len(read))
            _Block(self, prepared, read[first:last]).answer(starts, out[first:last])

        with ThreadPoolExecutor(num_workers()) as threads:
            list(threads.map(answer, range(0, len(read), LANES)))
        return out

    def _checked(self, read: np.ndarray) -> np.ndarray:
        num_sources = len(self.source_starts) - 1
        read = np.asarray(read)
        ok = read.ndim == 2 and read.shape[1] == num_sources and len(read) > 0 and read.dtype.kind in "iu"
        check(ok, "read", f"{read.dtype} {read.shape}", f"integers, mixtures x {num_sources} sources")
        read = read.astype(np.int64)
        check(bool((read >= 0).all()), "read", int(read.min()), "0 or more documents")
        there = np.diff(self.source_starts)
        for source in np.flatnonzero((there == 0) & (read > 0).any(axis=0)).tolist():
            raise InvalidParameterError(f"`read` asks for documents of source {source}, which has none. Put 0 there.")
        whole, rest = np.divmod(read, np.maximum(there, 1))
        first = self.source_starts[:-1]
        tokens = (
            whole * np.diff(self._sizes[self.source_starts]) + self._sizes[first + rest] - self._sizes[first]
        ).sum(1)
        check(bool((tokens > 0).all()), "read", read[np.argmin(tokens)].tolist(), "at least one token a mixture")
        largest = int((tokens + read.sum(axis=1)).max())
        check(largest <= _MOST, "read", largest, "documents with fewer than 2^31 tokens in all", "Lower the budget.")
        return read


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What is asked, and what has to be counted for it, shortest n-grams first.

    rows: of each held-out token among the probabilities [tokens]; row 0 is the uniform one.
    chunks: where the rows of each chunk start [chunks + 1]. A chunk has all n-grams whose last words but one are some
        words, so that none needs another's rows, except those of single words, which are the first.
    """

    orders: list[_Order]
    rows: np.ndarray
    chunks: np.ndarray


def _prepare(counts: MergedCounts, queries: Queries) -> _Prepared:
    """One sorted reading of all documents, a slice of last words after another."""
    order = counts.made_for[1]
    pairs = [_pairs(queries, k) for k in range(order)]
    cells = len(counts.sources) + len(counts.source_starts) - 1
    tables = [np.zeros((_TABLE_PASSES if k == order - 1 else 1, 4, cells), np.int32) for k in range(order)]
    pieces: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(order)]
    for found in _slices(counts, queries, pairs, tables):
        for k in range(order):
            pieces[k].append(found[k])
    orders: list[_Order] = []
    rows, num_rows = np.zeros(len(queries.words), np.int64), 1
    for k in range(order):
        sum_tables(tables[k], counts.source_starts)
        made, rows = _arranged(pieces[k], pairs[k], tables[k], rows, num_rows)
        pieces[k] = []
        orders.append(made)
        num_rows += len(made.parents)
    return _in_chunks(orders, rows, queries)


def _in_chunks(orders: list[_Order], rows: np.ndarray, queries: Queries) -> _Prepared:
    """Rows in an order in which those that need each other stand together: a chunk fits a processor's cache."""
    chunk_of_token = np.zeros(len(rows), np.int64)
    if len(orders) > 1:
        position = queries.orders[1].position.reshape(-1)
        examples = np.concatenate([order.examples for order in orders[1:]])
        sizes = np.bincount(position[examples], minlength=len(queries.orders[1].hashes))
        chunk_of_token = 1 + (np.cumsum(sizes) // _CHUNK_ROWS)[position]
    chunk_of_pair = [chunk_of_token[order.examples] for order in orders]
    chunk_of_pair[0] = np.zeros_like(chunk_of_pair[0])
    chunk_of_row = np.concatenate(([0], *chunk_of_pair))
    places = np.empty(len(chunk_of_row), np.int64)
    places[np.argsort(chunk_of_row, kind="stable")] = np.arange(len(places))
    numbers = np.arange(int(chunk_of_row.max()) + 2)
    made, first = [], 1
    for order, chunks in zip(orders, chunk_of_pair, strict=True):
        contexts = np.searchsorted(chunks[order.pair_starts[:-1]], numbers)
        row = first + np.minimum(order.pair_starts[contexts[:-1]], max(0, len(chunks) - 1))
        first += len(chunks)
        made.append(replace(order, parents=places[order.parents], chunks=contexts, first_rows=places[row]))
    return _Prepared(made, places[rows], np.searchsorted(np.sort(chunk_of_row), numbers))


def _pairs(queries: Queries, k: int) -> _Pairs:
    num_words = queries.made_for[0] + 1
    position = queries.orders[k].position.reshape(-1).astype(np.int64)
    combined = position * num_words + queries.words
    distinct, example, of_token = np.unique(combined, return_index=True, return_inverse=True)
    contexts, words = np.divmod(distinct, num_words)
    starts = np.searchsorted(contexts, np.arange(len(queries.orders[k].hashes) + 1)).astype(np.int64)
    return _Pairs(starts, words, of_token.reshape(-1), example)


def _slices(
    counts: MergedCounts, queries: Queries, pairs: list[_Pairs], tables: list[np.ndarray]
) -> Iterator[list[tuple[np.ndarray, ...]]]:
    """For each slice of last words, what `kernels.occurrences.sort_out` finds at each order, shortest first."""
    vocab_size, order = counts.made_for
    bits, ends = bits_for(vocab_size), {"end_id": vocab_size, "begin_id": vocab_size + 1}
    sizes = count_words(counts.tokens, vocab_size + 1)
    sizes[vocab_size] += len(counts.sources)
    for first, last in word_ranges(sizes):
        buckets = np.concatenate(([0], np.cumsum(sizes[first:last])))
        keys, documents = np.empty(buckets[-1] + 1, np.uint64), np.empty(buckets[-1] + 1, np.int32)
        ngram_occurrences(
            keys, documents, buckets, first, counts.tokens, counts.starts, counts.visits, order, bits, **ends
        )
        differs = differing_orders(keys, buckets, order, bits)
        found: list[tuple[np.ndarray, ...]] = []
        for k in reversed(range(order)):
            asked = queries.orders[k]
            grams = differs, keys, documents, buckets, first, counts.sources, counts.source_starts
            wanted = asked.hashes, asked.slots, pairs[k].starts, pairs[k].words
            found.insert(0, sort_out(k + 1, *grams, tables[k], *wanted))
            keys >>= np.uint64(bits)  # without the farthest word; not used after the last order
        yield found


def _arranged(
    pieces: list[tuple[np.ndarray, ...]], pairs: _Pairs, tables: np.ndarray, parent_rows: np.ndarray, first_row: int
) -> tuple[_Order, np.ndarray]:
    """All slices of an order by context, without contexts that no document has; and the row of each held-out token.

    Where no mixture knows a context, a token's probability is that under the shorter one, so it is that row.
    """
    alone_contexts, alone_documents, contexts, asked, shared = (
        np.concatenate([piece[k] for piece in pieces]) for k in range(5)
    )
    offsets = np.cumsum([0, *(len(piece[6]) for piece in pieces[:-1])])
    bounds = np.concatenate([[0], *(piece[5][1:] + n for piece, n in zip(pieces, offsets, strict=True))])
    firsts = np.concatenate([piece[6] for piece in pieces])
    num_contexts = len(pairs.starts) - 1
    alone_starts, alone_order = by_context(num_contexts, alone_contexts)
    gram_starts, gram_order = by_context(num_contexts, contexts)
    bounds, firsts = take_grams(bounds.astype(np.int32), firsts, gram_order)
    known = (np.diff(alone_starts) + np.diff(gram_starts) > 0)[:num_contexts]
    places = np.append(np.flatnonzero(known), (num_contexts, num_contexts + 1))
    sizes = np.diff(pairs.starts)
    is_known = np.repeat(known, sizes)
    number = np.cumsum(is_known) - 1
    asked = asked[gram_order]
    row_of_pair = np.where(is_known, first_row + number, parent_rows[pairs.example])
    made = _Order(
        tables=tables,
        alone_starts=alone_starts[places],
        alone_documents=alone_documents[alone_order],
        gram_starts=gram_starts[places],
        asked=np.where(asked >= 0, number[asked], -1).astype(np.int32),
        shared=shared[gram_order],
        bounds=bounds,
        firsts=firsts,
        pair_starts=np.concatenate(([0], np.cumsum(sizes[known]))),
        parents=parent_rows[pairs.example][is_known],
        examples=pairs.example[is_known],
        chunks=np.empty(0, np.int64),
        first_rows=np.empty(0, np.int64),
    )
    return made, row_of_pair[pairs.of_token]


class _Block:
    """Up to 64 mixtures, counted together."""

    def __init__(self, counts: MergedCounts, prepared: _Prepared, read: np.ndarray):
        self.prepared, self.num_mixtures, self.vocab_size = prepared, len(read), counts.made_for[0]
        self.sources, source_starts = counts.sources, counts.source_starts
        there = np.diff(source_starts)
        whole, rest = (part.T for part in np.divmod(read, np.maximum(there, 1)))
        known = np.minimum(read, there).T  # documents read at least once: all that shorter n-grams depend on
        self.cells = [(limits + (source_starts[:-1] + np.arange(len(there)))[:, None]) for limits in (known, rest)]
        self.masks = [who_reads(np.ascontiguousarray(limits), source_starts) for limits in (known, rest)]
        self.whole = whole
        lanes = np.uint64(1) << np.arange(self.num_mixtures, dtype=np.uint64)
        levels = range(int(whole.max()).bit_length())
        planes = [np.where((whole >> level) & 1, lanes, np.uint64(0)).sum(axis=1, dtype=np.uint64) for level in levels]
        self.passes = np.stack(planes, axis=1) if planes else np.zeros((len(there), 0), np.uint64)

    def answer(self, starts: np.ndarray, out: np.ndarray) -> None:
        """Fills `out` [mixtures, documents]."""
        orders, chunks = self.prepared.orders, self.prepared.chunks
        counted = [self._count(k) for k in range(len(orders))]
        num_lanes = min(ROW_LANES, self.num_mixtures)
        rows, bits = np.empty((chunks[-1], num_lanes)), np.empty((len(starts) - 1, num_lanes))
        for first in range(0, self.num_mixtures, num_lanes):
            rows[0] = 1.0 / (self.vocab_size + 1)
            cursors = [(0, 0)] * len(orders)
            for chunk in range(len(chunks) - 1):
                for k, order in enumerate(orders):
                    low, high = order.chunks[chunk], order.chunks[chunk + 1]
                    if low < high:
                        where = rows, order.first_rows[chunk], low, high, *cursors[k]
                        cursors[k] = interpolate_block(*where, *counted[k], order.pair_starts, order.parents, first)
                if chunk > 0:
                    _to_bits(rows[chunks[chunk] : chunks[chunk + 1]])
            _to_bits(rows[: chunks[1]])  # last: all chunks go by them
            sum_documents(rows, self.prepared.rows, starts, bits)
            last = min(first + num_lanes, self.num_mixtures)
            out[first:last] = bits[:, : last - first].T

    def _count(self, k: int) -> _Counted:
        """Discounts and counts of one order, as `interpolate_block` takes them."""
        order, is_highest = self.prepared.orders[k], k == len(self.prepared.orders) - 1
        passes = self.passes if is_highest else self.passes[:, :0]
        num_totals, num_counts = order.rooms(int(self.whole.max()) + 1 if is_highest else 1)
        totals, counts = np.empty(num_totals, np.uint64), np.empty(num_counts, np.uint64)
        widths = np.zeros((len(order.pair_starts) - 1, 4), np.uint8), np.zeros(len(order.parents), np.uint8)
        several = np.zeros(4 * PLANES, np.uint64)
        count_block(
            several,
            totals,
            widths[0],
            counts,
            widths[1],
            order.alone_starts,
            order.alone_documents,
            order.gram_starts,
            order.asked,
            order.shared,
            order.bounds,
            order.firsts,
            self.masks[is_highest],
            self.sources,
            passes,
        )
        alone = self._alone(order.tables, is_highest)
        spectrum = np.stack([lane_values(planes, self.num_mixtures) for planes in several.reshape(4, -1)]) + alone
        discounts = np.ones((3, LANES))  # of mixtures that nobody asked for, too: their probabilities are thrown away
        discounts[:, : self.num_mixtures] = np.array([estimate_discounts(*column) for column in spectrum.T.tolist()]).T
        return discounts, totals, widths[0], counts, widths[1]

    def _alone(self, tables: np.ndarray, is_highest: bool) -> np.ndarray:
        """How many n-grams of one source have a count of 1 to 4 in each mixture [4, mixtures]."""
        cells = self.cells[is_highest]
        if not is_highest:
            return tables[0][:, cells].sum(axis=1, dtype=np.int64)
        few = np.minimum(self.whole, len(tables) - 1)
        found = tables[few, :, cells]  # [sources, mixtures, 4]
        return np.where((self.whole < len(tables))[..., None], found, 0).sum(axis=0, dtype=np.int64).T


def _to_bits(probabilities: np.ndarray) -> None:
    """In place, with the operations of `score_once` and of bits per document."""
    np.log(probabilities, out=probabilities)
    probabilities /= -np.log(2)


def _bit_lengths(numbers: np.ndarray) -> np.ndarray:
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
