"""A/A: two random arms must not be told apart more often than the interval allows."""

import numpy as np
import pytest

from assay.comparison.statistics import Losses, effect, multiplier, verdict
from assay.models.ngram import Queries, train
from assay.selection.noise import keyed_hashes, uniforms
from tests.conftest import make_prose

VOCABULARY, ORDER, NUM_SEEDS = 400, 3, 5
BUDGETS = [2_000, 4_000, 8_000, 16_000]
BUDGET = 4_000
ARMS = [("random", tokens) for tokens in BUDGETS] + [("other", BUDGET)]


@pytest.fixture(scope="module")
def pool() -> list[np.ndarray]:
    """Documents of three topics of different size as word ids, so that which documents a draw has matters."""
    documents = [
        d["text"] for topic, n in (("a", 500), ("b", 200), ("c", 60)) for d in make_prose(n, seed=1, topic=topic)
    ]
    return [
        np.array([(ord(w[0]) * 131 + int(w[1:])) % VOCABULARY for w in text.split()], np.uint16) for text in documents
    ]


@pytest.fixture(scope="module")
def heldout() -> list[np.ndarray]:
    documents = [d["text"] for topic in "abc" for d in make_prose(15, seed=2, topic=topic)]
    return [
        np.array([(ord(w[0]) * 131 + int(w[1:])) % VOCABULARY for w in text.split()], np.uint16) for text in documents
    ]


def losses_of(pool: list[np.ndarray], heldout: list[np.ndarray], repeat: int) -> Losses:
    """Two random arms, one of them at several budgets, each from the same half of the pool within a seed."""
    starts = np.concatenate(([0], np.cumsum([len(d) for d in heldout])))
    queries = Queries.of(np.concatenate(heldout), starts, vocab_size=VOCABULARY, order=ORDER)
    hashes = keyed_hashes(np.arange(len(pool), dtype=np.uint64), repeat, "repeat")
    bits = np.empty((len(ARMS), NUM_SEEDS, len(heldout)))
    for seed in range(NUM_SEEDS):
        sample = np.flatnonzero(uniforms(keyed_hashes(hashes, seed, "pool")) < 0.5)
        for arm, (name, budget) in enumerate(ARMS):
            order = sample[np.argsort(-uniforms(keyed_hashes(hashes[sample], seed, f"choice:{name}")))]
            tokens = np.concatenate([pool[k] for k in order])[:budget]
            ends = np.minimum(np.concatenate(([0], np.cumsum([len(pool[k]) for k in order]))), budget)
            model = train(tokens, np.unique(ends), vocab_size=VOCABULARY, order=ORDER)
            nats = -model.log_probabilities(queries)
            bits[arm, seed] = np.diff(np.concatenate(([0.0], np.cumsum(nats)))[starts]) / np.log(2)
    return Losses(bits=bits, sizes=np.diff(starts) * 5, groups=np.zeros(len(heldout), np.int64))


@pytest.mark.slow
def test_two_random_arms_are_told_apart_at_most_7_times_in_100(
    pool: list[np.ndarray], heldout: list[np.ndarray]
) -> None:
    told_apart = covers_one = 0
    for repeat in range(100):
        losses = losses_of(pool, heldout, repeat)
        mean, replicates = losses.bits_per_byte().mean(axis=1), losses.replicates(repeat, 1000)
        other, at_budget = len(ARMS) - 1, BUDGETS.index(BUDGET)
        told_apart += verdict(effect(mean, replicates, other, at_budget)) != "no difference shown"
        times = multiplier(mean, replicates, other, list(range(len(BUDGETS))), BUDGETS, BUDGET)
        covers_one += times.low <= 1 <= times.high
    assert told_apart <= 7
    assert covers_one >= 93
