"""The mean of the weights of many steps in place of those of the last.

EMA: exponential moving average, Polyak & Juditsky 1992; of neural networks Tarvainen & Valpola 2017 (arXiv:1703.01780).
Differs: its reach is a share of the run, and at first it is the mean of all steps, so that the first weights have no
part in it.

LAWA: Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging, Kaddour 2022
(arXiv:2209.14981), section 2: the mean of the last k checkpoints. Differs: the checkpoints are k steps evenly spread
over the last share of the run, the last one among them.

Cost: a copy of the weights, and one addition of them a step (EMA) or a checkpoint (LAWA). When not to use: where the
learning rate falls to zero at the end, as it does here by default, most of the gain is had already; averages are for
`decay: 0`, or for looking at a run before its end.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from assay.errors import check_integer, check_number
from assay.proxy.rules_base import Hooks, Rule

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class EMA(Rule):
    """The model's weights at the end are an exponential moving average over the steps.

    span: its reach, a share of the run's steps: each step's weights count 1 / (span x steps) of what is new.
    """

    name: ClassVar[str] = "ema"
    changes: ClassVar[str] = "weights"

    span: float = 0.05

    def __post_init__(self) -> None:
        check_number("span", self.span, "a share above 0, at most 1", lambda x: 0 < x <= 1)

    def start(self) -> Hooks:
        return _Averaging(self)

    def rate(self, step: int, num_steps: int, num_done: int) -> float:
        """How much of the average the weights after a step become; 0 leaves it."""
        return max(1 / max(1.0, self.span * num_steps), 1 / (num_done + 1))


@dataclass(frozen=True, kw_only=True)
class LAWA(Rule):
    """The model's weights at the end are the mean of checkpoints of the last part of the run.

    span: that part, a share of the run's steps. checkpoints: how many; 1 = plain training.
    """

    name: ClassVar[str] = "lawa"
    changes: ClassVar[str] = "weights"

    span: float = 0.2
    checkpoints: int = 10

    def __post_init__(self) -> None:
        check_number("span", self.span, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check_integer("checkpoints", self.checkpoints, 1)

    def start(self) -> Hooks:
        return _Averaging(self)

    def rate(self, step: int, num_steps: int, num_done: int) -> float:
        """How much of the average the weights after a step become; 0 leaves it."""
        return 1 / (num_done + 1) if step in self.steps(num_steps) else 0.0

    def steps(self, num_steps: int) -> frozenset[int]:
        """The steps after which a checkpoint is taken; fewer where the part has fewer steps."""
        window = max(1, round(self.span * num_steps))
        return frozenset(num_steps - 1 - k * window // self.checkpoints for k in range(self.checkpoints))


class _Averaging(Hooks):
    """Remembers the average of each parameter, and of how many steps it is."""

    def __init__(self, rule: EMA | LAWA):
        self._rule = rule
        self._averages: dict[str, Tensor] = {}
        self._num_done = 0

    def after_step(self, step: int, num_steps: int, model: "nn.Module") -> None:
        rate = self._rule.rate(step, num_steps, self._num_done)
        if rate == 0:
            return
        for name, weights in model.named_parameters():
            now = weights.detach()
            average = self._averages.get(name)
            self._averages[name] = now.clone() if average is None else average.to(now).lerp_(now, rate)
        self._num_done += 1

    def finish(self, model: "nn.Module") -> None:
        for name, weights in model.named_parameters():
            if name in self._averages:
                weights.data.copy_(self._averages[name])

    def state(self) -> dict[str, np.ndarray]:
        averages = {f"average.{name}": average.cpu().numpy() for name, average in self._averages.items()}
        return averages | {"num_done": np.array([self._num_done])}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        from torch import from_numpy

        self._num_done = int(state["num_done"][0])
        prefix = "average."
        self._averages = {k.removeprefix(prefix): from_numpy(v) for k, v in state.items() if k.startswith(prefix)}
