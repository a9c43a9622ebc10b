"""Which documents to have labelled next, and which the model may label itself.

Query strategies: random; least confidence (Lewis and Gale 1994); margin, also called breaking ties (Luo et al. 2005):
the smallest difference between the two likeliest classes; diverse: of the ten times as many with the smallest margins
the one with the smallest in each cluster (Zhdanov 2019, "Diverse mini-batch active learning").

Pseudo-labels: after HAST, Self-Training for Sample-Efficient Active Learning for Text Classification with Pre-Trained
Language Models, Schröder and Heyer 2024 (arXiv:2406.09206). A document is labelled by the model where its probability
is above a half and most of its 15 nearest neighbours are of the same class, by their labels or by the model. What
differs: vectors are those of `assay.embed`, not of the classifier, so neighbours are searched once; and no class gets
more than `MOST_PSEUDO` pseudo-labels for each label, where HAST gives them less weight.
"""

import numpy as np

from assay.errors import check_choice
from assay.kernels.kmeans import spherical_kmeans
from assay.kernels.vectors import most_similar

RANDOM, LEAST_CONFIDENCE, MARGIN, DIVERSE = "random", "least_confidence", "margin", "diverse"
QUERIES = (RANDOM, LEAST_CONFIDENCE, MARGIN, DIVERSE)
NUM_NEIGHBOURS = 15
MIN_CONFIDENCE = 0.5
MOST_PSEUDO = 3
_AMONG = 10


def query(
    strategy: str, probabilities: np.ndarray, vectors: np.ndarray, is_labelled: np.ndarray, number: int
) -> np.ndarray:
    """Documents to have labelled next, the most wanted first; of equals the first.

    Args:
        strategy: one of `QUERIES`; `random` takes documents as they come, so they must come in a random order.
        probabilities: of each class [documents, classes]. vectors: of unit length [documents, dimensions].
        is_labelled: True for those that are not to be asked for [documents].

    Returns:
        positions [number], fewer where there are no more.
    """
    check_choice("query", strategy, QUERIES)
    rows = np.flatnonzero(~is_labelled)
    if strategy == RANDOM:
        return rows[:number]
    ranked = np.sort(probabilities[rows], axis=1)
    doubt = ranked[:, -1] if strategy == LEAST_CONFIDENCE else ranked[:, -1] - ranked[:, -2]
    rows = rows[np.argsort(doubt, kind="stable")]
    if strategy != DIVERSE:
        return rows[:number]
    return _spread(vectors, rows[: _AMONG * number], number)


def pseudo_labels(probabilities: np.ndarray, labels: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """The class that the model may give to each document [documents], -1 where none.

    Args:
        probabilities: [documents, classes]. labels: class of each document, -1 where unknown [documents].
        neighbours: positions of the nearest documents [documents, neighbours].
    """
    classes = probabilities.argmax(axis=1)
    known = np.where(labels >= 0, labels, classes)
    votes = np.stack([(known[neighbours] == c).sum(axis=1) for c in range(probabilities.shape[1])], axis=1)
    confidence = probabilities.max(axis=1)
    is_sure = (labels < 0) & (confidence > MIN_CONFIDENCE) & (votes.argmax(axis=1) == classes)
    given = np.full(len(labels), -1)
    for c in range(probabilities.shape[1]):
        rows = np.flatnonzero(is_sure & (classes == c))
        surest = rows[np.argsort(-confidence[rows], kind="stable")]
        given[surest[: MOST_PSEUDO * int((labels == c).sum())]] = c
    return given


def _spread(vectors: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
    """Of `rows`, the most wanted first, the first of each cluster."""
    if len(rows) <= number:
        return rows
    centres = spherical_kmeans(np.ascontiguousarray(vectors[rows]), number, 0)
    clusters, _ = most_similar(np.ascontiguousarray(vectors[rows]), centres)
    firsts = np.sort(np.unique(clusters, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(rows)), firsts)
    return rows[np.concatenate((firsts, others))[:number]]
