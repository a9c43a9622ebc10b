"""What a run does at each step: the phases of a run, the size of each step's batch, the learning rate.

A run is one or more phases, one after another: text to choose from, how much of it to see, and how the learning rate
goes. Annealing is a last phase of other text in which the rate falls; a cooldown without metadata (MeCo) one in which
the rate goes on as the run's own schedule has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.models.sequences import Sequences
from assay.proxy.settings import Settings


@dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """A stretch of training on one set of sequences.

    visits: how many sequences are seen in it; None: as many as there are. All have the same length, so the share of
        the tokens is the share of the visits.
    rates: where the learning rate starts and ends, as shares of the peak, with a straight line between; None: as
        the schedule of the whole run has it, which is constant and falls to zero at the end.
    sources: a number from 0 per sequence, which source it is of, for mixtures that change; one source where None.
    values: a number per sequence that a rule may go by, such as the mean score of its documents.
    """

    sequences: Sequences
    name: str = "main"
    visits: int | None = None
    rates: tuple[float, float] | None = None
    sources: np.ndarray | None = None
    values: np.ndarray | None = None

    def __post_init__(self) -> None:
        num = len(self.sequences.inputs)
        if num == 0:
            raise InvalidParameterError(f"Phase {self.name!r} has no sequences. Give it text, or leave it out.")
        if self.visits is not None:
            check_integer("visits", self.visits, 1)
        for rate in self.rates or ():
            check_number("rates", rate, "shares of the peak, ≥ 0", lambda x: x >= 0)
        for name, column in (("sources", self.sources), ("values", self.values)):
            if column is not None:
                check(len(column) == num, f"len({name})", len(column), f"the number of sequences (={num:,})")
        if self.sources is not None:
            check(bool((np.asarray(self.sources) >= 0).all()), "sources", int(np.min(self.sources)), "numbers from 0")

    @property
    def num_visits(self) -> int:
        """Sequences seen in this phase, counting one that is seen twice twice."""
        return len(self.sequences.inputs) if self.visits is None else self.visits


class Plan(NamedTuple):
    """The steps of a run.

    first_steps: where each phase starts, and the number of steps [phases + 1].
    batch: sequences of a step at most; those of a phase differ by one at most.
    rates: the learning rate of each step [steps] float64.
    """

    first_steps: tuple[int, ...]
    batch: int
    rates: np.ndarray

    @property
    def num_steps(self) -> int:
        """In all phases."""
        return self.first_steps[-1]

    def phase_of(self, step: int) -> int:
        """The phase that a step is in."""
        return int(np.searchsorted(self.first_steps, step, side="right")) - 1

    def visited(self, phases: Sequence[Phase], step: int) -> tuple[int, int]:
        """How many visits of its phase are done before a step, and after it."""
        k = self.phase_of(step)
        num_steps = self.first_steps[k + 1] - self.first_steps[k]
        inside, num_visits = step - self.first_steps[k], phases[k].num_visits
        return inside * num_visits // num_steps, (inside + 1) * num_visits // num_steps


def make_plan(phases: Sequence[Phase], settings: Settings) -> Plan:
    """The steps that phases take under some settings.

    Raises:
        InvalidParameterError: no phases, or sequences of unequal length.
    """
    check(len(phases) > 0, "phases", len(phases), "at least one")
    lengths = sorted({phase.sequences.inputs.shape[1] for phase in phases})
    if len(lengths) > 1:
        raise InvalidParameterError(f"Phases have sequences of unequal length: {lengths}. Pack them to one length.")
    num_visits = [phase.num_visits for phase in phases]
    wanted = max(1, round(settings.batch_tokens / lengths[0]))
    batch = min(wanted, max(1, round(sum(num_visits) / settings.min_steps)))
    first_steps = (0, *np.cumsum([-(-num // batch) for num in num_visits]).tolist())
    return Plan(first_steps, batch, settings.learning_rate * _shape(phases, settings, first_steps))


def _shape(phases: Sequence[Phase], settings: Settings, first_steps: tuple[int, ...]) -> np.ndarray:
    """The learning rate of each step as a share of the peak [steps]."""
    num_steps = first_steps[-1]
    steps = np.arange(num_steps)
    shape = np.minimum(1.0, (num_steps - steps) / (round(settings.decay * num_steps) + 1))
    for phase, first, last in zip(phases, first_steps, first_steps[1:], strict=False):
        if phase.rates is not None:
            start, end = phase.rates
            shape[first:last] = start + (end - start) * (np.arange(last - first) + 0.5) / (last - first)
    num_warmup = round(settings.warmup * num_steps)
    return shape * np.minimum(1.0, (steps + 1) / (num_warmup + 1))
