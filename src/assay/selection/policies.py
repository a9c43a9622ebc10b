"""Policies: from a score and noise to an order of preference. How many are taken is the budget's business.

Each document gets a priority, highest first; NaN means that the policy never takes it.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from assay.errors import BudgetError, InvalidParameterError, check, check_integer, check_number, did_you_mean
from assay.kernels.filling import fill
from assay.selection.noise import gumbels

_ROUNDING = 1e-9
_MAX_SIZE, _MAX_TIMES = 10**12, 10**6  # of clusters, and how often one document may be taken


class Policy(ABC):
    """A rule that orders documents. Concrete policies are frozen, keyword-only dataclasses.

    name: what recipes call it.
    needs_score: whether the order depends on a score; documents without one are then never taken.
    ranks: whether higher means earlier; if not, the score is taken as it is, also where lower is better.
    group_by: a column whose values get a budget each, or None.
    unique_by: the scores whose clusters give one document each, or None.
    """

    name: ClassVar[str]
    needs_score: ClassVar[bool] = True
    ranks: ClassVar[bool] = True

    @abstractmethod
    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Priority of each document [documents], float64; NaN = never.

        Args:
            scores: higher is better, NaN = none [documents]; uniform: noise in (0, 1) [documents].
        """

    @property
    def group_by(self) -> str | None:
        """The column whose values get a budget each."""
        return None

    @property
    def unique_by(self) -> str | None:
        """The scores whose clusters give one document each."""
        return None

    @property
    def columns(self) -> frozenset[str]:
        """Columns that it reads besides the score."""
        clusters = [] if self.unique_by is None else [f"{self.unique_by}.cluster", f"{self.unique_by}.cluster_size"]
        return frozenset([*([] if self.group_by is None else [self.group_by]), *clusters])

    def times(self, cluster_sizes: np.ndarray) -> np.ndarray:
        """How often a document is taken when it is taken [documents], int32, given the size of its cluster."""
        return np.ones(len(cluster_sizes), np.int32)

    def epochs(self, groups: Iterable[str], max_repeats: int) -> dict[str, float]:
        """How many times over what each group holds may be taken, where one document may be `max_repeats` times."""
        return dict.fromkeys(groups, max_repeats)

    def group_budgets(self, budget: float, available: Mapping[str, float]) -> dict[str, float]:
        """The budget of each group, given what can be taken of each, repeats included; all in the budget's unit."""
        return dict.fromkeys(available or [""], budget)

    def parameters(self) -> dict[str, Any]:
        """Name and parameters, as they go into fingerprint and manifest."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class Uniform(Policy):
    """Documents at random, each as likely as any other."""

    name: ClassVar[str] = "uniform"
    needs_score: ClassVar[bool] = False

    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return uniform


@dataclass(frozen=True, kw_only=True)
class Top(Policy):
    """The highest scores. Ties are broken at random."""

    name: ClassVar[str] = "top"

    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return scores


@dataclass(frozen=True, kw_only=True)
class Threshold(Policy):
    """Documents at random among those whose score lies in the closed range.

    min, max: bounds of the score; at least one of them.
    """

    name: ClassVar[str] = "threshold"
    ranks: ClassVar[bool] = False
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        check(self.min is not None or self.max is not None, "min", None, "given, or `max`")
        for bound in ("min", "max"):
            if getattr(self, bound) is not None:
                check_number(bound, getattr(self, bound), "a number", lambda _: True)

    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        low = -np.inf if self.min is None else self.min
        high = np.inf if self.max is None else self.max
        return np.where((scores >= low) & (scores <= high), uniform, np.nan)


@dataclass(frozen=True, kw_only=True)
class Sample(Policy):
    """Sampling without replacement with probability proportional to exp(score / temperature).

    Gumbel top-k (Kool et al. 2019, arXiv:1903.06059): the largest of score / temperature + Gumbel noise. With DSIR's
    log weights and temperature 1 this is importance resampling; towards 0 it becomes Top, towards infinity Uniform.
    """

    name: ClassVar[str] = "sample"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, "a number above 0", lambda t: t > 0)

    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return scores / self.temperature + gumbels(uniform)


@dataclass(frozen=True, kw_only=True)
class Wrapper(Policy):
    """A policy that leaves the order of documents to another one, `within`."""

    within: Policy = field(default_factory=Uniform)

    @property
    def needs_score(self) -> bool:  # type: ignore[override]
        return self.within.needs_score

    @property
    def ranks(self) -> bool:  # type: ignore[override]
        return self.within.ranks

    def priorities(self, scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return self.within.priorities(scores, uniform)

    def epochs(self, groups: Iterable[str], max_repeats: int) -> dict[str, float]:
        return self.within.epochs(groups, max_repeats)


class Proportions(Protocol):
    """What `Quota.of` reads of a mixture."""

    @property
    def by(self) -> str: ...

    @property
    def weights(self) -> Mapping[str, float]: ...

    @property
    def max_epochs(self) -> float | Mapping[str, float] | None: ...


@dataclass(frozen=True, kw_only=True)
class Quota(Wrapper):
    """A budget for each value of a corpus column, filled by another policy. Each is met within one document.

    by: the column, of the corpus or of scores.
    shares: "proportional" to what can be taken of each, "equal" (a group too small for that gives its rest to the
        others), or a mapping from value (as text) to share; shares are scaled to sum to one.
    within: the policy that chooses inside each group.
    max_epochs: for shares that are a mapping, how many times over a group may be taken (2.5 = half of its text three
        times, the rest twice); one number, or one for some of the groups. What a group cannot give within that goes to
        the others in proportion to their shares; for groups without a number that is `max_repeats`. None: `max_repeats`
        for all, and shares that cannot be met are an error.
    """

    name: ClassVar[str] = "quota"
    by: str = "source"
    shares: str | Mapping[str, float] = "proportional"
    max_epochs: float | Mapping[str, float] | None = None

    @classmethod
    def of(cls, mixture: Proportions, within: Policy | None = None) -> "Quota":
        """The policy that takes each source as a mixture says."""
        inner = Uniform() if within is None else within
        return cls(by=mixture.by, shares=mixture.weights, max_epochs=mixture.max_epochs, within=inner)

    def __post_init__(self) -> None:
        check(isinstance(self.by, str), "by", self.by, "the name of a column")
        check(isinstance(self.within, Policy), "within", self.within, "a policy")
        way_out = "Write proportional, equal, or a mapping such as {web: 0.7, books: 0.3}."
        if isinstance(self.shares, Mapping):
            # YAML reads `no:` as False and `2020:` as a number; only the second can be meant in one way.
            for name, share in self.shares.items():
                is_clear = isinstance(name, str) or type(name) is int
                check(is_clear, "shares", name, "given by names that are text", "Put the name between quotes.")
                check_number(f"shares.{name}", share, "a number of at least 0", lambda s: s >= 0)
            total = sum(self.shares.values())
            check(total > 0, "shares", dict(self.shares), "numbers that do not sum to 0", way_out)
            check(total <= sys.float_info.max, "shares", dict(self.shares), "numbers with a finite sum")
            object.__setattr__(self, "shares", {str(name): share for name, share in self.shares.items()})
        else:
            check(self.shares in ("proportional", "equal"), "shares", self.shares, "proportional or equal", way_out)
        if self.max_epochs is not None:
            self._check_max_epochs()
        _check_ungrouped(self)

    def _check_max_epochs(self) -> None:
        is_mapping = isinstance(self.shares, Mapping)
        check(is_mapping, "max_epochs", self.max_epochs, "left out where `shares` is not a mapping from name to share")
        if isinstance(self.max_epochs, Mapping):
            caps = {str(name): cap for name, cap in self.max_epochs.items()}
            for name in caps:
                rule = f"given for names of `shares`: {_some(self.shares)}"
                check(name in self.shares, "max_epochs", name, rule, did_you_mean(name, self.shares))
                check_number(f"max_epochs.{name}", caps[name], "a number above 0", lambda x: x > 0)
            object.__setattr__(self, "max_epochs", caps)
        else:
            check_number("max_epochs", self.max_epochs, "a number above 0", lambda x: x > 0)

    @property
    def group_by(self) -> str | None:
        return self.by

    def epochs(self, groups: Iterable[str], max_repeats: int) -> dict[str, float]:
        if isinstance(self.max_epochs, Mapping):
            return {group: self.max_epochs.get(group, max_repeats) for group in groups}
        return dict.fromkeys(groups, max_repeats if self.max_epochs is None else self.max_epochs)

    def group_budgets(self, budget: float, available: Mapping[str, float]) -> dict[str, float]:
        if not available:
            return super().group_budgets(budget, available)
        if self.shares == "proportional":
            total = sum(available.values())
            return {group: budget * size / total for group, size in available.items()}
        if self.shares == "equal":
            return _as_equal_as_possible(budget, available)
        assert isinstance(self.shares, Mapping)
        unknown = sorted(group for group, share in self.shares.items() if share > 0 and group not in available)
        if unknown:
            raise InvalidParameterError(
                f"`shares` names {_some(unknown)}, of which nothing can be taken; {self.by!r} has {_some(available)}. "
                "Give them none, or loosen `where`."
            )
        groups = sorted(self.shares)  # sums of floats depend on the order, and the order of a file's lines says nothing
        weights = np.array([self.shares[group] for group in groups], np.float64)
        weights /= weights.sum()
        if self.max_epochs is None:
            return dict(zip(groups, (budget * weights).tolist(), strict=True))
        room = np.array([available.get(group, 0.0) for group in groups])
        given = fill(budget, weights, room)
        if budget > float(given.sum()) * (1 + _ROUNDING) + _ROUNDING:
            raise BudgetError(
                f"The budget is {budget:,.0f}, but the groups of `shares` can give only "
                f"{given.sum():,.0f} within `max_epochs` (={self.max_epochs}). Lower the budget, raise `max_epochs`, "
                f"or give more groups a share; {self.by!r} has {_some(available)}."
            )
        return dict(zip(groups, given.tolist(), strict=True))

    def parameters(self) -> dict[str, Any]:
        shares = self.shares if isinstance(self.shares, str) else dict(self.shares)
        found: dict[str, Any] = {"name": self.name, "by": self.by, "shares": shares, "within": self.within.parameters()}
        if self.max_epochs is not None:
            found["max_epochs"] = dict(self.max_epochs) if isinstance(self.max_epochs, Mapping) else self.max_epochs
        return found


@dataclass(frozen=True, kw_only=True)
class Cap(Wrapper):
    """As many documents of each value of a column as there are, up to a limit, filled by another policy.

    What is frequent is cut down and what is rare is kept: the balancing of MetaCLIP (Xu et al. 2023, arXiv:2309.16671,
    section 3), by a column with one value a document instead of lists of matching queries. Where the limits leave more
    than the budget, every group gives up the same share. `Quota(shares="equal")` is the cap that meets the budget just
    so.

    by: the column, of the corpus or of scores ("clusters.cluster").
    limit: the most of one value, in the budget's unit; for a budget that is a share, in tokens.
    within: the policy that chooses inside each group.
    """

    name: ClassVar[str] = "cap"
    by: str = "source"
    limit: float = 20_000

    def __post_init__(self) -> None:
        check(isinstance(self.by, str), "by", self.by, "the name of a column")
        check_number("limit", self.limit, "a number above 0", lambda x: x > 0)
        check(isinstance(self.within, Policy), "within", self.within, "a policy")
        _check_ungrouped(self)

    @property
    def group_by(self) -> str | None:
        return self.by

    def group_budgets(self, budget: float, available: Mapping[str, float]) -> dict[str, float]:
        capped = {group: min(size, self.limit) for group, size in available.items()}
        total = sum(capped.values())
        if budget > total * (1 + _ROUNDING) and available:
            raise BudgetError(
                f"The budget is {budget:,.0f}, but a `limit` of {self.limit:,g} for each value of {self.by!r} leaves "
                f"only {total:,.0f}. Lower the budget or raise `limit`."
            )
        return {group: min(size, budget * size / total) for group, size in capped.items()} or {"": budget}


@dataclass(frozen=True, kw_only=True)
class Unique(Wrapper):
    """One document of each cluster of duplicates: the one that comes first under another policy.

    What is random in that policy is drawn anew for the documents that stand for their clusters, so that a cluster of
    many is no more likely to be taken than a document that stands alone.

    by: scores with the columns `cluster` and `cluster_size` ("minhash", "exact").
    within: the policy that orders documents; with Top, the best by the arm's score stands for its cluster.
    repeats: from cluster size to how often its document is taken, each entry from its size up; sizes below the first
        are taken once. FineWeb2's rehydration (Penedo et al. 2025, arXiv:2506.20920) is such a table, for example
        {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}.
    """

    name: ClassVar[str] = "unique"
    by: str = "minhash"
    repeats: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(isinstance(self.by, str) and self.by != "", "by", self.by, "the name of scores such as minhash")
        check(isinstance(self.within, Policy), "within", self.within, "a policy")
        check(not isinstance(self.within, Unique), "within", "unique", "a policy other than unique")
        check(isinstance(self.repeats, Mapping), "repeats", self.repeats, "a mapping such as {1: 1, 2: 2, 100: 8}")
        for size, number in self.repeats.items():
            check_integer("repeats", size, 1, _MAX_SIZE)
            check_integer(f"repeats.{size}", number, 1, _MAX_TIMES)

    @property
    def group_by(self) -> str | None:
        return self.within.group_by

    @property
    def unique_by(self) -> str | None:
        return self.by

    def times(self, cluster_sizes: np.ndarray) -> np.ndarray:
        sizes = sorted(self.repeats)
        table = np.array([1, *(self.repeats[size] for size in sizes)], np.int32)
        return table[np.searchsorted(sizes, cluster_sizes, side="right")] if sizes else super().times(cluster_sizes)

    def group_budgets(self, budget: float, available: Mapping[str, float]) -> dict[str, float]:
        return self.within.group_budgets(budget, available)

    def parameters(self) -> dict[str, Any]:
        repeats = {str(size): self.repeats[size] for size in sorted(self.repeats)}
        return {"name": self.name, "by": self.by, "within": self.within.parameters(), "repeats": repeats}


def _as_equal_as_possible(budget: float, available: Mapping[str, float]) -> dict[str, float]:
    """Equal budgets; what a small group cannot fill goes to the others, as water fills a vessel."""
    budgets: dict[str, float] = {}
    left = budget
    for group in sorted(available, key=lambda g: (available[g], g)):
        fair = left / (len(available) - len(budgets))
        budgets[group] = min(fair, available[group]) if len(budgets) < len(available) - 1 else fair
        left -= budgets[group]
    return budgets


def _check_ungrouped(policy: Wrapper) -> None:
    """Raises InvalidParameterError where a policy with a budget for each group has another such one within."""
    kind = policy.within.name
    check(not isinstance(policy.within, Quota | Cap), "within", kind, f"a policy other than {kind}")
    way_out = f"Put the {policy.name} inside: unique: {{within: {policy.name}}}."
    check(policy.within.unique_by is None, "within", "unique", "another policy", way_out)


POLICIES: dict[str, type[Policy]] = {p.name: p for p in (Uniform, Top, Threshold, Sample, Quota, Cap, Unique)}


def _some(names: Iterable[str]) -> str:
    """The first ten names, for a message."""
    listed = sorted(names)
    return ", ".join(map(repr, listed[:10])) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
