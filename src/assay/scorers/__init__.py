"""Scorers: methods that give every document numbers. A new one is one file here and one line in the table."""

from assay.scorers.base import Column, Scorer, State
from assay.scorers.dsir import DSIR
from assay.scorers.heuristics import Heuristics
from assay.scorers.length import Length
from assay.scorers.overlap import Overlap

SCORERS: dict[str, type[Scorer]] = {
    "dsir": DSIR,
    "heuristics": Heuristics,
    "length": Length,
    "overlap": Overlap,
}

# The scorer behind the first part of a column's name.
PREFIXES: dict[str, str] = {prefix: name for name, kind in SCORERS.items() for prefix in kind.prefixes or (name,)}

__all__ = ["DSIR", "PREFIXES", "SCORERS", "Column", "Heuristics", "Length", "Overlap", "Scorer", "State"]
