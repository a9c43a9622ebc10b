"""A verification of seed sets as a table for the terminal, 80 columns wide."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

_STYLES = {"accepted": "bold green", "worse": "bold red", "no gain shown": "yellow"}


def verification_table(content: Mapping[str, Any]) -> Group:
    """Candidates with verdict, gain and its interval; the headline below."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("candidate", overflow="fold", min_width=16)
    grid.add_column("verdict", no_wrap=True)
    for column in ("gain, bits/byte", "95 % interval", "documents"):
        grid.add_column(column, justify="right", no_wrap=True)
    for candidate in content["candidates"]:
        gain = candidate["gain"]
        grid.add_row(
            candidate["name"],
            Text(candidate["verdict"], _STYLES[candidate["verdict"]]),
            f"{gain['estimate']:+.4f}",
            f"{gain['low']:+.4f} to {gain['high']:+.4f}",
            f"{candidate['documents']:,}",
        )
    return Group(grid, Text(content["headline"], style="bold"))
