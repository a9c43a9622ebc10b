"""From an arm's documents and its rules to the phases that `proxy.train` runs; and what a run cost.

Tokens are those of the documents, counted each time that they are read; prefixes and end marks are none. With
`match="tokens"` an arm reads exactly the budget's tokens, whatever that costs. With `match="compute"` it is cut short
until its run costs what plain training on the budget does, in positions read with gradients: one read without costs a
third (forward 2, backward 4 operations a weight; Kaplan et al. 2020, arXiv:2001.08361, table 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, SchemaError, check, check_choice
from assay.models.sequences import Sequences
from assay.proxy.rules.combining import rules_of
from assay.proxy.rules.curriculum import Curriculum, Upsample, sequence_values, value_groups
from assay.proxy.rules.metadata import MeCo, prefixed, split
from assay.proxy.rules.repeating import Epochs
from assay.proxy.rules_base import Rule
from assay.proxy.schedule import Phase
from assay.proxy.stream import Stream

MATCHES = ("tokens", "compute")
_GROUPS = 20  # of documents by value, packed each by itself
_GROUP_SEQUENCES = 64  # in each, at least, so that few are padded
_FORWARD = 1 / 3  # what a position costs without gradients

Pack = Callable[..., Sequences]
"""`packing.sequences.pack`: (tokens, starts, has_end, *, length, end_id, seed, masked) -> Sequences."""


class Facts(NamedTuple):
    """What rules want to know of a stream's documents; None where no rule asks (`column_of` says which do).

    values: the score that a curriculum or upsampling goes by [documents] float64; NaN: none.
    prefixes: ids of all documents' prefixes [tokens] uint16, and where each one's start [documents + 1] int64.
    """

    values: np.ndarray | None = None
    prefixes: tuple[np.ndarray, np.ndarray] | None = None


def selection_tokens(rule: Rule | None, budget: int) -> int:
    """How many tokens an arm's selection must hold, so that `budget` of them are read under its rules."""
    return -(-budget // _times(rule))


def score_column(rule: Rule | None) -> str | None:
    """The score that a rule orders documents by."""
    return next((of.column for of in rules_of(rule) if isinstance(of, Curriculum | Upsample)), None)


def metadata_rule(rule: Rule | None) -> MeCo | None:
    """The rule that puts metadata before documents."""
    return next((of for of in rules_of(rule) if isinstance(of, MeCo)), None)


def make_phases(
    rule: Rule | None,
    stream: Stream,
    pack: Pack,
    *,
    length: int,
    end_id: int,
    seed: int,
    facts: Facts | None = None,
    match: str = "tokens",
    reads_twice: Callable[[list[Phase]], bool] | None = None,
) -> list[Phase]:
    """The phases of a run under some rules; without any, one phase that reads all sequences once.

    Args:
        stream: of `selection_tokens(rule, budget)` tokens.
        pack: what makes sequences of documents; it gets `length`, `end_id` and `seed`.
        seed: of the packing, and of which documents are in the cooldown.
        match: "tokens" or "compute": what the run has in common with plain training on the stream.
        reads_twice: `proxy.train.reads_in_parts`, with settings: whether `reweight` reads everything once more, without
            gradients; for `match="compute"` alone.

    Raises:
        InvalidParameterError: a rule that would do nothing, as there is a single epoch; no tokens for a part.
        SchemaError: a rule's column was not given.
    """
    check_choice("match", match, MATCHES)
    times = _times(rule)
    idle = next((of.name for of in rules_of(rule) if of.needs_epochs), None)
    if idle is not None and times < 2:
        raise InvalidParameterError(
            f"Rule {idle!r} changes nothing in the first pass over the text. "
            "Give epochs: {times: 2} or more beside it."
        )
    packed = partial(pack, length=length, end_id=end_id, seed=seed)
    parts = _parts(rule, stream, facts or Facts(), seed)
    phases = [_phase(part, packed, length, times) for part in parts]
    if match == "tokens":
        return phases
    cost = sum(_positions(part.stream) for part in parts) / _positions(stream)
    if rule is not None and rule.start().weighs and reads_twice is not None and reads_twice(phases):
        cost *= 1 + _FORWARD
    return [_shortened(phase, cost) for phase in phases]


class _Part(NamedTuple):
    name: str
    stream: Stream
    masked: np.ndarray | None
    values: np.ndarray | None


def _parts(rule: Rule | None, stream: Stream, facts: Facts, seed: int) -> list[_Part]:
    """The documents of each phase, with metadata before them where a phase has any."""
    values = _given(facts.values, score_column(rule), len(stream.starts) - 1)
    meco = metadata_rule(rule)
    if meco is None or meco.cooldown == 1:
        return [_Part("main", stream, None, values)]
    if facts.prefixes is None:
        raise SchemaError(f"Rule 'meco' reads column {meco.by!r}, which was not given.")
    ids, starts = facts.prefixes
    whole = np.arange(len(stream.starts) - 1)
    main, rows, cooldown, later = stream, whole, None, whole[:0]
    if meco.cooldown > 0:
        main, rows, cooldown, later = split(stream, meco.cooldown, seed)
    chosen = [ids[starts[row] : starts[row + 1]] for row in rows]
    ends = np.concatenate(([0], np.cumsum([len(some) for some in chosen]))).astype(np.int64)
    main, masked = prefixed(main, (np.concatenate(chosen).astype(np.uint16), ends))
    parts = [_Part("main", main, masked, None if values is None else values[rows])]
    if cooldown is not None:
        parts.append(_Part("cooldown", cooldown, None, None if values is None else values[later]))
    return parts


def _given(values: np.ndarray | None, column: str | None, num_documents: int) -> np.ndarray | None:
    if column is None:
        return None
    if values is None:
        raise SchemaError(f"A rule orders documents by {column!r}, which was not given.")
    check(len(values) == num_documents, "len(values)", len(values), f"the number of documents, {num_documents:,}")
    values = np.asarray(values, np.float64)
    check(bool(np.isfinite(values).any()), column, "no number at all", "known for some of the chosen documents")
    return values


def _phase(part: _Part, pack: Pack, length: int, times: int) -> Phase:
    stream, masked, values = part.stream, part.masked, part.values
    if values is None:
        sequences = pack(*stream, masked=masked)
        return Phase(sequences=sequences, name=part.name, visits=times * len(sequences.inputs))
    num_groups = max(1, min(_GROUPS, len(stream.tokens) // (_GROUP_SEQUENCES * length)))
    groups = value_groups(values, stream.starts, num_groups)
    packed = [pack(*_rows_of(stream, rows), masked=None if masked is None else masked[rows]) for rows in groups]
    sequences = _joined(packed, groups)
    visits = times * len(sequences.inputs)
    return Phase(sequences=sequences, name=part.name, visits=visits, values=sequence_values(sequences, values))


def _rows_of(stream: Stream, rows: np.ndarray) -> Stream:
    """Some of a stream's documents."""
    runs = [stream.tokens[stream.starts[row] : stream.starts[row + 1]] for row in rows]
    starts = np.concatenate(([0], np.cumsum([len(run) for run in runs]))).astype(np.int64)
    return Stream(np.concatenate(runs), starts, stream.has_end[rows])


def _joined(packed: Sequence[Sequences], groups: Sequence[np.ndarray]) -> Sequences:
    """Sequences one after another; `groups` says which documents each was packed from."""
    inputs, targets, pieces = (np.concatenate([getattr(of, name) for of in packed]) for name in Sequences._fields[:3])
    documents = np.concatenate([rows[of.documents] for of, rows in zip(packed, groups, strict=True)])
    num_pieces = np.concatenate([np.diff(of.first_pieces) for of in packed])
    return Sequences(inputs, targets, pieces, documents, np.concatenate(([0], np.cumsum(num_pieces))))


def _times(rule: Rule | None) -> int:
    return next((of.times for of in rules_of(rule) if isinstance(of, Epochs)), 1)


def _positions(stream: Stream) -> int:
    return len(stream.tokens) + int(stream.has_end.sum())


def _shortened(phase: Phase, cost: float) -> Phase:
    return replace(phase, visits=max(1, round(phase.num_visits / cost)))


class Cost(NamedTuple):
    """What a run read. trained: positions with gradients, forward: without."""

    trained: int
    forward: int

    @property
    def equivalent(self) -> float:
        """All of it as positions with gradients."""
        return self.trained + _FORWARD * self.forward


def cost_of(phases: Sequence[Phase], visits: Sequence[np.ndarray], forward_tokens: int) -> Cost:
    """What a run cost, from how often it read each sequence and what it read besides (`Outcome`).

    Padding is left out; prefixes and end marks are in.
    """
    trained = 0
    for phase, times in zip(phases, visits, strict=True):
        sequences = phase.sequences
        num_pieces = np.diff(sequences.first_pieces)
        trained += int(((sequences.pieces < num_pieces[:, None]).sum(axis=1) * times).sum())
    return Cost(trained, forward_tokens)
