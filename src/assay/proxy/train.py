"""Trains a model on packed sequences with AdamW; warm-up, constant rate, fall to zero; to the same bytes if killed.

The loss of a step is the mean over the tokens of its batch. A batch that does not fit in memory is read in parts whose
gradients add up (`proxy/settings.yaml` has the numbers and where they come from); the rate goes by the real number of
steps.

Same bytes: order, mixture and rules are functions of the seed and of what the checkpoint remembers, so that a run that
was stopped or killed gives the weights and the loss curve of one that was not. What else changes rounding: the device,
torch's version, and how many sequences a part of a batch has, which is the same on every CPU unless memory is short.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from assay import memory
from assay.artifacts.fingerprint import canonical_json
from assay.errors import InvalidParameterError, check_integer, check_number
from assay.models import torch_extra
from assay.models.sequences import NONE, Sequences
from assay.progress import note
from assay.progress import step as shown_step
from assay.proxy import checkpoint
from assay.proxy.checkpoint import Checkpoint
from assay.proxy.optimizer import Optimizer
from assay.proxy.rules_base import Hooks, Rule
from assay.proxy.schedule import Phase, Plan, make_plan
from assay.proxy.settings import Settings
from assay.proxy.visiting import Advance, Batch, Mixing, Visiting

_VERSION = 2
_PART_POSITIONS = {"cpu": 8192, "cuda": 65_536}  # of a batch at a time; more is no faster
_PENDING_STEPS = 16  # on a GPU, losses are fetched so seldom that it need not wait
DONE, TIME, MEMORY = "done", "time", "memory"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to stop before the end; the checkpoint is kept, and the same call goes on from it.

    seconds: of this call. memory: bytes; None: 3/4 of the machine's (ASSAY_MEMORY), or of what the GPU has free. A
    batch is read in parts that fit. checkpoint_seconds: between two checkpoints, what a killed run loses at most.
    """

    seconds: float | None = None
    memory: int | None = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.seconds is not None:
            check_number("seconds", self.seconds, "a number ≥ 0", lambda x: x >= 0)
        if self.memory is not None:
            check_integer("memory", self.memory, 1)
        check_number("checkpoint_seconds", self.checkpoint_seconds, "a number ≥ 0", lambda x: x >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of a run.

    stopped: "done", or the limit that it met, "time" or "memory". num_steps: of the whole run.
    losses: mean nats per token of each step done, before it changed the weights [steps done] float32.
    rates: learning rates [steps done] float64. norms: of the gradients, before clipping [steps done] float32.
    tokens: tokens with a loss that were trained on in each step [steps done] int64. forward_tokens: those that were
        read besides, without gradients, because a rule needed it.
    seconds: of training, in all calls together.
    visits: how often each sequence of each phase was read [sequences] int64.
    mixtures: what `advance` said and what came of it.
    """

    stopped: str
    num_steps: int
    losses: np.ndarray
    rates: np.ndarray
    norms: np.ndarray
    tokens: np.ndarray
    forward_tokens: int
    seconds: float
    visits: list[np.ndarray]
    mixtures: list[Mixing]

    @property
    def tokens_per_second(self) -> float:
        """Tokens trained on in a second."""
        return float(self.tokens.sum()) / max(self.seconds, 1e-9)


def train(
    model: nn.Module,
    sequences: Sequences | Sequence[Phase],
    settings: Settings,
    *,
    seed: int,
    folder: Path | None = None,
    rule: Rule | None = None,
    limits: Limits | None = None,
    advance: Advance | None = None,
) -> Outcome:
    """Trains `model` in place, on the device that ASSAY_DEVICE names.

    Args:
        model: with `losses(inputs, targets, pieces) -> [B, L]`, as `models.gpt.GPT`.
        sequences: what to train on, or the phases of a run, one after another.
        seed: of the order of the sequences; the model was drawn from one of its own.
        folder: where the run's state is kept: a run that was stopped or killed goes on from there, and one that was
            done is only read.
        rule: what changes the order, the weights of losses, or the weights of the model at the end.
        advance: what says the mixture of the phases' `sources` every so many steps.

    Raises:
        InvalidParameterError: arguments that do not fit each other; a loss or gradient that is not finite, with its
            step; a limit of memory that one sequence does not fit in.
        ArtifactError: the folder holds another run, or a damaged one.
    """
    check_integer("seed", seed, 0)
    phases = [Phase(sequences=sequences)] if isinstance(sequences, Sequences) else list(sequences)
    hooks = Hooks() if rule is None else rule.start()
    if advance is not None:
        check_integer("advance.every", advance.every, 1)
        if hooks.orders:
            raise InvalidParameterError("`advance` and a rule that orders sequences cannot go together. Leave one out.")
    limits = limits or Limits()
    plan = make_plan(phases, settings)
    run = _fingerprint(model, phases, settings, seed, rule, advance) if folder is not None else ""
    device = torch_extra.device()
    model.to(device).train()
    training = _Training(model, phases, settings, plan, hooks, Visiting(phases, plan, hooks, seed, advance), limits)
    try:
        with _own_stream(device):
            return training.run(folder, run)
    except torch.OutOfMemoryError as error:
        raise InvalidParameterError(
            "`memory` must be less than what the GPU has free beside others' work; it ran out. Give `Limits` an "
            "amount, of which the parts of a batch are cut."
        ) from error


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Lets what threads train on one GPU at the same time run side by side."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


class _LimitMet(Exception):
    """Training ends before its last step; the text is the limit's name."""


def reads_in_parts(phases: Sequence[Phase], settings: Settings) -> bool:
    """Whether the batch of a step is read in parts, so that a rule which weighs losses reads it twice."""
    length = phases[0].sequences.inputs.shape[1]
    return make_plan(phases, settings).batch > _usual_part(length, torch_extra.device())


class _Training:
    """A run at work."""

    def __init__(
        self,
        model: nn.Module,
        phases: Sequence[Phase],
        settings: Settings,
        plan: Plan,
        hooks: Hooks,
        visiting: Visiting,
        limits: Limits,
    ):
        self.model, self.phases, self.settings, self.plan = model, phases, settings, plan
        self.hooks, self.visiting, self.limits = hooks, visiting, limits
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        self.optimizer = Optimizer(model, settings)
        self.step = 0
        self.forward_tokens = 0
        self.seconds = 0.0
        self.is_finished = False
        self.curve: dict[str, list[float]] = {"losses": [], "norms": [], "tokens": []}
        self.pending: list[tuple[Batch, Tensor, Tensor, Tensor]] = []
        self.part = 0

    def run(self, folder: Path | None, run: str) -> Outcome:
        found = None if folder is None else checkpoint.read(folder, run)
        if found is not None:
            self._load(found)
        if not self.is_finished:
            self.part = self.part or _part_sequences(self.model, self.phases[0].sequences, self.limits, self.device)
        stopped = self._loop(folder, run)
        num_steps, rates = self.plan.num_steps, self.plan.rates[: self.step]
        return Outcome(
            stopped=stopped,
            num_steps=num_steps,
            losses=np.array(self.curve["losses"], np.float32),
            rates=rates,
            norms=np.array(self.curve["norms"], np.float32),
            tokens=np.array(self.curve["tokens"], np.int64),
            forward_tokens=self.forward_tokens,
            seconds=self.seconds,
            visits=self.visiting.visits,
            mixtures=self.visiting.mixtures(self.step),
        )

    def _loop(self, folder: Path | None, run: str) -> str:
        """Does the steps that are left; why it ended."""
        if self.is_finished:
            return DONE
        positions = self.phases[0].sequences.inputs.shape[1]
        left = sum(self._num_visited(step) for step in range(self.step, self.plan.num_steps))
        try:
            with shown_step("train", left * positions, "tokens") as advance:
                self._steps(folder, run, lambda num: advance(num * positions, self._shown_loss()))
        except _LimitMet as limit:
            note(f"training stopped at step {self.step} of {self.plan.num_steps}: the limit of {limit} is met")
            return str(limit)
        return DONE

    def _steps(self, folder: Path | None, run: str, advance: Callable[[int], None]) -> None:
        began = saved = time.monotonic()
        before = self.seconds
        while self.step < self.plan.num_steps:
            self._do_step()
            now = time.monotonic()
            self.seconds = before + now - began
            limit = self._limit_met(now - began)
            if folder is not None and (limit or now - saved >= self.limits.checkpoint_seconds):
                self._save(folder, run)
                saved = time.monotonic()
            if limit and self.step < self.plan.num_steps:
                self._flush()
                raise _LimitMet(limit)
            advance(self._num_visited(self.step - 1))
        self._flush()
        self.hooks.finish(self.model)
        self.is_finished = True
        if folder is not None:
            self._save(folder, run)

    def _shown_loss(self) -> str:
        return f"loss {self.curve['losses'][-1]:.3f}" if self.curve["losses"] else ""

    def _num_visited(self, step: int) -> int:
        first, last = self.plan.visited(self.phases, step)
        return last - first

    def _do_step(self) -> None:
        if self.visiting.needs_losses(self.step):
            self._flush()
        batch = self.visiting.batch(self.step, self.model)
        sums, num_tokens = self._backward(batch)
        norm = _clip(self.parameters.values(), self.settings.clip)
        self.pending.append((batch, sums, num_tokens, norm))
        if self.device.type == "cpu" or len(self.pending) >= _PENDING_STEPS:
            self._flush()
        self.optimizer.step(float(self.plan.rates[self.step]))
        self.hooks.after_step(self.step, self.plan.num_steps, self.model)
        self.step += 1

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Adds up the gradients of a batch; nats and tokens with a loss of each sequence [B], on the device."""
        rows = self._on_device(batch)
        num_tokens = (rows[1] != NONE).sum(1)
        total = num_tokens.sum().clamp(min=1)
        weights = torch.from_numpy(batch.weights).to(self.device)
        parts = torch.arange(len(weights)).split(self.part)
        is_known = False
        if self.hooks.weighs and len(parts) > 1:
            with torch.no_grad():
                read = torch.cat([self._sums(rows, part) for part in parts])
            self.forward_tokens += int(num_tokens.sum())
            weights, is_known = self._weighed(weights, read / num_tokens), True
        sums = []
        for part in parts:
            nats = self._sums(rows, part)
            if self.hooks.weighs and not is_known:
                weights = self._weighed(weights, nats.detach() / num_tokens)
            ((nats * weights[part[0] : part[-1] + 1]).sum() / total).backward()
            sums.append(nats.detach())
        return torch.cat(sums), num_tokens

    def _weighed(self, weights: Tensor, losses: Tensor) -> Tensor:
        return weights * self.hooks.batch_weights(losses, self.step, self.plan.num_steps).to(weights)

    def _sums(self, rows: tuple[Tensor, ...], part: Tensor) -> Tensor:
        first, last = int(part[0]), int(part[-1]) + 1
        return _losses(self.model, *(column[first:last] for column in rows)).sum(1)

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and pieces of a batch [B, L] int64."""
        return _columns(self.phases[batch.phase].sequences, batch.rows, self.device)

    def _flush(self) -> None:
        """Takes the losses of the last steps from the device.

        Raises:
            InvalidParameterError: one of them, or a gradient, is not finite.
        """
        pending, self.pending = self.pending, []
        for batch, sums, tokens, norm in pending:
            nats, num_tokens = sums.float().cpu().numpy(), tokens.cpu().numpy()
            loss = float(nats.sum(dtype=np.float64) / max(1, num_tokens.sum()))
            step = len(self.curve["losses"])
            if not np.isfinite(loss) or not np.isfinite(float(norm)):
                what = "loss" if not np.isfinite(loss) else "gradient"
                raise InvalidParameterError(
                    f"`learning_rate` (={self.settings.learning_rate:g}) must be low enough for training to stay "
                    f"finite; the {what} of step {step + 1} of {self.plan.num_steps} is not. "
                    "Lower it, or lengthen `warmup`."
                )
            with np.errstate(invalid="ignore"):
                self.visiting.record(batch, nats / num_tokens, num_tokens)
            for name, value in (("losses", loss), ("norms", float(norm)), ("tokens", int(num_tokens.sum()))):
                self.curve[name].append(value)

    def _limit_met(self, seconds: float) -> str:
        if self.limits.seconds is not None and seconds >= self.limits.seconds:
            return TIME
        if self.device.type == "cpu" and _resident_bytes() > (self.limits.memory or memory.limit()):
            return MEMORY
        return ""

    def _save(self, folder: Path, run: str) -> None:
        self._flush()
        tensors: dict[str, dict[str, Tensor]] = {"weight": dict(self.parameters), **self.optimizer.averages()}
        kept = {"visiting": self.visiting.state(), "rule": self.hooks.state()}
        kept["curve"] = {name: np.array(values, np.float64) for name, values in self.curve.items()}
        for group, arrays in kept.items():
            tensors[group] = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        figures: dict[str, Any] = {"step": self.step, "seconds": self.seconds, "forward_tokens": self.forward_tokens}
        figures |= {"part": self.part, "is_finished": self.is_finished}
        checkpoint.write(folder, run, Checkpoint(tensors, figures))

    def _load(self, found: Checkpoint) -> None:
        self.step, self.part = found.figures["step"], found.figures["part"]
        self.seconds, self.forward_tokens = found.figures["seconds"], found.figures["forward_tokens"]
        self.is_finished = found.figures["is_finished"]
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(found.tensors["weight"][name])
        self.optimizer.load({kind: found.tensors.get(kind, {}) for kind in ("mean", "square", "momentum")}, self.step)
        self.curve = {name: array.tolist() for name, array in found.arrays("curve").items()}
        self.visiting.load_state(found.arrays("visiting"))
        self.hooks.load_state(found.arrays("rule"))


def _clip(parameters: Any, max_norm: float) -> Tensor:
    """Scales gradients down to a norm of `max_norm`; their norm before.

    Sums go along rows first, so that they do not depend on the number of threads.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.square().sum(-1).sum() for g in gradients]).sum().sqrt()
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _part_sequences(model: nn.Module, sequences: Sequences, limits: Limits, device: torch.device) -> int:
    """How many sequences are read at a time.

    What one takes is counted: the tensors that the forward pass keeps for the gradient, twice for those of the backward
    pass. The model has its weights, their gradients and AdamW's two averages, all of one size.

    Raises:
        InvalidParameterError: one sequence does not fit.
    """
    own = sum(p.numel() * p.element_size() for p in model.parameters())
    room = limits.memory or (memory.limit() if device.type == "cpu" else int(0.75 * torch.cuda.mem_get_info(device)[0]))
    room -= 4 * own if limits.memory is None or device.type != "cpu" else 4 * own + _resident_bytes()
    one = 2 * _kept_bytes(model, sequences, device)
    if one > room:
        raise InvalidParameterError(
            f"`memory` (={limits.memory or room + 4 * own:,}) must be enough for one sequence of "
            f"{sequences.inputs.shape[1]} positions, {(one + 4 * own) / 1e6:,.0f} MB with the model. "
            "Give more, or take shorter sequences or a smaller model."
        )
    return max(1, min(_usual_part(sequences.inputs.shape[1], device), room // one))


def _usual_part(length: int, device: torch.device) -> int:
    """How many sequences are read at a time where memory is not short."""
    return max(1, _PART_POSITIONS["cpu" if device.type == "cpu" else "cuda"] // length)


def _losses(model: nn.Module, *columns: Tensor) -> Tensor:
    """Nats of each position [B, L]."""
    losses: Tensor = cast(Any, model).losses(*columns)
    return losses


def _columns(sequences: Sequences, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and pieces of some sequences [rows, L] int64."""
    inputs, targets, pieces = (
        torch.from_numpy(column[rows].astype(np.int64)).to(device)
        for column in (sequences.inputs, sequences.targets, sequences.pieces)
    )
    return inputs, targets, pieces


def _kept_bytes(model: nn.Module, sequences: Sequences, device: torch.device) -> int:
    """Bytes that one sequence's forward pass keeps for the gradient."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    columns = _columns(sequences, np.arange(1), device)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        _losses(model, *columns)
    return sum(sizes.values())


def _resident_bytes() -> int:
    """Memory that this process has; 0 where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def _fingerprint(
    model: nn.Module,
    phases: Sequence[Phase],
    settings: Settings,
    seed: int,
    rule: Rule | None,
    advance: Advance | None,
) -> str:
    """What is trained on what, and how; not where, nor how long at a time."""
    digest = hashlib.blake2b(digest_size=8)
    question: dict[str, Any] = {"version": _VERSION, "settings": settings.parameters(), "seed": seed}
    question |= {"rule": rule and rule.parameters(), "advance": advance and advance.every}
    question["phases"] = [[phase.name, phase.num_visits, phase.rates] for phase in phases]
    digest.update(canonical_json(question))
    for phase in phases:
        for array in (*phase.sequences[:3], phase.sources, phase.values):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    for name, weights in model.named_parameters():
        digest.update(name.encode())
        digest.update(weights.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
