"""The trainer: against AdamW by hand, a source whose entropy is known, and itself when it is interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay.errors import ArtifactError, InvalidParameterError  # noqa: E402
from assay.models.gpt import GPT, GPTConfig  # noqa: E402
from assay.models.sequences import NONE, Sequences  # noqa: E402
from assay.proxy import train as module  # noqa: E402
from assay.proxy.rules_base import Epoch, Hooks, Rule, Visits, plain  # noqa: E402
from assay.proxy.schedule import Phase  # noqa: E402
from assay.proxy.settings import Settings  # noqa: E402
from assay.proxy.train import Limits, Outcome, train  # noqa: E402
from assay.proxy.visiting import Mixing  # noqa: E402

SETTINGS = Settings(learning_rate=0.01, batch_tokens=64, beta2=0.99, min_steps=1)
STOP_AT_ONCE = Limits(seconds=0.0, checkpoint_seconds=0.0)


@pytest.fixture(autouse=True)
def _on_one_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ASSAY_DEVICE", "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(seed: int = 0, vocab_size: int = 17) -> GPT:
    return GPT(GPTConfig(vocab_size=vocab_size, width=32, depth=2, heads=2, hidden=64, context=16), seed=seed)


def sequences(texts: np.ndarray) -> Sequences:
    """One piece each."""
    num = len(texts)
    pieces = np.zeros((num, texts.shape[1] - 1), np.uint16)
    return Sequences(
        texts[:, :-1].astype(np.uint16), texts[:, 1:].astype(np.uint16), pieces, np.arange(num), np.arange(num + 1)
    )


def random_sequences(num: int, seed: int = 0, length: int = 16) -> Sequences:
    return sequences(np.random.default_rng(seed).integers(0, 16, (num, length + 1)))


def weights(model: Any) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def until_done(run: Callable[[], Outcome], at_most: int = 200) -> tuple[Outcome, int]:
    for calls in range(1, at_most):
        outcome = run()
        if outcome.stopped == "done":
            return outcome, calls
    raise AssertionError("never done")


def test_a_tiny_set_is_learned_by_heart() -> None:
    model = tiny()
    text = random_sequences(4)
    outcome = train(model, [Phase(sequences=text, visits=800)], replace(SETTINGS, weight_decay=0.0), seed=0)
    last = outcome.losses[-1]
    can_be = np.log(4) / 16 + 1e-9  # the first token of each could only be guessed among the four
    assert last < can_be + 0.03
    assert outcome.visits[0].tolist() == [200] * 4


def test_a_markov_source_is_learned_to_its_entropy_within_two_percent() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(8, 0.5), 8)
    texts = np.zeros((1700, 17), np.int64)
    for k in range(16):
        draws = rng.random(len(texts))
        texts[:, k + 1] = (chances[texts[:, k]].cumsum(1) < draws[:, None]).sum(1).clip(max=7)
    held_out = texts[1500:]
    source = -np.log(chances[held_out[:, :-1], held_out[:, 1:]]).mean()  # of the same tokens: no sampling noise

    model = tiny(vocab_size=9)
    train(model, sequences(texts[:1500]), replace(SETTINGS, batch_tokens=128), seed=0)
    columns = [torch.from_numpy(column.astype(np.int64)) for column in sequences(held_out)[:3]]
    with torch.no_grad():
        found = float(model.losses(*columns).mean())
    assert source * 0.99 < found < source * 1.02


class Bigrams(torch.nn.Module):
    """The smallest language model that has a matrix, an embedding and a vector."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.nn.Embedding(16, 4)
        self.matrix = torch.nn.Parameter(torch.randn(4, 16, generator=generator))
        self.bias = torch.nn.Parameter(torch.randn(16, generator=generator))
        with torch.no_grad():
            self.embedding.weight.copy_(torch.randn(16, 4, generator=generator))

    def losses(self, inputs: Any, targets: Any, pieces: Any) -> Any:
        logits = self.embedding(inputs) @ self.matrix + self.bias
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=NONE)
        return losses


