"""The comparison as a table for the terminal, 80 columns wide."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from assay.comparison.result import multiplier_estimate, multiplier_interval

_STYLES = {"better": "bold green", "worse": "bold red", "no difference shown": "yellow"}


def table(comparison: Mapping[str, Any]) -> Group:
    """Arms with verdict, effect, P(best) and multiplier, intervals on the second line; the headline below."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("arm", overflow="fold", min_width=21)
    for column in ("bits/byte", "saved", "P(best)", "data multiplier"):
        grid.add_column(column, justify="right", no_wrap=True)
    for arm in comparison["arms"]:
        loss, chance = f"{arm['bits_per_byte']:.3f}", f"{arm['p_best']:.2f}"
        if "effect" not in arm:
            grid.add_row(arm["name"], loss, "", chance, "1x")
            continue
        effect = arm["effect"]
        grid.add_row(
            _with_verdict(arm),
            loss,
            _two_lines(f"{effect['estimate']:+.3f}", f"{effect['low']:+.3f} to {effect['high']:+.3f}"),
            chance,
            _two_lines(multiplier_estimate(arm["multiplier"]), multiplier_interval(arm["multiplier"])),
        )
    return Group(grid, Text(comparison["headline"], style="bold"))


def _with_verdict(arm: Mapping[str, Any]) -> Text:
    text = Text.assemble(arm["name"], "\n  ", (arm["verdict"], _STYLES[arm["verdict"]]))
    if arm["verdict"] == "no difference shown":
        text.append(f"\n  detectable: {arm['detectable']:.3f}", style="dim")
    return text


def _two_lines(estimate: str, interval: str) -> Text:
    return Text.assemble(estimate, "\n", (interval, "dim"))
