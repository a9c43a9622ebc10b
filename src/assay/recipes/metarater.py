"""Meta-rater: weights for many scores, learnt from proxies trained on what such weights choose.

Paper: Meta-rater: A Multi-dimensional Data Selection Method for Pre-training Language Models, Zhuang et al. 2025
(arXiv:2504.14194). `instruct-mining` reads the same proxies as Instruction Mining: Instruction Data Selection for
Tuning Large Language Models, Cao et al. 2023 (arXiv:2307.06290), a linear rule.

What differs: eight scores that need no model, of nearness to the target, length, rules and repetition, instead of 25;
64 n-gram models instead of 256 transformers, tested on a part of the target that the comparison does not test on.
`plain-sum` is the sum without weights, which is also what stands in the other arms before they are learnt.

Cost: the rules' 34 MB/s and core; 64 proxies, seconds each.

When not to use: where the agreement that `assay weigh` shows is near 0: then the weights are noise.
"""

from dataclasses import replace
from typing import Any

from assay.api.recipe import Recipe
from assay.api.weighting import weigh
from assay.artifacts.workspace import Workspace
from assay.progress import note
from assay.recipes.layout import Layout, against_random
from assay.scorers import DSIR

_SMOOTHING = 0.5
_TERMS = (
    "dsir.per_ngram",
    "ln(1 + length.words)",
    "gopher.alpha_words",
    "gopher.stop_words",
    "-gopher.mean_word_length",
    "-gopher.top_2gram_share",
    "fineweb.terminal_lines",
    "-fineweb.newline_ratio",
)


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The best by learnt weights, by a learnt rule, and by the plain sum."""
    total = _arm(" + ".join(_TERMS))
    return against_random(pool, target, budget, dict.fromkeys(("metarater", "instruct-mining", "plain-sum"), total))


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the weights and the rule that proxies taught."""
    recipe = replace(Recipe.from_dict(content), scorers=(DSIR(smoothing=_SMOOTHING),))
    found = weigh(recipe, _TERMS, workspace=workspace)
    agreement = ", ".join(f"{name} {value:.2f}" for name, value in found.agreement.items() if value is not None)
    note(f"rank correlation of proxies' losses with those foretold: {agreement}")
    learnt = {"metarater": _arm(found.by), "instruct-mining": _arm(found.rule)}
    return {**content, "arms": {**content["arms"], **learnt}}


def _arm(by: str) -> dict[str, Any]:
    return {"score": {"dsir": {"smoothing": _SMOOTHING}, "by": by}, "select": "top"}
