"""Losses of a batch weighed by what they are: which sequences of a step count more.

Paper: Dynamic Loss-Based Sample Reweighting for Improved Large Language Model Pretraining, Sow et al. 2025
(arXiv:2502.06733), section 4. Authors' code: sowmaster/Sample-Level-Loss-Reweighting-ICLR-2025 at edd6f15.

What differs:
- A sample is a sequence, which may hold several documents; its loss is the mean over its tokens.
- The paper's width of the affine map, delta, is 1, as there: with the temperature beside it, it changes nothing else.
- Uniform steps at the start are a share of the run instead of 1,000; then 1 / temperature rises from 0 in a straight
  line over as many steps, so that nothing jumps.
- The mean of the weights is 1, so that the learning rate means what it means in plain training.

Cost: nothing where the batch of a step is read at once; where it is read in parts, all are read once more without
gradients, since least and largest loss are those of the whole batch (`Outcome.forward_tokens` counts them). When not to
use: with batches of a few sequences (of one, nothing can be weighed), or on text with much noise and shape `upper`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from assay.errors import check_choice, check_number
from assay.proxy.rules_base import Hooks, Rule

if TYPE_CHECKING:
    from torch import Tensor

_SHAPES = {  # of h, a batch's losses mapped to -1 ... 1
    "linear_upper": lambda h: (h + 1).clamp(max=1),
    "quadratic": lambda h: 1 - h.square(),
    "extremes": lambda h: h.abs(),
    "upper": lambda h: 0.5 * h + 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Reweight(Rule):
    """Weights of a step's sequences by their losses: softmax(f(h) / temperature), h = losses mapped to -1 ... 1.

    shape: f. linear_upper: low losses count less. quadratic: low and high ones count less. extremes: those between
        count less. upper: the higher the more.
    temperature: the lower, the more uneven; the largest weight of a batch is at most exp(1 / temperature) times the
        least.
    burn_in: share of the steps at the start with equal weights; over as many more they take shape. 1 = plain training.
    """

    name: ClassVar[str] = "reweight"
    changes: ClassVar[str] = "losses"

    shape: str = "linear_upper"
    temperature: float = 1.0
    burn_in: float = 0.1

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, _SHAPES)
        check_number("temperature", self.temperature, "a number above 0", lambda x: x > 0)
        check_number("burn_in", self.burn_in, "a share from 0 to 1", lambda x: 0 <= x <= 1)

    def start(self) -> Hooks:
        return _Weighing(self)

    def sharpness(self, step: int, num_steps: int) -> float:
        """1 / temperature at a step; 0 = equal weights."""
        burn_in = self.burn_in * num_steps
        done = step + 1 - burn_in
        risen = 1.0 if done >= burn_in else max(0.0, done / burn_in)
        return risen / self.temperature if step >= burn_in else 0.0


class _Weighing(Hooks):
    weighs = True

    def __init__(self, rule: Reweight):
        self._rule = rule

    def batch_weights(self, losses: "Tensor", step: int, num_steps: int) -> "Tensor":
        return loss_weights(losses, self._rule.shape, self._rule.sharpness(step, num_steps))


def loss_weights(losses: "Tensor", shape: str, sharpness: float) -> "Tensor":
    """Weights of sequences by their losses, mean 1.

    Args:
        losses: of all sequences of a step [B]; those that are NaN have no tokens, and count 1 each.
        sharpness: 1 / temperature; 0 gives equal weights, and so do losses that are all the same.
    """
    weights = losses.new_ones(losses.shape)
    has_loss = losses.isfinite()
    known = losses[has_loss]
    if sharpness == 0 or len(known) < 2:
        return weights
    least, largest = known.min(), known.max()
    if not bool(largest > least):
        return weights
    h = (2 * known - (largest + least)) / (largest - least)
    weights[has_loss] = (_SHAPES[shape](h) * sharpness).softmax(0) * len(known)
    return weights
