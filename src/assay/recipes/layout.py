"""What recipes have in common: pool, target and budget of the user, a random choice, and options by name."""

from collections.abc import Mapping
from typing import Any

Layout = dict[str, Any]  # a recipe as its YAML says it, which `assay.compare` takes

# What a method may need beside pool, target and budget: what stands for it in a page, and what it is.
OPTIONS: dict[str, tuple[str, str]] = {
    "candidates": ("candidates/*.jsonl", "files of seeds, each a set that may or may not be good"),
    "checkpoints": (
        "checkpoints",
        "a folder with the checkpoints of a small model, one a folder, numbered by their steps",
    ),
    "concepts": ("phrases.jsonl", "phrases that matter, one a document, of at most 5 words"),
    "judgements": (
        "judgements.jsonl",
        "pairs of texts (text_a, text_b) and by each criterion the share of votes for text_b",
    ),
    "labels": ("labels.jsonl", "documents with a text and notes, in the columns that the recipe's page names"),
    "losses": ("losses.csv", "a table (.csv, .jsonl, .parquet) of id and the losses of models, the least able first"),
    "model": ("model.bin", "a fastText model (.bin, .ftz) whose label __label__hq means what is wanted"),
}


def against_random(pool: Any, target: Any, budget: str, arms: Mapping[str, Any], **more: Any) -> Layout:
    """A comparison of `arms` with a random choice, as the YAML of a recipe says it.

    Args:
        pool: path, glob, list of these, mapping for `assay.read`, or an open corpus; target: the same, with `holdout`.
        budget: tokens of every arm, such as "2M tokens".
        arms: by name, as under `arms:`. more: further keys of a recipe.
    """
    return {
        "pool": _source(pool),
        "target": _source(target),
        "budget": budget,
        **more,
        "arms": {"random": {}, **arms},
    }


def _source(given: Any) -> Any:
    return dict(given) if isinstance(given, Mapping) else {"read": given}
