"""From runs to the page: what regressors say of the mixture found and of what it is compared with."""

import numpy as np
import pytest

from assay.api.designing import design
from assay.api.mixture_reporting import mixture_report
from assay.comparison.mixture_report import render
from assay.errors import InvalidParameterError
from assay.mixtures.regression import choose
from assay.mixtures.runs import Runs


def test_the_page_shows_what_the_regressor_foretells() -> None:
    available = np.array([900.0, 90.0, 10.0, 40.0])
    todo = design(dict(zip("abcd", available.tolist(), strict=True)), 40)
    losses = np.stack([2 + np.exp(-3 * todo.weights[:, 1]), 1 + todo.weights[:, 0]], axis=1)
    runs = Runs(sources=todo.sources, weights=todo.weights, metrics=("books", "web"), losses=losses, names=todo.names)
    names = ["ridge", "gp"]
    choices = {"mean": choose(runs.weights, runs.loss(), names), "web": choose(runs.weights, runs.loss("web"), names)}
    found = np.array([0.0, 0.9, 0.05, 0.05])
    report = mixture_report(runs, choices, found, title="t", available=available, tokens=100.0)
    assert list(report.baselines) == ["proportional", "uniform", "best measured"]
    np.testing.assert_allclose(report.baselines["best measured"], runs.weights[runs.loss().argmin()])
    mean, web = report.fits
    assert (mean.metric, web.metric) == ("mean", "web")
    np.testing.assert_array_equal(mean.losses, losses.mean(axis=1))
    assert mean.error == pytest.approx(choices["mean"].error)
    assert mean.chosen.correlation == choices["mean"].spearman
    assert web.foretold["found"] == pytest.approx(1.0, abs=0.1)
    assert web.foretold["proportional"] == pytest.approx(1 + 900 / 1040, abs=0.1)
    at = [np.interp(0.9, mean.shares[1], mean.curves[1]), np.interp(0.05, mean.shares[3], mean.curves[3])]
    np.testing.assert_allclose(at, mean.foretold["found"], atol=2e-3)  # curves pass through the mixture found
    html = render(report)
    assert "1.00 epochs" in html and "the mean of the other runs" in html
    with pytest.raises(InvalidParameterError, match="one of books, web"):
        mixture_report(runs, {"mean": choices["mean"], "wbe": choices["web"]}, found, title="t")
