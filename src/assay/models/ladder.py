"""A ladder of n-gram models that have read more and more of a target: models whose order of ability is known.

Each model is a mixture. A share of it is an n-gram model of 1, 4, 16 or 64 parts of the target's text, the rest one
model of the pool's text, the same for all. The share grows with what was read, 1/128 to 1/2, as it does when the texts
are counted together: what a better model gives to the target it takes from the rest. With a fixed share every text of
the language is the better told the more is read, and the order of losses says nothing (planted domains of 1,000
documents: mean AUC 0.60, against 0.81 and, learnt by a classifier, 0.91).

Which part of the target a model has read is drawn several times over (a target of less than eight documents is cut
into 72 pieces for that, as draws of one document would be the same and agree for nothing), and a ninth of each draw is
left for a test: that more was read must show there, or the order is not known.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from assay.kernels.arrow import utf8
from assay.models.ngram import NGramModel, Queries, train
from assay.models.tokenizer import BPE

RUNGS = (1, 4, 16, 64)
_SHARE = 0.5  # of the target in the last rung
_TEST = 8  # parts of 72 of the target that no model of a draw reads
_FEW = 8  # documents of the target below which pieces of them are drawn
_ORDER = 3
_VOCAB_SIZE = 4096


class Climb(NamedTuple):
    """What the models of a ladder say.

    bits: loss of each document under each model [documents, models]; models of a rung stand side by side.
    rungs: how many parts of the target each model has read [models], ascending.
    heldout_bits_per_byte: of text of the target that was not read, mean over the draws [rungs];
        NaN where the target is too short to leave any.
    """

    bits: np.ndarray
    rungs: np.ndarray
    heldout_bits_per_byte: np.ndarray


def climb(documents: pa.Array, pool: pa.Array, target: pa.Array, num_draws: int, seed: int = 0) -> Climb:
    """Losses of documents under a ladder of `num_draws` models a rung.

    Args:
        documents: texts to judge; pool: other texts of the same pool; target: texts of the target, in any fixed order.
            No nulls; `pool` and `target` have some text.
    Cost: a second for a million tokens of documents and ten models, and memory for a model of the pool's text.
    """
    bpe = BPE.train(_decoded(pool), _VOCAB_SIZE)
    background = train(*bpe.encode(pool), vocab_size=bpe.vocab_size, order=_ORDER)
    judged = _Judged(background, *bpe.encode(documents))
    target_ids, target_starts = bpe.encode(target)
    target_bytes = np.diff(utf8(target).offsets)
    if len(target) < _FEW:
        target_starts = np.linspace(0, len(target_ids), min(RUNGS[-1] + _TEST, len(target_ids)) + 1).astype(np.int64)
    columns: dict[tuple[int, int], np.ndarray] = {}
    tests = np.full((num_draws, len(RUNGS)), np.nan)
    for draw in range(num_draws):
        order = np.random.default_rng([seed, draw]).permutation(len(target_starts) - 1)
        ids = np.concatenate([target_ids[target_starts[k] : target_starts[k + 1]] for k in order])
        # Which bytes the last tokens stand for is not asked: the mean over the target is near enough for a ruler.
        bytes_per_token = target_bytes.sum() / len(ids)
        part = max(1, len(ids) // (RUNGS[-1] + _TEST))
        test = _Judged(background, *_one(ids[RUNGS[-1] * part :]))
        for k, rung in enumerate(RUNGS):
            model = train(*_one(ids[: rung * part]), vocab_size=bpe.vocab_size, order=_ORDER)
            share = _SHARE * rung / RUNGS[-1]
            columns[rung, draw] = judged.bits(model, share)
            if test.num_tokens:
                tests[draw, k] = test.bits(model, share).sum() / (bytes_per_token * test.num_tokens)
    names = sorted(columns)
    bits = np.stack([columns[name] for name in names], axis=1)
    return Climb(bits, np.array([rung for rung, _ in names]), tests.mean(axis=0))


class _Judged:
    """Documents under the model of the pool, ready for mixtures with models of the target."""

    def __init__(self, background: NGramModel, ids: np.ndarray, starts: np.ndarray):
        self.starts, self.num_tokens = starts, len(ids)
        self.queries = Queries.of(ids, starts, vocab_size=background.vocab_size, order=_ORDER)
        self.log_pool = background.log_probabilities(self.queries)

    def bits(self, model: NGramModel, share: float) -> np.ndarray:
        """Loss of each document [documents] under a mixture with `share` of `model`."""
        log_target = model.log_probabilities(self.queries)
        losses = -np.logaddexp(np.log1p(-share) + self.log_pool, np.log(share) + log_target) / np.log(2)
        return np.diff(np.concatenate(([0.0], np.cumsum(losses)))[self.starts])


def _one(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens as a single document; where one ends inside makes no difference that matters."""
    return ids, np.array([0, len(ids)])


def _decoded(texts: pa.Array) -> list[str]:
    """Texts that may have been cut inside a character."""
    text = utf8(texts)
    bounds = text.offsets.tolist()
    return [text.data[a:b].tobytes().decode(errors="ignore") for a, b in pairwise(bounds)]
