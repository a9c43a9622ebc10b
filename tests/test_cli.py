"""The command line as a person uses it: what it prints, what it writes, how it fails."""

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import make_prose, write_jsonl

RECIPE = """
pool: {read: pool/*.jsonl}
target: {read: target.jsonl, holdout: 0.4}
budget: 15k tokens
seeds: 2
proxy: {ngram: {order: 3, vocab_size: 600}}
arms:
  dsir: {score: dsir, select: {top: {}}, where: "length.words >= 20"}
write: {arm: best, to: chosen}
"""


def assay(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assay.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "pool").mkdir()
    write_jsonl(path / "pool/a.jsonl", make_prose(600, seed=1, topic="g"))
    write_jsonl(path / "pool/b.jsonl", make_prose(200, seed=2, topic="t"))
    write_jsonl(path / "target.jsonl", make_prose(60, seed=4, topic="t"))
    (path / "recipe.yaml").write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def compared(folder: Path) -> subprocess.CompletedProcess[str]:
    return assay("compare", "recipe.yaml", cwd=folder)


def test_compare_prints_a_table_that_fits_and_names_what_it_wrote(
    folder: Path, compared: subprocess.CompletedProcess[str]
) -> None:
    assert compared.returncode == 0, compared.stderr
    assert "dsir is better than random: at 15k tokens it saves" in compared.stdout.replace("\n", " ")
    assert all(len(line) <= 80 for line in compared.stdout.splitlines())
    for name in ("comparison.json", "report.html", "chosen"):
        assert f"  {name}" in compared.stdout
        assert (folder / name).exists()
    assert (folder / ".assay").is_dir()
    assert "Traceback" not in compared.stderr


def test_steps_that_are_not_a_terminal_take_one_line_each(compared: subprocess.CompletedProcess[str]) -> None:
    lines = compared.stderr.splitlines()
    assert any("✓ read pool" in line for line in lines)
    assert any("✓ train all arms" in line and "runs" in line for line in lines)
    assert "\x1b" not in compared.stderr


