"""Averages of checkpoints: what the arithmetic says, and what must not be averaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("safetensors")

from safetensors.numpy import load_file, save_file

from assay.errors import InputError, InvalidParameterError
from assay.models import averaging
from assay.models.averaging import average
from assay.models.calibration import spearman

CONFIG = {"hidden_size": 8, "transformers_version": "1"}


def checkpoint(folder: Path, tensors: dict[str, np.ndarray], config: dict[str, Any] = CONFIG) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"model": {}}')
    return folder


def drawn(seed: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = {"embed": rng.normal(size=(7, 8)), "norm": rng.normal(size=8), "scale": rng.normal(size=())}
    return {name: values.astype(dtype) for name, values in weights.items()} | {"positions": np.arange(5)}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_average_of_one_is_itself(tmp_path: Path, dtype: type) -> None:
    one = checkpoint(tmp_path / "one", drawn(0, dtype))
    assert average({"one": one}, [3.0], tmp_path / "out") == 7 * 8 + 8 + 1 + 5
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (one / name).read_bytes()


def test_averages_by_size_can_be_averaged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "_BLOCK", 3)  # numbers at a time
    models = {name: checkpoint(tmp_path / name, drawn(seed, np.float64)) for seed, name in enumerate("abc")}
    average(models, [1, 2, 5], tmp_path / "all")
    average({"a": models["a"], "b": models["b"]}, [1, 2], tmp_path / "ab")
    average({"ab": tmp_path / "ab", "c": models["c"]}, [3, 5], tmp_path / "again")
    found, again = (load_file(tmp_path / name / "model.safetensors") for name in ("all", "again"))
    assert found.keys() == drawn(0).keys()
    for name, values in found.items():
        parts = [load_file(path / "model.safetensors")[name] for path in models.values()]
        expected = parts[0] if name == "positions" else np.average(parts, axis=0, weights=[1, 2, 5])
        np.testing.assert_allclose(values, expected, rtol=1e-14)
        np.testing.assert_allclose(again[name], expected, rtol=1e-13)


def test_brain_floats_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    values = [torch.randn(500, generator=torch.Generator().manual_seed(k)).bfloat16() for k in range(2)]
    models = {}
    for name, tensor in zip("ab", values, strict=True):
        models[name] = checkpoint(tmp_path / name, {})
        save_torch({"w": tensor}, models[name] / "model.safetensors")
    average(models, [1, 2], tmp_path / "out")
    expected = (values[0].double() / 3 + values[1].double() * 2 / 3).float().bfloat16()
    assert torch.equal(load_torch(tmp_path / "out" / "model.safetensors")["w"], expected)


def test_the_average_of_regressions_orders_unions_as_training_on_them_does(tmp_path: Path) -> None:
    """Linear regression has one optimum: that of a union of parts alike in design is the average of theirs."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(4):
        inputs = rng.normal(size=(4000, 5))
        parts.append((inputs, inputs @ rng.normal(size=5) + 0.1 * rng.normal(size=4000)))
    held = rng.normal(size=(1000, 5))
    aim = held @ np.linalg.lstsq(*parts[0], rcond=None)[0]
    models = {}
    for k, (inputs, outputs) in enumerate(parts):
        models[f"{k}"] = checkpoint(tmp_path / f"{k}", {"w": np.linalg.lstsq(inputs, outputs, rcond=None)[0]})
    merged, trained = [], []
    for chosen in range(1, 16):
        names = [f"{k}" for k in range(4) if chosen >> k & 1]
        average({name: models[name] for name in names}, [1] * len(names), tmp_path / f"out{chosen}")
        weights = load_file(tmp_path / f"out{chosen}" / "model.safetensors")["w"]
        inputs = np.concatenate([parts[int(name)][0] for name in names])
        optimum = np.linalg.lstsq(inputs, np.concatenate([parts[int(name)][1] for name in names]), rcond=None)[0]
        merged.append(np.mean((held @ weights - aim) ** 2))
        trained.append(np.mean((held @ optimum - aim) ** 2))
    correlation = spearman(np.array(merged), np.array(trained))
    assert correlation is not None and correlation > 0.98


def test_models_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    good = checkpoint(tmp_path / "good", drawn(0))
    out = tmp_path / "out"

    def refused(other: Path, text: str, error: type[Exception] = InvalidParameterError) -> None:
        with pytest.raises(error, match=text):
            average({"good": good, "other": other}, [1, 1], out)
        assert not (out / "model.safetensors").exists()

    short = {name: values for name, values in drawn(1).items() if name != "norm"}
    refused(checkpoint(tmp_path / "a", short), "norm is in one only")
    refused(checkpoint(tmp_path / "b", drawn(1) | {"norm": np.ones(9, np.float32)}), r"norm is F32 \(8,\) in one and")
    refused(checkpoint(tmp_path / "c", drawn(1, np.float16)), "is F32 .* in one and F16")
    refused(checkpoint(tmp_path / "d", drawn(1) | {"positions": np.arange(1, 6)}), "positions holds whole numbers")
    refused(checkpoint(tmp_path / "e", drawn(1), {"hidden_size": 9}), "config.json differ in hidden_size")
    other = checkpoint(tmp_path / "f", drawn(1))
    (other / "tokenizer.json").write_text('{"model": {"a": 1}}')
    refused(other, "tokenizer.json differ in model")
    nan = drawn(1) | {"norm": np.full(8, np.nan, np.float32)}
    refused(checkpoint(tmp_path / "g", nan), "'other' has numbers that are not finite", InputError)
    cut = checkpoint(tmp_path / "h", drawn(1))
    (cut / "model.safetensors").write_bytes((good / "model.safetensors").read_bytes()[:-1])
    refused(cut, "it should have", InputError)
    (cut / "model.safetensors").write_bytes(b"abc")
    refused(cut, "damaged or no file of safetensors", InputError)
    (cut / "model.safetensors").unlink()
    refused(cut, "saved as one first", InputError)
    for weights in ([1], [1, -1], [0, 0], [1, np.nan]):
        with pytest.raises(InvalidParameterError, match="weights"):
            average({"good": good, "other": good}, weights, out)
    with pytest.raises(InvalidParameterError, match="at least one"):
        average({}, [], out)
