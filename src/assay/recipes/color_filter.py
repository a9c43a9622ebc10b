"""CoLoR-Filter: documents that a model finds easier once it has read the target.

Paper: CoLoR-Filter: Conditional Loss Reduction Filtering for Targeted Language Model Pre-training, Brandfonbrener et
al. 2024 (arXiv:2406.10670).

What differs: both models are n-grams of words and pairs of words, the prior of a sample of the pool, the conditional of
this and the target. The paper's are transformers of 150M parameters, the conditional one the prior trained further on
the target: with two such folders write `score: {loss_difference: {prior: FOLDER, conditional: FOLDER}}` into the
recipe's YAML. Documents are judged whole, and not in sequences of 512 tokens. The paper chooses one document in 7 to
64.

Cost: seconds to fit, once, then 4 MB/s and core.

When not to use: for a target of a few documents, whose words it learns by heart (`dsir` smoothed, `betr`).
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The documents whose loss falls most from the prior to the conditional model."""
    arms = {"color-filter": {"score": {"loss_difference": {}}, "select": "top"}}
    return against_random(pool, target, budget, arms)
