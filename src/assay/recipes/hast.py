"""HAST: a classifier of few labels, asked for where it is in doubt, and of those that it gives itself.

Paper: Self-Training for Sample-Efficient Active Learning for Text Classification with Pre-Trained Language Models,
Schröder and Heyer 2024 (arXiv:2406.09206).

What differs: labelling comes first and is a command of its own: `assay label pool/*.jsonl --classes good,bad --pseudo
--to labels` asks for documents to label and, run again, reads the answers, until the budget of labels is spent; its
labels/labels.jsonl is what `--labels` takes (columns text and label, good or bad). The model is linear in words and
pairs of words, and neighbours are those by `assay.embed`.

Cost: your labels, 200 by default; a second a round; then 60 MB/s and core.

When not to use: where the target's text can stand for what is wanted: then `dclm` needs no labels.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, labels: str) -> Layout:
    """The documents likeliest to be good."""
    score = {"classifier": {"labels": labels, "column": "label", "positive": "good"}}
    return against_random(pool, target, budget, {"hast": {"score": score, "select": "top"}})
