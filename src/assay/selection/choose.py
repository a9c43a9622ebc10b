"""From priorities and a budget to repeats per document, in passes that never hold all documents at once.

The documents of a group are taken in order of priority until their costs reach the group's budget. To find where that
is without sorting everything, priority and tie-break are seen as one 128-bit number: a histogram of cost over its
leading 16 bits tells in which bin the budget is used up, and only that bin is looked at more closely.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import BudgetError, InvalidParameterError
from assay.selection.expressions import Expression
from assay.selection.noise import keyed_hashes, uniforms
from assay.selection.policies import Policy

KEPT = "kept"
REASONS = ("not_in_sample", "overlap", "where", "no_score", "outside_threshold", "over_budget")
_DIGIT_BITS = 16
_NUM_DIGITS = 8
_GATHER_LIMIT = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Everything that decides about one document, other documents left aside.

    policy, score, where: the arm. `score` and `where` are expressions over `rows`, or None.
    higher_is_better: False when low scores are the better ones.
    guard: expression that must be true, or the reason is "overlap".
    pool_sample: share of the pool that this seed sees; the rest is "not_in_sample".
    seed, stream: what the noise depends on, besides the id.
    """

    policy: Policy
    score: Expression | None = None
    higher_is_better: bool = True
    where: Expression | None = None
    guard: Expression | None = None
    pool_sample: float = 1.0
    seed: int = 0
    stream: str = ""

    @property
    def columns(self) -> frozenset[str]:
        """Columns that `judge` reads."""
        expressions = [e for e in (self.score, self.where, self.guard) if e is not None]
        group = {self.policy.group_by} if self.policy.group_by else set()
        return frozenset().union(group, *(e.columns for e in expressions))


class Judged(NamedTuple):
    """Documents of one part as the rules see them [documents].

    reason: position in REASONS + 1 of why a document cannot be taken, 0 where it can.
    key, tie: order of preference, higher first, uint64. group: number of its group in `groups`.
    """

    reason: np.ndarray
    key: np.ndarray
    tie: np.ndarray
    cost: np.ndarray
    group: np.ndarray
    groups: list[str]


class Cut(NamedTuple):
    """Where a group's budget ends: documents at (key, tie) or above are taken once more than `copies` times."""

    copies: int
    key: int
    tie: int


def judge(rules: Rules, rows: pa.Table, id_hashes: np.ndarray, costs: np.ndarray) -> Judged:
    """Applies the rules to one part.

    Args:
        rows: the columns that the rules read [documents].
        id_hashes: hash of each id [documents], uint64. costs: what each document takes of the budget [documents].
    """
    size = len(id_hashes)
    reason = np.zeros(size, np.uint8)

    def drop(drops: np.ndarray, why: str) -> None:
        reason[(reason == 0) & drops] = REASONS.index(why) + 1

    if rules.pool_sample < 1:
        # One stream for all arms: within a seed they choose from the same sample.
        drop(uniforms(keyed_hashes(id_hashes, rules.seed, "pool")) >= rules.pool_sample, "not_in_sample")
    if rules.guard is not None:
        drop(~_truth(rules.guard, rows), "overlap")
    if rules.where is not None:
        drop(~_truth(rules.where, rows), "where")
    scores = _scores(rules, rows, size)
    if rules.policy.needs_score:
        drop(np.isnan(scores), "no_score")
    noise = keyed_hashes(id_hashes, rules.seed, f"choice:{rules.stream}")
    priority = rules.policy.priorities(scores, uniforms(noise))
    drop(np.isnan(priority), "outside_threshold")
    group, groups = _groups(rules.policy, rows, size)
    return Judged(reason, _sortable(priority), noise, costs.astype(np.float64), group, groups)


def totals(judged: Judged) -> dict[str, Any]:
    """Cost of a part, all and by group of what can be taken; to be added up over parts."""
    eligible = judged.reason == 0
    by_group = np.bincount(judged.group[eligible], judged.cost[eligible], minlength=len(judged.groups))
    return {
        "all": float(judged.cost.sum()),
        "groups": Counter(dict(zip(judged.groups, by_group.tolist(), strict=True))),
    }


