"""Losses of tokens from hidden states, without the matrix of all logits [tokens, vocabulary] ever being in memory.

One pass over the vocabulary makes losses and gradients: of a few hundred tokens at a time the logits are turned into
probabilities in place, and the gradients that the head and the hidden states get when every loss counts 1 are added up.
The backward pass only multiplies them by what the losses really count. That is exact for the hidden states, since the
gradient of each token's loss is kept; the head's is a sum over tokens, so where losses count differently (reweighting)
it is made in a second pass. Both tricks are those of Liger Kernel's fused linear cross-entropy (Hsu et al. 2024,
arXiv:2410.10989), but for losses by token, not for their sum.

It cannot be differentiated twice, nor forwards, nor by torch.func; the model's `logits` can.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay.errors import check
from assay.models.fused import surprise

_CPU_BYTES, _GPU_BYTES = 8 << 20, 256 << 20  # of logits at a time; 8 MB stay in a cache


def token_losses(hidden: Tensor, head: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """-ln p(target) of each token.

    Args:
        hidden: [tokens, width], float32, bfloat16 or float16.
        head: [vocabulary, width], of the same type.
        targets: [tokens] int64.
        ignored: the target of tokens that have no loss.

    Returns:
        [tokens] float32 in nats; 0 where the target is `ignored`.

    Raises:
        InvalidParameterError: a target that the vocabulary does not have (on a GPU torch's own error, later).
    """
    if targets.device.type == "cpu" and targets.numel():
        largest, smallest = int((targets * (targets != ignored)).max()), int(targets.min())
        wrong, rule = (smallest if smallest < 0 else largest), f"from 0 to {len(head) - 1}, or {ignored} for none"
        check(smallest >= 0 and largest < len(head), "targets", wrong, rule)
    losses: Tensor = _TokenLosses.apply(hidden, head, targets, ignored)
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, ignored: int) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        by_hidden = torch.empty_like(hidden) if wants_hidden else None
        by_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        for rows, shares, inverses in _shares(hidden, head, targets, ignored, losses):
            if by_hidden is not None:
                torch.mm(shares, head, out=by_hidden[rows])
                by_hidden[rows] *= inverses
            if by_head is not None:
                _add_product(by_head, shares, hidden[rows] * inverses)
        counted = (targets != ignored)[:, None].to(hidden.dtype)
        if by_hidden is not None:
            by_hidden -= head[_known(targets, head)] * counted
        if by_head is not None:
            by_head.index_add_(0, _known(targets, head), (hidden * counted).float(), alpha=-1)
        ctx.save_for_backward(hidden, head, targets, by_hidden, by_head)
        ctx.ignored = ignored
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """`weights`: what each token's loss counts [tokens] float32."""
        hidden, head, targets, by_hidden, by_head = ctx.saved_tensors
        if by_hidden is not None:
            by_hidden = by_hidden * weights[:, None].to(hidden.dtype)
        if by_head is not None:
            counted = weights[targets != ctx.ignored]
            if len(counted) and bool((counted == counted[0]).all()):
                by_head = by_head * counted[0]
            else:
                by_head = _weighted(hidden, head, targets, weights, ctx.ignored)
            by_head = by_head.to(head.dtype)
        return by_hidden, by_head, None, None


def _weighted(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, ignored: int) -> Tensor:
    """The head's gradient when losses count differently."""
    by_head = torch.zeros_like(head, dtype=torch.float32)
    counts = (weights * (targets != ignored))[:, None].to(hidden.dtype)
    for rows, shares, inverses in _shares(hidden, head, targets, ignored, torch.empty_like(weights)):
        _add_product(by_head, shares, hidden[rows] * (inverses * counts[rows]))
    return by_head.index_add_(0, _known(targets, head), (hidden * counts).float(), alpha=-1)


def _shares(
    hidden: Tensor, head: Tensor, targets: Tensor, ignored: int, losses: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Fills `losses` [tokens]; of some rows at a time exp(logits - their largest), and 1 / the sum of each [rows, 1].

    The latter is 0 where the target is `ignored`. The former is only good until the next are asked for.
    """
    on_cpu = hidden.device.type == "cpu" and hidden.dtype != torch.float64
    length = max(1, (_CPU_BYTES if on_cpu else _GPU_BYTES) // (4 * len(head)))
    buffer = hidden.new_empty(min(length, len(hidden)), len(head))
    for start in range(0, len(hidden), length):
        rows = slice(start, min(start + length, len(hidden)))
        logits = torch.mm(hidden[rows], head.T, out=buffer[: rows.stop - start])
        if on_cpu:
            inverses = torch.empty_like(losses[rows])
            logits = logits.float()
            surprise(logits, targets[rows], ignored, losses[rows], inverses)
            yield rows, logits.to(hidden.dtype), inverses[:, None].to(hidden.dtype)
        else:
            logits = logits.float()
            logits = logits - logits.amax(1, keepdim=True)
            chosen = logits.gather(1, _known(targets[rows], head)[:, None])[:, 0]
            sums = logits.exp_().sum(1)
            counted = targets[rows] != ignored
            losses[rows] = (sums.log() - chosen) * counted
            yield rows, logits.to(hidden.dtype), (counted / sums)[:, None].to(hidden.dtype)


def _known(targets: Tensor, head: Tensor) -> Tensor:
    """Targets as rows of the head; any row stands for those ignored."""
    return targets.clamp(max=len(head) - 1)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds leftᵀ right to `total`, in float32."""
    if left.dtype == torch.float32:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right
