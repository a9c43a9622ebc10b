"""docs/online-mixtures.md and docs/ablations.md: their examples run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.api.simulated import Heldout
from assay.mixtures.runs import Runs
from assay.models.ngram import Queries
from tests.api.test_ablating import Planted
from tests.api.test_online import LENGTH, VOCAB, Retrained, documents
from tests.api.test_tails import BASE, SOURCES, TAIL, draw

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("biomed", *(f"source-{k}" for k in range(12)))


class Thirteen(Planted):
    """Thirteen sources, of which the first four are the planted ones."""

    def __init__(self, seed: int):
        super().__init__(seed, sources=NAMES, metrics=("pubmedqa", "lambada", "mmlu"), available=np.full(13, 1e5))

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        return super().bits(tokens[:, :4] + 1e-9)


def table() -> Runs:
    weights = np.random.default_rng(0).dirichlet(np.ones(13), 32)
    own = 2 - np.sqrt(weights)
    losses = np.concatenate((own[:, :1] * 0.7 + own[:, 1:2] * 0.3, own), axis=1)
    metrics = ("pubmedqa", *(f"source:{name}" for name in NAMES))
    names = tuple(map(str, range(32)))
    return Runs(sources=NAMES, weights=weights, metrics=metrics, losses=losses, names=names)


def given() -> dict[str, Any]:
    asked, starts = documents("rich", 40, np.random.default_rng(99)), np.arange(41) * LENGTH
    queries = Queries.of(asked.ravel(), starts, vocab_size=VOCAB, order=3)
    return {
        "np": np,
        "assay": assay,
        "simulation": Retrained(),
        "simulations": [Thirteen(0), Thirteen(1)],
        "runs": table(),
        "prices": np.linspace(1, 2, 13),
        "draws": [draw(0, num=400), draw(1, num=400)],
        "heldout": Heldout(queries, starts, np.full(40, 4.0 * LENGTH), np.zeros(40, np.int64)),
        "names": SOURCES,
        "base": BASE,
        "tail": TAIL,
    }


@pytest.mark.parametrize("page", ["online-mixtures.md", "ablations.md"])
def test_examples_run(page: str) -> None:
    names = given()
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 2
    for block in blocks:
        code = compile(block.replace("00_000", "0_000"), page, "exec")  # a tenth of the tokens
        if "recipe.yaml" not in block:
            exec(code, names)
    if page == "ablations.md":
        assert names["tokens"] @ names["prices"] == pytest.approx(10e9)
        assert np.argsort(names["found"].nu)[-2:].tolist() == [1, 0]
