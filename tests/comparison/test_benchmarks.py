"""Effects on benchmark items against sums by hand, and the report's table."""

import numpy as np
import pyarrow as pa
import pytest

from assay.comparison.benchmarks import benchmarks
from assay.proxy.evaluate import SCHEMA


def answers(task: str, correct: list[float | None], bits: list[float], num_choices: int) -> list[dict[str, object]]:
    return [
        {
            "task": task,
            "id": str(k),
            "correct": right,
            "correct_norm": None if num_choices == 1 else 1.0,
            "gold_bits": cost,
            "gold_bytes": 4 * (k + 1),
            "is_truncated": k == 0,
            "log_likelihoods": [-1.0] * num_choices,
        }
        for k, (right, cost) in enumerate(zip(correct, bits, strict=True))
    ]


def table(*rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist([row for some in rows for row in some], SCHEMA)


def test_values_and_effects_are_means_over_items_and_seeds() -> None:
    found = {
        "random": [
            table(answers("arc", [1, 0, 0], [4, 8, 12], 4), answers("sums", [None] * 2, [2, 4], 1)),
            table(answers("arc", [0, 0, 0], [8, 8, 12], 4), answers("sums", [None] * 2, [2, 4], 1)),
        ],
        "arm": [
            table(answers("arc", [1, 1, 0], [4, 4, 6], 4), answers("sums", [None] * 2, [1, 2], 1)),
            table(answers("arc", [1, 0, 0.5], [2, 4, 6], 4), answers("sums", [None] * 2, [1, 2], 1)),
        ],
    }
    arc, sums = benchmarks(found, "random")
    assert (arc["task"], arc["items"], arc["truncated"], arc["chance"]) == ("arc", 3, 1, 0.25)
    assert (sums["task"], sums["items"], sums["chance"]) == ("sums", 2, None)
    random, arm = arc["arms"]["random"], arc["arms"]["arm"]
    assert random["accuracy"] == {"value": pytest.approx(1 / 6)}
    assert arm["accuracy"]["value"] == pytest.approx(3.5 / 6)
    assert arm["accuracy"]["effect"]["estimate"] == pytest.approx(2.5 / 6)  # above zero is better
    # Means over items of bits by bytes, whatever their lengths: (4/4 + 8/8 + 12/12 + 8/4 + 8/8 + 12/12) / 6.
    assert random["bits_per_byte"]["value"] == pytest.approx(7 / 6)
    assert arm["bits_per_byte"]["value"] == pytest.approx((1 + 0.5 + 0.5 + 0.5 + 0.5 + 0.5) / 6)
    assert arm["bits_per_byte"]["effect"]["estimate"] == pytest.approx(7 / 6 - 3.5 / 6)
    for one in (arm["accuracy"], arm["bits_per_byte"]):
        assert one["effect"]["low"] <= one["effect"]["estimate"] <= one["effect"]["high"]
    assert set(sums["arms"]["arm"]) == {"bits_per_byte"}  # which no n-gram model can answer greedily
    assert sums["arms"]["arm"]["bits_per_byte"]["verdict"] == "better"  # half as many bits, for every item and seed


def test_the_interval_covers_the_truth_when_arms_differ_by_chance() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(16):
        seeds = {
            name: [table(answers("arc", list(rng.integers(0, 2, 40).astype(float)), [1.0] * 40, 2)) for _ in range(4)]
            for name in ("random", "arm")
        }
        interval = benchmarks(seeds, "random")[0]["arms"]["arm"]["accuracy"]["effect"]
        covered += interval["low"] <= 0 <= interval["high"]
    assert covered >= 14
