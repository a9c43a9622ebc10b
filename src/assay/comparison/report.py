"""report.html: one file that works offline, the verdict first."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from assay.artifacts.kinds import human_count
from assay.comparison import charts
from assay.comparison.costs import cost_rows
from assay.comparison.result import multiplier_estimate, multiplier_interval

_NUM_VALUES = 30

# What became of a document, as the funnel says it.
DROP_REASONS = {
    "no_text_left": "nothing was left of its text",
    "not_in_sample": "outside this seed's sample of the pool",
    "overlap": "shares text with the target or the test documents",
    "contamination": "contains a benchmark item",
    "where": "left out by `where`",
    "no_score": "has no score",
    "outside_threshold": "outside the threshold",
    "duplicate": "another of its cluster of duplicates stands for it",
    "over_budget": "below the cut: the budget was full",
    "in_earlier_phase": "read in an earlier phase of the schedule",
}


def in_words(reason: str) -> str:
    """A drop reason for people; a rule is called by its name."""
    return DROP_REASONS.get(reason) or f"fails the rule {reason}"


def render(comparison: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """The report as HTML text; all text from the corpus is escaped.

    Args:
        comparison: the content of comparison.json.
        shown: per arm, `histogram`, `kept` and `dropped` (see `api.describing`).
    """
    arms = comparison["arms"]
    rivals = [arm for arm in arms if "effect" in arm]
    pool = arms[0]["composition"]["pool"]
    return template("report.html.j2").render(
        c=comparison,
        arms=arms,
        shown=shown,
        forest=charts.forest(rivals) if rivals else "",
        curve=charts.curve(comparison["random_curve"], rivals, comparison["budget_tokens"]),
        composition=charts.composition(pool, {arm["name"]: arm["composition"]["chosen"] for arm in arms}),
        histograms=[
            (arm["name"], charts.histogram(shown[arm["name"]]["histogram"], arm["by"], arm["worst_chosen_score"]))
            for arm in arms
            if shown[arm["name"]]["histogram"]
        ],
        colours=charts.VERDICT_COLOURS,
        dropped=_dropped(arms),
        largest=_largest,
        main_reason=_main_reason,
        lineage=json.dumps(comparison["lineage"], indent=1, ensure_ascii=False),
        times=multiplier_estimate,
        times_interval=multiplier_interval,
        count=human_count,
        cost_rows=cost_rows,
    )


def _largest(outcomes: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int]]:
    """The values with most documents, and how many those are."""
    sizes = {value: sum(counts.values()) for value, counts in outcomes.items()}
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_NUM_VALUES]


def _main_reason(outcomes: Mapping[str, int]) -> str:
    """The commonest drop reason of a row of the funnel, by its short name."""
    dropped = {reason: number for reason, number in outcomes.items() if reason != "kept"}
    return max(dropped, key=lambda reason: (dropped[reason], reason)).replace("_", " ") if dropped else ""


def _dropped(arms: list[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """Per drop reason that occurs, in words, how many documents each arm dropped for it."""
    found = {reason for arm in arms for reason in arm["funnel"]["dropped"]}
    ordered = [r for r in DROP_REASONS if r in found] + sorted(found - set(DROP_REASONS))
    return [(in_words(reason), [arm["funnel"]["dropped"].get(reason, 0) for arm in arms]) for reason in ordered]


@cache
def template(name: str) -> Template:
    """A page's template, with the style sheet that all reports share."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["style"] = _file("report.css")
    environment.filters["signed"] = charts.signed
    environment.filters["share"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["correlation"] = lambda value: "none" if value is None else f"{value:.3f}".replace("-", "−")
    environment.filters["seconds"] = lambda value: f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"
    return environment.from_string(_file(name))


def _file(name: str) -> str:
    return files("assay.comparison").joinpath(name).read_text(encoding="utf-8")
