"""The comparison as a table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from assay.comparison.result import multiplier_estimate, multiplier_interval

_STYLES = {"better": "bold green", "worse": "bold red", "no difference shown": "yellow"}


def table(comparison: Mapping[str, Any]) -> Group:
    """Arms with effect, P(best), multiplier, their 95 % intervals and verdict; the headline below."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("arm", no_wrap=True, max_width=24)
    for column in ("bits/byte", "saved", "P(best)", "data multiplier"):
        grid.add_column(column, justify="right", no_wrap=True)
    grid.add_column("verdict")
    for arm in comparison["arms"]:
        row = [arm["name"], f"{arm['bits_per_byte']:.3f}"]
        if "effect" not in arm:
            grid.add_row(*row, "", f"{arm['p_best']:.2f}", "1x", Text("–", style="dim"))
            continue
        effect = arm["effect"]
        verdict = Text(arm["verdict"], style=_STYLES[arm["verdict"]])
        if arm["verdict"] == "no difference shown":
            verdict.append(f"\ncould have detected {arm['detectable']:.3f}", style="not bold dim")
        grid.add_row(
            *row,
            _with_interval(f"{effect['estimate']:+.3f}", f"{effect['low']:+.3f} to {effect['high']:+.3f}"),
            f"{arm['p_best']:.2f}",
            _with_interval(multiplier_estimate(arm["multiplier"]), multiplier_interval(arm["multiplier"])),
            verdict,
        )
    return Group(grid, Text(comparison["headline"], style="bold"))


def _with_interval(estimate: str, interval: str) -> Text:
    return Text.assemble(estimate, "\n", (interval, "dim"))
