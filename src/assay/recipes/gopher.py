"""Gopher: rules about words, symbols, lines and repetition.

Paper: Scaling Language Models: Methods, Analysis & Insights from Training Gopher, Rae et al. 2021 (arXiv:2112.11446),
appendix A.1 and table A1.

What differs: the two sets of rules are also arms of their own, so that you see which of them does the work. No
deduplication and no language filter.

Cost: one pass over the pool, about 34 MB/s and core.

When not to use: on clean prose, where the rules leave out what is good (docs/evidence.md: 0.71 to 0.78 times the
tokens); for another language than English without `calibration:`; for code, tables, verse.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """All rules, those about quality, and those about repetition."""
    presets = ("gopher", "gopher_quality", "gopher_repetition")
    return against_random(pool, target, budget, {name: {"where": f"passes('{name}')"} for name in presets})
