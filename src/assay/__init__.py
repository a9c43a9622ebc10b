"""Assay finds out what training data is worth."""

from assay import mix
from assay.api.auditing import membership
from assay.api.calibrating import calibrate
from assay.api.comparing import compare
from assay.api.divergence import kl_reduction
from assay.api.duplicates import duplicates
from assay.api.embedding import embed
from assay.api.evaluating import evaluate
from assay.api.labelling import Labels, label
from assay.api.leakage import Leakage, leakage
from assay.api.losses import losses
from assay.api.quotas import LearnedQuota, learn_quota
from assay.api.reading import benchmarks, read, write
from assay.api.recipe import Arm, Recipe
from assay.api.recipe_parts import Calibration
from assay.api.refining import refine
from assay.api.scoring import score
from assay.api.selecting import select
from assay.api.soft_labels import soft_labels
from assay.api.tokenizing import tokenize
from assay.api.training import train
from assay.api.verifying import verify_seeds
from assay.api.weighting import Weights, weigh
from assay.artifacts.comparison import Comparison
from assay.artifacts.kinds import Corpus, Embeddings, Scores, Selection, SoftLabels, Tokens
from assay.artifacts.model import Model
from assay.artifacts.verification import Verification
from assay.errors import AssayError
from assay.mixtures.mixture import Mixture
from assay.mixtures.schedule import Schedule
from assay.models.embedding import Embedding
from assay.models.gradients import Gradients
from assay.models.membership import Membership
from assay.proxy import GPT, NGram
from assay.refiners import C4
from assay.scorers import (
    BETR,
    DSIR,
    EL2N,
    KNN,
    RDS,
    Classifier,
    Clusters,
    Concepts,
    Contamination,
    DataMan,
    Distil,
    Exact,
    FacilityLocation,
    GotD,
    Gradient,
    GraphCut,
    Heuristics,
    Ideal,
    Influence,
    Language,
    Learnability,
    Length,
    LongRange,
    LossDifference,
    MinHash,
    MinK,
    Overlap,
    Perplexity,
    PreSelect,
    Quad,
    QuRating,
    RareTokens,
    Repeats,
    SemDeDup,
    Substrings,
    Trajectories,
    VoteK,
    ZipFit,
)
from assay.selection.policies import Cap, Quota, Sample, Threshold, Top, Uniform, Unique

__version__ = "0.1.0"

__all__ = [
    "BETR",
    "C4",
    "DSIR",
    "EL2N",
    "GPT",
    "KNN",
    "RDS",
    "Arm",
    "AssayError",
    "Calibration",
    "Cap",
    "Classifier",
    "Clusters",
    "Comparison",
    "Concepts",
    "Contamination",
    "Corpus",
    "DataMan",
    "Distil",
    "Embedding",
    "Embeddings",
    "Exact",
    "FacilityLocation",
    "GotD",
    "Gradient",
    "Gradients",
    "GraphCut",
    "Heuristics",
    "Ideal",
    "Influence",
    "Labels",
    "Language",
    "Leakage",
    "Learnability",
    "LearnedQuota",
    "Length",
    "LongRange",
    "LossDifference",
    "Membership",
    "MinHash",
    "MinK",
    "Mixture",
    "Model",
    "NGram",
    "Overlap",
    "Perplexity",
    "PreSelect",
    "QuRating",
    "Quad",
    "Quota",
    "RareTokens",
    "Recipe",
    "Repeats",
    "Sample",
    "Schedule",
    "Scores",
    "Selection",
    "SemDeDup",
    "SoftLabels",
    "Substrings",
    "Threshold",
    "Tokens",
    "Top",
    "Trajectories",
    "Uniform",
    "Unique",
    "Verification",
    "VoteK",
    "Weights",
    "ZipFit",
    "benchmarks",
    "calibrate",
    "compare",
    "duplicates",
    "embed",
    "evaluate",
    "kl_reduction",
    "label",
    "leakage",
    "learn_quota",
    "losses",
    "membership",
    "mix",
    "read",
    "refine",
    "score",
    "select",
    "soft_labels",
    "tokenize",
    "train",
    "verify_seeds",
    "weigh",
    "write",
]
