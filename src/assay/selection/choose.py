"""From priorities and a budget to repeats per document, in passes that never hold all documents at once.

The documents of a group are taken in order of priority until their costs reach the group's budget. To find where that
is without sorting everything, priority and tie-break are seen as one 128-bit number: a histogram of cost over its
leading 16 bits tells in which bin the budget is used up, and only that bin is looked at more closely.

The document with which a group reaches its budget goes beyond it. Many groups would so go far beyond theirs together;
therefore that document is taken only where the groups so far would fall short without it. The whole, and every group,
ends up within one document of its budget.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import BudgetError, InvalidParameterError
from assay.selection import presets
from assay.selection.expressions import Expression
from assay.selection.noise import keyed_hashes, uniforms
from assay.selection.policies import Policy

KEPT = "kept"
FAILED = "failed"  # a scorer raised on it; counted as set aside, not as dropped
EARLIER = "in_earlier_phase"  # of a schedule, whose later phases read on where it stopped
REASONS = (
    FAILED,
    "not_in_sample",
    "overlap",
    "contamination",
    "where",
    "no_score",
    "outside_threshold",
    "duplicate",
    "over_budget",
    EARLIER,
    *presets.REASONS,
)
_DIGIT_BITS = 16
_NUM_DIGITS = 8
_GATHER_LIMIT = 1 << 18
_MAX = 2**64 - 1
_ROUNDING = 1e-9  # a group's budget is a share of a sum of costs, so a whole one may be missing by a rounding
_LEAST_COST = 0.5  # costs are whole numbers


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Everything that decides about one document, other documents left aside.

    policy, score, where: the arm. `score` and `where` are expressions over `rows`, or None.
    higher_is_better: False when low scores are the better ones.
    guards: expressions that must be true, each by the reason for which a document is dropped otherwise.
    pool_sample: share of the pool that this seed sees; the rest is "not_in_sample".
    seed, stream: what the noise depends on, besides the id.
    """

    policy: Policy
    score: Expression | None = None
    higher_is_better: bool = True
    where: Expression | None = None
    guards: Mapping[str, Expression] = field(default_factory=dict)
    pool_sample: float = 1.0
    seed: int = 0
    stream: str = ""

    @property
    def columns(self) -> frozenset[str]:
        """Columns that `judge` reads."""
        expressions = [e for e in (self.score, self.where, *self.guards.values()) if e is not None]
        return frozenset().union(self.policy.columns, *(e.columns for e in expressions))


class Judged(NamedTuple):
    """Documents of one part as the rules see them [documents].

    reason: position in REASONS + 1 of why a document cannot be taken, 0 where it can.
    key, tie: order of preference, higher first, uint64. group: number of its group in `groups`.
    cost: what it takes of the budget when seen once. times: how often it is seen when it is taken.
    cluster: of its duplicates, -1 where it has none.
    """

    reason: np.ndarray
    key: np.ndarray
    tie: np.ndarray
    cost: np.ndarray
    group: np.ndarray
    groups: list[str]
    times: np.ndarray
    cluster: np.ndarray

    @property
    def whole_cost(self) -> np.ndarray:
        """What each document takes of the budget when it is taken."""
        return self.cost * self.times


class Cut(NamedTuple):
    """Where a group's budget ends: documents at (key, tie) or above are taken once more than `copies` times."""

    copies: int
    key: int
    tie: int


class Crossing(NamedTuple):
    """The document with which a group reaches its budget, and how much of its cost the budget still asks for."""

    key: int
    tie: int
    cost: float
    asked: float


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
    for reason_of_guard, guard in rules.guards.items():
        drop(~_truth(guard.evaluate(rows), guard), reason_of_guard)
    for why, mask in rules.where.conditions(rows) if rules.where is not None else ():
        drop(~_truth(mask, rules.where), why or "where")
    scores = _scores(rules, rows, size)
    if rules.policy.needs_score:
        drop(np.isnan(scores), "no_score")
    noise = keyed_hashes(id_hashes, rules.seed, f"choice:{rules.stream}")
    priority = rules.policy.priorities(scores, uniforms(noise))
    drop(np.isnan(priority), "outside_threshold")
    group, groups = _groups(rules.policy, rows, size)
    cluster, cluster_sizes = _clusters(rules.policy, rows, size)
    times = rules.policy.times(cluster_sizes)
    return Judged(reason, _sortable(priority), noise, costs.astype(np.float64), group, groups, times, cluster)


