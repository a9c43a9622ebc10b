"""`simulations`: a recipe's pool, targets and proxy as models of any mixture of its sources, one set for each seed."""

from dataclasses import replace

from assay.api.planning import Plan
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.recipe_parts import Target
from assay.api.simulation import Simulation, simulate
from assay.api.staging import Stage, open_targets, plan_stage
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError, check_integer
from assay.proxy import NGram
from assay.selection.policies import Quota

_SOURCES = "sources"  # the arm by which sources are looked at


def simulations(
    recipe: Recipe,
    *,
    by: str = "source",
    seeds: int = 1,
    tokens: int | None = None,
    with_sources: bool = False,
    workspace: Workspace | str | None = None,
) -> list[Simulation]:
    """One simulation for each seed: documents of its own draw, tested on the same text.

    The targets are tested on half of what scorers would be fitted to, so that a mixture that is chosen here can be
    compared on text that nobody has seen. The recipe's arms are not looked at.

    Args:
        by: the column whose values are the sources.
        tokens: what a run reads at most; default the recipe's budget. A source that would be repeated at the budget is
            repeated as often here.
        with_sources: test on held-out text of each source, too; each seed has its own, so give one seed.

    Raises:
        InvalidParameterError: a proxy that is no n-gram model, fewer than two sources or more than 200.
        BudgetError: the budget is larger than the pool.
    """
    check_integer("seeds", seeds, 1, 1 if with_sources else 1000)
    if not isinstance(recipe.proxy, NGram):
        raise InvalidParameterError(f"Only n-gram proxies are simulated, not {recipe.proxy.name}. Set proxy: ngram.")
    budget = int(recipe.budget.amount)
    num_tokens = budget if tokens is None else tokens
    check_integer("tokens", num_tokens, 1, budget)
    stage = _stage(recipe, by, workspace if isinstance(workspace, Workspace) else Workspace(workspace))
    given = {"num_tokens": num_tokens, "scale": num_tokens / budget, "with_sources": with_sources}
    return [simulate(stage.bench, stage.task(_SOURCES, seed), **given) for seed in range(seeds)]  # type: ignore[arg-type]


def _stage(recipe: Recipe, by: str, space: Workspace) -> Stage:
    to_fit, _ = open_targets(recipe, space)
    targets = {name: Target(read=corpus, holdout=0.5) for name, corpus in to_fit.items()}
    arms = {RANDOM: Arm(), _SOURCES: Arm(select=Quota(by=by), others=recipe.scorers)}
    plan = Plan(space)
    stage = plan_stage(plan, replace(recipe, targets=targets, arms=arms, write=None, tasks={}))
    done = plan.add("look at sources", stage)
    plan.run()
    return done.result()
