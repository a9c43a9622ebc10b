"""Scorers: methods that give every document numbers. A new one is one file here and one line in the table."""

from assay.scorers.base import EMBEDDING, Column, Method, Scorer, State
from assay.scorers.contamination import Contamination
from assay.scorers.dataman import DataMan
from assay.scorers.dsir import DSIR
from assay.scorers.exact import Exact
from assay.scorers.grouping import Grouping
from assay.scorers.heuristics import Heuristics
from assay.scorers.language import Language
from assay.scorers.length import Length
from assay.scorers.minhash import MinHash
from assay.scorers.overlap import Overlap
from assay.scorers.preselect import PreSelect
from assay.scorers.qurating import QuRating
from assay.scorers.repeats import Repeats
from assay.scorers.substrings import Substrings
from assay.scorers.zipfit import ZipFit

SCORERS: dict[str, type[Method]] = {
    "contamination": Contamination,
    "dataman": DataMan,
    "dsir": DSIR,
    "exact": Exact,
    "heuristics": Heuristics,
    "language": Language,
    "length": Length,
    "minhash": MinHash,
    "overlap": Overlap,
    "preselect": PreSelect,
    "qurating": QuRating,
    "repeats": Repeats,
    "substrings": Substrings,
    "zipfit": ZipFit,
}

# The scorer behind the first part of a column's name.
PREFIXES: dict[str, str] = {prefix: name for name, kind in SCORERS.items() for prefix in kind.prefixes or (name,)}

__all__ = [
    "DSIR",
    "EMBEDDING",
    "PREFIXES",
    "SCORERS",
    "Column",
    "Contamination",
    "DataMan",
    "Exact",
    "Grouping",
    "Heuristics",
    "Language",
    "Length",
    "Method",
    "MinHash",
    "Overlap",
    "PreSelect",
    "QuRating",
    "Repeats",
    "Scorer",
    "State",
    "Substrings",
    "ZipFit",
]
