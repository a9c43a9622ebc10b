"""`assay.merge`: models of one start, found again, and what has no common start refused."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.numpy import load_file

import assay
from assay.api.merging import merge
from assay.artifacts.model import Model
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.proxy.gpt import GPT
from tests.conftest import make_prose, write_jsonl

TINY = GPT(vocab_size=300, settings={"sequence_length": 64, "min_steps": 4})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A start, and two models that went on from it, on parts of unlike size."""
    folder = tmp_path_factory.mktemp("merging")
    space = Workspace(folder / ".assay")
    pools = {}
    for seed, name in enumerate(("all", "left", "right")):
        path = write_jsonl(folder / f"{name}.jsonl", make_prose(12, seed=seed, topic=name[0], length=40))
        pools[name] = assay.read(str(path), workspace=space)
    start = assay.train(pools["all"], proxy=TINY, budget="600 tokens", workspace=space)
    made = {"start": start}
    for name, budget in (("left", "300 tokens"), ("right", "600 tokens")):
        made[name] = assay.train(pools[name], proxy=TINY, budget=budget, start=start, workspace=space)
    return made


def weights_of(model: Model) -> dict[str, np.ndarray]:
    return load_file(model.path / "model.safetensors")


def test_models_are_averaged_by_what_they_read(models: dict[str, Model], tmp_path: Path) -> None:
    from assay.models.gpt import load

    parts = {name: models[name] for name in ("left", "right")}
    merged = merge(parts, workspace=tmp_path)
    assert merged.manifest.summary["tokens"] == 900 and "training loss" not in merged.facts()
    for name, values in weights_of(merged).items():
        left, right = (weights_of(model)[name].astype(np.float64) for model in parts.values())
        np.testing.assert_allclose(values, left / 3 + right * (2 / 3), rtol=1e-6)
    assert sum(w.numel() for w in load(merged.path).parameters()) == merged.manifest.summary["parameters"]
    assert merge([*parts.values()], [1, 2], workspace=tmp_path) == merged
    assert merge(parts, {"right": 1, "left": 1}, workspace=tmp_path) != merged
    again = merge([merged, models["right"]], workspace=tmp_path)  # merged ones have the start of their parts
    assert again.manifest.summary["tokens"] == 1500


def test_models_without_a_common_start_are_refused(models: dict[str, Model], tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="'left' and 'start' have no common start"):
        merge({"left": models["left"], "start": models["start"]}, workspace=tmp_path)
    with pytest.raises(InvalidParameterError, match="at least one"):
        merge({}, workspace=tmp_path)
    with pytest.raises(InvalidParameterError, match="of the models: left, right"):
        merge({"left": models["left"], "right": models["right"]}, {"left": 1.0}, workspace=tmp_path)
    with pytest.raises(InvalidParameterError, match="a model of `assay.train`"):
        merge({"left": models["left"].path}, workspace=tmp_path)  # type: ignore[dict-item]
