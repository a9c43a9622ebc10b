"""Scorers: methods that give every document numbers. A new one is one file here and one line in the table."""

from assay.scorers.base import Column, Scorer, State
from assay.scorers.contamination import Contamination
from assay.scorers.dsir import DSIR
from assay.scorers.language import Language
from assay.scorers.length import Length
from assay.scorers.overlap import Overlap

SCORERS: dict[str, type[Scorer]] = {
    "contamination": Contamination,
    "dsir": DSIR,
    "language": Language,
    "length": Length,
    "overlap": Overlap,
}

__all__ = ["DSIR", "SCORERS", "Column", "Contamination", "Language", "Length", "Overlap", "Scorer", "State"]
