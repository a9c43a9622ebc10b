"""Benchmarks: how arms answer the same items, with the intervals of the comparison: paired, over seeds and items."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.comparison.statistics import Losses, detectable, effect, verdict

MEASURES = ("accuracy", "accuracy_norm", "bits_per_byte")


def benchmarks(answers: Mapping[str, Sequence[pa.Table]], baseline: str) -> list[dict[str, Any]]:
    """What arms know of each benchmark, in the order of its first item.

    Args:
        answers: per arm a table for each seed, with the same rows (`proxy.evaluate.SCHEMA`). baseline: the arm that
            effects are against.

    Returns:
        per benchmark `task`, `items`, `truncated` (items whose context did not fit the proxy), `chance` (the accuracy
        of guessing; None where there are no choices) and `arms`: per arm, and each of MEASURES that the items have,
        `value` and, but for the baseline, `effect` {estimate, low, high} (above zero is better), `verdict` and
        `detectable`.
    """
    first = next(iter(answers.values()))[0]
    found = []
    for task in dict.fromkeys(first["task"].to_pylist()):
        rows = pc.equal(first["task"], task)
        tables = {name: [table.filter(rows) for table in seeds] for name, seeds in answers.items()}
        some = tables[baseline][0]
        arms: dict[str, dict[str, Any]] = {name: {} for name in tables}
        for measure in MEASURES:
            losses = np.array([[_losses(table, measure) for table in seeds] for seeds in tables.values()])
            if np.isfinite(losses).all():
                for name, result in _effects(losses, list(tables), baseline, measure).items():
                    arms[name][measure] = result
        num_choices = pc.list_value_length(some["log_likelihoods"]).to_numpy()
        found.append(
            {
                "task": task,
                "items": len(some),
                "truncated": int(pc.sum(some["is_truncated"]).as_py()),
                "chance": float(np.mean(1 / num_choices)) if (num_choices > 1).all() else None,
                "arms": arms,
            }
        )
    return found


def _losses(table: pa.Table, measure: str) -> np.ndarray:
    """What each item adds to the mean [items]; low is good. NaN where it has no such measure."""
    if measure == "bits_per_byte":
        return table["gold_bits"].to_numpy() / np.maximum(table["gold_bytes"].to_numpy(), 1)
    column = table["correct" if measure == "accuracy" else "correct_norm"]
    return 1 - column.to_numpy(zero_copy_only=False).astype(np.float64)


def _effects(losses: np.ndarray, names: list[str], baseline: str, measure: str) -> dict[str, dict[str, Any]]:
    """Mean and effect of each arm; losses [arms, seeds, items]."""
    num_items = losses.shape[2]
    held = Losses(bits=losses, sizes=np.ones(num_items), groups=np.zeros(num_items, np.int64))
    mean, replicates = held.bits_per_byte().mean(axis=1), held.replicates()
    results: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(names):
        value = mean[k] if measure == "bits_per_byte" else 1 - mean[k]
        results[name] = {"value": float(value)}
        if name != baseline:
            base = names.index(baseline)
            interval = effect(mean, replicates, k, base)
            if measure != "bits_per_byte":  # Student's t goes on where an accuracy ends
                low, high = max(interval.low, mean[base] - 1), min(interval.high, mean[base])
                interval = interval._replace(low=float(low), high=float(high))
            told = {"verdict": verdict(interval), "detectable": detectable(interval)}
            results[name] |= {"effect": interval._asdict(), **told}
    return results
