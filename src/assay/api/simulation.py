"""What an n-gram proxy would lose after reading so much of each source, for thousands of mixtures from one counting.

The documents of each source stand in the order in which a comparison's arm under the same seed would take them, so
reading more of a source is reading on. Counts of n-grams add up, so a mixture is simulated exactly (`models.merging`):
what comes out is the loss of a model that was trained on those documents, not a guess at it.

A run may be smaller than the budget that is meant. Then every source is cut in the same proportion, so that one that
would be repeated at full size is repeated as often here; otherwise small runs would praise small sources.

Held in memory: the documents that any mixture can read, at most the tokens of a run from each source, at about 25 bytes
a token (`models.merging`), and the held-out text.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from assay.api.running import Bench, Task
from assay.api.selecting import Question, check_columns
from assay.api.simulated import Heldout
from assay.corpus.engine import map_parts, map_step
from assay.errors import InvalidParameterError, check
from assay.kernels.ragged import take_runs
from assay.models.merging import MergedCounts
from assay.models.ngram import Queries
from assay.progress import note
from assay.proxy import NGram
from assay.proxy.annealing import Documents
from assay.selection.choose import REASONS, totals

_NOT_IN_SAMPLE = REASONS.index("not_in_sample") + 1
_MAX_SOURCES = 200
_HELDOUT_TOKENS = 40_000  # of each source
SOURCE = "source:"  # before the name of a source whose held-out text is a metric


class Simulation:
    """Answers what mixtures of some sources lose; see `simulate`.

    sources: names [sources]. available: tokens that can be taken of each once, at the size of a run [sources].
    metrics: what is tested on: the targets, then "source:<name>" for sources. groups: metric of each held-out document
    [documents]. sizes: bytes of each [documents]. num_tokens: what a run reads.
    """

    def __init__(self, read: "_Read", test: "_Test", proxy: NGram, vocab_size: int, num_tokens: int):
        self.sources, self.num_tokens = read.names, num_tokens
        self.metrics, self.groups, self.sizes = test.metrics, test.groups, test.sizes
        self._starts = test.starts
        self._read = read
        self._queries = Queries.of(test.tokens, test.starts, vocab_size=vocab_size, order=proxy.order)
        self._reached = read.reached
        self.available = read.available
        self._counts = MergedCounts.of(read.tokens, read.starts, read.sources, vocab_size=vocab_size, order=proxy.order)

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        """Loss of each held-out document, bits [mixtures, documents].

        Args:
            tokens: how much each run reads of each source [mixtures, sources], met within half a document; more than is
                available is read again from the start.

        Raises:
            InvalidParameterError: a run that reads less than half a document of every source.
        """
        read = np.stack([self._documents(k, np.asarray(tokens)[:, k]) for k in range(len(self.sources))], axis=1)
        for run in np.flatnonzero(read.sum(axis=1) == 0):
            rule = "more than half a document of one source"
            check(False, "tokens", f"{np.sum(tokens[run]):,.0f} of a run", rule, "Let runs read more.")
        return self._counts.bits(self._queries, self._starts, read)

    def losses(self, tokens: np.ndarray) -> np.ndarray:
        """Bits per byte by metric [mixtures, metrics]; `tokens` as for `bits`."""
        bits = self.bits(tokens)
        num = len(self.metrics)
        by_metric = np.stack([np.bincount(self.groups, row, minlength=num) for row in bits])
        return by_metric / np.bincount(self.groups, self.sizes, minlength=num)

    def documents(self) -> list[Documents]:
        """Ids of each source's documents in the order in which they are read, and where each starts [sources]."""
        found = []
        for k in range(len(self.sources)):
            first, last = np.searchsorted(self._read.sources, [k, k + 1])
            starts = self._read.starts[first : last + 1]
            found.append((self._read.tokens[starts[0] : starts[-1]], starts - starts[0]))
        return found

    def heldout(self) -> Heldout:
        """What is tested on."""
        return Heldout(self._queries, self._starts, self.sizes, self.groups)

    def losses_of(self, weights: np.ndarray) -> np.ndarray:
        """Bits per byte by metric [mixtures, metrics] of runs whose shares of the sources are `weights`."""
        return self.losses(np.asarray(weights) * self.num_tokens)

    def _documents(self, source: int, tokens: np.ndarray) -> np.ndarray:
        """How many documents of a source come nearest to so many tokens [mixtures]."""
        reached = self._reached[source]
        passes, rest = np.divmod(tokens, reached[-1])
        above = np.minimum(np.searchsorted(reached, rest), len(reached) - 1)
        below = np.maximum(above - 1, 0)
        nearest = np.where(rest - reached[below] < reached[above] - rest, below, above)
        return (passes * (len(reached) - 1) + nearest).astype(np.int64)


