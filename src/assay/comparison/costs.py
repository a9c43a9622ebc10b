"""What each step cost, as a table for report and terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

HEADINGS = ("time", "core time", "memory", "read", "written")


class CostRow(NamedTuple):
    """One step: what it is called, whether it was done before, and a text per heading."""

    step: str
    is_found: bool
    cells: tuple[str, ...]


def cost_rows(steps: Sequence[Mapping[str, Any]]) -> list[CostRow]:
    """The rows of the table, from the `cost.steps` of a comparison."""
    rows = []
    for step in steps:
        times = f" x{step['artifacts']}" if step["artifacts"] > 1 else ""
        cells = (_when(step), *cost_cells(step)[1:])
        rows.append(CostRow(step["step"] + times, step["found"] == step["artifacts"], cells))
    return rows


def cost_cells(cost: Mapping[str, float]) -> tuple[str, ...]:
    """A manifest's cost in words, one for each heading."""
    return (
        f"{cost['wall_seconds']:,.1f} s",
        f"{cost['core_seconds']:,.1f} s",
        _size(cost["peak_bytes"]),
        _size(cost["read_bytes"]),
        _size(cost["written_bytes"]),
    )


def cost_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """The table for the terminal, 80 columns wide; steps that were done before are dim."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("step", overflow="fold")
    for heading in HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in cost_rows(steps):
        grid.add_row(Text(row.step), *row.cells, style="dim" if row.is_found else "")
    return grid


def _when(step: Mapping[str, Any]) -> str:
    """How long the step took, unless it was done before. Seconds of several artifacts overlap: none for those."""
    if step["found"]:
        return "done before" if step["found"] == step["artifacts"] else f"{step['found']} before"
    return cost_cells(step)[0] if step["artifacts"] == 1 else ""


def _size(num_bytes: float) -> str:
    """ "4.1 kB", "37 MB", "1.23 GB"."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= limit:
            return f"{num_bytes / limit:.3g} {unit}"
    return f"{num_bytes:,.0f} B"
