"""A recipe as simulations: what loops and ablations find in a pool whose sources are planted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay import Recipe
from assay.api import simulation
from assay.api.ablating import ablate
from assay.api.simulating import simulations
from assay.api.tails import ablate_tail
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.models.ngram import score_once
from assay.proxy.stream import document_bits
from tests.conftest import make_prose, write_jsonl

TOKENS = 6_000


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("simulating")
    rows = [
        {**row, "id": f"{topic}-{row['id']}", "source": name}
        for seed, (topic, name) in enumerate((("g", "general"), ("t", "topic"), ("x", "other")))
        for row in make_prose(150, seed=seed, topic=topic)
    ]
    write_jsonl(folder / "pool.jsonl", rows)
    write_jsonl(folder / "target.jsonl", make_prose(80, seed=9, topic="t"))
    return {
        "pool": {"read": str(folder / "pool.jsonl"), "id": "id"},
        "target": {"read": str(folder / "target.jsonl"), "holdout": 0.5},
        "budget": f"{TOKENS} tokens",
        "proxy": {"ngram": {"order": 3, "vocab_size": 500}},
        "arms": {"random": {}, "any": {"select": "uniform"}},
    }


@pytest.fixture(scope="module")
def space(content: dict[str, Any]) -> Workspace:
    return Workspace(Path(content["pool"]["read"]).parent / ".assay")


def test_the_source_of_the_targets_topic_is_worth_most_at_any_time(content: dict[str, Any], space: Workspace) -> None:
    found = simulations(Recipe.from_dict(content), seeds=2, workspace=space)
    assert found[0].sources == ("general", "other", "topic") and found[0].metrics == ("target",)
    worth = ablate(found, tokens=TOKENS).worth
    assert worth["topic"].estimate > 0 > worth["other"].estimate
    ends = ablate_tail(
        [one.documents() for one in found],
        found[0].heldout(),
        sources=found[0].sources,
        base=np.array([1.0, 1.0, 0.1]),
        tail=np.array([0.1, 0.1, 1.0]),
        tokens=TOKENS,
    )
    assert ends.gained.estimate > 0 and ends.without.worth["topic"].estimate > 0


def test_documents_are_those_that_a_simulation_counts(content: dict[str, Any], space: Workspace) -> None:
    one = simulations(Recipe.from_dict(content), workspace=space)[0]
    heldout = one.heldout()
    for k, (tokens, starts) in enumerate(one.documents()):
        read = np.zeros((1, 3))
        read[0, k] = starts[20]  # the first twenty documents
        counted = document_bits(score_once(heldout.queries, tokens[: starts[20]], starts[:21]), heldout.starts)
        np.testing.assert_allclose(one.bits(read)[0], counted, rtol=1e-12)


def test_seeds_differ_in_documents_and_share_the_test(content: dict[str, Any], space: Workspace) -> None:
    a, b = simulations(Recipe.from_dict(content), seeds=2, workspace=space)
    np.testing.assert_array_equal(a.sizes, b.sizes)
    assert not np.array_equal(a.documents()[0][0][:200], b.documents()[0][0][:200])
    own = simulations(Recipe.from_dict(content), with_sources=True, workspace=space)[0]
    assert own.metrics == ("target", "source:general", "source:other", "source:topic")


def test_bad_input_is_refused(content: dict[str, Any], space: Workspace) -> None:
    with pytest.raises(InvalidParameterError, match="`seeds`"):
        simulations(Recipe.from_dict(content), seeds=2, with_sources=True, workspace=space)
    with pytest.raises(InvalidParameterError, match="`tokens`"):
        simulations(Recipe.from_dict(content), tokens=TOKENS + 1, workspace=space)


def test_transformers_are_not_simulated(content: dict[str, Any], space: Workspace) -> None:
    pytest.importorskip("torch")
    with pytest.raises(InvalidParameterError, match="Only n-gram proxies are simulated, not gpt"):
        simulations(Recipe.from_dict(content | {"proxy": "gpt"}), workspace=space)


def test_of_a_source_with_long_documents_one_is_held_out(
    content: dict[str, Any], space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "_HELDOUT_TOKENS", 5)
    own = simulations(Recipe.from_dict(content), with_sources=True, workspace=space)[0]
    assert np.bincount(own.groups)[1:].tolist() == [1, 1, 1]
