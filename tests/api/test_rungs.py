"""What a comparison says of other proxies on the same arms, whichever was run first."""

from pathlib import Path

import pytest

import assay
from assay.api import comparing
from assay.artifacts.workspace import Workspace
from tests.conftest import in_this_process, make_prose, write_jsonl


@in_this_process
def test_reports_tell_of_rungs_that_were_run_later(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "render", lambda *_: "")  # charts take seconds
    write_jsonl(tmp_path / "pool.jsonl", make_prose(30, seed=1, topic="g") + make_prose(20, seed=2, topic="t"))
    write_jsonl(tmp_path / "target.jsonl", make_prose(20, seed=3, topic="t"))

    def compared(order: int) -> assay.Comparison:
        recipe = {
            "pool": str(tmp_path / "pool.jsonl"),
            "target": str(tmp_path / "target.jsonl"),
            "budget": "1k tokens",
            "seeds": 2,
            "proxy": {"ngram": {"order": order, "vocab_size": 300}},
            "arms": {"on-topic": {"where": "source = 't'"}},
        }
        return assay.compare(recipe, workspace=workspace)

    first = compared(2)
    assert first.content["rungs"] == [] and "No other rung was run" in first.content["agreement"]
    second = compared(3)
    assert [(one["proxy"]["order"], one["pairs"]) for one in second.content["rungs"]] == [(2, 1)]
    again = compared(2)
    assert [(one["proxy"]["order"], one["same_order"]) for one in again.content["rungs"]] == [(3, 1)]
    assert "1 of 1 pairs in the same order" in again.content["agreement"]
    assert again.content["lineage"]["runs"] == first.content["lineage"]["runs"]  # nothing was trained again
    assert compared(2) == again  # and there it ends
