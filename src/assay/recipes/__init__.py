"""Recipes: one published method end to end, a module a paper, held against a random choice.

A module's docstring is its page. Its `recipe(pool, target, budget, ...)` gives the comparison as the YAML of a recipe
says it, which `assay.compare` takes; what the method needs beside these three are further parameters, by the names in
`layout.OPTIONS`. Where something has to be trained before an arm is known, its `learn(content, workspace)` does that
and gives the recipe with what was found. A new recipe is one file here and one line in the table.
"""

from types import ModuleType

from assay.recipes import (
    betr,
    c4,
    climb,
    color_filter,
    dataman,
    dclm,
    divconq,
    doremi,
    dsir,
    fineweb,
    fineweb2,
    fineweb_edu,
    gopher,
    got_d,
    hast,
    ideal,
    ingenious,
    knn,
    less,
    mates,
    metaclip,
    metarater,
    minhash,
    preselect,
    quad,
    qurating,
    rds,
    regmix,
    s2l,
    semdedup,
    skillit,
    ultra_fineweb,
    vote_k,
    zipfit,
)

RECIPES: dict[str, ModuleType] = {
    "betr": betr,
    "c4": c4,
    "climb": climb,
    "color_filter": color_filter,
    "dataman": dataman,
    "dclm": dclm,
    "divconq": divconq,
    "doremi": doremi,
    "dsir": dsir,
    "fineweb": fineweb,
    "fineweb2": fineweb2,
    "fineweb_edu": fineweb_edu,
    "gopher": gopher,
    "got_d": got_d,
    "hast": hast,
    "ideal": ideal,
    "ingenious": ingenious,
    "knn": knn,
    "less": less,
    "mates": mates,
    "metaclip": metaclip,
    "metarater": metarater,
    "minhash": minhash,
    "preselect": preselect,
    "quad": quad,
    "qurating": qurating,
    "rds": rds,
    "regmix": regmix,
    "s2l": s2l,
    "semdedup": semdedup,
    "skillit": skillit,
    "ultra_fineweb": ultra_fineweb,
    "vote_k": vote_k,
    "zipfit": zipfit,
}

__all__ = ["RECIPES"]
