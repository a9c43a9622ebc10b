"""LESS: the documents whose gradients point the way the target's do.

Paper: LESS: Selecting Influential Data for Targeted Instruction Tuning, Xia et al. 2024 (arXiv:2402.04333).

What differs: the model is a softmax over words, which has gradients without a network, so that the arm runs anywhere;
`embedding: {gradients: FOLDER}` takes a language model, a list of folders the checkpoints of a run. The paper takes
gradients by LoRA matrices of a model of 7 billion weights, and chooses instructions; here proxies start from nothing.

Cost: 0.2 s for 1,000 documents without a network; docs/influence.md has what one costs.

When not to use: for a target of several kinds of text under one name, whose mean is like none of them: give each its
name. Nearness by words or n-grams (`dsir`, `knn`) is cheaper, and finds planted domains better than a softmax over
words does.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The largest mean cosines of gradients."""
    return against_random(pool, target, budget, {"less": {"score": {"gradient": {}}, "select": {"top": {}}}})
