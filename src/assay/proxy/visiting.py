"""Which sequences each step of a run reads: epochs as a rule has them, or a mixture of sources that may change.

Nothing here is drawn but by a generator of (seed, phase, epoch), so the order is a function of the seed and of what the
run has remembered, and a run that goes on from a checkpoint reads what it would have read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from assay.errors import InvalidParameterError, check
from assay.proxy.rules_base import Epoch, Hooks
from assay.proxy.schedule import Phase, Plan

if TYPE_CHECKING:
    import torch


class Mixing(NamedTuple):
    """A stretch of a run under one mixture: the step it began at, the weights of the sources, and what was seen.

    losses: mean nats per token of each source in it [sources] float64; NaN for one that was not read.
    """

    step: int
    weights: np.ndarray
    losses: np.ndarray


class Advance(Protocol):
    """What says the mixture of the next `every` steps, as online methods do; asked at step 0 too, with no history.

    It must be a function of its arguments, so that a run that goes on from a checkpoint gets the same answer. It may
    compute losses with the model, and must not change it.
    """

    every: int

    def __call__(self, model: "torch.nn.Module", history: Sequence[Mixing]) -> np.ndarray:
        """Weights of the sources [sources], ≥ 0, sum above 0."""
        ...


class Batch(NamedTuple):
    """What a step reads: sequences of a phase [B] int64, and how much the loss of each counts [B] float32."""

    phase: int
    rows: np.ndarray
    weights: np.ndarray


class Visiting:
    """The order of a run's sequences, and the loss that each had when it was last read."""

    def __init__(self, phases: Sequence[Phase], plan: Plan, hooks: Hooks, seed: int, advance: Advance | None):
        self._phases, self._plan, self._hooks, self._seed, self._advance = phases, plan, hooks, seed, advance
        self._losses = [np.full(len(phase.sequences.inputs), np.nan, np.float32) for phase in phases]
        self._visits = [np.zeros(len(phase.sequences.inputs), np.int64) for phase in phases]
        self._epoch, self._position = -1, 0
        self._order, self._weights = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self._mixture = None if advance is None else _Mixture(phases, seed)

    def batch(self, step: int, model: "torch.nn.Module") -> Batch:
        """The sequences of a step; steps must be asked for one after another."""
        phase = self._plan.phase_of(step)
        first, last = self._plan.visited(self._phases, step)
        if self._mixture is not None and self._advance is not None:
            if step % self._advance.every == 0:
                self._mixture.turn(step, self._advance(model, self._mixture.history(step)))
            rows = self._mixture.draw(phase, last - first, self._visits[phase])
            weights = np.ones(len(rows), np.float32)
        else:
            rows, weights = self._take(phase, first, last)
        np.add.at(self._visits[phase], rows, 1)
        return Batch(phase, rows, weights)

    def needs_losses(self, step: int) -> bool:
        """Whether the choice of a step's sequences may go by losses of all steps before it."""
        if self._advance is not None:
            return step % self._advance.every == 0
        first, last = self._plan.visited(self._phases, step)
        return first == 0 or self._position + last - first > len(self._order)

    def record(self, batch: Batch, losses: np.ndarray, num_tokens: np.ndarray) -> None:
        """Takes the losses of a step, mean nats per token [B], and the tokens with a loss of each [B]."""
        self._losses[batch.phase][batch.rows] = losses
        if self._mixture is not None:
            self._mixture.record(batch, losses, num_tokens)

    @property
    def visits(self) -> list[np.ndarray]:
        """How often each sequence of each phase was read [sequences] int64."""
        return self._visits

    def mixtures(self, step: int) -> list[Mixing]:
        """Every stretch before a step; empty without `advance`."""
        return [] if self._mixture is None else self._mixture.history(step)

    def state(self) -> dict[str, np.ndarray]:
        """What must be remembered between steps."""
        found = {"place": np.array([self._epoch, self._position]), "order": self._order, "weights": self._weights}
        for k, (losses, visits) in enumerate(zip(self._losses, self._visits, strict=True)):
            found |= {f"losses.{k}": losses, f"visits.{k}": visits}
        return found if self._mixture is None else found | self._mixture.state()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state` gave."""
        self._epoch, self._position = state["place"].tolist()
        self._order, self._weights = state["order"], state["weights"]
        for k in range(len(self._phases)):
            self._losses[k], self._visits[k] = state[f"losses.{k}"], state[f"visits.{k}"]
        if self._mixture is not None:
            self._mixture.load_state(state)

    def _take(self, phase: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Visits first to last of a phase; what an epoch leaves over comes before the next one."""
        if first == 0:
            self._epoch, self._position, self._order = -1, 0, np.zeros(0, np.int64)
        rows, weights, wanted = [], [], last - first
        while wanted:
            if self._position == len(self._order):
                self._begin_epoch(phase, last - wanted)
            end = min(self._position + wanted, len(self._order))
            rows.append(self._order[self._position : end])
            weights.append(self._weights[self._position : end])
            wanted -= end - self._position
            self._position = end
        return np.concatenate(rows), np.concatenate(weights)

    def _begin_epoch(self, phase: int, visited: int) -> None:
        self._epoch += 1
        of = self._phases[phase]
        num = len(of.sequences.inputs)
        told = Epoch(phase, self._epoch, num, visited, of.num_visits, self._seed, self._losses[phase], of.values)
        order, weights = self._hooks.epoch(told)
        is_right = len(order) == len(weights) > 0 and order.min() >= 0 and order.max() < num
        assert is_right and np.isfinite(weights).all(), "a rule gave an epoch that is none"
        self._order, self._weights, self._position = order.astype(np.int64), weights.astype(np.float32), 0


class _Mixture:
    """Draws by weights of sources, exact within one sequence: what a batch owes a source is carried to the next.

    Each source is read in an order of its own, shuffled again whenever it is used up.
    """

    def __init__(self, phases: Sequence[Phase], seed: int):
        self._seed = seed
        sources = [np.zeros(len(p.sequences.inputs), np.int64) if p.sources is None else p.sources for p in phases]
        self._sources = [np.asarray(of, np.int64) for of in sources]
        self.num_sources = 1 + max(int(of.max()) for of in self._sources)
        self._names = [phase.name for phase in phases]
        self._steps = np.zeros(0, np.int64)
        self._weights, self._losses = np.zeros((0, self.num_sources)), np.zeros((0, self.num_sources))
        self._owed = np.zeros(self.num_sources)
        self._sums = np.zeros((2, self.num_sources))  # nats and tokens since the last turn

    def turn(self, step: int, weights: np.ndarray) -> None:
        """Takes the weights of the steps to come."""
        weights = np.asarray(weights, np.float64)
        rule = f"one weight for each of {self.num_sources} sources, ≥ 0, not all 0"
        ok = weights.shape == (self.num_sources,) and np.isfinite(weights).all() and (weights >= 0).all()
        check(bool(ok) and weights.sum() > 0, f"advance, step {step}", weights.tolist(), rule)
        if len(self._steps):
            self._losses = np.vstack((self._losses, self._means()))
        self._steps = np.append(self._steps, step)
        self._weights = np.vstack((self._weights, weights / weights.sum()))
        self._sums[:] = 0

    def history(self, step: int) -> list[Mixing]:
        """Stretches that ended before or at `step`, the open one as its last."""
        losses = self._losses if step == 0 else np.vstack((self._losses, self._means()))
        return [Mixing(int(s), w, of) for s, w, of in zip(self._steps, self._weights, losses, strict=True)]

    def draw(self, phase: int, num: int, visits: np.ndarray) -> np.ndarray:
        """The next `num` sequences of a phase.

        Args:
            visits: how often each of its sequences was read.
        """
        sources = self._sources[phase]
        self._owed += self._weights[-1] * num
        counts = np.maximum(np.floor(self._owed), 0).astype(np.int64)
        for source in np.argsort(counts - self._owed, kind="stable")[: max(0, num - int(counts.sum()))]:
            counts[source] += 1
        while counts.sum() > num:  # rounding of what was owed can exceed a batch by one
            counts[np.argmax(np.where(counts > 0, counts - self._owed, -np.inf))] -= 1
        self._owed -= counts
        wanted = np.flatnonzero(counts).tolist()
        return np.concatenate([self._next(phase, k, int(counts[k]), sources, visits) for k in wanted])

    def _next(self, phase: int, source: int, num: int, sources: np.ndarray, visits: np.ndarray) -> np.ndarray:
        members = np.flatnonzero(sources == source)
        if len(members) == 0:
            raise InvalidParameterError(
                f"Phase {self._names[phase]!r} has no sequence of source {source}, which the mixture wants. "
                "Give that source no weight in it, or sequences."
            )
        done, rows = int(visits[members].sum()), []
        while num:
            cycle, position = divmod(done, len(members))
            order = np.random.default_rng([self._seed, phase, source, cycle]).permutation(members)
            rows.append(order[position : position + num])
            done, num = done + len(rows[-1]), num - len(rows[-1])
        return np.concatenate(rows)

    def record(self, batch: Batch, losses: np.ndarray, num_tokens: np.ndarray) -> None:
        sources = self._sources[batch.phase][batch.rows]
        has_loss = num_tokens > 0
        np.add.at(self._sums[0], sources[has_loss], (losses * num_tokens)[has_loss].astype(np.float64))
        np.add.at(self._sums[1], sources, num_tokens)

    def state(self) -> dict[str, np.ndarray]:
        named = {"steps": self._steps, "weights": self._weights, "losses": self._losses}
        named |= {"owed": self._owed, "sums": self._sums}
        return {f"mixture.{name}": array for name, array in named.items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self._steps, self._weights = state["mixture.steps"], state["mixture.weights"]
        self._losses = state["mixture.losses"]
        self._owed, self._sums = state["mixture.owed"], state["mixture.sums"]

    def _means(self) -> np.ndarray:
        nats, tokens = self._sums
        return np.divide(nats, tokens, out=np.full(self.num_sources, np.nan), where=tokens > 0)
