"""The layers between matrix products on a CPU: kernels instead of a torch operation and a new array for each step.

Gradients are written by hand. None can be differentiated twice, nor by torch.func: the model's plain layers can, which
also serve other devices.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from assay.kernels import decoder

EPSILON = 1e-6  # beside mean squares
_BLOCK = 128  # queries at a time


def normalised(rows: Tensor, gain: Tensor) -> Tensor:
    """RMSNorm of rows [n, width]."""
    result: Tensor = _Normalise.apply(rows, gain)
    return result


def gated(gates_ups: Tensor) -> Tensor:
    """silu(gate) * up of rows [n, 2 * hidden]: [n, hidden]."""
    result: Tensor = _Gate.apply(gates_ups)
    return result


def attended(qkv: Tensor, gains: Tensor, rotation: tuple[Tensor, Tensor], starts: np.ndarray) -> Tensor:
    """Attention of positions to those before them.

    Args:
        qkv: [positions, 3, heads, size].
        gains: of the norms of queries and keys [2, size], the scale of scores included.
        rotation: cosines and sines [positions of a sequence, size / 2].
        starts: the first position that each may look at [positions] int64.

    Returns:
        [positions, heads * size].
    """
    result: Tensor = _Attend.apply(qkv, gains, *rotation, starts)
    return result


def surprise(logits: Tensor, targets: Tensor, ignored: int, losses: Tensor, inverses: Tensor) -> None:
    """Losses [tokens] from logits [tokens, vocabulary], which become exp(logits - their largest); see the kernel."""
    arrays = _array(logits), _array(targets), ignored, _array(losses), _array(inverses)
    _over_rows(decoder.surprise, len(logits), *arrays)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, gain: Tensor) -> Tensor:
        rows = rows.contiguous()
        result = torch.empty_like(rows)
        _over_rows(decoder.normalise, len(rows), _array(rows), _array(gain), np.float32(EPSILON), _array(result))
        ctx.save_for_backward(rows, gain)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, Tensor]:
        rows, gain = ctx.saved_tensors
        result, gain_slopes = torch.empty_like(rows), _partial_sums(len(rows), gain)
        arrays = _array(rows), _array(gain), _array(slopes.contiguous()), np.float32(EPSILON), _array(result)
        _over_rows(decoder.normalise_back, len(rows), *arrays, gain_slopes)
        return result, torch.from_numpy(gain_slopes.sum(0))


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates_ups: Tensor) -> Tensor:
        gates_ups = gates_ups.contiguous()
        result = gates_ups.new_empty(len(gates_ups), gates_ups.shape[1] // 2)
        _over_rows(decoder.gate, len(result), _array(gates_ups), _array(result))
        ctx.save_for_backward(gates_ups)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        (gates_ups,) = ctx.saved_tensors
        result = torch.empty_like(gates_ups)
        _over_rows(decoder.gate_back, len(result), _array(gates_ups), _array(slopes.contiguous()), _array(result))
        return result


class _Attend(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, qkv: Tensor, gains: Tensor, cosines: Tensor, sines: Tensor, starts: np.ndarray) -> Tensor:
        number, _, heads, size = qkv.shape
        qkv = qkv.contiguous()
        turned = qkv.new_empty(3, heads, number, size)
        tables = _array(gains), _array(cosines), _array(sines)
        _over_rows(decoder.turn, number, _array(qkv), *tables, np.float32(EPSILON), _array(turned))
        queries, keys, values = turned
        result = qkv.new_empty(number, heads, size)
        shares = []
        for first, last in _blocks(starts):
            seen = slice(int(starts[first]), last)
            share = torch.bmm(queries[:, first:last], keys[:, seen].transpose(1, 2))
            decoder.look_back(_array(share), starts, first)
            result[first:last] = torch.bmm(share, values[:, seen]).transpose(0, 1)
            if any(ctx.needs_input_grad):
                shares.append(share)
        ctx.starts = starts
        ctx.save_for_backward(qkv, gains, cosines, sines, turned, *shares)
        return result.view(number, heads * size)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        qkv, gains, cosines, sines, turned, *shares = ctx.saved_tensors
        number, _, heads, size = qkv.shape
        slopes = slopes.reshape(number, heads, size).transpose(0, 1)
        turned_slopes = torch.zeros_like(turned)
        (queries, keys, values), (by_queries, by_keys, by_values) = turned, turned_slopes
        for (first, last), share in zip(_blocks(ctx.starts), shares, strict=True):
            seen = slice(int(ctx.starts[first]), last)
            slope = slopes[:, first:last]
            by_share = torch.bmm(slope, values[:, seen].transpose(1, 2))
            decoder.look_back_back(_array(share), _array(by_share), ctx.starts, first)
            by_queries[:, first:last].baddbmm_(by_share, keys[:, seen])
            by_keys[:, seen].baddbmm_(by_share.transpose(1, 2), queries[:, first:last])
            by_values[:, seen].baddbmm_(share.transpose(1, 2), slope)
        result, gain_slopes = torch.empty_like(qkv), _partial_sums(number, gains)
        tables = _array(gains), _array(cosines), _array(sines), _array(turned_slopes), np.float32(EPSILON)
        _over_rows(decoder.turn_back, number, _array(qkv), *tables, _array(result), gain_slopes)
        return result, torch.from_numpy(gain_slopes.sum(0)), None, None, None


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number)


def _over_rows(kernel: Callable[..., None], number: int, *arguments: Any) -> None:
    """Runs a kernel over `number` rows, on as many threads as torch has."""
    num_threads = torch.get_num_threads()
    length = max(1, -(-number // (num_threads * decoder.SUMMED))) * decoder.SUMMED
    if length >= number:
        kernel(0, number, *arguments)
        return
    starts = range(0, number, length)
    list(_threads(num_threads).map(lambda start: kernel(start, min(start + length, number), *arguments), starts))


def _partial_sums(number: int, gain: Tensor) -> np.ndarray:
    return np.zeros((-(-number // decoder.SUMMED), *gain.shape), np.float32)


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy()
    return array


def _blocks(starts: np.ndarray) -> list[tuple[int, int]]:
    """Runs of positions whose scores are made together: at most 128, and none across a piece that begins after 64."""
    blocks, first = [], 0
    begins = np.flatnonzero(starts == np.arange(len(starts)))
    while first < len(starts):
        last = min(first + _BLOCK, len(starts))
        k = np.searchsorted(begins, first + _BLOCK // 2)
        if k < len(begins) and begins[k] < last:
            last = int(begins[k])
        blocks.append((first, last))
        first = last
    return blocks
