"""Gradients of small networks: one backward pass each, projection, Adam's averages, checkpoints, and one step."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError, InvalidParameterError
from assay.kernels.projection import seed_key, sign_words
from assay.models.gradients import Gradients, adam_step
from assay.models.tokenizer import BPE
from tests.conftest import make_prose, write_jsonl

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import assay  # noqa: E402
from assay.models import gpt  # noqa: E402
from assay.models.neural_gradients import AVERAGES, Checkpoint, NeuralGradients, document_loss, read_averages  # noqa: E402
from assay.models.neural_influence import probe  # noqa: E402
from assay.models.neural_lm import of_network  # noqa: E402

TEXTS = [str(row["text"]) for row in make_prose(14, seed=1, topic="g")]


def saved(folder: Path, seed: int, texts: list[str]) -> Path:
    bpe = BPE.train(iter(texts * 3), 300)
    config = gpt.GPTConfig(vocab_size=bpe.vocab_size + 1, width=32, depth=2, heads=2, hidden=64, context=64)
    gpt.save(gpt.GPT(config, seed), folder, bpe.to_json())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "plain", 0, TEXTS)


@pytest.fixture(scope="module")
def with_averages(folder: Path) -> Path:
    """The same weights, and averages of their gradients as training leaves them."""
    other = saved(folder.parent / "trained", 0, TEXTS)
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, weights in gpt.load(other, "cpu").named_parameters():
        tensors[f"mean.{name}"] = 1e-3 * torch.randn(weights.shape, generator=generator)
        tensors[f"square.{name}"] = 1e-5 * torch.rand(weights.shape, generator=generator)
    save_file(tensors, other / AVERAGES)
    return other


def gradient_of(folder: Path, text: str, wanted: list[str]) -> np.ndarray:
    """The loss as anybody would write it, and its derivative by the named weights."""
    model = gpt.load(folder, "cpu")
    ids = torch.from_numpy(BPE.load(folder / "tokenizer.json").encode(pa.array([text]))[0][:64].astype(np.int64))
    inputs = torch.cat((torch.tensor([model.config.end_id]), ids[:-1]))[None]
    losses = -torch.log_softmax(model.logits(model.hidden(inputs))[0], dim=-1)[torch.arange(len(ids)), ids]
    losses.mean().backward()
    named = dict(model.named_parameters())
    return np.concatenate([named[name].grad.numpy().ravel() for name in wanted])


def names(checkpoint: Checkpoint) -> list[str]:
    return list(checkpoint.chosen)


def signs(number: int, dimensions: int, seed: int) -> np.ndarray:
    words = sign_words(0, number, dimensions, seed_key(seed))
    bits = (words[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    return bits.reshape(number, dimensions) * 2.0 - 1


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("layers", [0, 1])
def test_vectors_are_the_projected_gradients_of_single_backward_passes(folder: Path, layers: int) -> None:
    wanted = Gradients(gradients=str(folder), dimensions=64, layers=layers, seed=3)
    checkpoint = Checkpoint(str(folder), wanted)
    chosen = names(checkpoint)
    assert any("blocks.1" in name for name in chosen) and any("blocks.0" in name for name in chosen) == (layers == 0)
    assert not any("embedding" in name for name in chosen)
    gradients = np.stack([gradient_of(folder, text, chosen) for text in TEXTS])
    found = NeuralGradients(wanted).encode(pa.array([*TEXTS, "", None]), "mean")
    assert not found[-2:].any()
    expected = unit(gradients @ signs(gradients.shape[1], 64, 3))
    np.testing.assert_allclose(found[:-2], expected, atol=2e-5)


def test_cosines_are_those_of_the_gradients_but_for_the_projection(folder: Path) -> None:
    chosen = names(Checkpoint(str(folder), Gradients(gradients=str(folder))))
    exact = unit(np.stack([gradient_of(folder, text, chosen) for text in TEXTS]))
    for dimensions in (128, 1024):
        wanted = Gradients(gradients=str(folder), dimensions=dimensions)
        found = NeuralGradients(wanted).encode(pa.array(TEXTS), "mean")
        assert np.abs(found @ found.T - exact @ exact.T).max() < 4 / dimensions**0.5


def test_with_averages_the_pools_vectors_are_adams_and_the_targets_plain(folder: Path, with_averages: Path) -> None:
    wanted = Gradients(gradients=str(with_averages), dimensions=64)
    encoder = NeuralGradients(wanted)
    assert encoder.steps == "Adam"
    assert NeuralGradients(Gradients(gradients=(str(folder), str(with_averages)))).steps == "plain"
    checkpoint = Checkpoint(str(with_averages), wanted)
    assert checkpoint.averages is not None
    mean, square = (part.numpy() for part in checkpoint.averages)
    gradient = gradient_of(with_averages, TEXTS[0], names(checkpoint))
    expected = unit(adam_step(gradient, mean, square, 0.99) @ signs(len(gradient), 64, 0))
    np.testing.assert_allclose(encoder.encode(pa.array(TEXTS[:1]), "mean")[0], expected, atol=2e-5)
    plain = NeuralGradients(wanted.of_target).encode(pa.array(TEXTS[:1]), "mean")
    other = NeuralGradients(Gradients(gradients=str(folder), dimensions=64)).encode(pa.array(TEXTS[:1]), "mean")
    np.testing.assert_allclose(plain, other, atol=1e-6)


def test_checkpoints_stand_side_by_side_by_the_root_of_their_rates(folder: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "later", 5, TEXTS)
    both = Gradients(gradients=(str(folder), str(other)), rates=(3e-3, 1e-3), dimensions=64)
    found = NeuralGradients(both).encode(pa.array(TEXTS), "mean")
    one, two = (
        NeuralGradients(Gradients(gradients=str(some), dimensions=64)).encode(pa.array(TEXTS), "mean")
        for some in (folder, other)
    )
    assert found.shape == (len(TEXTS), 128)
    np.testing.assert_allclose(found @ found.T, 0.75 * one @ one.T + 0.25 * two @ two.T, atol=1e-5)


def test_one_step_is_what_the_product_of_gradients_says_as_it_gets_short(folder: Path) -> None:
    """A step of gradient descent on each document, whose gradient has a length below 1; all weights take part."""
    every = [name for name, _ in gpt.load(folder, "cpu").named_parameters()]
    gradients = np.stack([gradient_of(folder, text, every) for text in TEXTS]).astype(np.float64)
    gradients /= np.maximum(1, np.linalg.norm(gradients, axis=1, keepdims=True))
    weights = np.array([0.75, 0.25])
    reference = sum(w * gradient_of(folder, text, every) for w, text in zip(weights, TEXTS[:2], strict=True))
    changes, told = probe(str(folder), pa.array([*TEXTS, ""]), pa.array(TEXTS[:2]), weights, rate=0.01)
    first_order = -0.01 * gradients @ reference
    assert np.abs(changes[:-1] - first_order).max() < 0.05 * np.abs(first_order).max()
    assert np.isnan(changes[-1]) and told["step"] == "gradient descent"
    assert np.argmin(changes[:-1]) in (0, 1) and told["loss"] == pytest.approx(np.log(320), rel=0.1)


def test_where_the_checkpoint_has_averages_the_step_is_adams(with_averages: Path) -> None:
    model = gpt.load(with_averages, "cpu")
    rate, text = 1e-4, TEXTS[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
    lm = Checkpoint(str(with_averages), Gradients(gradients=str(with_averages))).lm
    ids = lm.encode(pa.array([text]))[0]
    ours = of_network(model, BPE.load(with_averages / "tokenizer.json"))
    with safe_open(with_averages / AVERAGES, "pt") as stream:
        for name, weights in model.named_parameters():
            state = {"exp_avg": stream.get_tensor(f"mean.{name}"), "exp_avg_sq": stream.get_tensor(f"square.{name}")}
            optimizer.state[weights] = {"step": torch.tensor(1e6), **state}  # so many that nothing is corrected
    before = document_loss(ours, ids).item()
    document_loss(ours, ids).backward()
    optimizer.step()
    expected = document_loss(ours, ids).item() - before
    changes, told = probe(str(with_averages), pa.array([text]), pa.array([text]), np.ones(1), rate=rate)
    assert told["step"] == "Adam" and changes[0] == pytest.approx(expected, rel=0.02, abs=2e-6)


def test_a_model_of_transformers_is_taken_as_well(folder: Path, tmp_path: Path) -> None:
    """The same checkpoint, read as Qwen3: the same losses; the weights stand in another order, so other vectors."""
    pytest.importorskip("transformers")
    foreign = tmp_path / "qwen3"
    foreign.mkdir()
    for file in folder.iterdir():
        (foreign / file.name).write_bytes(file.read_bytes())
    config = json.loads((foreign / "config.json").read_text())
    del config["made_by"]
    (foreign / "config.json").write_text(json.dumps(config))
    ours, theirs = (
        NeuralGradients(Gradients(gradients=str(f), dimensions=1024)).encode(pa.array(TEXTS), "mean")
        for f in (folder, foreign)
    )
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 8 / 1024**0.5
    changes = [
        probe(str(f), pa.array(TEXTS[:2]), pa.array(TEXTS[2:4]), np.full(2, 0.5), rate=0.01)[0]
        for f in (folder, foreign)
    ]
    np.testing.assert_allclose(changes[0], changes[1], rtol=0.02, atol=1e-5)


def test_bad_folders_are_refused(folder: Path, with_averages: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="must be a folder that is there"):
        NeuralGradients(Gradients(gradients=str(tmp_path / "none")))
    with pytest.raises(InvalidParameterError, match="`layers` .=3. must be at most 2, the model's blocks"):
        NeuralGradients(Gradients(gradients=str(folder), layers=3))
    damaged = saved(tmp_path / "damaged", 0, TEXTS)
    (damaged / AVERAGES).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="is damaged, or of another model"):
        NeuralGradients(Gradients(gradients=str(damaged)))
    chosen = {"w": torch.nn.Parameter(torch.zeros(2, 2))}
    save_file({"weight.w": torch.zeros(2, 2), "momentum.w": torch.zeros(2, 2)}, damaged / AVERAGES)
    assert read_averages(damaged, chosen) is None  # Muon's one average is none of Adam's
    save_file({"mean.blocks.1.qkv.weight": torch.zeros(1)}, damaged / AVERAGES)
    with pytest.raises(InputError, match="of another model"):
        NeuralGradients(Gradients(gradients=str(damaged)))


def test_scores_by_a_network_find_the_targets_topic(folder: Path, tmp_path: Path) -> None:
    rows = make_prose(20, seed=1, topic="g") + make_prose(20, seed=2, topic="t")
    write_jsonl(tmp_path / "pool.jsonl", rows)
    write_jsonl(tmp_path / "target.jsonl", make_prose(6, seed=3, topic="t"))
    pool, target = (assay.read(str(tmp_path / f"{n}.jsonl"), workspace=tmp_path / "w") for n in ("pool", "target"))
    space = {"target": target, "workspace": tmp_path / "w"}
    by = assay.Gradient(embedding=Gradients(gradients=str(folder), dimensions=256))
    found = assay.score(pool, by, **space).to_table()["gradient.similarity"].to_numpy()  # type: ignore[arg-type]
    assert np.mean(found[20:, None] > found[:20]) > 0.9
    influence = assay.Influence(model=str(folder), sample=40, max_examples=4, learning_rate=0.05)
    scores = assay.score(pool, influence, **space)  # type: ignore[arg-type]
    values = scores.to_table()["influence.value"].to_numpy()
    assert np.mean(values[20:, None] > values[:20]) > 0.9
    assert scores.manifest.summary["judged"] == 40 and scores.manifest.summary["step"] == "gradient descent"
