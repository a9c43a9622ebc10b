"""docs/mixtures.md: its examples run, and print what it says."""

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import yaml

import assay
from assay.api.recipe import Recipe
from tests.conftest import make_documents, write_parquet
from tests.mixtures.test_mixture import printed

PAGE = (Path(__file__).parents[2] / "docs" / "mixtures.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return [dedent(found) for found in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)]


def test_its_examples_run_and_its_files_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool").mkdir()
    for k, (name, number) in enumerate({"web": 200, "books": 60, "math": 8, "code": 10}.items()):
        write_parquet(tmp_path / "pool" / f"{name}.parquet", make_documents(number, seed=k, topic=name))
    mixture, arms, schedule = blocks("yaml")
    (tmp_path / "mixture.yaml").write_text(mixture)
    (tmp_path / "schedule.yaml").write_text(schedule)
    assert [phase.name for phase in assay.Schedule.load("schedule.yaml").phases] == ["main", "end"]
    content = {"pool": "pool", "target": "target.jsonl", "budget": "1M tokens", **yaml.safe_load(arms)}
    assert Recipe.from_dict(content, tmp_path).arms["mixed"].select.name == "quota"
    names: dict[str, object] = {}
    for example in blocks("python"):
        exec(example, names)
    assert names["chosen"].manifest.summary["groups"]["math"].keys() == {"tokens", "share", "epochs", "documents"}
    assert names["schedule"] == assay.Schedule.load("schedule.yaml")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00-main", "01-upsampled"]
    shown = [line.strip() for line in printed(names["plan"].table()).splitlines() if line.strip()]
    assert [line.strip() for line in blocks("text")[0].splitlines()] == shown


def test_its_temperatures_are_right() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.split("| tokens | T = 1 |")[1].splitlines()
    ]
    table = np.array([[float(cell) for cell in row[1:]] for row in rows[2:5]])
    sizes = {"large": 900e6, "middle": 100e6, "small": 1e6}
    found = [list(assay.Mixture.proportional(sizes, t).weights.values()) for t in (1, 2, 5, float("inf"))]
    np.testing.assert_allclose(table, np.transpose(found), atol=0.0006)
