"""DCLM: a classifier of the text wanted against the pool.

Paper: DataComp-LM: In search of the next generation of training sets for language models, Li et al. 2024
(arXiv:2406.11794), section 4.4.

What differs: the target stands for what is wanted, in place of OpenHermes and ELI5, which were never released as they
were used; the classifier is ours, of words and pairs of them. With `--model` a published fastText model scores as it
is: `dclm` then takes what is above the published threshold, the top tenth of the authors' pool, and `dclm-top` the
best.

Cost: learning takes seconds to minutes; then 60 MB/s and core, 120 MB/s with a fastText model.

When not to use: where target and pool differ in form rather than in what is wanted: a classifier learns whatever
tells them apart, such as question marks or the length of lines.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_THRESHOLD = 0.018112


def recipe(pool: Any, target: Any, budget: str, *, model: str | None = None) -> Layout:
    """The likeliest documents, by a classifier learnt from the target or by a published one."""
    if model is None:
        return against_random(pool, target, budget, {"dclm": {"score": {"classifier": {}}, "select": "top"}})
    score = {"classifier": {"model": model, "positive": "__label__hq"}}
    where = f"classifier.probability >= {_THRESHOLD}"
    arms = {
        "dclm": {"score": score, "where": where, "select": "uniform"},
        "dclm-top": {"score": score, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
