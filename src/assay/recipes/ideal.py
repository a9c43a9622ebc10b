"""IDEAL: documents whose influence reaches most others.

Paper: IDEAL: Influence-Driven Selective Annotations Empower In-Context Learners in Large Language Models, Zhang et
al. 2023 (arXiv:2310.10873).

What differs: the same random graphs serve all candidates, so that a gain is a gain and not luck. Vectors are of
hashed words by default. Documents are chosen in groups, one after the other.

Cost: vectors once (docs/embeddings.md), then some 4 s per 16,000 documents.

When not to use: to choose training data by the million: it is made for a hundred documents to annotate.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Those that reach the most others first."""
    return against_random(pool, target, budget, {"ideal": {"score": {"ideal": {}}, "select": "top"}})
