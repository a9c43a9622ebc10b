"""What changes the weights: Muon for matrices, AdamW for embeddings and norms.

Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon).
The average of gradients is brought near to the orthogonal matrix closest to it, by five steps of a Newton-Schulz
iteration, and scaled by sqrt(max(1, rows / columns)), so that a step changes what a layer puts out by as much whatever
its width: the rate carries over from small models to large ones (Bernstein and Newhouse 2024, arXiv:2409.20325, section
4). AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101). Weight decay is of matrices alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from assay.proxy.settings import Settings

_EPSILON = 1e-8
_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steepest at 0 that stays within about 0.3 of 1
_STEPS = 5


class Optimizer:
    """Both, at work on a model; with `settings.matrix_rate` None, AdamW alone.

    averages: by parameter, AdamW's two ("mean", "square") or Muon's one ("momentum"), as a checkpoint keeps them.
    """

    def __init__(self, model: nn.Module, settings: Settings):
        embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = {name: p for name, p in parameters.items() if p.ndim == 2 and id(p) not in embeddings}
        self._settings, self._parameters = settings, parameters
        self._muon = {} if settings.matrix_rate is None else matrices
        self._momenta = {name: torch.zeros_like(p) for name, p in self._muon.items()}
        rest = {name: p for name, p in parameters.items() if name not in self._muon}
        decayed = [p for name, p in rest.items() if name in matrices]
        others = [p for name, p in rest.items() if name not in matrices]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        betas = settings.beta1, settings.beta2
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=0.0, betas=betas, eps=_EPSILON, fused=True
        )

    def step(self, rate: float) -> None:
        """Changes the weights by their gradients, which are then forgotten.

        Args:
            rate: AdamW's learning rate; Muon's is in proportion.
        """
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        if self._muon:
            own = rate * self._settings.matrix_rate / self._settings.learning_rate  # type: ignore[operator]
            with torch.no_grad():
                for name, weights in self._muon.items():
                    _muon_step(weights, self._momenta[name], own, self._settings.weight_decay)
        for weights in self._parameters.values():
            weights.grad = None

    def averages(self) -> dict[str, dict[str, Tensor]]:
        """What it remembers, by kind and parameter."""
        state = self._adamw.state
        found: dict[str, dict[str, Tensor]] = {"mean": {}, "square": {}, "momentum": dict(self._momenta)}
        for name, weights in self._parameters.items():
            if weights in state:
                found["mean"][name], found["square"][name] = state[weights]["exp_avg"], state[weights]["exp_avg_sq"]
        return found

    def load(self, averages: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Takes what `averages` gave after so many steps."""
        for name, weights in self._parameters.items():
            if name in self._momenta:
                self._momenta[name].copy_(averages["momentum"][name])
            elif name in averages["mean"]:
                self._adamw.state[weights] = {
                    "step": torch.tensor(float(step), device=weights.device),
                    "exp_avg": averages["mean"][name].to(weights.device),
                    "exp_avg_sq": averages["square"][name].to(weights.device),
                }


def _muon_step(weights: Tensor, momentum: Tensor, rate: float, weight_decay: float) -> None:
    gradient = weights.grad
    if gradient is None:
        return
    momentum.lerp_(gradient, 1 - _MOMENTUM)
    update = orthogonalised(gradient.lerp(momentum, _MOMENTUM))
    rows, columns = weights.shape
    weights.mul_(1 - rate * weight_decay).add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, and singular values brought near 1: between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if is_tall else matrix
    if found.is_cuda:
        found = found.bfloat16()
    found = found / (found.norm() + 1e-7)
    for _ in range(_STEPS):
        product = found @ found.T
        found = a * found + (b * product + c * product @ product) @ found
    return (found.T if is_tall else found).to(matrix.dtype)
