"""The model against a slow and obvious one, against itself document by document, and against transformers."""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError, InvalidParameterError, MissingExtraError
from assay.models import torch_extra
from assay.models.sizes import SIZES
from assay.models.tokenizer import BPE

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from assay.models import attention  # noqa: E402
from assay.models.gpt import END, GPT, NONE, GPTConfig, is_ours, load, save  # noqa: E402

VOCAB = 300  # of 320 rows
PIECES = torch.tensor([[0] * 16, [0] * 5 + [1] * 10 + [2], [3] * 6 + [0] * 5 + [1] * 5])


def config(**changes: int) -> GPTConfig:
    return GPTConfig(
        **{"vocab_size": VOCAB, "width": 32, "depth": 2, "heads": 2, "hidden": 48, "context": 64} | changes
    )


def model(seed: int = 0, **changes: int) -> GPT:
    """One whose weights are no longer those at the start, where all attention is alike and all gains are 1."""
    made = GPT(config(**changes), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in made.parameters():
            weights.mul_(6 if weights.ndim == 2 else 1)
            weights.add_(0.2 * torch.randn(weights.shape, generator=generator) * (weights.ndim == 1))
    return made


def batch(shape: tuple[int, int] = (3, 16), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = (torch.randint(0, VOCAB, shape, generator=generator) for _ in range(2))
    targets[torch.rand(shape, generator=generator) < 0.2] = NONE
    return inputs, targets


def documents(inputs: torch.Tensor, targets: torch.Tensor, pieces: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """Where each document is in the batch, its inputs and its targets."""
    found = []
    for row, numbers in enumerate(pieces):
        for number in numbers.unique():
            places = torch.nonzero(numbers == number)[:, 0]
            found.append((row, places, inputs[row, places], targets[row, places]))
    return found


# A decoder as one would write it on a blackboard: a position at a time, nothing shared with the model but its weights.


def rms_norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt((x * x).mean() + 1e-6) * gain


def turned(x: torch.Tensor, position: int) -> torch.Tensor:
    half = len(x) // 2
    angles = torch.tensor([position / 10_000 ** (k / half) for k in range(half)], dtype=x.dtype)
    points = torch.complex(x[:half], x[half:]) * torch.complex(angles.cos(), angles.sin())
    return torch.cat((points.real, points.imag))


def plain_losses(weights: dict[str, torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    states = [weights["embedding.weight"][token] for token in inputs]
    for k in range(2):
        part = {name.split(".", 2)[2]: w for name, w in weights.items() if name.startswith(f"blocks.{k}.")}
        heads = []
        for state in states:
            joint = part["qkv.weight"] @ rms_norm(state, part["attention_norm.weight"])
            heads.append(joint.view(3, 2, -1))
        mixed = []
        for i in range(len(states)):
            outputs = []
            for head in range(2):
                query = turned(rms_norm(heads[i][0, head], part["query_norm.weight"]), i)
                scores = []
                for j in range(i + 1):
                    key = turned(rms_norm(heads[j][1, head], part["key_norm.weight"]), j)
                    scores.append(query @ key / math.sqrt(len(key)))
                shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
                outputs.append(sum(shares[j] * heads[j][2, head] for j in range(i + 1)))
            mixed.append(part["output.weight"] @ torch.cat(outputs))
        states = [state + more for state, more in zip(states, mixed, strict=True)]
        for i, state in enumerate(states):
            gate, up = (part["gate_up.weight"] @ rms_norm(state, part["hidden_norm.weight"])).view(2, -1)
            states[i] = state + part["down.weight"] @ (gate / (1 + (-gate).exp()) * up)
    losses = []
    for state, target in zip(states, targets, strict=True):
        logits = weights["embedding.weight"] @ rms_norm(state, weights["norm.weight"])
        losses.append(logits.exp().sum().log() - logits[target] if target != NONE else logits.sum() * 0)
    return losses


@pytest.mark.parametrize("counted", ["alike", "differently"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["kernels", "plain layers"])
def test_losses_and_gradients_are_those_of_a_plain_model_document_by_document(dtype: torch.dtype, counted: str) -> None:
    made, (inputs, targets) = model().to(dtype), batch()
    counts = torch.full(targets.shape, 0.25) if counted == "alike" else torch.rand(targets.shape)
    losses = made.losses(inputs, targets, PIECES)
    (losses * counts).sum().backward()
    weights = {name: w.detach().double().requires_grad_() for name, w in made.named_parameters()}
    total = torch.zeros((), dtype=torch.float64)
    for row, places, ids, wanted in documents(inputs, targets, PIECES):
        expected = torch.stack(plain_losses(weights, ids, wanted))
        torch.testing.assert_close(losses[row, places].double(), expected, atol=2e-5, rtol=1e-5)
        total = total + (expected * counts[row, places]).sum()
    total.backward()
    for name, w in made.named_parameters():
        assert w.grad is not None
        scale = float(weights[name].grad.abs().max())
        torch.testing.assert_close(w.grad.double() / scale, weights[name].grad / scale, atol=1e-5, rtol=0)


def test_a_packed_sequence_has_the_losses_of_its_documents_alone() -> None:
    made = model(context=700)
    inputs, targets = batch((2, 700))
    pieces = torch.zeros_like(inputs)  # longer and shorter than what attention takes at a time
    for first in (3, 4, 70, 130, 131, 400):
        pieces[1, first:] += 1
    losses = made.losses(inputs, targets, pieces)
    for row, places, ids, wanted in documents(inputs, targets, pieces):
        alone = made.losses(ids[None], wanted[None])
        torch.testing.assert_close(losses[row, places], alone[0], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(losses[0], made.losses(inputs, targets)[0])


def test_later_tokens_and_other_documents_change_nothing() -> None:
    made, (inputs, targets) = model(), batch()
    before = made.losses(inputs, targets, PIECES)
    inputs = inputs.clone()
    inputs[1, 8] = (inputs[1, 8] + 1) % VOCAB  # in the middle of the second document
    changed = made.losses(inputs, targets, PIECES) != before
    assert changed[1, 8:15].any() and not changed[1, :8].any() and not changed[1, 15:].any()
    assert not changed[0].any() and not changed[2].any()


def test_attention_of_documents_one_after_another_is_that_under_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's function for documents of any lengths, in whose place a loop over them stands."""

    def one_by_one(queries, keys, values, starts, _starts, longest, _longest, *, window_size):
        assert window_size == (-1, 0) and starts.dtype == torch.int32
        parts = []
        for a, b in pairwise(starts.tolist()):
            assert b - a <= longest
            mine = (part[a:b].transpose(0, 1) for part in (queries, keys, values))
            parts.append(torch.nn.functional.scaled_dot_product_attention(*mine, is_causal=True).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr(attention, "_varlen", one_by_one)
    queries, keys, values = torch.randn(3, 3, 16, 2, 8)
    starts = attention.bounds(PIECES)
    assert starts.tolist() == [0, 16, 21, 31, 32, 38, 43, 48]
    masked = attention.attend(queries, keys, values, attention.spans(PIECES, torch.float32))
    torch.testing.assert_close(attention.attend(queries, keys, values, starts), masked)
    alone = attention.attend(queries[:1], keys[:1], values[:1], None)
    torch.testing.assert_close(alone, masked[:1])


def test_losses_are_those_of_the_logits_and_0_where_there_is_no_target() -> None:
    made, (inputs, targets) = model(), batch()
    losses, logits = made.losses(inputs, targets), made.logits(made.hidden(inputs))
    assert logits.shape == (3, 16, 320)
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NONE, reduction="none"
    )
    torch.testing.assert_close(losses.flatten(), expected, atol=1e-5, rtol=1e-5)
    assert (losses[targets == NONE] == 0).all()


def test_bytes_do_not_depend_on_threads_nor_on_another_run() -> None:
    made, (inputs, targets) = model(context=600), batch((2, 600))

    def all_of_it(num_threads: int) -> list[torch.Tensor]:
        torch.set_num_threads(num_threads)
        made.zero_grad()
        losses = made.losses(inputs, targets)
        losses.sum().backward()
        return [losses.detach(), *(w.grad.clone() for w in made.parameters())]

    before = torch.get_num_threads()
    try:
        one, two, again = all_of_it(1), all_of_it(2), all_of_it(2)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_weights_are_the_seeds() -> None:
    first, same, other = (torch.cat([w.flatten() for w in GPT(config(), seed).parameters()]) for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    uniform = GPT(config()).losses(*batch())
    assert uniform[uniform > 0].mean().item() == pytest.approx(math.log(320), abs=0.05)


def test_bfloat16_is_near_float32() -> None:
    made, (inputs, targets) = model(), batch()
    exact = made.losses(inputs, targets, PIECES)
    made.precision = torch.bfloat16
    near = made.losses(inputs, targets, PIECES)
    near.sum().backward()
    assert near.dtype == torch.float32 and (near - exact).abs().mean() < 0.05
    assert all(w.grad is not None and w.grad.dtype == torch.float32 for w in made.parameters())


def test_nan_does_not_hide() -> None:
    made = model()
    with torch.no_grad():
        made.blocks[1].down.weight[3, 3] = float("nan")
    losses = made.losses(*batch())
    assert losses[batch()[1] != NONE].isnan().all()


@pytest.mark.parametrize(
    ("size", "millions"), [("1M", 1.06), ("5M", 4.82), ("20M", 19.3), ("60M", 59.5), ("150M", 151.8)]
)
def test_sizes_are_what_they_are_called(size: str, millions: float) -> None:
    shape = SIZES[size]
    assert shape.num_parameters / 1e6 == pytest.approx(millions, abs=0.05)
    assert shape.width == 64 * shape.heads and shape.hidden % 64 == 0
    with torch.device("meta"):
        made = GPTConfig.of(size, 8193)
    assert (made.width, made.depth, made.rows, made.end_id) == (shape.width, shape.depth, 8256, 8192)


def test_parameters_that_break_their_rule_are_named() -> None:
    with pytest.raises(InvalidParameterError, match=r"`width` \(=33\) must be a multiple of 2 × heads \(=2\)"):
        config(width=33)
    with pytest.raises(InvalidParameterError, match=r"`size` \(='2M'\) must be one of 1M, 5M, 20M"):
        GPTConfig.of("2M", 300)
    with pytest.raises(InvalidParameterError, match=r"must be at most the model's context \(=64\)"):
        model().hidden(torch.zeros(1, 65, dtype=torch.int64))
    with pytest.raises(InvalidParameterError, match=r"`targets` \(=320\) must be from 0 to 319, or 65535 for none"):
        model().losses(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[320]]))


# Checkpoints.


@pytest.fixture(scope="module")
def bpe() -> BPE:
    return BPE.train(["the cat sat on the mat, ünder 1234 roofs\n\n"] * 20, 280)


@pytest.fixture
def folder(tmp_path: Path, bpe: BPE) -> Path:
    save(model(vocab_size=bpe.vocab_size + 1), tmp_path / "model", bpe.to_json())
    return tmp_path / "model"


def test_a_checkpoint_comes_back(folder: Path, bpe: BPE) -> None:
    made = model(vocab_size=bpe.vocab_size + 1)
    back = load(folder)
    assert is_ours(folder) and back.config == made.config
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), back.parameters(), strict=True))
    assert load(folder, "cpu", torch.bfloat16).embedding.weight.dtype == torch.bfloat16


def test_transformers_makes_the_same_logits_and_ids_of_it(folder: Path, bpe: BPE) -> None:
    transformers = pytest.importorskip("transformers")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__name__ == "Qwen3ForCausalLM" and not any(report.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["the cat  ünder\n\n\n12345 mats", "", " leading, trailing ", "漢字 and \U0001f600"]
    ids, starts = bpe.encode(pa.array(texts))
    for k, text in enumerate(texts):
        own = ids[starts[k] : starts[k + 1]].tolist()
        assert tokenizer(text).input_ids == [bpe.vocab_size, *own], "END stands before a text, as in training"
        assert tokenizer(text, add_special_tokens=False).input_ids == own
    assert tokenizer.convert_tokens_to_ids(END) == tokenizer.eos_token_id == bpe.vocab_size
    ours = load(folder)
    some = torch.from_numpy(ids[:40].astype(np.int64))[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours.hidden(some)), theirs(some).logits, atol=2e-5, rtol=1e-5)


def test_folders_that_hold_no_whole_checkpoint_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint of Assay"):
        load(tmp_path / "nowhere")
    weights, texts = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match=r"model.safetensors is missing or damaged: .* Take another copy"):
        load(folder)
    weights.unlink()
    with pytest.raises(InputError, match="is missing or damaged"):
        load(folder)
    weights.write_bytes(whole)
    for change in ({"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"hidden_size": 36}, {"intermediate_size": 50}):
        (folder / "config.json").write_text(json.dumps(texts | change))
        with pytest.raises(InputError, match="damaged"):
            load(folder)
    for change in ({"hidden_size": "wide"}, {"rope_theta": None}, {"eos_token_id": []}):
        (folder / "config.json").write_text(json.dumps(texts | change))
        with pytest.raises(InputError, match="config.json is damaged"):
            load(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert not is_ours(folder)
    with pytest.raises(InputError, match="is not a checkpoint of Assay"):
        load(folder)


def test_the_device_is_what_assay_device_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("auto", "cpu"):
        monkeypatch.setenv("ASSAY_DEVICE", name)
        assert torch_extra.device().type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99"):
        monkeypatch.setenv("ASSAY_DEVICE", name)
        with pytest.raises(InvalidParameterError, match=r"`ASSAY_DEVICE` .* must be auto, cpu, cuda, cuda:1 or mps"):
            torch_extra.device()


def test_an_old_torch_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(MissingExtraError, match=r"needs torch 2.6 or newer; 2.5.1\+cpu is installed. Run: pip install"):
        torch_extra.require()


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_a_missing_package_is_named_with_the_pip_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"A proxy needs {package}, .*pip install 'assay\[neural\]'"):
        torch_extra.require("A proxy")
