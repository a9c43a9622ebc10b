"""RegMix: weights of sources by a regression of loss on mixture.

Paper: RegMix: Data Mixture as Regression for Language Model Pre-training, Liu et al. 2024 (arXiv:2407.01492).

What differs: 512 runs are simulated by adding counts of n-grams, not trained; the regressor is the best of six on runs
held out, most often a Gaussian process, not LightGBM; the loss is that of the target, not of Pile-CC; no source is read
more than four times over; and of the mixture foretold and the best one measured the better on fresh draws is taken.

Cost: about a minute for 512 runs of 1M tokens; docs/mixture-search.md.

When not to use: where one source is not of one kind: cluster it, and search over clusters.
"""

from dataclasses import replace
from typing import Any

from assay.api.mixing import search_mixture
from assay.api.recipe import Recipe
from assay.api.recipe_parts import Mix
from assay.artifacts.workspace import Workspace
from assay.recipes.layout import Layout, against_random

_NUM_RUNS = 512


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each source as much as was learnt, and equally much of each."""
    return against_random(pool, target, budget, {"regmix": _arm("proportional"), "equal": _arm("equal")})


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the mixture that was found."""
    asked = replace(Recipe.from_dict(content), mix=Mix(runs=_NUM_RUNS))
    weights = search_mixture(asked, workspace=workspace).weights["any"]
    shares = {name: round(share, 6) for name, share in weights.items()}
    return {**content, "arms": {**content["arms"], "regmix": _arm(shares)}}


def _arm(shares: Any) -> dict[str, Any]:
    most = {} if isinstance(shares, str) else {"max_epochs": Mix.max_epochs}
    return {"select": {"quota": {"by": Mix.by, "shares": shares, **most}}}
