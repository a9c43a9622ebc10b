"""Ultra-FineWeb: a classifier of seeds that a short anneal has verified.

Paper: Ultra-FineWeb: Efficient Data Filtering and Verification for High-Quality LLM Training Data, Wang et al. 2025
(arXiv:2505.05427).

What differs: each file of `--candidates` is a set of seeds, annealed into an n-gram model and accepted if held-out
target text gains, with all candidates counted (`assay verify-seeds`). Accepted sets are the positives of a classifier
against the pool. `unverified` takes all candidates as positives, so that you see what verifying is worth. There is
one round; the paper goes on with what was chosen.

Cost: seconds to minutes for verifying, the same for learning; then 60 MB/s and core.

When not to use: with candidates of a few thousand words, of which no gain can be shown.
"""

import glob
import os
from pathlib import Path
from typing import Any

from assay.api.reading import read
from assay.api.recipe import Recipe
from assay.api.staging import prepare
from assay.api.verifying import verify_seeds
from assay.artifacts.workspace import Workspace
from assay.errors import InputError
from assay.progress import note
from assay.recipes.layout import Layout, against_random

_VERIFIED, _ALL = "ultra-fineweb", "unverified"


def recipe(pool: Any, target: Any, budget: str, *, candidates: str) -> Layout:
    """The likeliest documents by a classifier of verified seeds, and by one of all candidates."""
    return against_random(pool, target, budget, {_VERIFIED: _arm(candidates), _ALL: _arm(candidates)})


def learn(content: Layout, workspace: Workspace) -> Layout:
    """The recipe with accepted candidates alone as positives of the first arm, which goes where there is none.

    Raises:
        InputError: no file is named by `candidates`.
    """
    named = content["arms"][_ALL]["score"]["classifier"]["positives"]
    paths = sorted(path for path in glob.glob(named) if Path(path).is_file())
    if not paths:
        raise InputError(f"No file matches {named}. Give --candidates a glob, each file of which is a set of seeds.")
    stage = prepare(Recipe.from_dict(content), workspace, arms=["random"])
    folder = os.path.commonpath([Path(path).parent for path in paths])
    names = {path: os.path.relpath(path, folder) for path in paths}  # files of two folders may be called alike
    corpora = {names[path]: read(path, workspace=workspace) for path in paths}
    found = verify_seeds(corpora, base=stage.bench.pool, target=stage.fit, workspace=workspace)
    note(found.headline)
    accepted = [path for path in paths if names[path] in found.accepted]
    others = {name: arm for name, arm in content["arms"].items() if name != _VERIFIED}
    verified = {_VERIFIED: _arm(accepted)} if accepted else {}
    return {**content, "arms": {**others, **verified}}


def _arm(positives: Any) -> dict[str, Any]:
    return {"score": {"classifier": {"positives": positives}}, "select": "top"}
