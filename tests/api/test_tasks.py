"""Benchmark items in a recipe: no arm reads them, every proxy answers them, a neural one goes on after a kill."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.api.recipe import Recipe
from assay.api.staging import do_tasks, prepare
from assay.artifacts.kinds import Run
from assay.artifacts.workspace import Workspace
from assay.errors import InputError, InvalidParameterError
from tests.conftest import in_this_process, make_prose, write_jsonl

NGRAM = {"ngram": {"order": 2, "vocab_size": 300}}


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """A recipe whose pool holds one item of the benchmark that it asks."""
    pool = make_prose(80, seed=1, topic="g") + make_prose(40, seed=2, topic="t")
    items = []
    for k, document in enumerate(make_prose(8, seed=7, topic="t", length=30)):
        words = document["text"].split()
        items.append(
            {"id": k, "question": " ".join(words[:10]), "choices": [" ".join(words[10:13]), "g1"], "answer": 0}
        )
    pool[100]["text"] += f" {items[5]['question']} {items[5]['choices'][0]}"  # type: ignore[index]
    (tmp_path / "quiz").mkdir()
    return {
        "pool": str(write_jsonl(tmp_path / "pool.jsonl", pool)),  # type: ignore[arg-type]
        "target": str(write_jsonl(tmp_path / "target.jsonl", make_prose(20, seed=3, topic="t"))),
        "budget": "1k tokens",
        "seeds": 2,
        "proxy": NGRAM,
        "arms": {"on-topic": {"where": "source = 't'"}},
        "tasks": [str(write_jsonl(tmp_path / "quiz/test.jsonl", items))],
    }


def left_out(recipe: dict[str, Any], workspace: Workspace) -> int:
    stage = prepare(Recipe.from_dict(recipe), workspace)
    chosen = stage.task("on-topic", 0, whole_pool=True).selection(stage.bench)
    return chosen.manifest.counts["dropped"].get("contamination", 0)


def test_what_holds_an_item_that_is_asked_may_not_be_chosen(asked: dict[str, Any], workspace: Workspace) -> None:
    assert left_out(asked, workspace) == 1
    file = asked["tasks"][0]
    assert left_out({**asked, "tasks": {"quiz": {"read": file, "max_items": 2}}}, workspace) == 0  # of which it is none
    short = [{"id": 0, "question": "What?", "choices": ["a", "b"], "answer": 0}]
    other = str(write_jsonl(Path(file).parent / "other.jsonl", short))
    assert left_out({**asked, "tasks": [other]}, workspace) == 0  # nothing that could be looked for
    sets = str(
        write_jsonl(Path(file).parent / "set.jsonl", [{"id": "x", "text": "some words that stand nowhere else"}])
    )
    assert left_out({**asked, "benchmarks": sets}, workspace) == 1  # beside the sets that are named
    assert left_out({**asked, "benchmarks": {"read": sets, "exclude": False}}, workspace) == 0


def test_tasks_that_cannot_be_told_apart_or_read_are_refused(asked: dict[str, Any], workspace: Workspace) -> None:
    file = asked["tasks"][0]
    with pytest.raises(InvalidParameterError, match=r"files of different names, not two 'quiz/test'. Name them"):
        Recipe.from_dict({**asked, "tasks": [file, f"elsewhere/{'/'.join(Path(file).parts[-2:])}"]})
    with pytest.raises(InvalidParameterError, match="names without ':'"):
        Recipe.from_dict({**asked, "tasks": {"a:b": file}})
    with pytest.raises(InputError, match="nothere.jsonl is not there"):
        assay.compare({**asked, "tasks": {"quiz": "nothere.jsonl"}}, workspace=workspace)
    with pytest.raises(
        InvalidParameterError, match=r"arms.on-topic.match` .='compute'. says what rules.* Add `train:`"
    ):
        Recipe.from_dict({**asked, "arms": {"on-topic": {"match": "compute"}}})


def test_the_report_has_what_every_arm_answers(asked: dict[str, Any], workspace: Workspace) -> None:
    comparison = assay.compare(asked, workspace=workspace)
    assert comparison.content["contamination"]["items_found"] == {"tasks.quiz/test": 1}
    [found] = comparison.content["benchmarks"]
    assert (found["task"], found["items"], found["chance"], found["truncated"]) == ("quiz/test", 8, 0.5, 0)
    runs = comparison.content["lineage"]["runs"]
    for name, arm in found["arms"].items():
        tables = [Run(workspace.find(runs[f"run.{name}.1000.{seed}"])).answers() for seed in range(2)]
        rows = [row for table in tables if table is not None for row in table.to_pylist()]
        assert len(rows) == 16
        per_byte = [row["gold_bits"] / row["gold_bytes"] for row in rows]
        assert arm["bits_per_byte"]["value"] == pytest.approx(np.mean(per_byte))
        assert arm["accuracy"]["value"] == pytest.approx(np.mean([row["correct"] for row in rows]))
    html = Path(comparison.report).read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]+>", " ", html[html.index("<h2>Benchmarks</h2>") : html.index("<h2>What the arms are worth")])
    assert "8 items, chance 0.500" in shown
    for one in found["arms"]["on-topic"].values():
        assert f"{one['effect']['estimate']:+.3f} ({one['effect']['low']:+.3f} to" in shown


@in_this_process
def test_a_neural_run_that_was_killed_gives_the_same_answers(
    asked: dict[str, Any], workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from assay.api import running
    from assay.proxy import train

    proxy = {"gpt": {"size": "1M", "vocab_size": 300, "settings": {"sequence_length": 64, "min_steps": 4}}}
    steps: list[int] = []
    plain, whole = train._Training._do_step, running.train_network

    def counted(training: Any) -> None:
        steps.append(training.step)
        if len(steps) == 3:
            raise RuntimeError("killed")
        plain(training)

    def saving(*given: Any, **named: Any) -> Any:
        limits = train.Limits(checkpoint_seconds=0) if len(steps) < 3 else None  # what is not killed needs none
        return whole(*given, **named, limits=limits)

    monkeypatch.setattr(running, "train_network", saving)
    monkeypatch.setattr(train._Training, "_do_step", counted)

    def tested(space: Workspace) -> Run:
        stage = prepare(Recipe.from_dict({**asked, "proxy": proxy, "budget": "300 tokens"}), space)
        [found] = do_tasks(stage.bench, [stage.task("on-topic", 0)], "train")
        return found

    with pytest.raises(Exception, match="killed"):
        tested(workspace)
    found = tested(workspace)
    resumed = len(steps)
    expected = tested(Workspace(tmp_path / "other"))
    assert resumed - 1 == len(steps) - resumed > 3  # the step that was interrupted is the only one begun twice
    assert found.fingerprint == expected.fingerprint
    for ours, theirs in ((found.answers(), expected.answers()), (found.to_table(), expected.to_table())):
        assert ours is not None and theirs is not None and len(ours) > 1
        column = "gold_bits" if "gold_bits" in ours.column_names else "bits"
        np.testing.assert_allclose(ours[column].to_numpy(), theirs[column].to_numpy(), rtol=1e-4)


def test_a_run_depends_on_the_scores_that_its_rule_goes_by(asked: dict[str, Any], workspace: Workspace) -> None:
    """Those that nothing is chosen by are in no selection, and the column's name stays when its values change."""
    pytest.importorskip("torch")
    marks = []
    for num_buckets in (1000, 2000):
        rules = {
            "proxy": {"gpt": {"vocab_size": 300}},
            "scorers": {"dsir": {"num_buckets": num_buckets}},
            "arms": {"ordered": {"select": "uniform", "train": {"curriculum": {"by": "dsir.log_weight"}}}},
        }
        stage = prepare(Recipe.from_dict({**asked, **rules}), workspace)
        task = stage.task("ordered", 0)
        assert "dsir" not in " ".join(task.selection(stage.bench).manifest.inputs)
        marks.append(task.draft(stage.bench).fingerprint)
    assert marks[0] != marks[1]
