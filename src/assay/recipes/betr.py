"""BETR: documents that come nearest to an example of a benchmark.

Paper: Language Models Improve When Pretraining Data Matches Target Tasks, Mizrahi et al. 2025 (arXiv:2507.12466).

What differs: vectors are those of hashed words with tf-idf and SVD; `embedding: {model: FOLDER}` takes a model of your
own. Ranks are among 10,000 documents of the pool, and the whole pool is ranked so, where the paper trains a classifier
to tell the best tenth of a sample of 10 million from the rest. Equally many examples of each target, 500 at most.

Cost: embedding the pool (docs/embeddings.md), then 20 microseconds of a core for each document and 500 examples.

When not to use: for a target of many thousand documents, of which it takes a few hundred (`dsir` takes all); and
what it is tested on must not be what it goes by: hold out other tasks, too.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The best rank over all examples."""
    return against_random(pool, target, budget, {"betr": {"score": {"betr": {}}, "select": {"top": {}}}})
