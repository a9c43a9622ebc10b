"""Rows about training proxies, against what the same machine makes of their matrix products alone."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assay.models.sizes import SIZES
from benchmarks.data import PeerMissing

_VOCAB = 8192
_CONTEXT = 512
_MEAN_DOCUMENT = 250  # tokens; lengths are drawn from an exponential distribution, as those of pieces after packing
_CPU_TOKENS, _GPU_TOKENS = 8192, 65_536  # of a step
_CPU_RUNS, _GPU_RUNS = 9, 20
_HEAD_ROWS = 256  # tokens whose logits a product makes at a time: more run no faster


def train_cpu(folder: Path) -> dict[str, Any]:
    """A step of the 1M model with its optimiser, against its matrix products alone; one thread, float32.

    The products are those of all weights with the tokens of the step: forwards, and of both gradients backwards. Those
    of attention are not among them, so that attention counts as what keeps us from the machine's rate. Seconds are this
    thread's of the processor.
    """
    if find_spec("torch") is None:
        raise PeerMissing("torch is not installed")
    import torch

    from assay.models.torch_extra import require

    require()
    torch.set_num_threads(1)
    step, products = _step("1M", "cpu", _CPU_TOKENS), _products("1M", _CPU_TOKENS)
    seconds: tuple[list[float], list[float]] = ([], [])
    step(), products()
    for _ in range(_CPU_RUNS):
        for function, times in zip((step, products), seconds, strict=True):
            started = time.thread_time()
            function()
            times.append(time.thread_time() - started)
    share = statistics.median(peer / mine for mine, peer in zip(*seconds, strict=True))
    mine = _CPU_TOKENS / statistics.median(seconds[0])
    unit = "tokens/s, training step of the 1M model, one core"
    return {"ours": mine, "peer": mine / share, "unit": unit, "ratio": share, "peer_name": "its matrix products alone"}


def _mfu(size: str, folder: Path) -> dict[str, Any]:
    """Floating point operations of a model's training steps, against products of 8192 x 8192 matrices in bfloat16."""
    if find_spec("torch") is None:
        raise PeerMissing("torch is not installed")
    import torch

    if not torch.cuda.is_available():
        raise PeerMissing("no GPU")
    left, right = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    result = torch.empty_like(left)
    step = _step(size, "cuda", _GPU_TOKENS)
    rates: tuple[list[float], list[float]] = ([], [])
    work = (step, _num_operations(size)), (lambda: torch.mm(left, right, out=result), 2 * 8192**3)
    for function, _ in work * 3:  # compiles, and warms up
        function()
    for _ in range(_GPU_RUNS):
        for (function, operations), found in zip(work, rates, strict=True):
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(5):
                function()
            torch.cuda.synchronize()
            found.append(5 * operations / (time.perf_counter() - started) / 1e12)
    mine, peer = map(statistics.median, rates)
    unit = f"TFLOP/s, training steps of the {size} model, {torch.cuda.get_device_name()}"
    return {"ours": mine, "peer": peer, "unit": unit, "ratio": mine / peer, "peer_name": "large products in bfloat16"}


ROWS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "gpt.train_cpu": train_cpu,
    **{f"gpt.mfu.{size}": partial(_mfu, size) for size in SIZES},
}


def _step(size: str, device: str, num_tokens: int) -> Callable[[], None]:
    """A step of training on packed documents."""
    import torch

    from assay.models.gpt import GPT, GPTConfig
    from assay.proxy.optimizer import Optimizer
    from assay.proxy.settings import Settings

    generator = torch.Generator().manual_seed(0)
    shape = num_tokens // _CONTEXT, _CONTEXT
    ends = torch.rand(shape, generator=generator) < 1 / _MEAN_DOCUMENT
    inputs, targets = (torch.randint(0, _VOCAB, shape, generator=generator).to(device) for _ in range(2))
    pieces = ends.cumsum(1).to(device)
    model = GPT(GPTConfig.of(size, _VOCAB, _CONTEXT)).to(device)
    settings = Settings.of(size)
    optimizer = Optimizer(model, settings)

    def step() -> None:
        model.losses(inputs, targets, pieces).mean().backward()
        optimizer.step(settings.learning_rate)

    return step


def _products(size: str, num_tokens: int) -> Callable[[], None]:
    """The matrix products of a step, their results in memory that is there already."""
    import torch

    shape = SIZES[size]
    width, hidden = shape.width, shape.hidden
    layers = [(width, 3 * width), (width, width), (width, 2 * hidden), (hidden, width)]
    work = [(wide, high, num_tokens, shape.depth) for wide, high in layers]
    work.append((width, _VOCAB, _HEAD_ROWS, num_tokens // _HEAD_ROWS))
    jobs = []
    for wide, high, rows, times in work:
        inputs, weights, slopes = torch.randn(rows, wide), torch.randn(high, wide), torch.randn(rows, high)
        jobs.append((inputs, weights, slopes, [torch.empty_like(part) for part in (slopes, inputs, weights)], times))

    def products() -> None:
        for inputs, weights, slopes, (outputs, by_inputs, by_weights), times in jobs:
            for _ in range(times):
                torch.mm(inputs, weights.T, out=outputs)
                torch.mm(slopes, weights, out=by_inputs)
                torch.mm(slopes.T, inputs, out=by_weights)

    return products


def _num_operations(size: str) -> float:
    """Of a step: 6 for each weight of a matrix and token, the head's too, and attention within documents."""
    shape = SIZES[size]
    attention = 6 * 2 * shape.depth * shape.width * _MEAN_DOCUMENT / 2
    return _GPU_TOKENS * (6 * (shape.num_parameters + _VOCAB * shape.width) + attention)
