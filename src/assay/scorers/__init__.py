"""Scorers: methods that give every document numbers. A new one is one file here and one line in the table."""

from assay.scorers.annotation import Ideal, VoteK
from assay.scorers.base import EMBEDDING, Column, Method, Scorer, State
from assay.scorers.betr import BETR
from assay.scorers.classifier import Classifier
from assay.scorers.clusters import Clusters
from assay.scorers.collective import Collective
from assay.scorers.concepts import Concepts
from assay.scorers.contamination import Contamination
from assay.scorers.coverage import FacilityLocation, GraphCut
from assay.scorers.dataman import DataMan
from assay.scorers.distil import Distil
from assay.scorers.dsir import DSIR
from assay.scorers.el2n import EL2N
from assay.scorers.exact import Exact
from assay.scorers.got_d import GotD
from assay.scorers.gradient import Gradient
from assay.scorers.grouping import Grouping
from assay.scorers.heuristics import Heuristics
from assay.scorers.influence import Influence
from assay.scorers.knn import KNN
from assay.scorers.language import Language
from assay.scorers.learnability import Learnability
from assay.scorers.length import Length
from assay.scorers.long_range import LongRange
from assay.scorers.loss_difference import LossDifference
from assay.scorers.min_k import MinK
from assay.scorers.minhash import MinHash
from assay.scorers.overlap import Overlap
from assay.scorers.perplexity import Perplexity
from assay.scorers.preselect import PreSelect
from assay.scorers.quad import Quad
from assay.scorers.qurating import QuRating
from assay.scorers.rare_tokens import RareTokens
from assay.scorers.rds import RDS
from assay.scorers.repeats import Repeats
from assay.scorers.semdedup import SemDeDup
from assay.scorers.substrings import Substrings
from assay.scorers.trajectories import Trajectories
from assay.scorers.zipfit import ZipFit

SCORERS: dict[str, type[Method]] = {
    "betr": BETR,
    "classifier": Classifier,
    "clusters": Clusters,
    "concepts": Concepts,
    "contamination": Contamination,
    "dataman": DataMan,
    "distil": Distil,
    "dsir": DSIR,
    "el2n": EL2N,
    "exact": Exact,
    "facility_location": FacilityLocation,
    "got_d": GotD,
    "gradient": Gradient,
    "graph_cut": GraphCut,
    "heuristics": Heuristics,
    "knn": KNN,
    "ideal": Ideal,
    "influence": Influence,
    "language": Language,
    "learnability": Learnability,
    "length": Length,
    "long_range": LongRange,
    "loss_difference": LossDifference,
    "min_k": MinK,
    "minhash": MinHash,
    "overlap": Overlap,
    "perplexity": Perplexity,
    "preselect": PreSelect,
    "quad": Quad,
    "qurating": QuRating,
    "rare_tokens": RareTokens,
    "rds": RDS,
    "repeats": Repeats,
    "semdedup": SemDeDup,
    "substrings": Substrings,
    "trajectories": Trajectories,
    "vote_k": VoteK,
    "zipfit": ZipFit,
}

# The scorer behind the first part of a column's name.
PREFIXES: dict[str, str] = {prefix: name for name, kind in SCORERS.items() for prefix in kind.prefixes or (name,)}

__all__ = [
    "BETR",
    "DSIR",
    "EL2N",
    "EMBEDDING",
    "KNN",
    "PREFIXES",
    "RDS",
    "SCORERS",
    "Classifier",
    "Clusters",
    "Collective",
    "Column",
    "Concepts",
    "Contamination",
    "DataMan",
    "Distil",
    "Exact",
    "FacilityLocation",
    "GotD",
    "Gradient",
    "GraphCut",
    "Grouping",
    "Heuristics",
    "Ideal",
    "Influence",
    "Language",
    "Learnability",
    "Length",
    "LongRange",
    "LossDifference",
    "Method",
    "MinHash",
    "MinK",
    "Overlap",
    "Perplexity",
    "PreSelect",
    "QuRating",
    "Quad",
    "RareTokens",
    "Repeats",
    "Scorer",
    "SemDeDup",
    "State",
    "Substrings",
    "Trajectories",
    "VoteK",
    "ZipFit",
]
