"""MetaCLIP: a cap on how much there is of each concept.

Paper: Demystifying CLIP Data, Xu et al. 2023 (arXiv:2309.16671), section 3.

What differs: concepts are clusters of documents by their vectors, one of which each document belongs to. The cap is
three times what each of 100 clusters would have in equal shares. With `--concepts`, a list of phrases,
`metaclip-concepts` is the paper's: documents are drawn by the chance that one of their phrases keeps them, at 20,000
documents a phrase; the paper's list are 500,000 queries. Where the pool has a column `source`, sources are capped by
`--set "arms.by-source={select: {cap: {by: source, limit: 100000}}}"`.

Cost: vectors once (docs/embeddings.md), clusters 2 s, then a million documents a second; phrases two passes at about
20 MB/s and core.

When not to use: where the pool's proportions are as they should be; with noise, since what is rare is kept, odd as it
may be.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random
from assay.selection.budget import Budget

_TIMES, _CLUSTERS = 3, 100  # of an equal share; the default number of clusters


def recipe(pool: Any, target: Any, budget: str, *, concepts: str | None = None) -> Layout:
    """A random choice of what the caps leave, of clusters or of phrases."""
    limit = round(_TIMES * Budget.parse(budget).amount / _CLUSTERS)
    arms: dict[str, Any] = {"metaclip": {"select": {"cap": {"by": "clusters.cluster", "limit": limit}}}}
    if concepts is not None:
        score = {"concepts": {"concepts": concepts}, "by": "ln(concepts.chance)"}
        arms["metaclip-concepts"] = {"score": score, "where": "concepts.matches > 0", "select": "sample"}
    return against_random(pool, target, budget, arms)