def rivals(judged: Judged) -> np.ndarray:
    """(cluster, key, tie) of the first of each cluster that can be taken, sorted [clusters, 3] as uint64."""
    rows = np.flatnonzero((judged.reason == 0) & (judged.cluster >= 0))
    return first_of_each(np.stack([judged.cluster[rows].view(np.uint64), judged.key[rows], judged.tie[rows]], axis=1))


def first_of_each(found: np.ndarray) -> np.ndarray:
    """Of (cluster, key, tie) [documents, 3] the highest of each cluster, sorted by cluster [clusters, 3]."""
    found = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    return found[np.flatnonzero(np.append(found[1:, 0] != found[:-1, 0], True))] if len(found) else found


def drop_duplicates(judged: Judged, winners: np.ndarray) -> Judged:
    """The part without documents for which another of their cluster stands.

    Args:
        winners: those of `first_of_each` of all parts that are documents of this part, sorted by cluster [winners, 3].
    """
    rows = np.flatnonzero((judged.reason == 0) & (judged.cluster >= 0))
    clusters = judged.cluster[rows].view(np.uint64)
    at = np.searchsorted(winners[:, 0], clusters)
    stands = at < len(winners)
    for values, column in ((clusters, 0), (judged.key[rows], 1), (judged.tie[rows], 2)):
        stands[stands] = winners[at[stands], column] == values[stands]
    reason = judged.reason.copy()
    reason[rows[~stands]] = REASONS.index("duplicate") + 1
    return judged._replace(reason=reason)


def totals(judged: Judged) -> dict[str, Any]:
    """Cost of a part, all and by group of what can be taken; to be added up over parts."""
    eligible = judged.reason == 0
    by_group = np.bincount(judged.group[eligible], judged.whole_cost[eligible], minlength=len(judged.groups))
    return {
        "all": float(judged.cost.sum()),
        "groups": Counter(dict(zip(judged.groups, by_group.tolist(), strict=True))),
    }


def histogram(judged: Judged, prefixes: Mapping[str, tuple[int, ...]]) -> dict[tuple[str, int], tuple[float, int]]:
    """Cost and number of documents by the next 16 bits of (key, tie), for documents that share a group's prefix.

    Args:
        prefixes: for each group still open, the leading 16-bit digits found so far, as many for all.
    """
    rows = _matching(judged, prefixes)
    digits = _digit(judged, len(next(iter(prefixes.values()), ())), rows)
    table = pa.table({"bin": judged.group[rows] << _DIGIT_BITS | digits, "cost": judged.whole_cost[rows]})
    bins = table.group_by("bin", use_threads=False).aggregate([("cost", "sum"), ("cost", "count")])
    return {
        (judged.groups[found >> _DIGIT_BITS], found & ((1 << _DIGIT_BITS) - 1)): (cost, count)
        for found, cost, count in zip(*(bins[c].to_pylist() for c in ("bin", "cost_sum", "cost_count")), strict=True)
    }


