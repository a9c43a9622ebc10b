"""Skill-It: weights of sources by how far behind the targets are and which source teaches them.

Paper: Skill-it! A Data-Driven Skills Framework for Understanding and Training Language Models, Chen et al. 2023
(arXiv:2307.14430).

What differs: skills are the sources, and what is to be learnt are the targets, on a part of them that the comparison
does not test on. The model is an n-gram model, which knows no order: so what it read over all steps is one choice, and
the arm takes the mean of the weights. The graph is learnt by the paper's linear approximation, from short runs of one
source each. `stratified`, equal weights, is the baseline that the method must beat, and often does not (Aioli, Chen et
al. 2024, arXiv:2411.05735).

Cost: a few dozen n-gram models, from one counting of the pool: seconds.

When not to use: with many targets that want different text, since the sum over them favours what teaches all a little.
"""

from typing import Any

from assay.api.online import skillit
from assay.api.recipe import Recipe
from assay.api.simulating import simulations
from assay.artifacts.workspace import Workspace
from assay.progress import note
from assay.recipes.layout import Layout, against_random

_BY = "source"
_STEPS = 10


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each source as much as was read in all steps, and equally much of each."""
    return against_random(pool, target, budget, dict.fromkeys(("skill-it", "stratified"), _arm("equal")))


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the weights by which the simulated training went, on average."""
    asked = Recipe.from_dict(content)
    simulation = simulations(asked, by=_BY, workspace=workspace)[0]
    found = skillit(simulation, tokens=int(asked.budget.amount), steps=_STEPS)
    note(f"bits per byte saved against equal weights, on text that the weights went by: {found.saved:.4f}")
    if found.saved <= 0:
        note("the graph does harm here: take `stratified`")
    shares = {name: round(float(w), 6) for name, w in zip(simulation.sources, found.weights, strict=True)}
    return {**content, "arms": {**content["arms"], "skill-it": _arm(shares)}}


def _arm(shares: Any) -> dict[str, Any]:
    most = {} if isinstance(shares, str) else {"max_epochs": 4}
    return {"select": {"quota": {"by": _BY, "shares": shares, **most}}}
