"""MetaCLIP: a cap on how much there is of each concept.

Paper: Demystifying CLIP Data, Xu et al. 2023 (arXiv:2309.16671), section 3.

What differs: concepts are clusters of documents by their vectors, one of which each document belongs to, in place of
500,000 queries that texts match. The cap is three times what each of 100 clusters would have in equal shares; the
paper's is 20,000 texts a query. Sources are capped instead, where the pool has a column `source`, by `--set
"arms.by-source={select: {cap: {by: source, limit: 100000}}}"`.

Cost: vectors once (docs/embeddings.md), clusters 2 s, then a million documents a second.

When not to use: where the pool's proportions are as they should be; with noise, since what is rare is kept, odd as it
may be.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random
from assay.selection.budget import Budget

_TIMES, _CLUSTERS = 3, 100  # of an equal share; the default number of clusters


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """A random choice of what the caps leave."""
    limit = round(_TIMES * Budget.parse(budget).amount / _CLUSTERS)
    arms = {"metaclip": {"select": {"cap": {"by": "clusters.cluster", "limit": limit}}}}
    return against_random(pool, target, budget, arms)
