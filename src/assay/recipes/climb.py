"""CLIMB: weights of clusters, or of sources, by rounds of runs near what was best before.

Paper: CLIMB: CLustering-based Iterative Data Mixture Bootstrapping for Language Model Pre-training, Diao et al. 2025
(arXiv:2504.13161).

What differs: clusters are those of `clusters` on hashed words, 16 of them, none pruned or merged; 112 runs in three
rounds are simulated by adding counts of n-grams and tested on the target's text, not on benchmarks; the regressor is
the best of six on runs held out; limits hold in every round; and of the mixture foretold and the best one measured the
better on fresh draws is taken, since the regressor's favourite is flattered by its errors (docs/climb.md).

Cost: embedding and clustering the pool, and a minute for the runs.

When not to use: where sources are known and of one kind each; `regmix` needs no clusters then.
"""

from dataclasses import replace
from typing import Any

from assay.api.mixing import search_mixture
from assay.api.recipe import Recipe
from assay.api.recipe_parts import Mix
from assay.artifacts.workspace import Workspace
from assay.recipes.layout import Layout, against_random

_BY = "clusters.cluster"
_NUM_CLUSTERS = 16
_NUM_RUNS = 114  # two are the pool as it is and equal shares; 64, 32 and 16 are the rounds


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each cluster as much as was learnt, and equally much of each."""
    content = against_random(pool, target, budget, {"climb": _arm("proportional"), "equal": _arm("equal")})
    return {**content, "scorers": {"clusters": {"num_clusters": _NUM_CLUSTERS}}}


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the mixture that was found."""
    asked = replace(Recipe.from_dict(content), mix=Mix(by=_BY, method="climb", runs=_NUM_RUNS))
    weights = search_mixture(asked, workspace=workspace).weights["any"]
    shares = {name: round(share, 6) for name, share in weights.items()}
    return {**content, "arms": {**content["arms"], "climb": _arm(shares)}}


def _arm(shares: Any) -> dict[str, Any]:
    most = {} if isinstance(shares, str) else {"max_epochs": Mix.max_epochs}
    return {"select": {"quota": {"by": _BY, "shares": shares, **most}}}
