"""DoReMi: weights of sources by what a model has still to learn of each.

Paper: DoReMi: Optimizing Data Mixtures Speeds Up Language Model Pretraining, Xie et al. 2023 (arXiv:2305.10429).

What differs: reference and proxy are n-gram models, and a proxy that reads by its weights stands for one whose losses
are weighed by them; the excess is clipped per held-out document, not per token, and measured for every source at every
step. The reference reads the pool as it is. `equal` holds equal weights beside it, which is what one should try first.

Cost: up to a hundred n-gram models of the budget, from one counting of the pool: seconds to minutes.

When not to use: for a target, since it knows none; where text of one source hardly helps another, as with n-gram
models, since it then gives back nearly the weights that there are (docs/online-mixtures.md).
"""

from typing import Any

from assay.api.online import doremi
from assay.api.recipe import Recipe
from assay.api.simulating import simulations
from assay.artifacts.workspace import Workspace
from assay.progress import note
from assay.recipes.layout import Layout, against_random

_BY = "source"
_MAX_STEPS = 100
_STEP_TOKENS = 2_000  # of each source, so that a step is a few documents


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Of each source as much as was learnt, and equally much of each."""
    arms = {"doremi": "proportional", "equal": "equal"}
    return against_random(pool, target, budget, {name: _arm(shares) for name, shares in arms.items()})


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with the weights that the game ended on."""
    asked = Recipe.from_dict(content)
    simulation = simulations(asked, by=_BY, with_sources=True, workspace=workspace)[0]
    tokens, num = int(asked.budget.amount), len(simulation.sources)
    found = doremi(simulation, tokens=tokens, steps=min(_MAX_STEPS, max(2, tokens // (num * _STEP_TOKENS))))
    note(f"weights of the two halves of the proxy's training differ in {found.drift:.0%} of the mass")
    shares = {name: round(float(w), 6) for name, w in zip(simulation.sources, found.weights, strict=True)}
    return {**content, "arms": {**content["arms"], "doremi": _arm(shares)}}


def _arm(shares: Any) -> dict[str, Any]:
    most = {} if isinstance(shares, str) else {"max_epochs": 4}
    return {"select": {"quota": {"by": _BY, "shares": shares, **most}}}
