"""Quad: documents of high influence from many kinds of text, by a bandit over clusters.

Paper: Harnessing Diversity for Important Data Selection in Pretraining Large Language Models, Zhang et al. 2024
(arXiv:2409.16986).

What differs: influence is learnt from a sample for all documents beforehand, so that the bandit only chooses; the paper
measures it for those that are drawn. Influence is that on a softmax over words (`influence: {model: FOLDER}` takes a
language model), clusters are those of groups of 4,096 documents. `influence-top` is the same influence without the
bandit.

Cost: that of `influence` (docs/influence.md) and of vectors (docs/embeddings.md), 0.5 s for a group.

When not to use: where the rank correlation of foretold and measured influence (`spearman` in `assay show`) is near 0: a
bandit then follows noise.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """What the bandit takes first, and the highest influence by itself."""
    arms = {
        "quad": {"score": {"quad": {"of": {"influence": {}}}}, "select": {"top": {}}},
        "influence-top": {"score": {"influence": {}}, "select": {"top": {}}},
    }
    return against_random(pool, target, budget, arms)
