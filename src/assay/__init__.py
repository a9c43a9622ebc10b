"""Assay finds out what training data is worth."""

from assay.api.comparing import compare
from assay.api.reading import benchmarks, read, write
from assay.api.recipe import Arm, Recipe
from assay.api.scoring import score
from assay.api.selecting import select
from assay.api.tokenizing import tokenize
from assay.artifacts.comparison import Comparison
from assay.artifacts.kinds import Corpus, Scores, Selection, Tokens
from assay.errors import AssayError
from assay.proxy.ngram import NGram
from assay.scorers import DSIR, Contamination, Language, Length, Overlap
from assay.selection.policies import Quota, Sample, Threshold, Top, Uniform

__version__ = "0.1.0"

__all__ = [
    "DSIR",
    "Arm",
    "AssayError",
    "Comparison",
    "Contamination",
    "Corpus",
    "Language",
    "Length",
    "NGram",
    "Overlap",
    "Quota",
    "Recipe",
    "Sample",
    "Scores",
    "Selection",
    "Threshold",
    "Tokens",
    "Top",
    "Uniform",
    "benchmarks",
    "compare",
    "read",
    "score",
    "select",
    "tokenize",
    "write",
]
