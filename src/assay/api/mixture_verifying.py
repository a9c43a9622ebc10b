"""Whether a mixture that a search found beats what one would have done without it: matched proxies, with intervals.

Every arm reads the recipe's budget. Beside the mixtures found stand the pool as it is (`random`, which takes every
source in proportion), the same of every source (`uniform`), the best mixture that the search measured, and the arms of
the recipe. The held-out text is none that the search has seen.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from assay.api.comparing import compare
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.recipe_parts import BEST, Mix
from assay.api.staging import Evidence, gather_evidence, prepare
from assay.artifacts.comparison import Comparison
from assay.artifacts.mixture_search import MixtureSearch
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.comparison.statistics import Losses, effect, p_best, verdict
from assay.errors import InvalidParameterError, check_choice
from assay.mixtures.mixture import Mixture
from assay.selection.policies import Quota

UNIFORM, MIX, BEST_MEASURED = "uniform", "mix", "best measured"
_ANY = "any"


def verify_mixtures(
    recipe: Recipe, search: MixtureSearch, *, workspace: Workspace, out: str | Location | None = None
) -> tuple[Comparison, list[dict[str, Any]]]:
    """Compares what a search found with its rivals at the recipe's budget.

    Args:
        out: folder for comparison.json and report.html, or None.

    Returns:
        the comparison, in which arms are held against `random`; and per mixture found what it saves against each rival
        on its own target: name, target, bits_per_byte, p_best, and rivals with name, bits_per_byte, effect (bits per
        byte saved, 95 % interval) and verdict.

    Raises:
        InvalidParameterError: as `check_names`.
    """
    check_names(recipe)
    arms = _arms(recipe, search)
    asked = replace(recipe, arms=arms, mix=None)
    comparison = compare(asked, workspace=workspace, out=out)
    evidence = gather_evidence(prepare(replace(asked, write=None), workspace))
    budget = int(recipe.budget.amount)
    found = search.content["found"]
    added = {one["target"]: [_name(kind, one["target"], len(found)) for kind in (MIX, BEST_MEASURED)] for one in found}
    verified = []
    for target, own in added.items():
        others = {name for names in added.values() for name in names} - set(own)
        verified.append(_held_against(evidence, [a for a in arms if a not in others], budget, own[0], target))
    return comparison, verified


def check_names(recipe: Recipe) -> None:
    """Raises InvalidParameterError where an arm is called as one that is added, or `write` names none of all these."""
    targets = (recipe.mix or Mix()).targets
    added = [UNIFORM, *(_name(kind, target, len(targets)) for target in targets for kind in (MIX, BEST_MEASURED))]
    taken = [name for name in added if name in recipe.arms]
    if taken:
        raise InvalidParameterError(f"Arm {taken[0]!r} is added by the search; give yours another name.")
    if recipe.write is not None:
        check_choice("write.arm", recipe.write.arm, [BEST, *recipe.arms, *added])


def _name(kind: str, target: str, num_targets: int) -> str:
    """What the arm is called that takes a mixture found for a target."""
    return kind if num_targets == 1 else f"{kind} {target}"


def _arms(recipe: Recipe, search: MixtureSearch) -> dict[str, Arm]:
    mix, found = recipe.mix or Mix(), search.content["found"]
    wanted: dict[str, dict[str, float]] = {}
    for one in found:
        wanted[_name(MIX, one["target"], len(found))] = one["weights"]
        if one["origin"] != "measured":
            wanted[_name(BEST_MEASURED, one["target"], len(found))] = one["best_measured"]
    wanted[UNIFORM] = dict.fromkeys((source["name"] for source in search.content["sources"]), 1.0)
    arm = Arm(where=mix.where, others=recipe.scorers)
    mixtures = {n: Mixture.scaled(w, by=mix.by, max_epochs=mix.max_epochs) for n, w in wanted.items()}
    added = {name: replace(arm, select=Quota.of(mixture)) for name, mixture in mixtures.items()}
    return {RANDOM: recipe.arms[RANDOM]} | added | {n: a for n, a in recipe.arms.items() if n != RANDOM}


def _held_against(evidence: Evidence, arms: list[str], budget: int, name: str, target: str) -> dict[str, Any]:
    """One arm against all others, on the target that it is for."""
    losses = evidence.losses()
    cells = [list(evidence.runs).index((arm, budget)) for arm in arms]
    bits, sizes, groups = losses.bits[cells], losses.sizes, losses.groups
    if target != _ANY:
        is_of = groups == evidence.targets().index(target)
        bits, sizes, groups = bits[:, :, is_of], sizes[is_of], np.zeros(int(is_of.sum()), np.int64)
    own = Losses(bits=bits, sizes=sizes, groups=groups)
    mean, replicates, at = own.bits_per_byte().mean(axis=1), own.replicates(), arms.index(name)
    chances = p_best(replicates, list(range(len(arms))))
    rivals = []
    for k, rival in enumerate(arms):
        if rival != name:
            interval = effect(mean, replicates, at, k)
            rivals.append(
                {
                    "name": rival,
                    "bits_per_byte": float(mean[k]),
                    "p_best": chances[k],
                    "effect": interval._asdict(),
                    "verdict": verdict(interval),
                }
            )
    return {
        "name": name,
        "target": target,
        "bits_per_byte": float(mean[at]),
        "p_best": chances[at],
        "rivals": rivals,
    }
