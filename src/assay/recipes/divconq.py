"""Diversify and Conquer: equally much of every cluster, inside each by quality.

Paper: Diversify and Conquer: Diversity-Centric Data Selection with Iterative Refinement, Yu et al. 2024
(arXiv:2409.11378).

What differs: vectors are of hashed words; the quality of `kmq` is nearness to the target by n-grams, where the paper
has a reward model. `refined` is the paper's iterative refinement: three rounds, each of which moves the shares of
clusters to those of which an n-gram model could still learn most (`assay.learn_quota`). The paper draws as many
documents of each cluster; here each has as many tokens. What a small cluster cannot fill goes to the others.

Cost: vectors once (docs/embeddings.md), clusters 2 s, then a million documents a second.

When not to use: where the pool's proportions are as they should be; with noise, since each kind of noise is a cluster
and gets the same share.
"""

from typing import Any

from assay.api.quotas import learn_quota
from assay.api.recipe import Recipe
from assay.api.staging import prepare
from assay.artifacts.workspace import Workspace
from assay.recipes.layout import Layout, against_random

_REFINED = "refined"
_CLUSTER = {"by": "clusters.cluster", "shares": "equal"}


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each cluster a random choice, and one that prefers quality."""
    quality = {"dsir": {"smoothing": 0.5}, "by": "dsir.per_ngram"}
    arms = {
        "k-means": {"select": {"quota": _CLUSTER}},
        "kmq": {"score": quality, "select": {"quota": {**_CLUSTER, "within": {"sample": {"temperature": 0.1}}}}},
        _REFINED: {"select": {"quota": _CLUSTER}},
    }
    return against_random(pool, target, budget, arms)


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the shares of clusters that three rounds found."""
    recipe = Recipe.from_dict(content)
    stage = prepare(recipe, workspace, arms=[_REFINED])
    scores, budget = stage.scores[_REFINED], recipe.budget
    found = learn_quota(stage.bench.pool, scores, budget=budget, proxy=recipe.proxy, workspace=workspace)
    shares = {"quota": {"by": found.quota.by, "shares": found.quota.shares}}
    return {**content, "arms": {**content["arms"], _REFINED: {"select": shares}}}
