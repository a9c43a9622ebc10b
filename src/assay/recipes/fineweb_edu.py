"""FineWeb-Edu: a classifier of educational notes from 0 to 5.

Paper: The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale, Penedo et al. 2024
(arXiv:2406.17557), section 4.

What differs: the notes are yours: documents with a column `score`, 0 to 5, which a person or a model gave. They are
learnt by ordered classes over words and pairs of words, not by a regression on a transformer's embedding.
`fineweb-edu-2` is the milder variant of note 2 and above.

Cost: learning takes seconds to minutes; then 60 MB/s and core.

When not to use: where few documents have a note of 3 or more, as in most pools that are no web pages: the budget is
then not met, and `fineweb-edu-top`, which takes the best whatever their notes, is the one to look at.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, labels: str) -> Layout:
    """Note 3 and above, 2 and above, and the best."""
    score = {"classifier": {"labels": labels, "column": "score", "kind": "ordinal"}}
    arms = {
        "fineweb-edu": {"score": score, "where": "classifier.note >= 3", "select": "uniform"},
        "fineweb-edu-2": {"score": score, "where": "classifier.note >= 2", "select": "uniform"},
        "fineweb-edu-top": {"score": score, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
