"""What the README shows works, and what it lists is there."""

import re
from pathlib import Path

import pytest
from yaml import safe_load

from assay import Recipe
from assay.proxy.rules import rules_of
from tests.conftest import make_prose, write_jsonl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def block(language: str) -> str:
    return blocks(language)[0]


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = make_prose(800, seed=1, topic="g") + make_prose(200, seed=2, topic="t")
    write_jsonl(tmp_path / "pool.jsonl", documents)
    write_jsonl(tmp_path / "target.jsonl", make_prose(60, seed=3, topic="t"))
    monkeypatch.chdir(tmp_path)
    code = block("python").replace("pool/*.jsonl.zst", "pool.jsonl")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "chosen" / "_manifest.json").exists()
    assert "dsir is better than random" in capsys.readouterr().out


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(block("yaml"), encoding="utf-8")
    assert list(Recipe.load(tmp_path / "recipe.yaml").arms) == ["random", "dsir", "dsir-top", "longest"]


def scorers_of_arms(yaml: str) -> dict[str, list[str]]:
    arms = Recipe.from_dict(safe_load(yaml)).arms
    return {name: [scorer.name for scorer in arm.scorers()] for name, arm in arms.items()}


def test_the_arms_of_published_methods_are_some() -> None:
    common = 'pool: "pool.jsonl"\ntarget: target.jsonl\nbudget: 1M tokens\n'
    assert scorers_of_arms(common + blocks("yaml")[1]) == {
        "random": [],
        "dclm": ["classifier"],
        "betr": ["distil"],
        "diverse": ["classifier", "clusters"],
        "unlike": ["rds", "semdedup"],
    }


def test_the_arms_of_neural_proxies_are_some() -> None:
    pytest.importorskip("torch")
    common = 'pool: "pool.jsonl"\ntarget: target.jsonl\nbudget: 1M tokens\n'
    recipe = Recipe.from_dict(safe_load(common + blocks("yaml")[2]))
    assert scorers_of_arms(common + blocks("yaml")[2]) == {
        "random": [],
        "color": ["loss_difference"],
        "middle": ["perplexity"],
        "less": ["gradient"],
        "twice": ["dsir"],
        "careful": [],
    }
    assert [rule.name for rule in rules_of(recipe.arms["careful"].train)] == ["reweight", "ema"]


def test_the_recipe_of_mixing_is_one() -> None:
    recipe = Recipe.from_dict(safe_load(blocks("yaml")[3]))
    assert recipe.mix is not None and recipe.mix.runs == 512 and list(recipe.arms) == ["random"]


def test_the_recipe_of_cleaning_is_one() -> None:
    assert scorers_of_arms(blocks("yaml")[4]) == {
        "random": [],
        "rules": ["heuristics"],
        "english": ["language"],
        "unique": ["minhash"],
        "new": ["repeats", "substrings"],
    }


def test_the_tree_lists_every_room_and_no_other() -> None:
    tree = block("text").split("tests/")[0]
    listed = set(re.findall(r"─ (\w+(?:/|\.py)) ", tree))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "src/assay").iterdir()}
    assert listed == {name for name in there if name[0].isalpha() and Path(name).suffix in ("", ".py")}


def test_every_test_that_the_documents_name_is_there() -> None:
    pages = [page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")]
    tests = [file.read_text("utf-8") for file in (ROOT / "tests").rglob("*.py")]
    named = {name for page in pages for name in re.findall(r"`(test_\w+)`", page)}
    there = {name for file in tests for name in re.findall(r"def (test_\w+)", file)}
    assert len(named) > 20
    assert not named - there
