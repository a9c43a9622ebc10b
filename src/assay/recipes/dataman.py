"""DataMan: notes by fourteen criteria and a domain for each document, learnt from labels.

Paper: DataMan: Data Manager for Pre-training Large Language Models, Peng et al. 2025 (arXiv:2502.19363).

What differs: linear models over hashed n-grams in place of a language model of 1.5 billion parameters. The labels are
yours, since the authors' are not released: a text, a note from 1 to 5 by each criterion (overall_score, accuracy,
coherence, ...: docs/ratings.md), and domain. Domains keep their share of the pool, as in the paper; no document is
taken twice unless `max_repeats` says so.

Cost: learning takes seconds to minutes; then about 60 MB/s and core for each criterion and domain.

When not to use: where the rank correlations on held-out labels that `assay show` tells of the scores are low; for a
criterion that words do not show.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, labels: str) -> Layout:
    """The best by the overall score inside each domain, and regardless of domains."""
    score = {"dataman": {"labels": labels}}
    arms = {
        "dataman": {"score": score, "select": {"quota": {"by": "dataman.domain", "within": "top"}}},
        "dataman-top": {"score": score, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
