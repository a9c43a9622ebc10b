"""Sampling by Gumbel noise against the exact chances of every set, by enumeration, and chi-square."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import chi2

from assay.selection.noise import keyed_hashes, uniforms
from assay.selection.policies import Sample, Top

SCORES = np.array([1.5, 0.2, -0.4, 0.9, -1.0, 0.0])
NUM_TAKEN, NUM_DRAWS = 3, 20_000
SETS = list(combinations(range(len(SCORES)), NUM_TAKEN))


def exact(temperature: float) -> np.ndarray:
    """The chance of each set when documents are drawn one by one, without replacement, in proportion to exp(s / T)."""
    weights = np.exp(SCORES / temperature)
    chances = []
    for chosen in SETS:
        total = 0.0
        for order in permutations(chosen):
            left, chance = weights.sum(), 1.0
            for k in order:
                chance *= weights[k] / left
                left -= weights[k]
            total += chance
        chances.append(total)
    return np.array(chances)


def drawn(temperature: float) -> np.ndarray:
    """How often each set is taken, one draw a seed."""
    policy, ids = Sample(temperature=temperature), np.arange(len(SCORES)).astype(np.uint64)
    counts = dict.fromkeys(SETS, 0)
    for seed in range(NUM_DRAWS):
        priorities = policy.priorities(SCORES, uniforms(keyed_hashes(ids, seed, "choice")))
        counts[tuple(sorted(np.argsort(-priorities)[:NUM_TAKEN].tolist()))] += 1
    return np.array(list(counts.values()))


def surprise(counts: np.ndarray, chances: np.ndarray) -> float:
    """The chance of a chi-square at least as large."""
    expected = NUM_DRAWS * chances
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), len(SETS) - 1))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_sets_are_drawn_with_their_exact_chances(temperature: float) -> None:
    counts = drawn(temperature)
    assert surprise(counts, exact(temperature)) > 0.001
    assert surprise(counts, exact(1.5)) < 1e-6  # the test can tell temperatures apart
    members = np.array([[k in chosen for k in range(len(SCORES))] for chosen in SETS])
    np.testing.assert_allclose(counts @ members / NUM_DRAWS, exact(temperature) @ members, atol=0.012)


def test_a_temperature_near_0_takes_the_top_and_one_without_bound_any_set_alike() -> None:
    ids = np.arange(len(SCORES)).astype(np.uint64)
    for seed in range(100):
        uniform = uniforms(keyed_hashes(ids, seed, "choice"))
        cold = Sample(temperature=1e-6).priorities(SCORES, uniform)
        assert (np.argsort(-cold) == np.argsort(-Top().priorities(SCORES, uniform))).all()
    assert surprise(drawn(1e9), np.full(len(SETS), 1 / len(SETS))) > 0.001