def simulate(
    bench: Bench,
    task: Task,
    sources: Sequence[str],
    *,
    num_tokens: int,
    scale: float = 1.0,
    with_sources: bool = False,
) -> Simulation:
    """Counts what a task's policy can take of each source, and makes the test ready.

    Args:
        task: an arm whose policy has a budget for each source, under a seed.
        sources: which; the seed's draw has documents of each, as of those of `tokens_of_sources`.
        num_tokens: what a run reads. scale: of that to the budget that is meant, by which sources are cut.
        with_sources: test on text of each source as well, which this seed's sample of the pool leaves out.

    Raises:
        InvalidParameterError: an unknown column, or no text is held out for `with_sources`.
    """
    assert isinstance(bench.proxy, NGram) and task.rules.policy.group_by is not None
    question = task.question(bench)
    check_columns(question)
    parts = range(bench.pool.num_parts)
    sizes = [part["rows"] for part in bench.pool.manifest.parts]
    found = list(map_step(None, "look at sources", partial(_look, question, num_tokens), parts, sizes, "documents"))
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for part in found:
        for name, piece in part.items():
            pieces[name].append(piece)
    read = _gather(question, {name: pieces[name] for name in sources}, num_tokens, scale)
    test = _with_sources(bench, question, read.names, task) if with_sources else _Test.of(bench)
    return Simulation(read, test, bench.proxy, bench.vocab_size, num_tokens)


def tokens_of_sources(bench: Bench, tasks: Sequence[Task]) -> list[dict[str, float]]:
    """Tokens that can be taken of each source once, for each of the draws that are meant, sorted by name.

    Sources that are not in every draw are left out of all, and a note says so: one with a handful of documents is in
    the sample of one seed and not in that of the next.

    Args:
        tasks: the same arm under several seeds.

    Raises:
        InvalidParameterError: an unknown column, fewer than two sources in every draw, or too many.
    """
    draws = [_tokens_in_draw(bench, task) for task in tasks]
    names = sorted({name for draw in draws for name in draw})
    there = [name for name in names if all(draw.get(name, 0) > 0 for draw in draws)]
    by = tasks[0].rules.policy.group_by
    if left := [name for name in names if name not in there]:
        named = ", ".join(left[:5]) + " ..." * (len(left) > 5)
        note(f"left out, since not every draw of the pool has something of it: {by} {named}")
    way_out = "Give another column as `by`, such as clusters.cluster, or loosen `where`."
    number = len(there) if len(there) < 2 else len(names)
    check(2 <= number <= _MAX_SOURCES, f"values of {by}", number, f"2 to {_MAX_SOURCES}", way_out)
    return [{name: float(draw[name]) for name in there} for draw in draws]


def _tokens_in_draw(bench: Bench, task: Task) -> Counter[str]:
    question = task.question(bench)
    check_columns(question)
    return sum(map_parts(partial(_tokens_by_source, question), range(bench.pool.num_parts)), Counter())


def _tokens_by_source(question: Question, part: int) -> Counter[str]:
    return totals(question.judge(part))["groups"]


class _Piece(NamedTuple):
    """What one part has of a source: tokens that can be taken, and its first documents in the order of the policy.

    part: its number. rows, key, tie, cost: of these documents [documents].
    """

    available: float
    part: int
    rows: np.ndarray
    key: np.ndarray
    tie: np.ndarray
    cost: np.ndarray


class _Read(NamedTuple):
    """Documents of all sources, one source after another, each in the order in which it is read.

    available: tokens of each, also of documents that no run can come to [sources].
    reached: per source, tokens after so many documents [documents of it + 1]. tokens: ids of all. starts: where each
    document starts [documents + 1]. sources: source of each [documents].
    """

    names: tuple[str, ...]
    available: np.ndarray
    reached: list[np.ndarray]
    tokens: np.ndarray
    starts: np.ndarray
    sources: np.ndarray


class _Test(NamedTuple):
    """Held-out documents: all tokens, where each starts [documents + 1], metric and bytes of each [documents]."""

    metrics: tuple[str, ...]
    tokens: np.ndarray
    starts: np.ndarray
    groups: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, bench: Bench) -> "_Test":
        """The held-out documents of the targets."""
        names = tuple(bench.heldout)
        numbers = {name: k for k, name in enumerate(names)}
        groups = np.array([numbers[name] for name in bench.test.items["target"].to_pylist()])
        return cls(names, bench.test.tokens, bench.test.starts, groups, bench.test.items["bytes"].to_numpy())


def _look(question: Question, most: int, part: int) -> dict[str, _Piece]:
    """What a part has of each source; of its documents as many as reach `most` tokens."""
    judged = question.judge(part)
    found = {}
    for group, name in enumerate(judged.groups):
        rows = np.flatnonzero((judged.reason == 0) & (judged.group == group) & (judged.cost > 0))
        if len(rows):
            rows = rows[_first(judged.key[rows], judged.tie[rows], judged.cost[rows], most)]
            available = float(judged.cost[(judged.reason == 0) & (judged.group == group)].sum())
            found[name] = _Piece(available, part, rows, judged.key[rows], judged.tie[rows], judged.cost[rows])
    return found