def gather(judged: Judged, prefixes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """(key, tie, cost) of the documents that share a group's prefix, per group [documents, 3] as uint64."""
    rows = _matching(judged, prefixes)
    rows = rows[np.argsort(judged.group[rows], kind="stable")]
    columns = np.stack([judged.key[rows], judged.tie[rows], judged.whole_cost[rows].view(np.uint64)], axis=1)
    groups, firsts = np.unique(judged.group[rows], return_index=True)
    pieces = np.split(columns, firsts[1:])
    return {judged.groups[group]: piece for group, piece in zip(groups, pieces, strict=False)}  # no rows: one piece


def find_cuts(
    budgets: Mapping[str, float],
    eligible: Mapping[str, float],
    max_epochs: Mapping[str, float],
    seed: int,
    run_histogram: Callable[[Mapping[str, tuple[int, ...]]], Iterable[dict[tuple[str, int], tuple[float, int]]]],
    run_gather: Callable[[Mapping[str, tuple[int, ...]]], Iterable[dict[str, np.ndarray]]],
    taken: Mapping[str, float] | None = None,
) -> dict[str, Cut]:
    """Where each group's budget is used up, exact to the document.

    Args:
        budgets: cost wanted of each group, above 0; eligible: cost that can be taken once.
        max_epochs: how many times over that may be, for each group.
        seed: decides which groups are the ones to overshoot.
        run_histogram, run_gather: apply `histogram` and `gather` to every part and give the results one by one.
        taken: cost of what each group has given before, which ends with a document; the budgets come on top of it, and
            the cuts are of both together.

    Raises:
        BudgetError: a group has too little, even when every document is taken `max_epochs` times.
    """
    copies: dict[str, int] = {}
    wanted: dict[str, float] = {}
    spare: dict[str, float] = {}
    for group, budget in budgets.items():
        have, before = eligible.get(group, 0.0), (taken or {}).get(group, 0.0)
        together = budget + before
        spare[group] = min(together * _ROUNDING, _LEAST_COST)
        # What was taken before may end up to a document beyond what it was to be, and so beyond what may be taken.
        if together > max(have * max_epochs[group], before) + spare[group]:
            raise BudgetError(_too_little(group, budget, have, max_epochs[group], before))
        copies[group] = int((together + spare[group]) // have) if have else 0
        wanted[group] = together - copies[group] * have
    short = {g: cost for g, cost in wanted.items() if cost > spare[g]}
    last = _round_jointly(_crossings(short, run_histogram, run_gather), seed)
    return {group: Cut(copies[group], *last.get(group, (_MAX, _MAX))) for group in budgets}


def apply(judged: Judged, cuts: Mapping[str, Cut]) -> tuple[np.ndarray, np.ndarray]:
    """Repeats [documents] int32, and the reason [documents] uint8 of those with none (0 = kept)."""
    none = Cut(0, _MAX, _MAX)
    by_group = [cuts.get(name, none) for name in judged.groups]
    copies = np.array([cut.copies for cut in by_group], np.int32)[judged.group]
    key = np.array([cut.key for cut in by_group], np.uint64)[judged.group]
    tie = np.array([cut.tie for cut in by_group], np.uint64)[judged.group]
    above = (judged.key > key) | ((judged.key == key) & (judged.tie >= tie))
    repeats = np.where(judged.reason == 0, (copies + above) * judged.times, 0).astype(np.int32)
    reason = judged.reason.copy()
    reason[(reason == 0) & (repeats == 0)] = REASONS.index("over_budget") + 1
    return repeats, reason


def _truth(mask: pa.Array, expression: Expression | None) -> np.ndarray:
    if not pa.types.is_boolean(mask.type):
        raise InvalidParameterError(f"`{expression and expression.text}` gives {mask.type}, not true or false.")
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
    column = rows[policy.group_by]
    try:
        names = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InvalidParameterError(
            f"`by` (={policy.group_by!r}) must be a column of text, numbers or truth values, not {column.type}."
        ) from None
    encoded = names.fill_null("null").combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _clusters(policy: Policy, rows: pa.Table, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each document that has duplicates, else -1, and cluster sizes [documents] int64."""
    if policy.unique_by is None:
        return np.full(size, -1, np.int64), np.ones(size, np.int64)
    cluster, sizes = (rows[f"{policy.unique_by}.{name}"] for name in ("cluster", "cluster_size"))
    if not (pa.types.is_integer(cluster.type) and pa.types.is_integer(sizes.type)):
        raise InvalidParameterError(f"`by` (={policy.unique_by!r}) must be scores whose clusters are whole numbers.")
    numbers = sizes.fill_null(1).to_numpy()
    return np.where(numbers > 1, cluster.fill_null(-1).to_numpy(), -1), numbers


def _sortable(values: np.ndarray) -> np.ndarray:
    """uint64 in the same order as the floats; NaN has no meaning here."""
    bits = (values + 0.0).view(np.uint64)  # + 0.0 makes -0 equal to 0
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))


def _digit(judged: Judged, position: int, rows: np.ndarray) -> np.ndarray:
    half, place = divmod(position, _NUM_DIGITS // 2)
    source = judged.tie if half else judged.key
    shift = np.uint64(64 - _DIGIT_BITS * (place + 1))
    return ((source[rows] >> shift) & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64)


def _matching(judged: Judged, prefixes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    """Documents that can be taken and share the prefix of their group."""
    is_open = np.array([group in prefixes for group in judged.groups], np.bool_)
    rows = np.flatnonzero((judged.reason == 0) & is_open[judged.group])
    for position in range(len(next(iter(prefixes.values()), ()))):
        wanted = np.array([prefixes[g][position] if g in prefixes else -1 for g in judged.groups], np.int64)
        rows = rows[_digit(judged, position, rows) == wanted[judged.group[rows]]]
    return rows


def _crossings(wanted: Mapping[str, float], run_histogram: Any, run_gather: Any) -> dict[str, Crossing]:
    """Narrows the leading digits of each group's crossing document until few enough documents share them."""
    if not wanted:
        return {}
    left = dict(wanted)
    prefixes: dict[str, tuple[int, ...]] = {group: () for group in wanted}
    num_left = _GATHER_LIMIT + 1
    while num_left > _GATHER_LIMIT and len(next(iter(prefixes.values()))) < _NUM_DIGITS:
        bins: dict[str, dict[int, tuple[float, int]]] = {group: {} for group in wanted}
        for part in run_histogram(prefixes):
            for (group, digit), (cost, count) in part.items():
                if group in bins:  # the first pass counts all groups, also those that are met in full
                    costs, counts = bins[group].get(digit, (0.0, 0))
                    bins[group][digit] = (costs + cost, counts + count)
        num_left = 0
        for group, found in bins.items():
            digit, above = _crossing(found, left[group])
            left[group] -= above
            prefixes[group] += (digit,)
            num_left += found[digit][1]
    pieces: dict[str, list[np.ndarray]] = {group: [] for group in wanted}
    for gathered in run_gather(prefixes):
        for group, rows in gathered.items():
            pieces[group].append(rows)
    return {group: _crossing_document(np.concatenate(rows), left[group]) for group, rows in pieces.items()}


def _crossing(bins: Mapping[int, tuple[float, int]], wanted: float) -> tuple[int, float]:
    """The bin, from the highest down, in which `wanted` is reached, and the cost in the bins above it."""
    above = 0.0
    ordered = sorted(bins, reverse=True)
    for digit in ordered:
        if above + bins[digit][0] >= wanted:
            return digit, above
        above += bins[digit][0]
    return ordered[-1], above - bins[ordered[-1]][0]  # rounding kept the sum a hair below


def _crossing_document(rows: np.ndarray, wanted: float) -> Crossing:
    """The document, from the highest down, with which `wanted` is reached."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))[::-1]
    costs = rows[order, 2].view(np.float64)
    sums = np.cumsum(costs)
    last = min(int(np.searchsorted(sums, wanted)), len(rows) - 1)
    key, tie = rows[order[last], :2].tolist()
    return Crossing(key, tie, float(costs[last]), float(wanted - (sums[last] - costs[last])))


def _round_jointly(crossings: Mapping[str, Crossing], seed: int) -> dict[str, tuple[int, int]]:
    """(key, tie) of the last document of each group, which is its crossing document or the one before.

    Groups go by in an order drawn by the seed, so that over seeds each gets its budget on average.
    """
    last: dict[str, tuple[int, int]] = {}
    surplus = 0.0
    for group in sorted(crossings, key=lambda g: hashlib.blake2b(f"{seed}/{g}".encode()).digest()):
        key, tie, cost, asked = crossings[group]
        if surplus - asked >= -_ROUNDING * cost:
            surplus -= asked
            last[group] = divmod(min((key << 64 | tie) + 1, _MAX << 64 | _MAX), 1 << 64)
        else:
            surplus += cost - asked
            last[group] = (key, tie)
    return last


def _too_little(group: str, budget: float, have: float, max_epochs: float, before: float) -> str:
    where = f" of group {group!r}" if group else ""
    earlier = f", beside the {before:,.0f} of earlier phases" if before else ""
    epochs = f": that would be {(budget + before) / have:.2f} epochs" if have else ""
    more = f", or allow max_repeats: {int(np.ceil((budget + before) / have))}" if have else ""
    rest = ". With `max_epochs` the other groups take what one cannot give" if group else ""
    return (
        f"The budget{where} is {budget:,.0f}{earlier}, but the documents that may be taken{where} hold only {have:,.0f}"
        f"{f' ({max_epochs:g} times over)' if max_epochs != 1 else ''}{epochs}. "
        f"Lower the budget, loosen `where` or the threshold{more}{rest}."
    )
