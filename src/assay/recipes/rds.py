"""RDS+: each example of the target takes its nearest documents in turn.

Paper: Large-Scale Data Selection for Instruction Tuning, Ivison et al. 2025 (arXiv:2503.01807).

What differs: vectors are those of hashed words with tf-idf and SVD, weighted by position as the paper's hidden states
are; `embedding: {model: FOLDER, pooling: position}` takes a model of your own. Of the target at most 1,000 documents
take turns. Lists are bounded, and documents beyond them follow by similarity.

Cost: embedding the pool (docs/embeddings.md), then a cosine of each document with each example: 10 seconds for 120,000
documents and 500 examples.

When not to use: for a budget far beyond what the lists hold (`ordered` in `assay show`); in a pool full of near
duplicates, which come together: take `minhash` first.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Round robin over the target's examples."""
    return against_random(pool, target, budget, {"rds": {"score": {"rds": {}}, "select": {"top": {}}}})
