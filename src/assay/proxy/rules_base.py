"""What a training-time rule is: it says which sequences come next and how much each counts, and may touch the weights.

A `Rule` holds parameters only, so it can be read, written and fingerprinted without torch. `start` gives the `Hooks`
that `proxy.train` calls in one run; what they must remember between steps goes through `state` into the checkpoint, so
that a run that was killed goes on to the same bytes. All randomness comes from the seed that they are given.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class Epoch(NamedTuple):
    """What is known when the next sequences are chosen.

    phase, number: of the phase of the schedule, and of the epoch in it, from 0.
    num_sequences: how many the phase has to choose from.
    visited, visits: how many were visited in this phase, and how many will have been at its end.
    seed: of the run. losses: of each sequence when it was last visited [num_sequences], nats per token; NaN: never.
    values: a number per sequence that the caller gave, such as the mean score of its documents; None: not given.
    """

    phase: int
    number: int
    num_sequences: int
    visited: int
    visits: int
    seed: int
    losses: np.ndarray
    values: np.ndarray | None

    def generator(self) -> np.random.Generator:
        """Randomness of this epoch: the same whenever it is asked for."""
        return np.random.default_rng([self.seed, self.phase, self.number])


class Visits(NamedTuple):
    """The sequences of an epoch, in order [visits] int64, and how much the loss of each counts [visits] float32.

    A weight of 1 is plain training; the loss of a batch is sum(weight x nats of the sequence) / tokens of the batch.
    """

    order: np.ndarray
    weights: np.ndarray


def plain(epoch: Epoch) -> Visits:
    """Every sequence once, shuffled."""
    order = epoch.generator().permutation(epoch.num_sequences)
    return Visits(order, np.ones(len(order), np.float32))


class Hooks:
    """A rule at work in one run; as it stands, plain training.

    weighs: whether `batch_weights` is to be asked. It needs the losses of the whole batch of a step, so that a batch
        which does not fit in memory at once is read twice, first without gradients.
    orders: whether `epoch` differs from `plain`; one rule of a run may do that.
    """

    weighs: bool = False
    orders: bool = False

    def epoch(self, epoch: Epoch) -> Visits:
        """The sequences to visit next, at least one.

        Asked again when they are used up; what the phase has no room for is cut off.
        """
        return plain(epoch)

    def batch_weights(self, losses: "torch.Tensor", step: int, num_steps: int) -> "torch.Tensor":
        """How much each sequence of a step's batch counts [B]; plain is 1 each, and the sum should stay B.

        Args:
            losses: mean nats per token of each [B], without gradient; NaN where a sequence has no token with a loss.
            step: from 0, of `num_steps` in the run.
        """
        raise NotImplementedError

    def after_step(self, step: int, num_steps: int, model: "torch.nn.Module") -> None:
        """Called when a step is done; `step` from 0. To look at the weights, not to change them."""

    def finish(self, model: "torch.nn.Module") -> None:
        """Called once after the last step; may change the weights, as averages do."""

    def state(self) -> dict[str, np.ndarray]:
        """What must be remembered between steps."""
        return {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state` gave."""


class Rule(ABC):
    """A training-time rule; concrete ones are frozen keyword-only dataclasses, checked when built.

    name: what recipes call it. version: to be raised whenever the same parameters would train another model.
    changes: what of a run it changes; rules that change different things go together.
    needs_epochs: whether it does nothing in the first pass over the text.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    changes: ClassVar[str] = ""
    needs_epochs: ClassVar[bool] = False

    @property
    def column(self) -> str | None:
        """The column of the documents that it goes by; None: it needs none."""
        return None

    @abstractmethod
    def start(self) -> Hooks:
        """The hooks of one run, fresh."""

    def parameters(self) -> dict[str, Any]:
        """Name, version and parameters, as they go into fingerprint and manifest."""
        return {"name": self.name, "version": self.version, **asdict(self)}  # type: ignore[call-overload]