def histogram(judged: Judged, prefixes: Mapping[str, tuple[int, ...]]) -> dict[tuple[str, int], tuple[float, int]]:
    """Cost and number of documents by the next 16 bits of (key, tie), for documents that share a group's prefix.

    Args:
        prefixes: for each group still open, the leading 16-bit digits found so far.
    """
    result: dict[tuple[str, int], tuple[float, int]] = {}
    for group, prefix in prefixes.items():
        rows = _matching(judged, group, prefix)
        digit = _digit(judged, len(prefix))[rows]
        costs = np.bincount(digit, judged.cost[rows], minlength=1)
        counts = np.bincount(digit, minlength=1)
        for d in np.flatnonzero(counts):
            result[group, int(d)] = (float(costs[d]), int(counts[d]))
    return result


def gather(judged: Judged, prefixes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """(key, tie, cost) of the documents that share a group's prefix, per group [documents, 3] as uint64."""
    result = {}
    for group, prefix in prefixes.items():
        rows = _matching(judged, group, prefix)
        columns = [judged.key[rows], judged.tie[rows], judged.cost[rows].view(np.uint64)]
        result[group] = np.stack(columns, axis=1)
    return result


def find_cuts(
    budgets: Mapping[str, float],
    eligible: Mapping[str, float],
    max_repeats: int,
    run_histogram: Callable[[Mapping[str, tuple[int, ...]]], Iterable[dict[tuple[str, int], tuple[float, int]]]],
    run_gather: Callable[[Mapping[str, tuple[int, ...]]], Iterable[dict[str, np.ndarray]]],
) -> dict[str, Cut]:
    """Where each group's budget is used up, exact to the document.

    Args:
        budgets: cost wanted of each group; eligible: cost that can be taken once.
        run_histogram, run_gather: apply `histogram` and `gather` to every part and give the results one by one.

    Raises:
        BudgetError: a group has too little, even when every document is taken `max_repeats` times.
    """
    cuts: dict[str, Cut] = {}
    wanted: dict[str, float] = {}
    for group, budget in budgets.items():
        have = eligible.get(group, 0.0)
        if budget > have * max_repeats:
            raise BudgetError(_too_little(group, budget, have, max_repeats))
        copies = int(budget // have) if have else 0
        wanted[group] = budget - copies * have
        cuts[group] = Cut(copies, 2**64 - 1, 2**64 - 1)
    open_groups: dict[str, tuple[int, ...]] = {g: () for g, cost in wanted.items() if cost > 0}
    counts: dict[str, int] = {}
    while open_groups:
        bins: dict[str, Counter[int]] = {g: Counter() for g in open_groups}
        sizes: dict[str, Counter[int]] = {g: Counter() for g in open_groups}
        for part in run_histogram(open_groups):
            for (group, digit), (cost, count) in part.items():
                if group in open_groups:
                    bins[group][digit] += cost  # type: ignore[assignment]
                    sizes[group][digit] += count
        for group in open_groups:
            digit, above = _crossing(bins[group], wanted[group])
            wanted[group] -= above
            open_groups[group] += (digit,)
            counts[group] = sizes[group][digit]
        small = {g: p for g, p in open_groups.items() if counts[g] <= _GATHER_LIMIT or len(p) == _NUM_DIGITS}
        if small:
            found: dict[str, list[np.ndarray]] = {g: [] for g in small}
            for gathered in run_gather(small):
                for group, rows in gathered.items():
                    found[group].append(rows)
            for group, pieces in found.items():
                key, tie = _crossing_document(np.concatenate(pieces), wanted[group])
                cuts[group] = Cut(cuts[group].copies, key, tie)
        open_groups = {g: p for g, p in open_groups.items() if g not in small}
    return cuts


def apply(judged: Judged, cuts: Mapping[str, Cut]) -> tuple[np.ndarray, np.ndarray]:
    """Repeats [documents] int32, and the reason [documents] uint8 of those with none (0 = kept)."""
    none = Cut(0, 2**64 - 1, 2**64 - 1)
    by_group = [cuts.get(name, none) for name in judged.groups]
    copies = np.array([cut.copies for cut in by_group], np.int32)[judged.group]
    key = np.array([cut.key for cut in by_group], np.uint64)[judged.group]
    tie = np.array([cut.tie for cut in by_group], np.uint64)[judged.group]
    above = (judged.key > key) | ((judged.key == key) & (judged.tie >= tie))
    repeats = np.where(judged.reason == 0, copies + above, 0).astype(np.int32)
    reason = judged.reason.copy()
    reason[(reason == 0) & (repeats == 0)] = REASONS.index("over_budget") + 1
    return repeats, reason


def _truth(expression: Expression, rows: pa.Table) -> np.ndarray:
    mask = expression.evaluate(rows)
    if not pa.types.is_boolean(mask.type):
        raise InvalidParameterError(f"`{expression.text}` gives {mask.type}, not true or false.")
    return mask.fill_null(False).to_numpy(zero_copy_only=False)


def _scores(rules: Rules, rows: pa.Table, size: int) -> np.ndarray:
    if rules.score is None:
        return np.full(size, np.nan)
    values = rules.score.evaluate(rows)
    try:
        scores = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InvalidParameterError(f"`{rules.score.text}` gives {values.type}; a score must be a number.") from None
    return scores if rules.higher_is_better or not rules.policy.ranks else -scores


def _groups(policy: Policy, rows: pa.Table, size: int) -> tuple[np.ndarray, list[str]]:
    if policy.group_by is None:
        return np.zeros(size, np.int64), [""]
    encoded = rows[policy.group_by].cast(pa.string()).fill_null("null").combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _sortable(values: np.ndarray) -> np.ndarray:
    """uint64 in the same order as the floats; NaN has no meaning here."""
    bits = (values + 0.0).view(np.uint64)  # + 0.0 makes -0 equal to 0
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))


