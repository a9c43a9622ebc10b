"""Which mixture of 13 domains is best for which target? Makes a section of docs/evidence.md.

    python examples/search_mixture.py FOLDER [SIZE]

FOLDER holds `pool/*.jsonl.zst` and `benchmarks/*/*.jsonl.zst`. The pool is that of compare_methods.py. 512 mixtures of
its domains are simulated for three targets, the mixture found for each is verified by proxies trained on fresh draws
under five seeds, beside the pool as it is, the same of every domain, the best mixture that was measured, and DSIR.

With SIZE (1M), transformers of that size read half as much of four mixtures, beside n-gram models on the very same
documents: does the mixture found for the mean of the targets hold on the next rung? 25 minutes on a core of a CPU.
"""

import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import assay
from assay.api.staging import do_tasks, prepare
from assay.artifacts.workspace import Workspace
from assay.terminal import console
from compare_methods import KEPT, pool_documents, stored, target_documents
from compare_rungs import SETTINGS, rate

TARGETS = ("sciq", "pubmedqa", "code")
BUDGET, SEEDS = 1_000_000, 5
FEWER = {"sciq": 150, "pubmedqa": 120, "code": 40}  # held-out documents for transformers, which are slow to ask
UPPER_BUDGET, UPPER_SEEDS = 500_000, 3


def main(data: Path, size: str | None = None) -> None:
    """Searches, verifies, and prints what was found."""
    pool = stored("pool", pool_documents(data))
    started = time.perf_counter()
    done = assay.mix.search(question(data, pool), workspace=KEPT, out=KEPT / "mixture")
    console().print(done.table)
    print(f"{time.perf_counter() - started:.0f} s; {done.files}")
    if size is not None:
        found = next(one for one in done.search.content["found"] if one["target"] == "any")
        for proxy in ("ngram", {"gpt": {"size": size, "settings": SETTINGS}}):
            for arm, losses in trained(data, pool, found, proxy).items():
                print("ngram" if proxy == "ngram" else size, arm, losses, flush=True)


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


def trained(data: Path, pool: str, found: dict[str, Any], proxy: Any) -> dict[str, dict[str, list[float]]]:
    """Bits per byte by arm and target, of each seed."""
    sides = {
        name: [
            stored(f"{name}-fit", iter(())),
            stored(f"{name}-r7", islice(target_documents(data, name, "test"), number)),
        ]
        for name, number in FEWER.items()
    }
    shares = {"mix": found["weights"], "measured": found["best_measured"]}
    arms: dict[str, Any] = {"uniform": quota("equal")}
    arms |= {name: quota({k: w for k, w in weights.items() if w > 0}, max_epochs=4) for name, weights in shares.items()}
    recipe = {
        "pool": {"read": pool, "id": "id"},
        "target": {name: {"read": fit, "id": "id", "holdout": test} for name, (fit, test) in sides.items()},
        "budget": f"{UPPER_BUDGET} tokens",
        "seeds": UPPER_SEEDS,
        "arms": arms,
        "proxy": proxy,
    }
    stage = prepare(assay.Recipe.from_dict(recipe), Workspace(KEPT))
    names, seeds = list(stage.recipe.arms), range(UPPER_SEEDS)
    runs = do_tasks(stage.bench, [stage.task(name, seed) for name in names for seed in seeds], "train on mixtures")
    own = {name: runs[k * UPPER_SEEDS : (k + 1) * UPPER_SEEDS] for k, name in enumerate(names)}
    return {name: {t: [round(rate(run, t), 3) for run in its] for t in FEWER} for name, its in own.items()}


def quota(shares: Any, **limits: Any) -> dict[str, Any]:
    """A way to choose by shares of sources."""
    return {"select": {"quota": {"by": "source", "shares": shares, **limits}}}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
