"""examples/compare_methods.py: what it keeps apart, what it says of an arm, and that docs/methods.md has that."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from assay.recipes import RECIPES
from tests.conftest import make_prose, write_jsonl

ROOT = Path(__file__).parents[1]


@pytest.fixture
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("compare_methods", ROOT / "examples" / "compare_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    yield module


def test_what_is_tested_on_stands_neither_in_the_pool_nor_beside_what_is_chosen_by(
    methods: ModuleType, shared: Path
) -> None:
    pool = {row["id"].split("#cut")[0] for row in methods.pool_documents(shared)}
    for name in methods.TARGETS:
        fit, test = (list(methods.target_documents(shared, name, side)) for side in ("fit", "test"))
        assert 200 < len(fit) <= methods.MOST and 200 < len(test) <= methods.MOST
        origins = [{row["id"].split("#cut")[0] for row in rows} for rows in (fit, test)]
        assert not origins[0] & origins[1] and not (origins[0] | origins[1]) & pool
    rows = {r["id"]: r for r in methods.lines_of(shared / "benchmarks/squad/validation.jsonl.zst")}
    titles = [{rows[r["id"]]["title"] for r in methods.target_documents(shared, "squad", s)} for s in ("fit", "test")]
    assert not titles[0] & titles[1]


def test_an_arm_that_is_better_is_said_to_be(
    methods: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [row | {"source": "good"} for row in make_prose(200, seed=1, topic="t")]
    pool = write_jsonl(tmp_path / "pool.jsonl", good + make_prose(400, seed=2, topic="n"))
    fit, test = (write_jsonl(tmp_path / f"{s}.jsonl", make_prose(40, seed=s, topic="t")) for s in (3, 4))
    monkeypatch.setattr(methods, "BUDGET", 4000)
    monkeypatch.setattr(methods, "FOUND", tmp_path / "found.json")
    known = {
        "good": {"where": "source = 'good'"},
        "bad": {"where": "source <> 'good'"},
        "by n-grams": {"score": "dsir"},
    }
    monkeypatch.setattr(methods, "RECIPES", {"dsir": RECIPES["dsir"]})
    monkeypatch.setattr(methods, "arms", lambda _: known)
    question = methods.layout_of("sciq", str(pool), "seeds/*.jsonl", str(fit), str(test))
    methods.KEPT.mkdir()
    methods.keep("sciq", methods.found(question))
    methods.keep(methods.SECONDS, methods.core_seconds(question))
    content = json.loads((tmp_path / "found.json").read_text())
    arms = {arm["name"]: arm for arm in content["sciq"]["arms"]}
    assert {name: arm["verdict"] for name, arm in arms.items()} == {
        "random": None,
        "good": "better",
        "bad": "worse",
        "by n-grams": "better",
    }
    assert content["core_seconds"]["by n-grams"] > content["core_seconds"]["good"] >= 0
    overview = methods.tables(content).split("\n\n")[0].splitlines()
    assert overview[0] == "| arm | sciq | better, worse | core seconds |"
    rows = {row.split(" | ")[0]: row for row in overview[2:]}
    assert re.match(r"\| good \| \*\*\S.*\*\* \| 1, 0 \|", rows["| good"])
    assert re.match(r"\| bad \| \S.* worse \| 0, 1 \|", rows["| bad"])
    assert list(rows)[-2:] == ["| random", "| bad"]


def test_the_page_holds_what_was_found_for_every_target_and_no_arm_that_is_gone(methods: ModuleType) -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    found = json.loads(methods.FOUND.read_text(encoding="utf-8"))
    assert f"<!-- tables -->\n{methods.tables(found)}\n<!-- end of tables -->" in page
    assert tuple(found) == (*methods.TARGETS, methods.SECONDS)
    arms = {"random", *methods.arms(methods.recipes_of("pool.jsonl", {"read": "target.jsonl"}, "seeds/*.jsonl"))}
    for result in (found[target] for target in methods.TARGETS):
        assert {arm["name"] for arm in result["arms"]} <= arms
        for arm in result["arms"][1:]:
            low, high = arm["effect"]["low"], arm["effect"]["high"]
            assert arm["verdict"] == ("better" if low > 0 else "worse" if high < 0 else "no difference shown")
