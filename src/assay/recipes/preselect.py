"""PreSelect: text on which better models do better than worse ones.

Paper: Predictive Data Selection: The Data That Predicts Is the Data That Teaches, Shum et al. 2025
(arXiv:2503.00808).

What differs: without `--losses` the models are ours, n-gram models that have read 1, 4, 16 and 64 parts of the
target, so that it looks for text that predicts the target; the paper's are six Llamas and know many things. With a
table of losses of any models, from the least able to the ablest, it is the paper's. The classifier is our own in
place of fastText. Take a tenth of the pool as budget, as the paper does.

Cost: a minute for the ladder of models, once; then 60 MB/s and core.

When not to use: where the reliability that `assay show` tells of the scores is near 0: then the order of documents is
noise.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, losses: str | None = None) -> Layout:
    """The documents that are likeliest to have predictive strength."""
    settings = {} if losses is None else {"losses": losses}
    return against_random(pool, target, budget, {"preselect": {"score": {"preselect": settings}, "select": "top"}})
