"""Does rung 0 of the proxy ladder put ways to choose in the same order as rung 1? Makes a table of docs/evidence.md.

    python examples/compare_rungs.py FOLDER [SIZE ...]

FOLDER holds `pool/*.jsonl.zst` and `benchmarks/*/*.jsonl.zst`; SIZE is a size of transformer (default 1M; 20M and 60M
want a GPU). Nine arms choose 0.5M tokens each from the pool of compare_methods.py under three seeds. An n-gram model
and a transformer are trained on the very same tokens, and tested on held-out text of two targets. All is kept under
.assay/methods, so that an interrupted run goes on where it stopped; docs/rungs.json holds the numbers.
"""

import json
import sys
import time
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np

import assay
from assay.api.staging import do_tasks, prepare
from assay.artifacts.kinds import Run
from assay.artifacts.workspace import Workspace
from assay.comparison.agreement import agreement
from compare_methods import KEPT, pool_documents, stored, target_documents

BUDGET, SEEDS = 500_000, 3
TESTED = {"sciq": 300, "code": 60}  # held-out documents: asking a transformer takes a third of what training does
TARGETS = tuple(TESTED)
FOUND = Path(__file__).parents[1] / "docs" / "rungs.json"
SETTINGS = {"precision": "bfloat16"}  # 1.5 times as fast on a CPU that has it
KINDS = {
    "longest": "length",
    "gopher": "rules",
    "minhash": "copies and variety",
    "semdedup": "copies and variety",
    "dsir sciq": "target",
    "dsir code": "target",
    "betr sciq": "target",
    "betr code": "target",
}


def main(data: Path, *sizes: str) -> None:
    """Trains what is not trained yet, and writes and prints how the rungs agree."""
    pool = stored("pool", pool_documents(data))
    proxies: list[Any] = ["ngram", *({"gpt": {"size": size, "settings": SETTINGS}} for size in sizes or ("1M",))]
    losses = {}
    for proxy in proxies:
        started = time.perf_counter()
        name = proxy if isinstance(proxy, str) else f"gpt {proxy['gpt']['size']}"
        losses[name] = trained(question(data, pool, proxy))
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        FOUND.write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")
    for upper in list(losses)[1:]:
        print(table(losses["ngram"], losses[upper], upper))


def question(data: Path, pool: str, proxy: Any) -> dict[str, Any]:
    """The comparison by one proxy."""
    sides = {
        name: [
            stored(f"{name}-fit", target_documents(data, name, "fit")),
            stored(f"{name}-rungs", islice(target_documents(data, name, "test"), number)),
        ]
        for name, number in TESTED.items()
    }
    near = {name: f"dsir.log_weight.{name} / dsir.ngrams" for name in TARGETS}
    return {
        "pool": {"read": pool, "id": "id"},
        "target": {name: {"read": fit, "id": "id", "holdout": test} for name, (fit, test) in sides.items()},
        "budget": f"{BUDGET} tokens",
        "seeds": SEEDS,
        "arms": {
            "longest": {"score": "length.bytes", "select": "top"},
            "gopher": {"where": "passes('gopher')"},
            "minhash": {"select": {"unique": {"by": "minhash"}}},
            "semdedup": {"where": "semdedup.similarity < 0.9"},
            **{
                f"dsir {name}": {"score": {"dsir": {"smoothing": 0.5}, "by": near[name]}, "select": "top"}
                for name in near
            },
            **{f"betr {name}": {"score": {"betr": {}, "by": f"betr.value.{name}"}, "select": "top"} for name in near},
        },
        "proxy": proxy,
    }


def trained(content: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Bits per byte by target and arm, of each seed."""
    stage = prepare(assay.Recipe.from_dict(content), Workspace(KEPT))
    arms = list(stage.recipe.arms)
    tasks = [stage.task(arm, seed) for arm in arms for seed in range(SEEDS)]
    runs = do_tasks(stage.bench, tasks, "train all arms")
    return {
        target: {arm: [rate(run, target) for run in runs[k * SEEDS : (k + 1) * SEEDS]] for k, arm in enumerate(arms)}
        for target in TARGETS
    }


def rate(run: Run, target: str) -> float:
    """Held-out bits by bytes of a target."""
    table = run.to_table(["target", "bits", "bytes"])
    is_of = table["target"].to_numpy(zero_copy_only=False) == target
    return float(table["bits"].to_numpy()[is_of].sum() / table["bytes"].to_numpy()[is_of].sum())


def table(lower: dict[str, Any], upper: dict[str, Any], name: str) -> str:
    """Agreement for each target, and by what kinds of arm a pair is of."""
    lines = [
        f"| target | rank correlation with {name} | pairs in the same order | of those that {name} tells apart |",
        "|---|---|---|---|",
    ]
    for target in TARGETS:
        found = agreement(*([as_arms(rung[target]) for rung in (lower, upper)]))
        assert found is not None
        cells = [interval(found["rank_correlation"]), f"{found['same_order']} of {found['pairs']}"]
        wrong = "; ".join(f"{better} over {worse}" for better, worse in found["disagree"])
        cells.append(f"{found['told_apart_same_order']} of {found['told_apart']}{f' (not: {wrong})' if wrong else ''}")
        lines.append(f"| {target} | {' | '.join(cells)} |")
    lines += ["", "| pairs of | in the same order |", "|---|---|"]
    for pair, (same, number) in by_kind(lower, upper).items():
        lines.append(f"| {pair} | {same} of {number} |")
    lines += ["", f"| arm | {' | '.join(f'{t}, n-grams | {t}, {name}' for t in TARGETS)} |", f"|---|{'---|' * 4}"]
    for arm in lower[TARGETS[0]]:
        saved = [saving(rung[target], arm) for target in TARGETS for rung in (lower, upper)]
        lines.append(f"| {arm} | {' | '.join(saved)} |")
    return "\n".join(lines)


def as_arms(losses: dict[str, list[float]]) -> list[dict[str, Any]]:
    """As comparison.json has them."""
    return [{"name": name, "bits_per_byte_by_seed": values} for name, values in losses.items()]


def by_kind(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Of pairs of arms by their kinds, over both targets: how many are in the same order, and how many there are."""
    found: dict[str, tuple[int, int]] = {}
    for target in TARGETS:
        means = [{arm: float(np.mean(values)) for arm, values in rung[target].items()} for rung in (lower, upper)]
        for a, b in combinations(means[0], 2):
            kinds = " and ".join(sorted({KINDS.get(a, "random"), KINDS.get(b, "random")}))
            same, number = found.get(kinds, (0, 0))
            is_same = (means[0][a] < means[0][b]) == (means[1][a] < means[1][b])
            found[kinds] = (same + is_same, number + 1)
    return dict(sorted(found.items()))


def saving(losses: dict[str, list[float]], arm: str) -> str:
    """Bits per byte saved against random, and its standard error over seeds."""
    saved = np.array(losses["random"]) - np.array(losses[arm])
    if arm == "random":
        return f"{np.mean(losses[arm]):.3f} in all"
    return f"{saved.mean():+.3f} ± {saved.std(ddof=1) / np.sqrt(len(saved)):.3f}"


def interval(figure: dict[str, float]) -> str:
    """0.95 (0.90 to 0.98)."""
    return f"{figure['estimate']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
