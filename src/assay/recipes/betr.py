"""BETR: documents that come nearest to an example of a benchmark.

Paper: Language Models Improve When Pretraining Data Matches Target Tasks, Mizrahi et al. 2025 (arXiv:2507.12466).

What differs: `betr` is the paper's: a classifier learns the best tenth of a sample against the rest and scores the
pool; the sample is of 20,000 documents, not 10 million. `betr-direct` ranks every document by itself among 10,000.
Vectors are those of hashed words with tf-idf and SVD; `embedding: {model: FOLDER}` takes a model of your own. Equally
many examples of each target, 500 at most.

Cost: embedding the pool (docs/embeddings.md), then 20 microseconds of a core for each document and 500 examples; for
`betr` only of the sample, then 60 MB/s and core.

When not to use: for a target of many thousand documents, of which it takes a few hundred (`dsir` takes all); and what
it is tested on must not be what it goes by: hold out other tasks, too.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """A classifier of the best tenth by rank over all examples, and the ranks themselves."""
    arms = {
        "betr": {"score": {"distil": {"of": {"betr": {}}, "top": 0.1}}, "select": "top"},
        "betr-direct": {"score": {"betr": {}}, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
