"""`simulations`: a recipe's pool, targets and proxy as models of any mixture of its sources, one set for each seed."""

from collections.abc import Callable
from dataclasses import replace

from assay.api.planning import Plan
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.recipe_parts import Target
from assay.api.simulation import Simulation, simulate, tokens_of_sources
from assay.api.staging import Stage, open_targets, plan_stage
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError, check_integer
from assay.proxy import NGram
from assay.selection.policies import Quota

SOURCES = "sources"  # the arm by which sources are looked at


def simulations(
    recipe: Recipe,
    *,
    by: str = "source",
    where: str | None = None,
    seeds: int = 1,
    tokens: int | None = None,
    with_sources: bool = False,
    workspace: Workspace | str | None = None,
) -> list[Simulation]:
    """One simulation for each seed: documents of its own draw, tested on the same text.

    The targets are tested on half of what scorers would be fitted to, so that a mixture that is chosen here can be
    compared on text that nobody has seen. The recipe's arms are not looked at.

    Args:
        by: the column whose values are the sources. where: documents to choose from.
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
    plan, stage = plan_sources(recipe, by, where, workspace)
    done = plan.add("look at sources", stage)
    plan.run()
    bench, scale = done.result().bench, num_tokens / budget
    tasks = [done.result().task(SOURCES, seed) for seed in range(seeds)]
    names = list(tokens_of_sources(bench, tasks)[0])
    return [simulate(bench, t, names, num_tokens=num_tokens, scale=scale, with_sources=with_sources) for t in tasks]


def plan_sources(
    recipe: Recipe, by: str, where: str | None, workspace: Workspace | str | None
) -> tuple[Plan, Callable[[Workspace], Stage]]:
    """The steps that open, split and tokenise, for work on the sources of a pool; and what then gives the stage.

    The stage has the arm `SOURCES`, with a budget for each source. It tests on half of the documents that scorers would
    be fitted to, which a comparison of the same recipe does not test on.
    """
    space = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    to_fit, _ = open_targets(recipe, space)
    targets = {name: Target(read=corpus, holdout=0.5) for name, corpus in to_fit.items()}
    arms = {RANDOM: Arm(), SOURCES: Arm(select=Quota(by=by), where=where, others=recipe.scorers)}
    plan = Plan(space)
    return plan, plan_stage(plan, replace(recipe, targets=targets, arms=arms, write=None, tasks={}, mix=None))
