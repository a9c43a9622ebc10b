"""Losses of tokens from hidden states, without the matrix of all logits [tokens, vocabulary] ever being in memory.

One pass over the vocabulary makes losses and gradients: of a few hundred tokens at a time the logits are turned into
probabilities in place, and the gradients that the head and the hidden states get when every loss counts 1 are added up.
The backward pass only multiplies them by what the losses really count. That is exact for the hidden states, since the
gradient of each token's loss is kept; the head's is a sum over tokens, so where losses count differently (reweighting)
it is made in a second pass. Both tricks are those of Liger Kernel's fused linear cross-entropy (Hsu et al. 2024,
arXiv:2410.10989), but for losses by token, not for their sum.

It cannot be differentiated twice, nor forwards, nor by torch.func; the model's `logits` can.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_BYTES = 8 << 20  # of logits at a time: what a core's cache holds; a GPU takes 32 times as much


def token_losses(hidden: Tensor, head: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """-ln p(target) of each token.

    Args:
        hidden: [tokens, width], float32, bfloat16 or float16.
        head: [vocabulary, width], of the same type.
        targets: [tokens] int64.
        ignored: the target of tokens that have no loss.

    Returns:
        [tokens] float32 in nats; 0 where the target is `ignored`.
    """
    losses: Tensor = _TokenLosses.apply(hidden, head, targets, ignored)
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, ignored: int) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None
        head_gradient = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        for rows in _chunks(hidden, head):
            logits, losses[rows] = _softmax(hidden[rows], head, targets[rows], ignored)
            if wants_hidden or wants_head:
                slopes = _slopes(logits, targets[rows], ignored).to(hidden.dtype)
                if hidden_gradient is not None:
                    torch.mm(slopes, head, out=hidden_gradient[rows])
                if head_gradient is not None:
                    _add_product(head_gradient, slopes, hidden[rows])
        ctx.save_for_backward(hidden, head, targets, hidden_gradient, head_gradient)
        ctx.ignored = ignored
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """`weights`: what each token's loss counts [tokens] float32."""
        hidden, head, targets, hidden_gradient, head_gradient = ctx.saved_tensors
        if hidden_gradient is not None:
            hidden_gradient = hidden_gradient * weights[:, None].to(hidden.dtype)
        if head_gradient is not None:
            counted = weights[targets != ctx.ignored]
            if len(counted) and bool((counted == counted[0]).all()):
                head_gradient = head_gradient * counted[0]
            else:
                head_gradient = _weighted_head_gradient(hidden, head, targets, weights, ctx.ignored)
            head_gradient = head_gradient.to(head.dtype)
        return hidden_gradient, head_gradient, None, None


def _weighted_head_gradient(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, ignored: int) -> Tensor:
    gradient = torch.zeros_like(head, dtype=torch.float32)
    for rows in _chunks(hidden, head):
        logits, _ = _softmax(hidden[rows], head, targets[rows], ignored)
        slopes = _slopes(logits, targets[rows], ignored).to(hidden.dtype)
        _add_product(gradient, slopes, hidden[rows] * weights[rows, None].to(hidden.dtype))
    return gradient


def _chunks(hidden: Tensor, head: Tensor) -> list[slice]:
    size = _CHUNK_BYTES * (1 if hidden.device.type == "cpu" else 32)
    length = max(1, size // (4 * len(head)))
    return [slice(start, start + length) for start in range(0, len(hidden), length)]


def _softmax(hidden: Tensor, head: Tensor, targets: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    """Probabilities [tokens, vocabulary] float32 and losses [tokens]."""
    logits = (hidden @ head.T).float()
    logits -= logits.amax(1, keepdim=True)
    chosen = logits.gather(1, targets.clamp(0, len(head) - 1)[:, None])[:, 0]
    sums = logits.exp_().sum(1)
    losses = (sums.log() - chosen).masked_fill_(targets == ignored, 0.0)
    return logits.mul_((1 / sums)[:, None]), losses


def _slopes(probabilities: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """The gradient of each token's loss by its logits, in place of the probabilities."""
    counted = (targets != ignored).to(probabilities.dtype)
    probabilities.mul_(counted[:, None])
    probabilities.scatter_add_(1, targets.clamp(0, probabilities.shape[1] - 1)[:, None], -counted[:, None])
    return probabilities


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds leftᵀ right to `total`, in float32."""
    if left.dtype == torch.float32:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right
