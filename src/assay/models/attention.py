"""Attention within pieces by torch's own functions: any device, any precision.

On a GPU of 2020 or later, in bfloat16 or float16, flash attention reads documents of any lengths one after another
(`varlen_attn`, torch 2.13; untested on hardware so far); nothing is computed for what may not be looked at. Elsewhere a
mask [sequences, positions, positions] is made, and everything is computed.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

try:
    from torch.nn.attention.varlen import varlen_attn as _found

    _varlen: Callable[..., Tensor] | None = _found if "window_size" in inspect.signature(_found).parameters else None
except ImportError:
    _varlen = None


def spans(pieces: Tensor | None, precision: torch.dtype) -> Tensor | None:
    """What `attend` is to be told about pieces [sequences, positions], whose positions are together.

    Returns:
        None for one piece a sequence; where pieces start among all positions, and the end [pieces + 1] int32; or which
        positions each may look at [sequences, 1, positions, positions] bool.
    """
    if pieces is None:
        return None
    if _varlen is None or not _has_flash(pieces.device, precision):
        return (pieces[:, None, :, None] == pieces[:, None, None, :]).tril()
    return bounds(pieces)


def bounds(pieces: Tensor) -> Tensor:
    """Where pieces start, all sequences one after another, and the end [pieces + 1] int32."""
    begins = torch.ones_like(pieces, dtype=torch.bool)
    begins[:, 1:] = pieces[:, 1:] != pieces[:, :-1]
    end = torch.tensor([pieces.numel()], device=pieces.device)
    return torch.cat((begins.flatten().nonzero()[:, 0], end)).int()


def attend(queries: Tensor, keys: Tensor, values: Tensor, spans: Tensor | None) -> Tensor:
    """What each position takes from those before it, and itself [sequences, positions, heads, size], as its inputs."""
    if spans is not None and spans.ndim == 1:
        assert _varlen is not None
        length = queries.shape[1]
        flat = (part.flatten(0, 1) for part in (queries, keys, values))
        return _varlen(*flat, spans, spans, length, length, window_size=(-1, 0)).view_as(queries)
    queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
    mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=spans, is_causal=spans is None)
    return mixed.transpose(1, 2)


def _has_flash(device: torch.device, precision: torch.dtype) -> bool:
    is_half = precision in (torch.bfloat16, torch.float16)
    return is_half and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
