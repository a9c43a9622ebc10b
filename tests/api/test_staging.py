"""Which rungs the random ladder climbs, and what its runs must agree on."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.api.staging import Evidence, open_targets, prepare
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError
from tests.conftest import make_prose, write_jsonl

# One target of two short documents, one of a long one.
ITEMS = {"id": ["a", "b", "c"], "target": ["short", "short", "long"], "bytes": [10, 10, 980]}


class FakeRun:
    """A run that lost so many bits per byte on each target."""

    def __init__(self, short: float, long: float, **changes: Any):
        bits = np.array([short, short, long]) * np.array(ITEMS["bytes"])
        self.table = pa.table({**ITEMS, **changes, "bits": bits})

    def to_table(self, columns: list[str]) -> pa.Table:
        return self.table.select(columns)


def evidence(**last: Any) -> Evidence:
    runs = {
        ("random", 100): [FakeRun(3.0, 3.0)] * 2,
        ("arm", 100): [FakeRun(1.0, 2.9)] * 2,
        ("random", 200): [FakeRun(2.0, 2.0)] * 2,
        ("random", 400): [FakeRun(1.9, 1.9), FakeRun(1.9, 1.9, **last)],
    }
    return Evidence(runs=runs, ladder=[100, 200, 400], pool_ends=False)  # type: ignore[arg-type]


def test_the_ladder_stops_by_the_mean_that_verdicts_use() -> None:
    """By bytes the arm loses 2.86 and the last rungs are below; as the mean over targets 1.95, and one is not."""
    assert not evidence().is_passed(100)
    passed = evidence()
    passed.runs["random", 200][:] = [FakeRun(1.94, 1.94)] * 2  # type: ignore[index]
    assert passed.is_passed(100)


@pytest.mark.parametrize("change", [{"id": ["b", "a", "c"]}, {"target": ["long"] * 3}, {"bytes": [11, 10, 980]}])
def test_runs_that_were_tested_on_other_documents_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="A run of 'random' at 400 tokens was tested on other documents"):
        evidence(**change).losses()


def test_no_text_of_any_target_is_both_fitted_to_and_tested_on(tmp_path: Any, workspace: Workspace) -> None:
    from assay.api.recipe import Recipe

    path = str(write_jsonl(tmp_path / "target.jsonl", make_prose(60, seed=1, topic="t")))
    write_jsonl(tmp_path / "pool.jsonl", make_prose(50, seed=3, topic="g"))
    targets = {"a": {"read": path, "holdout": 0.2}, "b": {"read": path, "holdout": 0.5}}
    recipe = {"pool": str(tmp_path / "pool.jsonl"), "target": targets, "budget": "1k tokens", "arms": {}}
    stage = prepare(Recipe.from_dict(recipe), workspace)
    fitted = {name for corpus in stage.fit.values() for name in corpus.table(0, ["id"])["id"].to_pylist()}
    tested = {n for corpus, _ in stage.bench.heldout.values() for n in corpus.table(0, ["id"])["id"].to_pylist()}
    assert len(fitted) == 48 and len(tested) == 12 and not fitted & tested
    assert stage.bench.heldout["b"][0].manifest.counts["seen"] == 18


def test_what_scorers_learn_from_is_not_tested_on(tmp_path: Any, workspace: Workspace) -> None:
    from assay.api.recipe import Recipe

    documents = make_prose(60, seed=1, topic="t")
    path = str(write_jsonl(tmp_path / "target.jsonl", documents))
    write_jsonl(tmp_path / "pool.jsonl", make_prose(50, seed=3, topic="g"))
    some = str(write_jsonl(tmp_path / "some.jsonl", documents[:30]))

    def recipe(positives: str) -> Recipe:
        scorer = {"classifier": {"positives": positives, "num_buckets": 1024}}
        arms = {"whole": {"score": {"distil": {"of": scorer, "floor": 0.0, "num_buckets": 1024}}}}
        return Recipe.from_dict(
            {"pool": str(tmp_path / "pool.jsonl"), "target": path, "budget": "1k tokens", "arms": arms}
        )

    _, heldout = open_targets(recipe(some), workspace)
    tested = set(heldout["target"].table(0, ["id"])["id"].to_pylist())
    assert tested and not tested & {document["id"] for document in documents[:30]}
    with pytest.raises(InvalidParameterError, match="18 of the 18 documents of .* word for word .* arms are chosen by"):
        open_targets(recipe(path), workspace)


def test_a_held_out_file_is_read_as_its_target_is(tmp_path: Any, workspace: Workspace) -> None:
    from assay.api.recipe import Recipe

    for name, seed in (("fit", 1), ("held", 2)):
        write_jsonl(tmp_path / f"{name}.data", make_prose(20, seed=seed, topic="t"))
    write_jsonl(tmp_path / "pool.jsonl", make_prose(50, seed=3, topic="g"))
    target = {"read": str(tmp_path / "fit.data"), "holdout": str(tmp_path / "held.data"), "format": "jsonl"}
    recipe = Recipe.from_dict(
        {"pool": str(tmp_path / "pool.jsonl"), "target": target, "budget": "1k tokens", "arms": {}}
    )
    stage = prepare(recipe, workspace)
    assert stage.fit["target"].num_documents == stage.bench.heldout["target"][0].num_documents == 20
