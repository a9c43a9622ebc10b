"""SemDeDup: documents left out that mean nearly the same as one that is kept.

Paper: SemDeDup: Data-efficient learning at web-scale through semantic deduplication, Abbas et al. 2023
(arXiv:2303.09540).

What differs: vectors are of hashed words by default, so that what is "the same" is sameness of subject and words;
a model of your own goes into both arms, as in `semdedup: {clusters: {clusters: {embedding: {model: FOLDER}}}}`, and
needs a threshold of its own.

Cost: vectors once (docs/embeddings.md), then seconds per 100,000 documents.

When not to use: for copies and near copies, which `minhash` finds without a model's opinion.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Nothing nearer than a cosine of 0.95, and of 0.8."""
    arms = {
        "semdedup": {"score": {"semdedup": {}}, "where": "semdedup.similarity <= 0.95", "select": "uniform"},
        "semdedup-0.8": {"score": {"semdedup": {}}, "where": "semdedup.similarity <= 0.8", "select": "uniform"},
    }
    return against_random(pool, target, budget, arms)
