"""A fit to a table of runs whose law is planted; what is wrong with a table is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import assay
from assay.api.fitting import fit_mixture
from assay.api.mixture_output import fit_report
from assay.cli import app
from assay.comparison.mixture_report import warnings
from assay.errors import InvalidParameterError
from assay.mixtures.mixture import Mixture
from assay.mixtures.runs import Runs

SOURCES = ("web", "books", "code", "never")
BEST = np.array([0.5, 0.3, 0.2, 0.0])


def planted(num: int = 60, **changes: Any) -> Runs:
    """Two metrics; the first is lowest at BEST, the second with nothing but books. Nothing is ever of `never`."""
    rng = np.random.default_rng(0)
    weights = np.concatenate([rng.dirichlet(np.ones(3), num), np.zeros((num, 1))], axis=1)
    first = 2 + ((weights - BEST) ** 2).sum(axis=1) + 0.002 * rng.normal(size=num)
    second = 4 - weights[:, 1]
    fields = {"sources": SOURCES, "weights": weights, "metrics": ("law", "other")}
    fields |= {"losses": np.stack([first, second], axis=1), "names": tuple(f"r{k}" for k in range(num))}
    return Runs(**(fields | changes))


def test_the_planted_optimum_is_found() -> None:
    found = fit_mixture(planted(), target="law")
    np.testing.assert_allclose(found.weights, BEST, atol=0.04)
    assert found.choice.spearman is not None and found.choice.spearman > 0.98
    assert abs(found.prediction - 2) < 0.01 <= found.best_loss - 2 + 0.01
    assert found.mixture().weights["web"] == pytest.approx(found.weights[0])
    assert any("never" in told for told in warnings(fit_report(found)))
    other = fit_mixture(planted(), target="other")
    assert other.weights[1] > 0.95


def test_the_order_of_runs_changes_nothing() -> None:
    runs, order = planted(), np.random.default_rng(0).permutation(60)
    shuffled = replace(
        runs, weights=runs.weights[order], losses=runs.losses[order], names=tuple(runs.names[k] for k in order)
    )
    first, other = (fit_mixture(table, regressor="gp") for table in (runs, shuffled))
    np.testing.assert_array_equal(first.weights, other.weights)


def test_limits_and_prior_are_kept() -> None:
    found = fit_mixture(planted(), target="other", at_most={"books": 0.6}, prior={"books": 1, "code": 1})
    assert found.weights[1] == pytest.approx(0.6, abs=0.01)
    assert found.weights[[0, 3]] == pytest.approx([0, 0])
    assert any("at the cap" in told for told in warnings(fit_report(found)))


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (planted(), {"target": "loss"}, r"`metric` \(='loss'\) must be one of law, other"),
        (planted(), {"regressor": "oracle"}, "`regressor`"),
        (
            planted(),
            {"prior": {"wiki": 1}},
            "`prior` names 'wiki', which is no source of the runs; they have web",
        ),
        (planted(), {"at_most": {"web": 0.2, "books": 0.2, "code": 0.2, "never": 0.2}}, "sum to 1 or more"),
        (planted(), {"at_most": {"web": -1}}, "`at_most.web`"),
        (planted(4), {}, "No regressor can be fitted"),
        (planted(losses=np.ones((60, 2))), {}, "same loss, 1: nothing can be learnt"),
    ],
)
def test_bad_input_is_refused(runs: Runs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        fit_mixture(runs, **options)


def test_the_command_writes_mixture_and_report(tmp_path: Path) -> None:
    assay.mix.write_runs(planted(), tmp_path / "runs.csv")
    options = ["--target", "law", "--at-most", "web=0.4", "--regressor", "gp"]
    out = ["--to", str(tmp_path / "m.yaml"), "--report", str(tmp_path / "m.html")]
    run = CliRunner().invoke(app, ["mix", "fit", str(tmp_path / "runs.csv"), *options, *out])
    assert run.exit_code == 0, run.output
    assert Mixture.load(tmp_path / "m.yaml").weights["web"] == pytest.approx(0.4, abs=0.01)
    assert "Note: " in run.output and "<html" in (tmp_path / "m.html").read_text(encoding="utf-8")
    run = CliRunner().invoke(app, ["mix", "fit", str(tmp_path / "runs.csv"), "--at-most", "web"])
    assert run.exit_code == 1 and "SOURCE=SHARE" in run.output
    for option in ("--to", "--report"):
        run = CliRunner().invoke(app, ["mix", "fit", "not-read.csv", *out, option, str(tmp_path / "no/m")])
        assert run.exit_code == 1 and "There is no folder" in run.output
    text = (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()
    text[3] = text[3].rpartition(",")[0] + ",nan"
    (tmp_path / "bad.csv").write_text("\n".join(text), encoding="utf-8")
    run = CliRunner().invoke(app, ["mix", "fit", str(tmp_path / "bad.csv"), *out])
    assert run.exit_code == 1 and "r2" in run.output
    run = CliRunner().invoke(app, ["mix", "fit", str(tmp_path / "bad.csv"), "--drop-failed", "--regressor", "gp", *out])
    assert run.exit_code == 0, run.output
