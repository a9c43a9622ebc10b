"""`assay.verify_seeds`: which candidate texts are good seeds, told by a short anneal before anything is built on them.

Paper: Ultra-FineWeb: Efficient Data Filtering and Verification for High-Quality LLM Training Data, Wang et al. 2025
(arXiv:2505.05427). There a nearly trained model of 1 billion parameters is annealed on 10B tokens of which a third is
the candidate; a candidate whose benchmarks gain on the control is taken as positives of a classifier.

What differs:
- The model is an n-gram model, annealed by mixing (`proxy.annealing`), and the gain is in bits per byte of held-out
  text of the target: seconds instead of 110 GPU hours. What an n-gram model does not learn, it does not see.
- Each seed has documents of its own, of base and candidates alike, so that luck in drawing documents is in the interval
  too; overlapping draws would call a candidate good that is only lucky.
- A candidate is accepted only if it would be with all candidates counted (Holm): the chance that even one of any number
  of worthless candidates is accepted is `max_false_accepts`. How often it happens: docs/seeds.md.
- Documents that share 13 words in a row with held-out text are left out, of base and candidates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc

from assay.api.scoring import score
from assay.api.selecting import id_hashes
from assay.api.tokenizing import tokenize
from assay.artifacts.kinds import Corpus, Scores, Tokens, check_corpus, human_count
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.storage import Location, atomic_path
from assay.artifacts.verification import VERIFICATION, Verification
from assay.artifacts.workspace import Draft, Workspace
from assay.comparison.statistics import Losses, effect, surely_better, verdict
from assay.corpus.engine import map_step
from assay.corpus.sharing import share_one
from assay.corpus.split import limit_holdout
from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.kernels.ragged import take_runs
from assay.proxy.annealing import Documents, annealed_bits
from assay.proxy.ngram import NGram
from assay.scorers import Overlap
from assay.selection.noise import keyed_hashes, uniforms

VERSION = 1
SHARE = 1 / 3  # of the tail, as published
_TAIL = 0.5  # of a seed's base tokens, at most
_LEAST = 1_000  # tokens of a candidate in one seed
_ROOM = 1.2  # drawn beyond what is wanted, since documents are drawn by chance
_VERDICTS = {"better": "no gain shown", "worse": "worse", "no difference shown": "no gain shown"}


def verify_seeds(
    candidates: Mapping[str, Corpus],
    *,
    base: Corpus,
    target: Corpus | Mapping[str, Corpus],
    seeds: int = 8,
    max_false_accepts: float = 0.05,
    max_tokens: int = 4_000_000,
    proxy: NGram | None = None,
    workspace: Workspace | str | Location | None = None,
) -> Verification:
    """Says which candidates make a nearly trained model better at the target, against base text in their place.

    Args:
        candidates: texts that may be good seeds (positives of a classifier), by name. All get as many tokens as the
            smallest can give.
        base: what the model is trained on, such as a sample of the pool.
        target: held-out text that is to be predicted, or several by name, which count alike.
        seeds: repetitions, each with documents of its own.
        max_false_accepts: chance that one of the candidates is accepted although none is better than base.
        max_tokens: of base text in each seed.
        proxy: the n-gram model; default `NGram()`.

    Raises:
        InvalidParameterError: no candidates, or too little text in one of them, in base or in the target.
    """
    space, proxy = Workspace(workspace), proxy or NGram()
    for name, given in (("candidates", candidates), ("target", target)):
        is_named = not isinstance(given, Mapping) or (len(given) > 0 and all(isinstance(key, str) for key in given))
        check(is_named and (name == "target" or isinstance(given, Mapping)), name, given, "corpora by name")
    check_integer("seeds", seeds, 2, 1000)
    rule = "a chance above 0 and below 0.5"
    check_number("max_false_accepts", max_false_accepts, rule, lambda x: 0 < x < 0.5)
    check_integer("max_tokens", max_tokens, 4 * _LEAST)
    check_corpus(base, "base")
    candidates = dict(sorted(candidates.items()))
    for name, corpus in candidates.items():
        check_corpus(corpus, f"candidates[{name!r}]")
    targets = dict(sorted(target.items())) if isinstance(target, Mapping) else {"target": target}
    for name, corpus in targets.items():
        check_corpus(corpus, f"target[{name!r}]")
    inputs = {"base": base.fingerprint} | {f"candidate.{name}": c.fingerprint for name, c in candidates.items()}
    inputs |= {f"target.{name}": c.fingerprint for name, c in targets.items()}
    parameters: dict[str, Any] = {"seeds": seeds, "max_false_accepts": max_false_accepts, "max_tokens": max_tokens}
    parameters["proxy"] = proxy.parameters()
    draft = space.open_draft("verification", base.name, VERSION, parameters, inputs)
    if draft.finished() is None:
        bench = _prepare(candidates, base, targets, seeds, max_tokens, proxy, space)
        draft.start()
        share_one(lambda: _verify(bench, max_false_accepts, draft), draft.folder / MANIFEST)
    return Verification(draft.folder)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A corpus with what is needed to draw from it.

    share: of its documents that are drawn from, so that no more is held than needed.
    """

    corpus: Corpus
    tokens: Tokens
    overlap: Scores
    share: float = 1.0

    def part(self, part: int, num_folds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fold of each document, -1 for those left out, its place in the order of drawing, and its tokens."""
        keys = id_hashes(self.corpus, part)
        folds = (uniforms(keyed_hashes(keys, 0, "seeds/fold")) * num_folds).astype(np.int64)
        order = uniforms(keyed_hashes(keys, 0, "seeds/order"))
        sizes = np.diff(self.tokens.ids(part)[1])
        found = pc.fill_null(self.overlap.table(part, ["overlap.ngrams"])["overlap.ngrams"], 0).to_numpy()
        folds[(found > 0) | (sizes == 0) | (order >= self.share)] = -1
        return folds, order, sizes

    def fold_tokens(self, num_folds: int) -> np.ndarray:
        """Tokens of each fold [folds]."""
        total = np.zeros(num_folds, np.int64)
        for part in range(self.corpus.num_parts):
            folds, _, sizes = self.part(part, num_folds)
            total += np.bincount(folds[folds >= 0], sizes[folds >= 0], num_folds).astype(np.int64)
        return total

    def num_left_out(self) -> int:
        """Documents that share words with held-out text."""
        tables = (self.overlap.table(k, ["overlap.ngrams"]) for k in range(self.corpus.num_parts))
        return sum(int(pc.sum(pc.greater(t["overlap.ngrams"], 0)).as_py() or 0) for t in tables)

    def draw(self, fold: int, num_folds: int, num_tokens: int) -> Documents:
        """The first tokens of a fold, in the order of drawing."""
        texts, orders, lengths = [], [], []
        for part in range(self.corpus.num_parts):
            folds, order, sizes = self.part(part, num_folds)
            rows = np.flatnonzero(folds == fold)
            if len(rows):
                ids, starts = self.tokens.ids(part)
                out = np.empty(int(sizes[rows].sum()), np.uint16)
                take_runs(ids, starts[rows], sizes[rows], out)
                texts.append(out)
                orders.append(order[rows])
                lengths.append(sizes[rows])
        ids, sizes = np.concatenate(texts), np.concatenate(lengths)
        first = np.argsort(np.concatenate(orders), kind="stable")
        out = np.empty(len(ids), np.uint16)
        take_runs(ids, (np.cumsum(sizes) - sizes)[first], sizes[first], out)
        starts = np.concatenate(([0], np.cumsum(sizes[first])))
        inside = starts[starts < num_tokens]
        return out[:num_tokens], np.append(inside, num_tokens)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Everything opened, tokenised and measured. *_tokens: of one seed."""

    base: _Source
    candidates: Mapping[str, _Source]
    heldout: Mapping[str, tuple[Corpus, Tokens]]
    proxy: NGram
    seeds: int
    base_tokens: int
    tail_tokens: int
    candidate_tokens: int

    def items(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Held-out documents: all tokens, where each starts [items + 1], bytes [items] and target [items]."""
        ids, lengths, sizes, groups = [], [], [], []
        for k, (corpus, tokens) in enumerate(self.heldout.values()):
            for part in range(corpus.num_parts):
                found, starts = tokens.ids(part)
                texts = [pc.binary_length(b.column("text")) for b in corpus.batches(part, ["text"])]
                num_bytes = np.concatenate([pc.fill_null(t, 0).to_numpy(zero_copy_only=False) for t in texts])
                ids.append(found)
                lengths.append(np.diff(starts)[num_bytes > 0])
                sizes.append(num_bytes[num_bytes > 0])
                groups.append(np.full(len(sizes[-1]), k))
        starts = np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
        return np.concatenate(ids), starts, np.concatenate(sizes), np.concatenate(groups)


def _prepare(
    candidates: Mapping[str, Corpus],
    base: Corpus,
    targets: Mapping[str, Corpus],
    seeds: int,
    max_tokens: int,
    proxy: NGram,
    space: Workspace,
) -> _Bench:
    made = partial(tokenize, vocab_size=proxy.vocab_size, trained_on=base, workspace=space)
    targets = {name: limit_holdout(corpus, space) for name, corpus in targets.items()}
    heldout = {name: (corpus, made(corpus)) for name, corpus in targets.items()}
    for name, (corpus, tokens) in heldout.items():
        num_tokens = tokens.manifest.summary["tokens"]
        check(num_tokens > 0, f"target[{name!r}]", corpus, "documents with text to test on")

    def source(corpus: Corpus) -> _Source:
        overlap = score(corpus, Overlap(), target=targets, workspace=space)
        return _Source(corpus=corpus, tokens=made(corpus), overlap=overlap)

    opened, own = {name: source(corpus) for name, corpus in candidates.items()}, source(base)
    base_tokens = min(max_tokens, _least(own, seeds))
    least = {name: _least(one, seeds) for name, one in opened.items()}
    candidate_tokens = min(int(SHARE * _TAIL * base_tokens), *least.values())
    for name, number in ({"base": int(SHARE * _TAIL * base_tokens)} | least).items():
        if number < _LEAST:
            raise InvalidParameterError(
                f"{name!r} gives {number:,} tokens to each of {seeds} seeds and must give {_LEAST:,}. Give more text, "
                "or fewer `seeds`."
            )
    return _Bench(
        base=_limited(own, base_tokens, seeds),
        candidates={name: _limited(one, candidate_tokens, seeds) for name, one in opened.items()},
        heldout=heldout,
        proxy=proxy,
        seeds=seeds,
        base_tokens=base_tokens,
        tail_tokens=round(candidate_tokens / SHARE),
        candidate_tokens=candidate_tokens,
    )


def _least(source: _Source, seeds: int) -> int:
    """Tokens that every seed can have of its own."""
    return int(source.fold_tokens(seeds).min())


def _limited(source: _Source, num_tokens: int, seeds: int) -> _Source:
    """The same source, of which no more is drawn than needed, if that leaves enough in every seed."""
    share = _ROOM * num_tokens / max(1, _least(source, seeds))
    limited = _Source(corpus=source.corpus, tokens=source.tokens, overlap=source.overlap, share=min(1.0, share))
    return limited if _least(limited, seeds) >= num_tokens else source


def _run_seed(bench: _Bench, seed: int) -> np.ndarray:
    """Bits of held-out documents [1 + candidates, items], the control first."""
    base = bench.base.draw(seed, bench.seeds, bench.base_tokens)
    others = [one.draw(seed, bench.seeds, bench.candidate_tokens) for one in bench.candidates.values()]
    ids, starts, _, _ = bench.items()
    queries = bench.proxy.queries(ids, starts, bench.base.tokens.manifest.summary["vocab_size"])
    sizes = {"tail_tokens": bench.tail_tokens, "other_tokens": bench.candidate_tokens}
    return annealed_bits(base, others, queries, starts, **sizes)


def _verify(bench: _Bench, chance: float, draft: Draft) -> None:
    work = [bench.base_tokens] * bench.seeds
    found = list(map_step(draft, "anneal", partial(_run_seed, bench), range(bench.seeds), work, "tokens"))
    _, _, sizes, groups = bench.items()
    losses = Losses(bits=np.stack(found, axis=1), sizes=sizes, groups=groups)
    content = _content(bench, losses, chance)
    with atomic_path(draft.folder / VERIFICATION) as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    size = (draft.folder / VERIFICATION).stat().st_size
    draft.finish(schema={}, parts=[{"file": VERIFICATION, "rows": 0, "bytes": size}])


def _content(bench: _Bench, losses: Losses, chance: float) -> dict[str, Any]:
    """verification.json."""
    by_seed = losses.bits_per_byte()
    mean, replicates = by_seed.mean(axis=1), losses.replicates()
    cells = list(range(1, len(mean)))
    accepted = surely_better(losses, 0, cells, chance)
    rows = []
    for cell, (name, source), is_accepted in zip(cells, bench.candidates.items(), accepted, strict=True):
        gain = effect(mean, replicates, cell, 0)
        rows.append(
            {
                "name": name,
                "verdict": "accepted" if is_accepted else _VERDICTS[verdict(gain)],
                "gain": gain._asdict(),
                "gain_by_seed": (by_seed[0] - by_seed[cell]).tolist(),
                "documents": source.corpus.num_documents,
                "left_out_for_overlap": source.num_left_out(),
                "fingerprint": source.corpus.fingerprint,
            }
        )
    rows.sort(key=lambda row: -row["gain"]["estimate"])
    return {
        "schema_version": 1,
        "headline": _headline(rows, bench, chance),
        "candidates": rows,
        "control_bits_per_byte": float(mean[0]),
        "seeds": bench.seeds,
        "max_false_accepts": chance,
        "base_tokens": bench.base_tokens,
        "tail_tokens": bench.tail_tokens,
        "candidate_tokens": bench.candidate_tokens,
        "heldout_documents": len(losses.sizes),
        "targets": list(bench.heldout),
        "proxy": {**bench.proxy.parameters(), "rung": bench.proxy.rung},
    }


def _headline(rows: list[dict[str, Any]], bench: _Bench, chance: float) -> str:
    names = [row["name"] for row in rows if row["verdict"] == "accepted"]
    found = f"Accepted: {', '.join(names)}" if names else "No candidate is accepted"
    return (
        f"{found} ({len(rows)} tried, {bench.seeds} seeds of {human_count(bench.candidate_tokens)} tokens each; the "
        f"chance of any false one is {100 * chance:.3g} %)."
    )
