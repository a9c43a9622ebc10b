"""QuRating: ratings learnt from judgements which of two texts is the better one.

Paper: QuRating: Selecting High-Quality Data for Training Language Models, Wettig et al. 2024 (arXiv:2402.09739).

What differs: the rating is linear in hashed n-grams instead of a language model of 1.3 billion parameters. Judgements
are yours, of a person or a model: text_a, text_b, and writing_style, required_expertise, facts_and_trivia and
educational_value, each the share of votes for text_b. The paper keeps each source's share of the pool: `--set
"arms.qurating.select={quota: {by: source, within: {sample: {temperature: 2}}}}"` where the pool has a column
`source`.

Cost: learning takes seconds to minutes; then 60 MB/s and core for each criterion.

When not to use: with fewer than some hundred judgements; for a criterion that words do not show, such as facts that
are wrong. The top instead of a sample narrows what is chosen; the paper does better with the sample.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, judgements: str) -> Layout:
    """A sample by the rating with temperature 2, and the top."""
    score = {"qurating": {"judgements": {"read": judgements, "text": "text_a"}}}
    arms = {
        "qurating": {"score": score, "select": {"sample": {"temperature": 2.0}}},
        "qurating-top": {"score": score, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