def test_a_terminal_shows_our_steps_and_nothing_of_the_engine(folder: Path, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "assay.cli", "score", "recipe.yaml", "--workspace", str(tmp_path)]
    process = subprocess.Popen(command, cwd=folder, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while chunk := _read_terminal(screen):
        shown += chunk
    assert process.wait(timeout=300) == 0
    assert "✓ score dsir" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert b"daft" not in shown.lower()


def _read_terminal(screen: int) -> bytes:
    try:
        return os.read(screen, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["score", "recipe.yaml", "--arm", "dsir"], ["dsir.log_weight", "effective sample size", "length.words"]),
        (["select", "recipe.yaml", "--arm", "dsir"], ["kept", "below the cut: the budget was full"]),
        (["select", "recipe.yaml"], ["random", "dsir"]),
        (["write", "recipe.yaml", "--arm", "random", "--to", "other", "--format", "jsonl"], ["Wrote ", " to other"]),
        (["write", "recipe.yaml"], ["Wrote ", "chosen"]),
        (["show", "recipe.yaml"], ["dsir is better than random"]),
        (["show", "comparison.json"], ["dsir is better than random"]),
        (["show"], ["comparison", "scores", "selection", "run", "tokens", "artifacts in"]),
        (["show", "chosen"], ["Export"]),
    ],
)
def test_every_step_alone_shares_what_was_computed(
    folder: Path, compared: subprocess.CompletedProcess[str], arguments: list[str], expected: list[str]
) -> None:
    done = assay(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    for text in expected:
        assert text in done.stdout
    assert "train and test" not in done.stderr or "runs in 0" in done.stderr


def test_show_finds_an_artifact_by_the_start_of_its_fingerprint(
    folder: Path, compared: subprocess.CompletedProcess[str]
) -> None:
    mark = json.loads((folder / "comparison.json").read_text())["pool"]["fingerprint"]
    done = assay("show", mark[:8], cwd=folder)
    assert "Corpus" in done.stdout and "800" in done.stdout and mark in done.stdout


def test_init_writes_a_recipe_that_loads_and_overwrites_nothing(tmp_path: Path) -> None:
    done = assay("init", cwd=tmp_path)
    assert done.returncode == 0 and "assay compare recipe.yaml" in done.stdout
    text = (tmp_path / "recipe.yaml").read_text()
    again = assay("init", cwd=tmp_path)
    assert again.returncode == 1 and "recipe.yaml is there already" in again.stderr
    assert (tmp_path / "recipe.yaml").read_text() == text
    missing = assay("compare", "recipe.yaml", cwd=tmp_path)
    assert missing.returncode == 1 and "No file matches" in missing.stderr and "pool/*.jsonl.zst" in missing.stderr


def test_set_changes_the_recipe(folder: Path) -> None:
    done = assay("select", "recipe.yaml", "--arm", "dsir", "--set", "budget=5k tokens", cwd=folder)
    assert '"budget": 5000' in done.stdout.replace("\n", " ").replace("  ", "")
    bad = assay("select", "recipe.yaml", "--set", "arms.dsir.score.dsir.num_bucket=5", cwd=folder)
    assert bad.returncode == 1 and "Did you mean 'num_buckets'?" in bad.stderr
    assert "must be KEY=VALUE" in assay("select", "recipe.yaml", "--set", "budget", cwd=folder).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compare", "nowhere.yaml"], 1, "There is no recipe nowhere.yaml. `assay init` writes one to start from."),
        (["compare"], 2, "Missing argument 'recipe'"),
        (["score", "recipe.yaml", "--part", "4/3"], 2, "Invalid value for '--part'"),
        (["measure"], 2, "No such command 'measure'"),
        (["recipe", "show", "dsri"], 1, "Did you mean 'dsir'?"),
        (["recipe", "run", "dsir", "--target", "target.jsonl", "--budget", "5k tokens"], 2, "Missing option '--pool'"),
        (["select", "recipe.yaml", "--arm", "dsri"], 1, "no arm 'dsri'; it has random, dsir"),
        (["show", "ffff"], 1, "match 'ffff'"),
        (["init", "nowhere/recipe.yaml"], 1, "There is no folder nowhere for recipe.yaml. Make it, or mend the name."),
        (["calibrate", "target.jsonl", "--to", "nowhere/de.yaml"], 1, "There is no folder nowhere for de.yaml."),
        (["write", "recipe.yaml", "--to", "."], 1, "is not empty and was not written by `assay write`"),
    ],
)
def test_mistakes_end_in_one_clear_sentence(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = assay(*arguments, cwd=folder)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_calibrate_writes_what_a_recipe_reads(folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "clean.jsonl", make_prose(80, seed=5, topic="t"))
    done = assay("calibrate", "clean.jsonl", "--to", "xx.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "calibration: xx.yaml" in done.stdout and "gopher.too_few_alpha_words" in done.stdout
    shown = assay("select", "recipe.yaml", "--set", f"calibration={tmp_path / 'xx.yaml'}", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    few = assay("calibrate", "clean.jsonl", "--tail", "2", cwd=tmp_path)
    assert few.returncode == 1 and "`tail` (=2.0) must be a share from 0 to 0.5" in few.stderr


def test_recipes_are_listed_shown_and_run(folder: Path, compared: subprocess.CompletedProcess[str]) -> None:
    listed = assay("recipe", "list", cwd=folder)
    assert "Xie et al. 2023" in listed.stdout and all(len(line) <= 80 for line in listed.stdout.splitlines())
    shown = assay("recipe", "show", "fineweb2", cwd=folder)
    assert shown.stdout.startswith("# FineWeb2: ") and "pool: {read: pool/*.jsonl.zst}" in shown.stdout
    sources = ["--pool", "pool/*.jsonl", "--target", "target.jsonl", "--budget", "2k tokens", "--seeds", "2"]
    changes = ["--set", "proxy={ngram: {order: 3, vocab_size: 600}}"]
    done = assay("recipe", "run", "fineweb2", *sources, *changes, "--write", "taken", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Recipe  fineweb2/recipe.yaml" in done.stdout and (folder / "fineweb2/report.html").exists()
    assert "✓ read pool" not in done.stderr and list((folder / "taken").glob("*.parquet"))


def test_help_lists_every_command() -> None:
    done = assay("--help", cwd=Path.cwd())
    for command in ("demo", "init", "compare", "score", "select", "write", "calibrate", "recipe", "show"):
        assert command in done.stdout


def test_version_is_that_of_the_package() -> None:
    done = assay("--version", cwd=Path.cwd())
    assert done.returncode == 0 and done.stdout == f"assay {version('assay')}\n"


def test_verify_seeds_prints_a_table_that_fits_and_what_is_accepted(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "base.jsonl", make_prose(400, seed=1, topic="g"))
    write_jsonl(tmp_path / "good.jsonl", make_prose(100, seed=2, topic="t"))
    write_jsonl(tmp_path / "more.jsonl", make_prose(100, seed=3, topic="g"))
    write_jsonl(tmp_path / "target.jsonl", make_prose(50, seed=4, topic="t"))
    options = ["--base", "base.jsonl", "--target", "target.jsonl", "--seeds", "4"]
    done = assay("verify-seeds", "good.jsonl", "same=more.jsonl", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Accepted: good (2 tried, 4 seeds" in done.stdout.replace("\n", " ")
    assert all(len(line) <= 80 for line in done.stdout.split("Result")[0].splitlines())
    twice = assay("verify-seeds", "good.jsonl", "good=more.jsonl", *options, cwd=tmp_path)
    assert twice.returncode == 1 and "Two candidates are called 'good'" in twice.stderr
    for folder in ("date=2024", "pool/date=2024"):  # is no name, as Hive's folders are called so
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "good.jsonl").write_bytes((tmp_path / "good.jsonl").read_bytes())
        twice = assay("verify-seeds", "good.jsonl", f"{folder}/good.jsonl", *options, cwd=tmp_path)
        assert twice.returncode == 1 and "Two candidates are called 'good'" in twice.stderr


def test_label_asks_reads_answers_and_asks_again(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_prose(40, seed=1, topic="g") + make_prose(40, seed=2, topic="t"))
    command = ["label", "pool.jsonl", "--classes", "g,t", "--budget", "20", "--batch", "10"]
    first = assay(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "0 of 20 labels" in first.stdout and "Answer  labels/ask-001.jsonl: fill in" in first.stdout
    asked = tmp_path / "labels/ask-001.jsonl"
    rows = [json.loads(line) for line in asked.read_text(encoding="utf-8").splitlines()]
    write_jsonl(asked, [row | {"label": row["id"][0]} for row in rows])
    second = assay(*command, cwd=tmp_path)
    assert "10 of 20 labels; of those held out" in second.stdout and "ask-002.jsonl" in second.stdout
