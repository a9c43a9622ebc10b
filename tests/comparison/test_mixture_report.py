"""The report of a search over mixtures: its verdict, its doubts, and that nothing in it becomes markup."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.comparison.mixture_charts import sample
from assay.comparison.mixture_report import Fitted, MixtureReport, Tried, Verified, headline, render, warnings
from assay.errors import InvalidParameterError
from tests.comparison.test_report import ATTACK, Tags

FOUND = np.array([0.6, 0.3, 0.1])
PROPORTIONAL = np.array([0.2, 0.3, 0.5])


def planted(num_sources: int = 3, num_runs: int = 40, num_metrics: int = 1, **changes: Any) -> MixtureReport:
    """Runs around equal shares and one at the mixture found, whose loss falls with the first source's share."""
    rng = np.random.default_rng(num_sources)
    found = (
        np.append(FOUND[:2], np.full(num_sources - 2, 0.1 / (num_sources - 2))) if num_sources > 2 else FOUND[:2] / 0.9
    )
    weights = rng.dirichlet(np.ones(num_sources), num_runs)
    weights[0] = found
    weights[1] = np.eye(num_sources)[0]
    losses = 2 - 0.5 * weights[:, 0] + 0.01 * rng.normal(size=num_runs)
    names = ("proportional", "uniform")
    fits = tuple(
        Fitted(
            metric=f"metric {k}",
            losses=losses + k,
            held_out=losses + k + 0.01 * rng.normal(size=num_runs),
            regressor="kernel",
            tried=(
                Tried("linear", None, 0.2),
                Tried("kernel", 0.97, 0.012),
                Tried("trees", None, None, "too few runs"),
            ),
            foretold={"found": 1.4 + k, "proportional": 1.6 + k, "uniform": 1.7 + k},
            shares=np.tile(np.linspace(0, 1, 5), (num_sources, 1)),
            curves=2 + k - rng.random((num_sources, 5)),
        )
        for k in range(num_metrics)
    )
    report = MixtureReport(
        title="runs.csv",
        unit="bits per byte",
        sources=tuple(f"source-{k}" for k in range(num_sources)),
        names=tuple(f"run-{k}" for k in range(num_runs)),
        weights=weights,
        found=found,
        baselines={name: np.full(num_sources, 1 / num_sources) for name in names},
        fits=fits,
    )
    return replace(report, **changes)


def of_first(report: MixtureReport, **changes: Any) -> MixtureReport:
    return replace(report, fits=(replace(report.fits[0], **changes), *report.fits[1:]))


def test_names_stay_text_and_nothing_is_fetched() -> None:
    report = planted(5, num_metrics=2, notes=(ATTACK,), title=ATTACK, unit=ATTACK)
    report = replace(
        report,
        sources=tuple(f"{ATTACK}{k}" for k in range(5)),
        names=tuple(f"{ATTACK}{name}" for name in report.names),
        baselines={ATTACK: report.found},
        fits=tuple(
            replace(
                f,
                metric=f"{ATTACK}{k}",
                regressor=ATTACK,
                tried=(Tried(ATTACK, 0.9, 0.1), Tried("b", None, None, ATTACK)),
                foretold={"found": 1.5, ATTACK: 1.6},
            )
            for k, f in enumerate(report.fits)
        ),
        verified=(Verified("found", 1.5, 0.9), Verified(ATTACK, 1.6, 0.1, 0.1, 0.05, 0.15)),
    )
    page, html = Tags(), render(report)
    page.feed(html)
    assert not page.tags & {"script", "img", "iframe", "object", "link", "a"}
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
    text = "".join(page.text)
    assert re.search(rf"{re.escape(ATTACK)}run-\d+", text) and f"{ATTACK}4" in text


