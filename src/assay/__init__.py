"""Assay finds out what training data is worth."""

from assay.api.calibrating import calibrate
from assay.api.comparing import compare
from assay.api.duplicates import duplicates
from assay.api.embedding import embed
from assay.api.labelling import Labels, label
from assay.api.reading import benchmarks, read, write
from assay.api.recipe import Arm, Calibration, Recipe
from assay.api.refining import refine
from assay.api.scoring import score
from assay.api.selecting import select
from assay.api.tokenizing import tokenize
from assay.api.verifying import verify_seeds
from assay.artifacts.comparison import Comparison
from assay.artifacts.kinds import Corpus, Embeddings, Scores, Selection, Tokens
from assay.artifacts.verification import Verification
from assay.errors import AssayError
from assay.models.embedding import Embedding
from assay.proxy.ngram import NGram
from assay.refiners import C4
from assay.scorers import (
    DSIR,
    Contamination,
    DataMan,
    Exact,
    Heuristics,
    Language,
    Length,
    MinHash,
    Overlap,
    QuRating,
    Repeats,
    Substrings,
    ZipFit,
)
from assay.selection.policies import Quota, Sample, Threshold, Top, Uniform, Unique

__version__ = "0.1.0"

__all__ = [
    "C4",
    "DSIR",
    "Arm",
    "AssayError",
    "Calibration",
    "Comparison",
    "Contamination",
    "Corpus",
    "DataMan",
    "Embedding",
    "Embeddings",
    "Exact",
    "Heuristics",
    "Labels",
    "Language",
    "Length",
    "MinHash",
    "NGram",
    "Overlap",
    "QuRating",
    "Quota",
    "Recipe",
    "Repeats",
    "Sample",
    "Scores",
    "Selection",
    "Substrings",
    "Threshold",
    "Tokens",
    "Top",
    "Uniform",
    "Unique",
    "Verification",
    "ZipFit",
    "benchmarks",
    "calibrate",
    "compare",
    "duplicates",
    "embed",
    "label",
    "read",
    "refine",
    "score",
    "select",
    "tokenize",
    "verify_seeds",
    "write",
]
