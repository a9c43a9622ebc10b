"""Which mixture of 13 domains is best for which target? Makes a table of docs/evidence.md.

    python examples/search_mixture.py FOLDER

FOLDER holds `pool/*.jsonl.zst` and `benchmarks/*/*.jsonl.zst`. The pool is that of compare_methods.py. 512 mixtures of
its domains are simulated for three targets, the mixture found for each is verified by proxies trained on fresh draws
under five seeds, beside the pool as it is, the same of every domain, the best mixture that was measured, and DSIR.
"""

import sys
import time
from pathlib import Path
from typing import Any

import assay
from assay.api.mixture_output import search_and_report
from assay.artifacts.workspace import Workspace
from assay.terminal import console
from compare_methods import KEPT, pool_documents, stored, target_documents

TARGETS = ("sciq", "pubmedqa", "code")
BUDGET, SEEDS = 1_000_000, 5


def main(data: Path) -> None:
    """Searches, verifies, and prints what was found."""
    pool = stored("pool", pool_documents(data))
    started = time.perf_counter()
    recipe = assay.Recipe.from_dict(question(data, pool))
    done = search_and_report(recipe, Workspace(KEPT), KEPT / "mixture")
    console().print(done.table)
    print(f"{time.perf_counter() - started:.0f} s; {done.files}")


def question(data: Path, pool: str) -> dict[str, Any]:
    """The recipe."""
    sides = {
        name: [stored(f"{name}-{side}", target_documents(data, name, side)) for side in ("fit", "test")]
        for name in TARGETS
    }
    near = {name: f"dsir.log_weight.{name} / dsir.ngrams" for name in TARGETS}
    return {
        "pool": {"read": pool, "id": "id"},
        "target": {name: {"read": fit, "id": "id", "holdout": test} for name, (fit, test) in sides.items()},
        "budget": f"{BUDGET} tokens",
        "seeds": SEEDS,
        "arms": {
            f"dsir {name}": {"score": {"dsir": {"smoothing": 0.5}, "by": near[name]}, "select": "top"}
            for name in TARGETS
        },
        "mix": {"by": "source", "target": [*TARGETS, "any"], "runs": 512},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