@pytest.mark.parametrize(("num_sources", "num_runs", "num_metrics"), [(2, 8, 1), (3, 20, 3), (12, 450, 2)])
def test_every_section_and_chart_is_there(num_sources: int, num_runs: int, num_metrics: int) -> None:
    html = render(planted(num_sources, num_runs, num_metrics))
    for heading in (
        "The mixture",
        "All runs",
        "How well losses are foretold",
        "What each source does",
        "The best runs",
        "How far to trust this",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert ("<h2>Each metric</h2>" in html) == (num_metrics > 1)
    assert "<h2>Verified by training</h2>" not in html
    assert html.count("<svg") == 2 + 2 * num_metrics
    assert ("400 are drawn" in html) == (num_runs > 400)


def test_a_page_of_many_sources_runs_and_metrics_stays_small() -> None:
    html = render(planted(40, 2000, 2))
    assert len(html) < 2_500_000
    assert html.count("<svg") == 2 + 2 * 2 + 2  # 40 curves in three drawings, for 200 in one take a minute


def test_a_verified_mixture_is_judged_by_its_intervals() -> None:
    report = planted(
        seeds=5,
        verified=(
            Verified("found", 1.41, 0.83),
            Verified("proportional", 1.50, 0.0, 0.09, 0.08, 0.1),
            Verified("uniform", 1.40, 0.1, -0.01, -0.03, 0.01),
            Verified("best measured", 1.35, 0.07, -0.06, -0.08, -0.04),
        ),
    )
    assert headline(report) == (
        "The mixture found is 60 % source-0, 30 % source-1 and 10 % source-2. Retrained, it saves 0.090 bits per byte "
        "against proportional (95 % interval 0.080 to 0.100): better than proportional; worse than best measured; no "
        "difference is shown to uniform. P(best) 0.83."
    )
    html = render(report)
    assert "<h2>Verified by training</h2>" in html
    assert re.findall(r'class="verdict"[^>]*>([^<]*)<', html) == ["better", "no difference shown", "worse"]


def test_what_was_not_verified_is_said_to_be_foretold() -> None:
    assert headline(planted()).endswith(
        "It is foretold to lose 1.400 bits per byte, saving 0.200 against proportional, 0.300 against uniform; that "
        "was not verified by training on it."
    )


def test_without_cause_there_is_no_warning() -> None:
    assert warnings(planted()) == []


def _never_run(report: MixtureReport) -> MixtureReport:
    weights = report.weights.copy()
    weights[:, 2] = 0
    return replace(report, weights=weights)


def _far_from_runs(report: MixtureReport) -> MixtureReport:
    rng = np.random.default_rng(0)
    near = np.eye(3)[rng.integers(3, size=40)] * 0.98 + 0.02 * rng.dirichlet(np.ones(3), 40)
    return replace(report, weights=near, found=np.array([0.4, 0.3, 0.3]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: planted(num_runs=11), "11 runs are few for 3 sources: 12 or more would be better."),
        (lambda r: of_first(r, tried=(Tried("kernel", 0.5, 0.1),)), "foretold badly (rank correlation 0.50)"),
        (lambda r: of_first(r, tried=(Tried("kernel", None, 0.1),)), "foretold badly (rank correlation none)"),
        (lambda r: of_first(r, mean_error=0.001), "foretold badly (rank correlation 0.97)"),
        (lambda r: of_first(r, foretold={"found": 1.9}), "less than the 1.900 foretold for the mixture found"),
        (_never_run, "source-2 is never in the runs, so nothing is known of it."),
        (lambda r: replace(r, weights=r.weights * [0.5, 1, 1]), "source-0 is given more than in any run"),
        (_far_from_runs, "No run is near the mixture found"),
        (lambda r: replace(r, at_most=np.array([0.6, 0.9, 1.0])), "source-0 is at the cap"),
        (
            lambda r: replace(r, tokens=100.0, available=np.array([10.0, 7.0, 100.0])),
            "source-0 and source-1 are read more than 4 times over: repeats of them teach less.",
        ),
        (lambda r: replace(r, notes=("Two runs were left out.",)), "Two runs were left out."),
    ],
)
def test_each_cause_of_doubt_is_told(change: Any, words: str) -> None:
    told = warnings(change(planted()))
    assert len([warning for warning in told if words in warning]) == 1, told


def test_epochs_are_what_the_mixture_reads_by_what_there_is() -> None:
    report = planted(tokens=1e6, available=np.array([3e5, 6e5, 0.0]))
    assert report.epochs is not None
    np.testing.assert_allclose(report.epochs, [2.0, 0.5, np.inf])
    html = render(report)
    assert "2.00 epochs" in html and "none there" in html


def test_a_sample_of_runs_keeps_the_best_and_all_ranks() -> None:
    losses = np.random.default_rng(0).permutation(5_000).astype(float)
    drawn = losses[sample(losses, 400)]
    assert len(drawn) == len(set(drawn)) == 400
    assert (np.diff(drawn) < 0).all()  # the best are drawn last, on top
    assert drawn[-10:].tolist() == list(range(9, -1, -1)) and drawn[0] == 4_999
    assert np.diff(drawn).min() > -20


def test_tables_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="`found` .* must be a share for each of 3 sources"):
        planted(found=np.ones(2) / 2)
    with pytest.raises(InvalidParameterError, match="`metric 0.held_out` .* a number for each of 40 runs"):
        of_first(planted(), held_out=np.ones(3))
