"""Diversify and Conquer: equally much of every cluster, inside each by quality.

Paper: Diversify and Conquer: Diversity-Centric Data Selection with Iterative Refinement, Yu et al. 2024
(arXiv:2409.11378).

What differs: vectors are of hashed words; the quality of `kmq` is nearness to the target by n-grams, where the paper
has a reward model. The paper's iterative refinement of the shares is `assay.learn_quota`, from Python. The paper
draws as many documents of each cluster; here each has as many tokens. What a small cluster cannot fill goes to the
others.

Cost: vectors once (docs/embeddings.md), clusters 2 s, then a million documents a second.

When not to use: where the pool's proportions are as they should be; with noise, since each kind of noise is a cluster
and gets the same share.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_CLUSTER = {"by": "clusters.cluster", "shares": "equal"}


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each cluster a random choice, and one that prefers quality."""
    quality = {"dsir": {"smoothing": 0.5}, "by": "dsir.per_ngram"}
    arms = {
        "k-means": {"select": {"quota": _CLUSTER}},
        "kmq": {"score": quality, "select": {"quota": {**_CLUSTER, "within": {"sample": {"temperature": 0.1}}}}},
    }
    return against_random(pool, target, budget, arms)
