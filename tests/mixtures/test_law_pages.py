"""docs/mixing-laws.md and docs/climb.md: their examples run, and give what is written beside them."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from assay.api.recipe import Recipe
from assay.mixtures.laws import MixingLaw
from assay.mixtures.runs import Runs, write_runs
from tests.conftest import make_documents, write_parquet

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)


def noted(code: str) -> dict[str, str]:
    """What stands in the comment after each expression that is alone on its line."""
    return {a.strip(): b.strip() for a, b in re.findall(r"^(\w[\w.(\d)]*?) +# (.*)$", code, re.M)}


def planted_runs() -> Runs:
    """42 runs of 5 sources; three kinds of text, each an exponential law, noise .002."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(5), 42)
    laws = [MixingLaw(2.0 + k / 4, rng.normal(-1, 1.2, (1, 5))) for k in range(3)]
    losses = np.stack([law.predict(weights) for law in laws], axis=1) + 0.002 * rng.normal(size=(42, 3))
    return Runs(
        sources=("web", "books", "code", "news", "law"),
        weights=weights,
        metrics=("news", "books", "code"),
        losses=losses,
        names=tuple(f"run{k}" for k in range(42)),
    )


def test_examples_of_mixing_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(planted_runs(), "runs.csv")
    names: dict[str, object] = {}
    first, second, third = examples("mixing-laws.md")
    exec(first, names)
    for expression, value in noted(first).items():
        if value[0].isdigit():
            assert f"{eval(expression, names):.4f}" == value.split(":")[0], expression
    assert names["found"].advice == () and names["optimum"].gap <= 1e-6  # type: ignore[attr-defined]
    exec(second, names)
    np.testing.assert_allclose(names["late"].values, [2.8, 2.84], atol=1e-3)  # type: ignore[attr-defined]
    exec(third, names)
    np.testing.assert_allclose(names["found"].ratio, [0.592, 0.611, 0.634], atol=6e-4)  # type: ignore[attr-defined]
    assert names["found"].at(20e9).ratio == pytest.approx(0.705, abs=6e-4)  # type: ignore[attr-defined]


class Simulation:
    def losses(self, tokens: np.ndarray) -> np.ndarray:
        shares = tokens / tokens.sum(axis=1, keepdims=True)
        return 2 + ((shares - np.array([0.4, 0.3, 0.2, 0.1])) ** 2).sum(axis=1, keepdims=True)


def test_examples_of_climb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool").mkdir()
    for k in range(4):
        write_parquet(tmp_path / "pool" / f"{k}.parquet", make_documents(150, seed=k, topic="gtab"[k]))
    names: dict[str, object] = {"simulation": Simulation()}
    exec(examples("climb.md")[0], names)
    weights, found = names["mixture"].weights, names["found"]  # type: ignore[attr-defined]
    assert len(weights) == 4 and found.losses.shape == (112,)  # type: ignore[attr-defined]
    np.testing.assert_allclose(list(weights.values()), [0.4, 0.3, 0.2, 0.1], atol=0.05)
    groups = names["chosen"].manifest.summary["groups"]  # type: ignore[attr-defined]
    for name, weight in weights.items():
        assert groups[name]["share"] == pytest.approx(weight, abs=0.02)
    content = {"pool": "pool", "target": "t.jsonl", "budget": "1M tokens"}
    recipe = Recipe.from_dict(content | yaml.safe_load(examples("climb.md", "yaml")[0]), tmp_path)
    assert list(recipe.arms) == ["random", "climb", "proportional", "equal"]
