"""ZIP-FIT: how well a document compresses together with target texts.

Paper: ZIP-FIT: Embedding-Free Data Selection via Compression-Based Alignment, Obbad et al. 2024 (arXiv:2410.18194).

What differs: documents and target texts are cut to 4,000 bytes, and each document is compared with five target
texts that stand for all (rank correlation with the exact form 0.99; `--set arms.zipfit.score.zipfit.anchors=0` takes
all). `zipfit-primed` goes by what one dictionary of the target saves, which finds a target's kind better.

Cost: 2.3 MB/s and core.

When not to use: where n-grams will do, which are 50 times faster and find a target's kind better
(docs/compression.md).
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The documents that fit best, by the mean over target texts and by one dictionary."""
    arms = {
        "zipfit": {"score": {"zipfit": {}}, "select": "top"},
        "zipfit-primed": {"score": {"zipfit": {}, "by": "zipfit.primed"}, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