def _first(key: np.ndarray, tie: np.ndarray, cost: np.ndarray, most: float) -> np.ndarray:
    """Which documents come first, until they cost `most` together."""
    order = np.lexsort((tie, key))[::-1]
    return order[: np.searchsorted(np.cumsum(cost[order]), most) + 1]


def _gather(question: Question, pieces: Mapping[str, list[_Piece]], num_tokens: int, scale: float) -> _Read:
    """Brings the documents of each source together and reads their tokens."""
    assert question.tokens is not None
    names = tuple(sorted(pieces))
    available, reached, tokens, lengths, sources = [], [], [], [], []
    for k, name in enumerate(names):
        own = pieces[name]
        key, tie, cost = (
            np.concatenate([getattr(piece, column) for piece in own]) for column in ("key", "tie", "cost")
        )
        available.append(max(1.0, sum(piece.available for piece in own) * scale))
        chosen = _first(key, tie, cost, min(float(num_tokens), available[-1]))
        part = np.repeat([piece.part for piece in own], [len(piece.rows) for piece in own])[chosen]
        rows = np.concatenate([piece.rows for piece in own])[chosen]
        ids, sizes = _tokens_of(question, part, rows)
        tokens.append(ids)
        lengths.append(sizes)
        sources.append(np.full(len(sizes), k))
        reached.append(np.concatenate(([0], np.cumsum(sizes))))
    starts = np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
    return _Read(names, np.array(available), reached, np.concatenate(tokens), starts, np.concatenate(sources))


def _tokens_of(question: Question, part: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of documents in their order, and how many each has [documents]."""
    assert question.tokens is not None
    sizes = np.zeros(len(rows), np.int64)
    firsts = np.zeros(len(rows), np.int64)
    for one in np.unique(part):
        _, starts = question.tokens.ids(int(one))
        here = part == one
        sizes[here], firsts[here] = np.diff(starts)[rows[here]], starts[rows[here]]
    ends = np.cumsum(sizes)
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.uint16)
    for one in np.unique(part):
        values, _ = question.tokens.ids(int(one))
        here = np.flatnonzero(part == one)
        piece = np.empty(int(sizes[here].sum()), np.uint16)
        take_runs(values, firsts[here], sizes[here], piece)
        for index, run in zip(here, np.split(piece, np.cumsum(sizes[here])[:-1]), strict=True):
            out[ends[index] - sizes[index] : ends[index]] = run
    return out, sizes


def _with_sources(bench: Bench, question: Question, names: tuple[str, ...], task: Task) -> _Test:
    """The held-out documents of the targets, and some of each source that the seed's sample leaves out."""
    targets = _Test.of(bench)
    tokens, lengths, groups, sizes = [targets.tokens], [np.diff(targets.starts)], [targets.groups], [targets.sizes]
    left = dict.fromkeys(names, _HELDOUT_TOKENS)
    numbers = {name: len(targets.metrics) + k for k, name in enumerate(names)}
    for part in range(bench.pool.num_parts):
        judged = question.judge(part)
        costs, rows = judged.cost, []
        for group, name in enumerate(judged.groups):
            there = np.flatnonzero((judged.reason == _NOT_IN_SAMPLE) & (judged.group == group) & (costs > 0))
            if left.get(name, 0) > 0:
                taken = there[: np.searchsorted(np.cumsum(costs[there]), left[name]) + 1]
                left[name] -= int(costs[taken].sum())
                rows += [(int(row), numbers[name]) for row in taken]
        if rows:
            which = np.array([row for row, _ in rows])
            ids, own = _tokens_of(question, np.full(len(which), part), which)
            num_bytes = np.concatenate(
                [pc.fill_null(pc.binary_length(b.column("text")), 0) for b in bench.pool.batches(part, ["text"])]
            )
            tokens.append(ids)
            lengths.append(own)
            groups.append(np.array([number for _, number in rows]))
            sizes.append(num_bytes[which])
    without = [name for name in names if left[name] == _HELDOUT_TOKENS]
    if without:
        share = task.rules.pool_sample
        raise InvalidParameterError(
            f"No text of {', '.join(without[:5])} is held out to test on: `pool_sample` (={share:g}) leaves none of "
            "its documents. Lower `pool_sample`, or leave out small sources."
        )
    return _Test(
        (*targets.metrics, *(SOURCE + name for name in names)),
        np.concatenate(tokens),
        np.concatenate(([0], np.cumsum(np.concatenate(lengths)))),
        np.concatenate(groups),
        np.concatenate(sizes),
    )
