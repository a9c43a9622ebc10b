"""DSIR: importance resampling by hashed n-grams of a target.

Paper: Data Selection for Language Models via Importance Resampling, Xie et al. 2023 (arXiv:2302.03169).

What differs: `dsir` is the paper's, but for which buckets n-grams fall into. `dsir-smoothed` mixes half of the pool's
distribution into the target's and goes by the mean over n-grams instead of the sum: better when the target is below a
million words, and it does not favour long documents. Documents under 100 words are left out, as in the authors'
package.

Cost: two passes over the pool, about 170 MB/s and core each.

When not to use: when the target is all the pool is about; when the effective sample size that `assay show` tells of
the scores is a handful of documents, take the smoothed form.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_LONG = "length.words >= 100"


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Importance resampling as published, and the smoothed form by the mean."""
    arms = {
        "dsir": {"score": {"dsir": {"num_buckets": 10_000}}, "select": {"sample": {}}, "where": _LONG},
        "dsir-smoothed": {
            "score": {"dsir": {"num_buckets": 10_000, "smoothing": 0.5}, "by": "dsir.per_ngram"},
            "select": {"top": {}},
            "where": _LONG,
        },
    }
    return against_random(pool, target, budget, arms)
