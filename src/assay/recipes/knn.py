"""K-shot retrieval: the nearest documents to a few examples, and not ever more of the same.

Paper: Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models, Yang et al. 2024
(arXiv:2408.15915).

What differs: only the choice of data is here, not that of LoRA experts. The paper's own rule for diversity could not be
had; maximal marginal relevance (Carbonell and Goldstein 1998) stands for it. `nearest` is the same without diversity.
Vectors are those of hashed words with tf-idf and SVD; `embedding: {model: FOLDER}` takes a model of your own.

Cost: embedding the pool (docs/embeddings.md), then 17 seconds for 120,000 documents and 500 examples.

When not to use: for budgets of more than 10,000 documents (`candidates`), since what lies beyond is plain similarity.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The nearest documents, with and without diversity."""
    arms = {
        "knn": {"score": {"knn": {"diversity": 0.3}}, "select": {"top": {}}},
        "nearest": {"score": {"knn": {"diversity": 0.3}, "by": "knn.similarity"}, "select": {"top": {}}},
    }
    return against_random(pool, target, budget, arms)
