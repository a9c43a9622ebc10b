"""How often `assay.verify_seeds` accepts a worthless candidate, and how often a good one: the tables of docs/seeds.md.

    python examples/false_accepts.py POOL/*.jsonl.zst

Each file is a domain. Worthless candidates are drawn from the same mixture of domains as the base text, so none is
better than it; of a good one, a share is of the target's domain. Each experiment draws everything anew: target, base,
candidates and held-out documents. "Halves" is what one would do otherwise: every seed draws half of each candidate.
"""

import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from assay.comparison.statistics import Losses, effect, surely_better
from assay.models.ngram import Queries
from assay.models.tokenizer import BPE
from assay.proxy.annealing import Documents, annealed_bits

SEEDS, NUM_CANDIDATES, HELDOUT = 8, 5, 60
CANDIDATE_TOKENS, BASE_TOKENS = 4_000, 48_000  # of one seed
MAX_CHARACTERS, VOCAB_SIZE, ORDER = 2_000, 4096, 3
CHANCE = 0.05


def main(paths: list[str], experiments: int = 150) -> None:
    """Prints the rates."""
    texts = [_texts(Path(path)) for path in sorted(paths)]
    flat = [text for rows in texts for text in rows]
    bpe = BPE.train(flat[:: max(1, len(flat) // 1500)], VOCAB_SIZE)
    ids, starts = bpe.encode(pa.array(flat))
    domains = np.repeat(np.arange(len(texts)), [len(rows) for rows in texts])
    sizes = np.array([len(text.encode()) for text in flat], np.float64)
    print(f"{len(flat):,} documents, {len(ids):,} tokens, {len(texts)} domains")
    for share in (0.0, 0.05, 0.1, 0.2):
        for halves in (False, True) if share == 0 else (False,):
            begun, any_accepted, accepted, plain = time.time(), 0, 0, 0
            for k in range(experiments if share == 0 else experiments // 3):
                losses = _experiment(ids, starts, domains, sizes, share, halves, np.random.default_rng((k, 1)))
                found = surely_better(losses, 0, range(1, NUM_CANDIDATES + 1), CHANCE)
                mean, replicates = losses.bits_per_byte().mean(axis=1), losses.replicates()
                plain += sum(effect(mean, replicates, c, 0).low > 0 for c in range(1, NUM_CANDIDATES + 1))
                any_accepted, accepted = any_accepted + any(found), accepted + sum(found)
            tried = (k + 1) * NUM_CANDIDATES
            print(
                f"share of the target {share:.2f}, {'halves' if halves else 'own documents'}: any accepted in "
                f"{any_accepted} of {k + 1}; {accepted} of {tried} accepted; {plain} with an interval above 0 "
                f"({time.time() - begun:.0f} s)",
                flush=True,
            )


def _texts(path: Path) -> list[str]:
    stream = io.TextIOWrapper(pa.input_stream(str(path), compression="zstd"), encoding="utf-8")
    rows = [json.loads(line)["text"][:MAX_CHARACTERS] for _, line in zip(range(1_500), stream, strict=False)]
    return [text for text in rows if len(text) >= 100]


def _experiment(
    ids: np.ndarray,
    starts: np.ndarray,
    domains: np.ndarray,
    sizes: np.ndarray,
    share: float,
    halves: bool,
    rng: np.random.Generator,
) -> Losses:
    order = rng.permutation(len(domains))
    target = rng.choice(np.flatnonzero(np.bincount(domains, np.diff(starts)) >= 300_000))
    own = order[domains[order] == target]
    heldout, good = own[:HELDOUT], own[HELDOUT : len(own) // 2]
    others = order[~np.isin(order, own[: len(own) // 2])]  # half of the domain is in the mixture

    def take(rows: np.ndarray, num_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        enough = int(np.searchsorted(np.cumsum(np.diff(starts)[rows]), num_tokens)) + 1
        return rows[:enough], rows[enough:]

    def candidate(num_tokens: int) -> np.ndarray:
        nonlocal others, good
        rows, others = take(others, round((1 - share) * num_tokens))
        mine, good = take(good, round(share * num_tokens)) if share else (good[:0], good)
        return rng.permutation(np.concatenate((rows, mine)))

    bases, candidates = [], [[] for _ in range(NUM_CANDIDATES)]
    pools = [candidate(2 * CANDIDATE_TOKENS + 3_000) for _ in range(NUM_CANDIDATES if halves else 0)]
    for _ in range(SEEDS):
        rows, others = take(others, BASE_TOKENS)
        bases.append(rows)
        for k in range(NUM_CANDIDATES):
            candidates[k].append(rng.permutation(pools[k]) if halves else candidate(CANDIDATE_TOKENS + 500))
    lengths = np.diff(starts)[heldout]
    tested, bounds = _documents(ids, starts, heldout, int(lengths.sum()))
    queries = Queries.of(tested, bounds, vocab_size=VOCAB_SIZE, order=ORDER)
    bits = np.stack(
        [
            annealed_bits(
                _documents(ids, starts, bases[s], BASE_TOKENS),
                [_documents(ids, starts, rows[s], CANDIDATE_TOKENS) for rows in candidates],
                queries,
                bounds,
                tail_tokens=3 * CANDIDATE_TOKENS,
                other_tokens=CANDIDATE_TOKENS,
            )
            for s in range(SEEDS)
        ],
        axis=1,
    )
    return Losses(bits=bits, sizes=sizes[heldout], groups=np.zeros(HELDOUT, np.int64))


def _documents(ids: np.ndarray, starts: np.ndarray, rows: np.ndarray, num_tokens: int) -> Documents:
    tokens = np.concatenate([ids[starts[row] : starts[row + 1]] for row in rows])
    bounds = np.concatenate(([0], np.cumsum(np.diff(starts)[rows])))
    assert len(tokens) >= num_tokens
    return tokens[:num_tokens], np.append(bounds[bounds < num_tokens], num_tokens)


if __name__ == "__main__":
    main(sys.argv[1:])
