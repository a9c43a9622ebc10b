"""Vote-k: documents that most others have among their neighbours.

Paper: Selective Annotation Makes Language Models Better Few-Shot Learners, Su et al. 2022 (arXiv:2209.01975).

What differs: the fast variant, which asks no model how sure it is. Vectors are of hashed words by default. Documents
are chosen in groups, one after the other.

Cost: vectors once (docs/embeddings.md), then some 4 s per 16,000 documents.

When not to use: to choose training data by the million: it is made for a hundred documents to annotate.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Those with the most votes first."""
    return against_random(pool, target, budget, {"vote-k": {"score": {"vote_k": {}}, "select": "top"}})
