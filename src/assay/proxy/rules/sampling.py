"""Which sequences an epoch visits: a fresh random part of them, or those that still have something to teach.

RS2: Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning, Okanovic et al. 2023 (arXiv:2305.18424),
section 3. Each epoch reads a fresh random share of the data. Differs: what is left of a permutation when an epoch ends
inside it is read first in the next one (another implementation drops it), and no epoch reads a sequence twice.

SeTa: Scale Efficient Training for Large Datasets, Zhou et al. 2025 (arXiv:2503.13385). Authors' code: mrazhou/SeTa at
341df62. A random part of the data in groups of equal difficulty, easy to hard; each epoch reads a window of groups that
slides. Differs: groups are quantiles of the losses instead of 1-D k-means; "the last epochs" are the last share of the
visits, since epochs differ in length.

InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning, Qin et al. 2024 (arXiv:2303.04947), section 3.
A share of the sequences with less than the mean loss is left out at random, and the rest of them count more by as much,
so that the expected gradient of an epoch is that of all data. Differs: the weight is that of the number really kept.

All three go by the loss that a sequence had when it was last read, as it comes with training, so they cost nothing. The
first epoch reads everything. When not to use: in a single pass over the text (SeTa and InfoBatch change nothing in it
and are refused; give `epochs` beside them).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from assay.errors import check, check_integer, check_number
from assay.proxy.rules_base import Epoch, Hooks, Rule, Visits

_LEAST_KEPT = 0.1


def _check_share(name: str, value: float) -> None:
    check_number(name, value, "a share from 0 to below 1", lambda x: 0 <= x < 1)


def _even(order: np.ndarray) -> Visits:
    return Visits(order, np.ones(len(order), np.float32))


@dataclass(frozen=True, kw_only=True)
class RS2(Rule):
    """Each epoch visits a fresh random share of the sequences.

    share: of the sequences in an epoch; 1 = plain training.
    replacement: False: no sequence is visited again before all were. True: each epoch is drawn by itself, so that
        after E epochs a sequence was missed with probability (1 - share)^E.
    """

    name: ClassVar[str] = "rs2"
    changes: ClassVar[str] = "order"

    share: float = 0.1
    replacement: bool = False

    def __post_init__(self) -> None:
        check_number("share", self.share, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check(isinstance(self.replacement, bool), "replacement", self.replacement, "true or false")

    def start(self) -> Hooks:
        return _Walk(self)


class _Walk(Hooks):
    """Remembers what is left of the permutation that it walks through."""

    orders = True

    def __init__(self, rule: RS2):
        self._rule = rule
        self._left = np.zeros(0, np.int64)

    def epoch(self, epoch: Epoch) -> Visits:
        size = max(1, round(self._rule.share * epoch.num_sequences))
        shuffled = epoch.generator().permutation(epoch.num_sequences)
        if self._rule.replacement:
            return _even(shuffled[:size])
        if epoch.number == 0:
            self._left = np.zeros(0, np.int64)
        order = self._left[:size]
        self._left = self._left[size:]
        if len(order) < size:
            # What this epoch has read already comes last in the new permutation, so not twice in this epoch.
            is_read = np.isin(shuffled, order)
            following = np.concatenate([shuffled[~is_read], shuffled[is_read]])
            num_more = size - len(order)
            order, self._left = np.concatenate([order, following[:num_more]]), following[num_more:]
        return _even(order)

    def state(self) -> dict[str, np.ndarray]:
        return {"left": self._left}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self._left = state["left"]


@dataclass(frozen=True, kw_only=True)
class SeTa(Rule):
    """Each epoch but the first visits a window of sequences of similar difficulty, from easy to hard and again.

    prune: share of the sequences left out of each epoch at random, before groups are made.
    groups: of equal size, by loss. window: share of the groups that an epoch visits.
    anneal: share of the visits at the end in which all groups are visited.
    """

    name: ClassVar[str] = "seta"
    changes: ClassVar[str] = "order"
    needs_epochs: ClassVar[bool] = True

    prune: float = 0.1
    groups: int = 5
    window: float = 0.9
    anneal: float = 0.125

    def __post_init__(self) -> None:
        _check_share("prune", self.prune)
        check_integer("groups", self.groups, 1)
        check_number("window", self.window, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check_number("anneal", self.anneal, "a share from 0 to 1", lambda x: 0 <= x <= 1)

    def start(self) -> Hooks:
        return _Sliding(self)

    def first_group(self, epoch: int) -> tuple[int, int]:
        """The first group that an epoch from 1 visits, and how many it does; every group is in one of any
        `groups - window + 1` epochs in a row.
        """
        size = max(1, round(self.window * self.groups))
        return (epoch - 1) % (self.groups - size + 1), size


class _Sliding(Hooks):
    orders = True

    def __init__(self, rule: SeTa):
        self._rule = rule

    def epoch(self, epoch: Epoch) -> Visits:
        rule, rng, num = self._rule, epoch.generator(), epoch.num_sequences
        order = rng.permutation(num)
        if epoch.number == 0:
            return _even(order)
        num_kept = max(1, round(max(1 - rule.prune, _LEAST_KEPT) * num))
        kept = np.arange(num) if num_kept == num else np.sort(rng.permutation(num)[:num_kept])
        if epoch.visited < (1 - rule.anneal) * epoch.visits:
            first, size = rule.first_group(epoch.number)
            by_loss = kept[np.argsort(epoch.losses[kept], kind="stable")]  # without a loss: the hardest
            bounds = np.arange(rule.groups + 1) * num_kept // rule.groups
            inside = by_loss[bounds[first] : bounds[first + size]]
            kept = inside if len(inside) else kept
        return _even(order[np.isin(order, kept)])


@dataclass(frozen=True, kw_only=True)
class InfoBatch(Rule):
    """Each epoch but the first leaves out some of what is learnt already, and what is kept of it counts more.

    prune: share left out of the sequences whose last loss is below the mean.
    anneal: share of the visits at the end in which nothing is left out.
    """

    name: ClassVar[str] = "infobatch"
    changes: ClassVar[str] = "order"
    needs_epochs: ClassVar[bool] = True

    prune: float = 0.5
    anneal: float = 0.125

    def __post_init__(self) -> None:
        _check_share("prune", self.prune)
        check_number("anneal", self.anneal, "a share from 0 to 1", lambda x: 0 <= x <= 1)

    def start(self) -> Hooks:
        return _Pruning(self)


class _Pruning(Hooks):
    orders = True

    def __init__(self, rule: InfoBatch):
        self._rule = rule

    def epoch(self, epoch: Epoch) -> Visits:
        rng = epoch.generator()
        order = rng.permutation(epoch.num_sequences)
        if epoch.number == 0 or epoch.visited >= (1 - self._rule.anneal) * epoch.visits:
            return _even(order)
        weights = pruned_weights(epoch.losses, self._rule.prune, rng)
        kept = order[weights[order] > 0]
        return Visits(kept, weights[kept])


def pruned_weights(losses: np.ndarray, prune: float, rng: np.random.Generator) -> np.ndarray:
    """How much each sequence counts in an epoch, 0 for those left out; each has the expectation 1 [n] float32.

    Args:
        losses: of each sequence when it was last read [n]; NaN: never, so it is kept.
    """
    weights = np.ones(len(losses), np.float32)
    has_loss = np.isfinite(losses)
    if not has_loss.any():
        return weights
    learnt = np.flatnonzero(has_loss & (losses < losses[has_loss].mean(dtype=np.float64)))
    num_kept = max(1, round((1 - prune) * len(learnt)))
    if num_kept < len(learnt):
        weights[learnt] = 0
        weights[rng.permutation(learnt)[:num_kept]] = len(learnt) / num_kept
    return weights
