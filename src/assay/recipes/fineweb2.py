"""FineWeb2: one of each cluster of near duplicates, repeated by the size of its cluster.

Paper: FineWeb2: One Pipeline to Scale Them All, Penedo et al. 2025 (arXiv:2506.20920), on rehydration.

What differs: the table from size to repeats is the simple example of the authors' repository. They derive one for
each language from the share of each size that their filters left out; write yours under `repeats:`. Thresholds for
languages come from `assay calibrate`. `deduplicated` is the same without repeats.

Cost: one pass over the pool, about 150 MB/s and core, and 32 bytes of disk a band and document.

When not to use: where copies are boilerplate and not a sign that people wanted the text; where the budget is so small
that repeats take it from documents never seen.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_REPEATS = {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """One of each cluster, once and by the table."""
    arms = {
        "deduplicated": {"select": {"unique": {"by": "minhash"}}},
        "rehydrated": {"select": {"unique": {"by": "minhash", "repeats": dict(_REPEATS)}}},
    }
    return against_random(pool, target, budget, arms)
