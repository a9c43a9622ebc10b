"""Several rules in one run: what changes the order, the losses, the weights, the text and the repeats goes together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from assay.errors import InvalidParameterError
from assay.proxy.rules_base import Epoch, Hooks, Rule, Visits, plain

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Rules(Rule):
    """Rules of one run, at most one of each kind (`changes`); none at all is plain training.

    Raises:
        InvalidParameterError: two rules change the same thing.
    """

    name: ClassVar[str] = "rules"
    changes: ClassVar[str] = "several things"

    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        kinds: dict[str, str] = {}
        for rule in self.rules:
            if rule.changes in kinds:
                raise InvalidParameterError(
                    f"Rules {kinds[rule.changes]!r} and {rule.name!r} both change the {rule.changes} of a run. "
                    "Keep one of them."
                )
            kinds[rule.changes] = rule.name

    def start(self) -> Hooks:
        return _Several({rule.name: rule.start() for rule in self.rules})

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "rules": [rule.parameters() for rule in self.rules]}


def rules_of(rule: Rule | None) -> Sequence[Rule]:
    """The single rules of one or more."""
    if rule is None:
        return ()
    return rule.rules if isinstance(rule, Rules) else (rule,)


class _Several(Hooks):
    """Asks each of several hooks, by the name of its rule."""

    def __init__(self, hooks: dict[str, Hooks]):
        self._hooks = hooks
        self._orders = next((of for of in hooks.values() if of.orders), None)
        self._weighs = next((of for of in hooks.values() if of.weighs), None)
        self.orders, self.weighs = self._orders is not None, self._weighs is not None

    def epoch(self, epoch: Epoch) -> Visits:
        return plain(epoch) if self._orders is None else self._orders.epoch(epoch)

    def batch_weights(self, losses: "torch.Tensor", step: int, num_steps: int) -> "torch.Tensor":
        assert self._weighs is not None
        return self._weighs.batch_weights(losses, step, num_steps)

    def after_step(self, step: int, num_steps: int, model: "torch.nn.Module") -> None:
        for hooks in self._hooks.values():
            hooks.after_step(step, num_steps, model)

    def finish(self, model: "torch.nn.Module") -> None:
        for hooks in self._hooks.values():
            hooks.finish(model)

    def state(self) -> dict[str, np.ndarray]:
        return {f"{name}.{key}": value for name, of in self._hooks.items() for key, value in of.state().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        for name, hooks in self._hooks.items():
            prefix = f"{name}."
            hooks.load_state({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