def adamw_by_hand(model: Bigrams, text: Sequences, settings: Settings, batches: list[np.ndarray]) -> list[np.ndarray]:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) in float64, gradients by torch.autograd."""
    parameters = [model.embedding.weight, model.matrix, model.bias]
    decays = [0.0, settings.weight_decay, 0.0]
    found = [p.detach().double().numpy().copy() for p in parameters]
    means, squares = [np.zeros_like(p) for p in found], [np.zeros_like(p) for p in found]
    num_steps = len(batches)
    for step, rows in enumerate(batches):
        with torch.no_grad():
            for p, values in zip(parameters, found, strict=True):
                p.copy_(torch.from_numpy(values))
        columns = [torch.from_numpy(column[rows].astype(np.int64)) for column in text[:3]]
        loss = model.losses(*columns).sum() / (columns[1] != NONE).sum()
        slopes = [g.double().numpy() for g in torch.autograd.grad(loss, parameters)]
        norm = np.sqrt(sum((g**2).sum() for g in slopes))
        slopes = [g * min(1.0, settings.clip / norm) for g in slopes]
        rate = settings.learning_rate * min(1.0, (step + 1) / (round(settings.warmup * num_steps) + 1))
        rate *= min(1.0, (num_steps - step) / (round(settings.decay * num_steps) + 1))
        for k, g in enumerate(slopes):
            means[k] = settings.beta1 * means[k] + (1 - settings.beta1) * g
            squares[k] = settings.beta2 * squares[k] + (1 - settings.beta2) * g**2
            mean, square = (
                means[k] / (1 - settings.beta1 ** (step + 1)),
                squares[k] / (1 - settings.beta2 ** (step + 1)),
            )
            found[k] -= rate * decays[k] * found[k] + rate * mean / (np.sqrt(square) + 1e-8)
    return found


def test_steps_are_adamw_with_clipping_warm_up_and_decay() -> None:
    settings = replace(SETTINGS, learning_rate=0.1, weight_decay=0.3, warmup=0.2, decay=0.4, clip=0.3)
    text = random_sequences(40)
    text.targets[3, 5:] = NONE
    model = Bigrams()
    outcome = train(model, text, settings, seed=5)
    assert outcome.num_steps == 10 and outcome.tokens.sum() == (text.targets != NONE).sum()
    assert (outcome.norms > settings.clip).any()
    order = plain(Epoch(0, 0, 40, 0, 40, 5, np.zeros(40), None)).order
    expected = adamw_by_hand(Bigrams(), text, settings, np.split(order, 10))
    for p, values in zip((model.embedding.weight, model.matrix, model.bias), expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), values, atol=2e-6)


def test_gradients_are_clipped_as_torch_does() -> None:
    rng = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((40, 9), (7,), (3, 2, 2))]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=rng)
    ours = [p.grad.clone() for p in parameters]
    twins = [torch.nn.Parameter(torch.zeros_like(p)) for p in parameters]
    for p, g in zip(twins, ours, strict=True):
        p.grad = g
    expected = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    torch.testing.assert_close(module._clip(twins, 0.5), expected)
    for p, twin in zip(parameters, twins, strict=True):
        torch.testing.assert_close(twin.grad, p.grad)


def test_a_batch_read_in_parts_gives_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    text = random_sequences(24)
    text.targets[:5, 3:] = NONE  # parts have unequal numbers of tokens
    models = [Bigrams(), Bigrams()]
    whole = train(models[0], text, replace(SETTINGS, batch_tokens=128), seed=0)
    monkeypatch.setattr(module, "_PART_POSITIONS", {"cpu": 3 * 16})
    parts = train(models[1], text, replace(SETTINGS, batch_tokens=128), seed=0)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@dataclass(frozen=True, kw_only=True)
class Hard(Rule):
    """Half of the sequences, the hardest; losses above the mean count twice; ends at the mean of the weights."""

    name: ClassVar[str] = "hard"

    def start(self) -> Hooks:
        return HardHooks()


class HardHooks(Hooks):
    weighs = True
    orders = True

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def epoch(self, epoch: Epoch) -> Visits:
        losses = np.where(np.isnan(epoch.losses), np.inf, epoch.losses)
        noise = epoch.generator().random(epoch.num_sequences)
        order = np.lexsort((noise, -losses))[: -(-epoch.num_sequences // 2)]
        return Visits(order, np.linspace(0.5, 1.5, len(order), dtype=np.float32))

    def batch_weights(self, losses: Any, step: int, num_steps: int) -> Any:
        return 1.0 + (losses > losses.mean()).float()

    def after_step(self, step: int, num_steps: int, model: Any) -> None:
        for name, p in model.named_parameters():
            self._sums[name] = self._sums.get(name, 0) + p.detach().numpy() / np.float32(num_steps)

    def finish(self, model: Any) -> None:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(torch.from_numpy(self._sums[name]))

    def state(self) -> dict[str, np.ndarray]:
        return dict(self._sums)

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self._sums = state


class TowardsHardSources:
    every = 3

    def __call__(self, model: Any, history: Sequence[Mixing]) -> np.ndarray:
        if not history:
            return np.ones(3)
        seen = np.where(np.isnan(history[-1].losses), 1.0, history[-1].losses)
        return history[-1].weights * np.exp(seen)


def cases() -> dict[str, Callable[..., Outcome]]:
    """Runs whose state has something to be lost in: phases, a rule with memory, a mixture with history."""
    text, other = random_sequences(22), random_sequences(10, seed=1)
    sources = np.arange(22) % 3
    phases = [
        Phase(sequences=text, visits=30),
        Phase(sequences=other, name="anneal", rates=(0.5, 0.0), visits=13),
    ]
    mixed = [Phase(sequences=text, sources=sources), Phase(sequences=other, name="late", sources=np.arange(10) % 3)]
    return {
        "plain": lambda model, **more: train(model, text, SETTINGS, seed=3, **more),
        "phases": lambda model, **more: train(model, phases, SETTINGS, seed=3, **more),
        "rule": lambda model, **more: train(model, phases, SETTINGS, seed=3, rule=Hard(), **more),
        "mixture": lambda model, **more: train(model, mixed, SETTINGS, seed=3, advance=TowardsHardSources(), **more),
    }


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("part", [1, 100])
def test_stopping_after_every_step_changes_no_byte(
    case: str, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART_POSITIONS", {"cpu": part * 16})
    run, whole = cases()[case], tiny()
    expected = run(whole)
    models: list[GPT] = []

    def go_on() -> Outcome:
        models.append(tiny())
        return run(models[-1], folder=tmp_path / "run", limits=STOP_AT_ONCE)

    found, num_calls = until_done(go_on)
    assert num_calls == expected.num_steps > 5
    assert weights(models[-1]) == weights(whole)
    assert found.losses.tobytes() == expected.losses.tobytes() and found.norms.tobytes() == expected.norms.tobytes()
    assert found.forward_tokens == expected.forward_tokens
    assert [v.tolist() for v in found.visits] == [v.tolist() for v in expected.visits]
    assert [(m.step, m.weights.tolist(), m.losses.tolist()) for m in found.mixtures] == [
        (m.step, m.weights.tolist(), m.losses.tolist()) for m in expected.mixtures
    ]
    again = tiny()
    assert run(again, folder=tmp_path / "run").losses.tobytes() == expected.losses.tobytes()
    assert weights(again) == weights(whole)


KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from assay.proxy.train import Limits, train
from tests.proxy.test_train import SETTINGS, Bigrams, random_sequences, weights
model = Bigrams()
outcome = train(model, random_sequences(2000), SETTINGS, seed=3, folder=Path(sys.argv[1]),
                limits=Limits(checkpoint_seconds=0.0))
Path(sys.argv[1], "weights").write_bytes(weights(model) + outcome.losses.tobytes())
"""


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, str(folder)]
    process = subprocess.Popen(command, env=environment)
    while not (folder / "training.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "weights").exists(), "it was done before it could be killed"
    model, whole = Bigrams(), Bigrams()  # a process that compiles kernels may round otherwise than one that loads them
    text = random_sequences(2000)
    found = train(model, text, SETTINGS, seed=3, folder=folder)
    expected = train(whole, text, SETTINGS, seed=3)
    assert (found.losses.tobytes(), weights(model)) == (expected.losses.tobytes(), weights(whole))
    assert sorted(path.name for path in folder.iterdir()) == ["training.safetensors"]


@dataclass(frozen=True, kw_only=True)
class Neutral(Rule):
    name: ClassVar[str] = "neutral"

    def start(self) -> Hooks:
        hooks = Hooks()
        hooks.weighs = True
        hooks.batch_weights = lambda losses, step, num_steps: torch.ones_like(losses)  # type: ignore[method-assign]
        return hooks


@pytest.mark.parametrize("part", [2, 100])
def test_a_rule_that_changes_nothing_is_plain_training_to_the_byte(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_POSITIONS", {"cpu": part * 16})
    models = [tiny(), tiny()]
    text = random_sequences(24)
    with_rule = train(models[0], text, SETTINGS, seed=3, rule=Neutral())
    assert train(models[1], text, SETTINGS, seed=3).losses.tobytes() == with_rule.losses.tobytes()
    assert weights(models[0]) == weights(models[1])
    assert with_rule.forward_tokens == (with_rule.tokens.sum() if part == 2 else 0)


def test_a_sequence_of_weight_zero_teaches_nothing() -> None:
    @dataclass(frozen=True, kw_only=True)
    class OnlyFirst(Rule):
        name: ClassVar[str] = "only_first"

        def start(self) -> Hooks:
            hooks = Hooks()
            hooks.epoch = lambda epoch: Visits(np.arange(8), np.array([1.0] + 7 * [0.0]))  # type: ignore[method-assign]
            return hooks

    text = random_sequences(8)
    models = [Bigrams(), Bigrams()]
    settings = replace(SETTINGS, batch_tokens=8 * 16, clip=1e9, weight_decay=0.0)
    train(models[0], text, settings, seed=0, rule=OnlyFirst())
    text.targets[1:] = NONE
    train(models[1], text, replace(settings, batch_tokens=16 * 8), seed=0)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)  # Adam does not see that the gradient is 8 times smaller


def test_the_seed_orders_the_text_and_nothing_else_does() -> None:
    text = random_sequences(24)
    losses = [train(tiny(), text, SETTINGS, seed=seed).losses.tobytes() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_two_threads_give_the_bytes_of_one() -> None:
    """With products and sums that torch does share between threads, and gradients that are clipped."""
    text, found = random_sequences(3, length=512), []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        model = GPT(GPTConfig(vocab_size=2000, width=128, depth=1, heads=2, hidden=256, context=512))
        outcome = train(model, text, replace(SETTINGS, batch_tokens=512, clip=0.1), seed=0)
        assert (outcome.norms > 0.1).all()
        found.append(weights(model))
    assert found[0] == found[1]


def test_a_loss_that_is_not_finite_is_told_with_its_step() -> None:
    model = Bigrams()
    with torch.no_grad():
        model.bias[3] = float("inf")
    with pytest.raises(InvalidParameterError, match=r"`learning_rate` \(=0.01\) must be low enough .* step 1 of 6 is"):
        train(model, random_sequences(24), SETTINGS, seed=0)


def test_a_rate_that_is_far_too_high_ends_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="must be low enough for training to stay finite"):
        train(tiny(), random_sequences(400), replace(SETTINGS, learning_rate=1e30), seed=0, folder=tmp_path)


def test_what_does_not_fit_in_memory_is_refused_before_it_begins() -> None:
    with pytest.raises(InvalidParameterError, match=r"`memory` \(=1,000,000\) must be enough for one sequence of 16"):
        train(tiny(), random_sequences(4), SETTINGS, seed=0, limits=Limits(memory=1_000_000))


def test_little_memory_makes_parts_of_a_batch_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_resident_bytes", lambda: 0)
    text, model = random_sequences(8), tiny()
    cpu = torch.device("cpu")
    one = 2 * module._kept_bytes(model, text, cpu)
    own = 4 * sum(p.numel() * 4 for p in model.parameters())
    assert module._part_sequences(model, text, Limits(memory=own + 3 * one), cpu) == 3
    assert module._part_sequences(model, text, Limits(memory=own + 10**9), cpu) == 8192 // 16


def test_memory_that_runs_out_stops_training_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([0, 0, 0, 10**9])
    monkeypatch.setattr(module, "_resident_bytes", lambda: next(sizes, 0))
    text = random_sequences(24)
    outcome = train(tiny(), text, SETTINGS, seed=0, folder=tmp_path, limits=Limits(memory=5 * 10**8))
    assert (outcome.stopped, len(outcome.losses), outcome.num_steps) == ("memory", 3, 6)
    assert train(tiny(), text, SETTINGS, seed=0, folder=tmp_path).stopped == "done"


def test_a_folder_of_another_run_is_refused_and_so_is_a_damaged_one(tmp_path: Path) -> None:
    text = random_sequences(8)
    train(tiny(), text, SETTINGS, seed=0, folder=tmp_path)
    for changed in (
        lambda: train(tiny(), text, SETTINGS, seed=1, folder=tmp_path),
        lambda: train(tiny(seed=1), text, SETTINGS, seed=0, folder=tmp_path),
        lambda: train(tiny(), random_sequences(8, seed=1), SETTINGS, seed=0, folder=tmp_path),
        lambda: train(tiny(), text, replace(SETTINGS, beta2=0.9), seed=0, folder=tmp_path),
        lambda: train(tiny(), text, SETTINGS, seed=0, folder=tmp_path, rule=Neutral()),
    ):
        with pytest.raises(ArtifactError, match="is of another run"):
            changed()
    file = tmp_path / "training.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="is damaged"):
        train(tiny(), text, SETTINGS, seed=0, folder=tmp_path)


def test_progress_tells_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    from assay import progress

    before = progress._board.mode
    progress.set_mode("lines")
    try:
        train(tiny(), random_sequences(8), SETTINGS, seed=0)
        train(tiny(), random_sequences(8), SETTINGS, seed=0, limits=STOP_AT_ONCE)
    finally:
        progress._board.mode = before
    told = capsys.readouterr().err
    assert "✓ train  128 tokens in" in told and ", loss " in told
    assert "training stopped at step 1 of 2: the limit of time is met" in told
