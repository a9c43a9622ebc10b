"""MinHash: near duplicates and repeated passages left out.

Paper: Deduplicating Training Data Makes Language Models Better, Lee et al. 2022 (arXiv:2107.06499); sizes as in
FineWeb (Penedo et al. 2024, arXiv:2406.17557, appendix E.1).

What differs: the paper cuts repeated passages of 50 tokens out; `substrings` leaves documents out of which more than
half stands elsewhere too, in words. `minhash-0.5` has a lower threshold, which did best where copies are edited.

Cost: MinHash one pass, about 150 MB/s and core; `substrings` two at 200 MB/s, and 16 bytes of disk a word.

When not to use: where hardly anything stands twice it does nothing (docs/evidence.md); `substrings` keeps no copy at
all, so not where the copied text is what you want.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """One of each cluster at two thresholds, the same text, and repeated passages."""
    arms = {
        "exact": {"where": "exact.representative"},
        "minhash": {"where": "minhash.representative"},
        "minhash-0.5": {"score": {"minhash": {"threshold": 0.5}}, "where": "minhash.representative"},
        "substrings": {"where": "substrings.share <= 0.5"},
    }
    return against_random(pool, target, budget, arms)
