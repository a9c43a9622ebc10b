"""C4: rules for documents of the Colossal Clean Crawled Corpus.

Paper: Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, Raffel et al. 2020
(arXiv:1910.10683), section 2.2.

What differs: these are the rules for whole documents. C4 first takes out lines; a recipe does that to the pool of
every arm, random included, by `--set pool.refine=c4`, so what it is worth does not show here (docs/evidence.md: 1.4
times the tokens). Deduplication and language are recipes and conditions of their own.

Cost: one pass over the pool, about 34 MB/s and core.

When not to use: where short documents are good ones (five sentences are asked for), for code (curly brackets).
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The rules for documents."""
    return against_random(pool, target, budget, {"c4": {"where": "passes('c4')"}})
