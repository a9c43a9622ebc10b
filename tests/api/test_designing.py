"""Tables of runs to do: they come back with the losses that a trainer adds."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import assay
from assay.api import designing
from assay.api.designing import SCHEMES, design
from assay.cli import app
from assay.errors import InputError, InvalidParameterError
from assay.mixtures.regression import REGRESSORS
from assay.mixtures.runs import read_runs

HAVE = {"web": 900e6, "books, old": 90e6, "code": 10e6}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_table_comes_back_with_the_losses_added(tmp_path: Path, scheme: str, suffix: str) -> None:
    table = tmp_path / f"runs.{suffix}"
    todo = design(HAVE, 24, scheme=scheme, out=str(table))
    assert todo.sources == tuple(HAVE) and todo.metrics == () and len(todo) == 24
    losses = np.random.default_rng(0).random(24)
    with open(tmp_path / "losses.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "loss.target"])
        writer.writerows(reversed(list(zip(todo.names, losses.tolist(), strict=True))))
    done = read_runs([str(table), str(tmp_path / "losses.csv")])
    assert done.names == todo.names and done.sources == todo.sources
    np.testing.assert_allclose(done.weights, todo.weights, atol=1e-15)
    np.testing.assert_array_equal(done.loss("target"), losses)


def test_no_source_is_read_more_often_than_allowed() -> None:
    for scheme in SCHEMES:
        runs = design(HAVE, 32, scheme=scheme, budget="100M tokens", max_epochs=2)
        epochs = runs.weights * 100e6 / np.array(list(HAVE.values()))
        assert epochs.max() <= 2 + 1e-9
        assert epochs[:, 2].max() > 1  # and the cap is used


def test_names_alone_count_alike() -> None:
    runs = design(["a", "b", "c"], 200, scheme="regmix")
    np.testing.assert_allclose(runs.weights.mean(axis=0), 1 / 3, atol=0.1)
    np.testing.assert_array_equal(design(HAVE, 8, seed=1).weights, design(HAVE, 8, seed=1).weights)


def test_corners_begin_with_what_there_is_then_each_source_alone() -> None:
    weights = design(HAVE, 8, corners=True).weights
    np.testing.assert_allclose(weights[0], [0.9, 0.09, 0.01])
    np.testing.assert_allclose(np.diag(weights[1:4]), [1, 1, 0.15])


def test_runs_that_were_not_done_teach_nothing() -> None:
    for ask in (assay.mix.fit, lambda runs: assay.mix.runs_needed(runs, REGRESSORS["gp"])):
        with pytest.raises(InvalidParameterError, match="`runs` .* must be a table that has some"):
            ask(design(HAVE, 40))


def test_a_source_without_a_token_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(designing, "note", said.append)
    runs = design({"empty": 0, **HAVE}, 8, scheme="even")
    assert runs.sources == tuple(HAVE) and "of them: empty" in said[0]
    np.testing.assert_array_equal(runs.weights, design(HAVE, 8, scheme="even").weights)


def test_the_command_keeps_a_table_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "have.yaml").write_text("web: 3e9\nbooks: 2e8\nnone: 0\n")
    command = ["mix", "design", str(tmp_path / "have.yaml"), "--runs", "8", "--to"]
    first = CliRunner().invoke(app, [*command, str(tmp_path / "todo.csv")])
    assert first.exit_code == 0 and "8 mixtures of 2 sources" in first.output, first.output
    table = (tmp_path / "todo.csv").read_text()
    again = CliRunner().invoke(app, [*command, str(tmp_path / "todo.csv"), "--seed", "1"])
    assert again.exit_code == 1 and "is there already" in again.output
    assert (tmp_path / "todo.csv").read_text() == table
    nowhere = CliRunner().invoke(app, [*command, str(tmp_path / "no/todo.csv")])
    assert nowhere.exit_code == 1 and "There is no folder" in nowhere.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scheme": "regmx"}, "Did you mean 'regmix'"),
        ({"sources": "web"}, "tokens by name, or a list of names"),
        ({"sources": ["web"]}, "at least two different names"),
        ({"sources": ["web", "web"]}, "at least two different names"),
        ({"sources": {"web": 1.0, "code": 0.0}}, "`sources` .* at least two sources with tokens"),
        ({"sources": {"web": 1.0, "code": -1.0}}, "`sources.code` .* at least 0"),
        ({"sources": ["web", "code"], "budget": "1k tokens"}, "not names alone"),
        ({"budget": "10%"}, "`budget` .* in tokens"),
        ({"budget": "100B tokens"}, "cannot fill the budget"),
        ({"budget": "1M tokens", "max_epochs": 0}, "`max_epochs`"),
        ({"scheme": "regmix", "corners": True}, "`corners`"),
        ({"num": 0}, "`num`"),
    ],
)
def test_what_cannot_be_designed_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        design(**{"sources": HAVE, "num": 8} | arguments)


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv"):
        design(HAVE, 8, out=str(tmp_path / "runs.xlsx"))


def test_the_examples_of_the_page_run_and_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "mixture-design.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "mixture-design.md", "exec"), names)
    said, (printed,) = capsys.readouterr().out, re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    # Figures of eigenvalues differ a little from machine to machine.
    assert re.sub(r"[\d.]+", "#", said) == re.sub(r"[\d.]+", "#", printed)
    assert "| run-00 | 0.8036 | 0.0536 |" in page
    assert (tmp_path / "todo.csv").read_text(encoding="utf-8").splitlines()[1].startswith('"run-00",0.8036,0.0536,')
    assert names["more"].shape == (8, 6) and names["found"][1] + names["found"][3] > 0.8
    assert "not verified by training on it" in (tmp_path / "mixture.html").read_text(encoding="utf-8")
