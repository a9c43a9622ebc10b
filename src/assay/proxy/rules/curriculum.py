"""Sequences in the order of a score: a curriculum, or good text once more at the end.

Curriculum: Bengio et al. 2009; pacing after Platanios et al. 2019, "Competence-based Curriculum Learning for Neural
Machine Translation" (arXiv:1903.09848), section 3; ratings as the order of pretraining: QuRating, Wettig et al. 2024
(arXiv:2402.09739), section 5. Differs: of what may be read already, that which was read least comes first, in random
order, in place of independent draws; so where pacing is not slower than reading, a single pass still reads everything
once, and differs from plain training in the order alone.

Upsample: Does your data spark joy? Performance gains from domain upsampling at the end of training, Blakeney et al.
2024 (arXiv:2406.03476), section 3: the last 10 to 20 % of training on small sets of high value, here the sequences of
the highest (or lowest) score. Differs: none is read more than `max_epochs` times in the tail; others take the rest.

Cost: none. When not to use: the learning rate falls to zero at the end of a run, so what comes last is learnt with
small steps; a curriculum's gain or loss is partly that. Not with a score that stands for the kind of text: then whole
kinds come last.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from assay.errors import SchemaError, check, check_choice, check_integer, check_number, check_text
from assay.models.sequences import NONE, Sequences
from assay.proxy.rules_base import Epoch, Hooks, Rule, Visits

_BLOCKS = 20  # in which a run is paced: finer ones would fill a batch with one long document
_PACINGS = {"linear": 1, "root": 2}  # the power of which a share of all grows in a straight line
_FIRST = ("low", "high")


@dataclass(frozen=True, kw_only=True)
class Curriculum(Rule):
    """Sequences in the order of a score of their documents.

    by: the score's column. first: which values come first, "low" or "high".
    pacing: how the share of the sequences that may be read grows to 1 over the run: "linear", or "root", which is
        ahead of it: sqrt(s^2 + (1 - s^2) t) with s the start share.
    start_share: that share at the start. 0 with linear pacing is the order of the score, shuffled within each
        twentieth of the run; 1 is plain training.
    """

    name: ClassVar[str] = "curriculum"
    changes: ClassVar[str] = "order"

    by: str
    first: str = "low"
    pacing: str = "linear"
    start_share: float = 0.0

    def __post_init__(self) -> None:
        check_text("by", self.by)
        check_choice("first", self.first, _FIRST)
        check_choice("pacing", self.pacing, _PACINGS)
        check_number("start_share", self.start_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)

    @property
    def column(self) -> str:
        return self.by

    def start(self) -> Hooks:
        return _Paced(self)

    def shares(self, num_blocks: int) -> np.ndarray:
        """Share of the sequences that may be read in each block of the run [blocks]."""
        time = np.arange(1, num_blocks + 1) / num_blocks
        power = _PACINGS[self.pacing]
        begun = self.start_share**power
        return (begun + (1 - begun) * time) ** (1 / power)


class _Paced(Hooks):
    orders = True

    def __init__(self, rule: Curriculum):
        self._rule = rule

    def epoch(self, epoch: Epoch) -> Visits:
        """All visits that the phase still has."""
        num_visits = epoch.visits - epoch.visited
        ranked = _ranked(epoch, self._rule.first)
        num_blocks = min(_BLOCKS, num_visits)
        bounds = np.arange(num_blocks + 1) * num_visits // num_blocks
        least_read = _LeastRead(epoch)
        order = [
            least_read.take(ranked[: max(1, int(np.ceil(share * len(ranked) - 1e-9)))], int(size))
            for share, size in zip(self._rule.shares(num_blocks), np.diff(bounds), strict=True)
        ]
        return Visits(np.concatenate(order), np.ones(num_visits, np.float32))


@dataclass(frozen=True, kw_only=True)
class Upsample(Rule):
    """All sequences until the last share of a run, then those of the best scores.

    by: the score's column. best: which values are, "high" or "low".
    tail: share of the visits at the end; 0 = plain training. top: share of the sequences that are read in it.
    max_epochs: how often one of them is read in the tail at most; other sequences take the rest of it.
    """

    name: ClassVar[str] = "upsample"
    changes: ClassVar[str] = "order"

    by: str
    best: str = "high"
    tail: float = 0.15
    top: float = 0.1
    max_epochs: int = 4

    def __post_init__(self) -> None:
        check_text("by", self.by)
        check_choice("best", self.best, _FIRST)
        check_number("tail", self.tail, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        check_number("top", self.top, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check_integer("max_epochs", self.max_epochs, 1)

    @property
    def column(self) -> str:
        return self.by

    def start(self) -> Hooks:
        return _Tailed(self)


class _Tailed(Hooks):
    orders = True

    def __init__(self, rule: Upsample):
        self._rule = rule

    def epoch(self, epoch: Epoch) -> Visits:
        """All visits that the phase still has."""
        rule, num_visits = self._rule, epoch.visits - epoch.visited
        num_tail = round(rule.tail * num_visits)
        ranked = _ranked(epoch, rule.best)
        top = ranked[: max(1, round(rule.top * len(ranked)))]
        least_read = _LeastRead(epoch)
        main = least_read.take(ranked, num_visits - num_tail)
        num_top = min(num_tail, rule.max_epochs * len(top)) if len(top) < len(ranked) else num_tail
        rng = np.random.default_rng([epoch.seed, epoch.phase, epoch.number, 1])
        cycles = [rng.permutation(top) for _ in range(-(-num_top // len(top)))]
        tail = np.concatenate([*cycles, np.zeros(0, np.int64)])[:num_top]
        if num_tail > num_top:
            tail = rng.permutation(np.concatenate([tail, least_read.take(ranked[len(top) :], num_tail - num_top)]))
        return Visits(np.concatenate([main, tail]).astype(np.int64), np.ones(num_visits, np.float32))


class _LeastRead:
    """Takes of some sequences those that it took least before; among those, in the order of plain training."""

    def __init__(self, epoch: Epoch):
        self._seed = [epoch.seed, epoch.phase]
        self._number = epoch.number
        self._taken = np.zeros(epoch.num_sequences, np.int64)
        self._places: dict[int, np.ndarray] = {}

    def take(self, sequences: np.ndarray, num: int) -> np.ndarray:
        chosen = [np.zeros(0, np.int64)]
        while num:
            taken = self._taken[sequences]
            least = int(taken.min())
            members = sequences[taken == least]
            members = members[np.argsort(self._place(least)[members])][:num]
            self._taken[members] += 1
            chosen.append(members)
            num -= len(members)
        return np.concatenate(chosen)

    def _place(self, times: int) -> np.ndarray:
        """Where each sequence stands in the shuffled order of an epoch [sequences]."""
        if times not in self._places:
            order = np.random.default_rng([*self._seed, self._number + times]).permutation(len(self._taken))
            self._places[times] = np.argsort(order)
        return self._places[times]


def _ranked(epoch: Epoch, first: str) -> np.ndarray:
    """Sequences by value, the `first` ones first; without a value in the middle, ties at random [sequences]."""
    if epoch.values is None:
        raise SchemaError(
            "A rule that orders sequences by a score needs `values` of phases, as make_phases gives them."
        )
    values = np.asarray(epoch.values, np.float64)
    has_value = np.isfinite(values)
    middle = float(np.median(values[has_value])) if has_value.any() else 0.0
    values = np.where(has_value, values, middle)
    tie = np.random.default_rng([epoch.seed, epoch.phase, epoch.number, 2]).permutation(len(values))
    return np.lexsort((tie, values if first == "low" else -values))


def sequence_values(sequences: Sequences, values: np.ndarray) -> np.ndarray:
    """Mean of documents' values over the tokens with a loss of each sequence [sequences] float64.

    Args:
        values: of each document [documents]; those that are NaN do not count. A sequence without any has NaN.
    """
    num_pieces = np.diff(sequences.first_pieces)
    piece = sequences.first_pieces[:-1, None] + np.minimum(sequences.pieces, num_pieces[:, None] - 1)
    value = np.asarray(values, np.float64)[sequences.documents][piece]
    counts = (sequences.targets != NONE) & np.isfinite(value)
    sums = np.where(counts, value, 0.0).sum(axis=1)
    num_counted = counts.sum(axis=1)
    return np.divide(sums, num_counted, out=np.full(len(sums), np.nan), where=num_counted > 0)


def value_groups(values: np.ndarray, starts: np.ndarray, num_groups: int) -> list[np.ndarray]:
    """Documents of similar value together: groups of equal tokens, ascending by value, each in the order given.

    So packed, group by group, the sequences have values as extreme as the documents. Those without a value stand in
    the middle.

    Args:
        values: of each document [documents]; NaN: none. starts: where each starts [documents + 1].
    """
    check(len(values) == len(starts) - 1, "len(values)", len(values), f"the number of documents, {len(starts) - 1:,}")
    has_value = np.isfinite(values)
    middle = float(np.median(values[has_value])) if has_value.any() else 0.0
    order = np.argsort(np.where(has_value, values, middle), kind="stable")
    sizes = np.diff(starts)[order]
    centre = np.cumsum(sizes) - sizes / 2
    group = np.minimum((centre * num_groups / max(1, sizes.sum())).astype(np.int64), num_groups - 1)
    group = np.maximum.accumulate(np.where(sizes > 0, group, -1))  # empty documents go with the one before
    group[group < 0] = group.max(initial=0) if (group < 0).all() else group[group >= 0][0]
    found = (np.sort(order[group == k]) for k in range(num_groups))
    return [rows for rows in found if len(rows)]
