"""What a comparison found, as plain data: the part of comparison.json that is evidence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.artifacts.kinds import human_count
from assay.comparison.statistics import Interval, Losses, Multiplier, detectable, effect, multiplier, p_best, verdict

Cell = tuple[str, int]
_SIGNS = {">=": "≥ ", "<=": "≤ ", "": ""}


def evaluate(
    losses: Losses, cells: Sequence[Cell], arms: Sequence[str], ladder: Sequence[int], budget: int, baseline: str
) -> dict[str, Any]:
    """Effects, intervals, P(best), multipliers and verdicts of `arms`, and the baseline's curve.

    Args:
        cells: (arm, tokens) of each cell of `losses`.
        ladder: budgets of the baseline, ascending, among them `budget`.
    """
    by_seed = losses.bits_per_byte()
    mean = by_seed.mean(axis=1)
    replicates = losses.replicates()
    position = {cell: k for k, cell in enumerate(cells)}
    at_budget = [position[name, budget] for name in arms]
    best = p_best(replicates, at_budget)
    curve = [position[baseline, tokens] for tokens in ladder]
    results = []
    for name, cell, chance in zip(arms, at_budget, best, strict=True):
        result: dict[str, Any] = {
            "name": name,
            "bits_per_byte": float(mean[cell]),
            "bits_per_byte_by_seed": by_seed[cell].tolist(),
            "p_best": chance,
        }
        if name != baseline:
            interval = effect(mean, replicates, cell, position[baseline, budget])
            times = multiplier(mean, replicates, cell, curve, list(ladder), budget)
            result |= {
                "effect": interval._asdict(),
                "verdict": verdict(interval),
                "detectable": detectable(interval),
                "multiplier": times._asdict()
                if _is_readable(times, interval, mean[curve], list(ladder), budget)
                else None,
            }
        results.append(result)
    points = [
        {"tokens": tokens, "bits_per_byte": float(mean[k]), **_interval(replicates[:, k])}
        for tokens, k in zip(ladder, curve, strict=True)
    ]
    return {"arms": results, "random_curve": points}


def winner(arms: Sequence[Mapping[str, Any]]) -> str | None:
    """The arm with the lowest loss among those shown to be better than random; None when there is none."""
    better = [arm for arm in arms if arm.get("verdict") == "better"]
    return min(better, key=lambda arm: arm["bits_per_byte"])["name"] if better else None


def headline(arms: Sequence[Mapping[str, Any]], budget: int, baseline: str) -> str:
    """The verdict in one sentence (two when several arms are better)."""
    best = winner(arms)
    others = [arm for arm in arms if arm["name"] != baseline]
    tokens = f"{human_count(budget)} tokens"
    if not others:
        return f"Only {baseline} was trained, at {tokens}; add arms to compare it with."
    if best is None:
        worse = [arm["name"] for arm in others if arm["verdict"] == "worse"]
        unclear = [arm for arm in others if arm["verdict"] not in ("worse", "better")]
        parts = []
        if unclear:
            limit = max(arm["detectable"] for arm in unclear)
            parts.append(
                f"no difference from {baseline} was shown for {_listed([a['name'] for a in unclear])} "
                f"(one of {limit:.3f} bits per byte would have been)"
            )
        if worse:
            parts.append(f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse")
        return f"At {tokens}, {' and '.join(parts)}."
    arm = next(a for a in others if a["name"] == best)
    saved = arm["effect"]
    sentence = (
        f"{best} is better than {baseline}: at {tokens} it saves {saved['estimate']:.3f} bits per byte of held-out "
        f"target text (95 % interval {saved['low']:.3f} to {saved['high']:.3f})"
    )
    if arm["multiplier"] is None:
        sentence += (
            ". What that saves in tokens cannot be read off the random curve, which is too short or does not fall."
        )
    else:
        sentence += f", and a random choice would need {multiplier_text(arm['multiplier'])} the tokens to do as well."
    rivals = [a for a in others if a["name"] != best and a["verdict"] == "better" and a["p_best"] > 0.05]
    if rivals:
        sentence += f" {_listed([a['name'] for a in rivals])} may be as good (P(best) {arm['p_best']:.2f} for {best})."
    return sentence


def multiplier_text(times: Mapping[str, Any]) -> str:
    """ "3.2 times (2.9 to 3.6)"; where the random curve ends before, only the bound that is sure."""
    if times["bound"] == ">=":
        return f"at least {times['low']:.3g} times"
    if times["bound"] == "<=":
        return f"at most {times['high']:.3g} times"
    return f"{times['estimate']:.3g} times ({multiplier_interval(times)})"


def multiplier_estimate(times: Mapping[str, Any] | None) -> str:
    """ "3.2x" for tables; "≥ 16x" where the pool ends, "–" where it cannot be read off the random curve."""
    return "–" if times is None else f"{_SIGNS[times['bound']]}{times['estimate']:.3g}x"


def multiplier_interval(times: Mapping[str, Any] | None) -> str:
    """ "2.9 to 3.6" for tables; "14 to ≥ 16" where the pool ends."""
    if times is None:
        return ""
    low = f"{_SIGNS[times['low_bound']]}{times['low']:.3g}"
    high = f"{_SIGNS[times['high_bound']]}{times['high']:.3g}"
    return low if low == high else f"{low} to {high}"


def _is_readable(times: Multiplier, saved: Interval, curve: np.ndarray, ladder: Sequence[int], budget: int) -> bool:
    """Whether the random curve falls where the multiplier is read, and says more than that it lies somewhere on it."""
    at_budget = curve[ladder.index(budget)]
    falls = (curve[0] > at_budget) if saved.estimate <= 0 else (at_budget > curve[-1])
    says_nothing = times.low_bound == "<=" and times.high_bound == ">="
    contradicts = (saved.estimate > 0 and times.estimate <= 1) or (saved.estimate < 0 and times.estimate >= 1)
    return bool(falls) and not says_nothing and not contradicts


def _interval(samples: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