def _digit(judged: Judged, position: int) -> np.ndarray:
    half, place = divmod(position, _NUM_DIGITS // 2)
    source = judged.tie if half else judged.key
    shift = np.uint64(64 - _DIGIT_BITS * (place + 1))
    return ((source >> shift) & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64)


def _matching(judged: Judged, group: str, prefix: tuple[int, ...]) -> np.ndarray:
    if group not in judged.groups:
        return np.empty(0, np.int64)
    matches = (judged.reason == 0) & (judged.group == judged.groups.index(group))
    for position, digit in enumerate(prefix):
        matches &= _digit(judged, position) == digit
    return np.flatnonzero(matches)


def _crossing(bins: Mapping[int, float], wanted: float) -> tuple[int, float]:
    """The bin, from the highest down, in which `wanted` is reached, and the cost in the bins above it."""
    above = 0.0
    ordered = sorted(bins, reverse=True)
    for digit in ordered:
        if above + bins[digit] >= wanted:
            return digit, above
        above += bins[digit]
    return ordered[-1], above - bins[ordered[-1]]  # rounding kept the sum a hair below


def _crossing_document(rows: np.ndarray, wanted: float) -> tuple[int, int]:
    """(key, tie) of the document, from the highest down, with which `wanted` is reached."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))[::-1]
    reached = np.cumsum(rows[order, 2].view(np.float64)) >= wanted
    last = order[int(np.argmax(reached)) if reached.any() else -1]
    return int(rows[last, 0]), int(rows[last, 1])


def _too_little(group: str, budget: float, have: float, max_repeats: int) -> str:
    where = f" of group {group!r}" if group else ""
    needed = int(np.ceil(budget / have)) if have else 0
    more = f", or allow max_repeats: {needed}" if have else ""
    return (
        f"The budget{where} is {budget:,.0f}, but the documents that may be taken{where} hold only {have:,.0f}"
        f"{f' ({max_repeats} times over)' if max_repeats > 1 else ''}. "
        f"Lower the budget, loosen `where` or the threshold{more}."
    )
