"""What the README shows works, and what it lists is there."""

import re
from pathlib import Path

import pytest

from assay import Recipe
from tests.conftest import make_prose, write_jsonl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found.group(1)


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


def test_the_tree_lists_every_module_and_no_other() -> None:
    tree = block("text").split("tests/")[0]
    listed = {name for name in re.findall(r"─ (\w+\.py) ", tree)}
    there = {path.name for path in (ROOT / "src/assay").rglob("*.py") if path.name != "__init__.py"}
    assert listed == there
