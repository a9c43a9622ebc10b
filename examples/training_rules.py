"""Does any training-time rule beat plain training at the same tokens? Makes the table of docs/training-rules.md.

    python examples/training_rules.py FOLDER [SEEDS [RULE ...]]

FOLDER holds `pool/*.jsonl.zst`. A transformer much smaller than the proxies (so that a run takes seconds on one core)
is trained by each rule on the same random documents of the pool, a seed at a time: other documents, first weights and
order by seed, the same for all rules. It is tested on documents of the pool that no run reads, the same for all seeds.
What is done is kept in .assay/training-rules.json, so that an interrupted call goes on where it stopped.
"""

import json
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

import assay
from assay.models.tokenizer import BPE
from assay.packing.sequences import pack
from assay.proxy.rules import Rule, Rules
from assay.proxy.rules.averaging import EMA, LAWA
from assay.proxy.rules.curriculum import Curriculum, Upsample
from assay.proxy.rules.metadata import MeCo
from assay.proxy.rules.phases import Facts, cost_of, make_phases, metadata_rule, score_column, selection_tokens
from assay.proxy.rules.repeating import Epochs
from assay.proxy.rules.reweighting import Reweight
from assay.proxy.rules.sampling import RS2, InfoBatch, SeTa
from assay.proxy.settings import Settings
from assay.proxy.stream import Stream

FOUND = Path(".assay/training-rules.json")
BUDGET, LENGTH, VOCAB = 100_000, 32, 1024
SHAPE = {"width": 32, "depth": 2, "heads": 2, "hidden": 96}
DOMAINS = ("biomed", "books", "news", "qa_forum", "reviews_social", "web", "wikipedia")  # English prose
DOCUMENTS, TESTED = 4000, 400  # of the pool, of them to test on
PIECE, HELD_OUT_PIECE = 600, 300  # characters of each
SETTINGS = Settings(learning_rate=0.004, batch_tokens=4 * LENGTH, beta2=0.99, min_steps=1, sequence_length=LENGTH)
FLAT = Settings(**{**SETTINGS.parameters(), "decay": 0.0})
FOUR = Epochs(times=4)

# Name: the rule, what it is held against, and the settings.
ARMS: dict[str, tuple[Rule | None, str, Settings]] = {
    "plain": (None, "plain", SETTINGS),
    "curriculum by chance": (Curriculum(by="chance"), "plain", SETTINGS),
    "reweight linear_upper": (Reweight(), "plain", SETTINGS),
    "reweight quadratic": (Reweight(shape="quadratic"), "plain", SETTINGS),
    "reweight extremes": (Reweight(shape="extremes"), "plain", SETTINGS),
    "reweight upper": (Reweight(shape="upper"), "plain", SETTINGS),
    "curriculum compressible first": (Curriculum(by="bits"), "curriculum by chance", SETTINGS),
    "curriculum compressible last": (Curriculum(by="bits", first="high"), "curriculum by chance", SETTINGS),
    "upsample biomedical": (Upsample(by="biomed", top=0.05), "plain", SETTINGS),
    "meco by source": (MeCo(by="source"), "plain", SETTINGS),
    "rs2 with replacement": (RS2(share=0.1, replacement=True), "plain", SETTINGS),
    "epochs 4": (FOUR, "plain", SETTINGS),
    "epochs 4, rs2 with replacement": (Rules(rules=(FOUR, RS2(share=0.25, replacement=True))), "epochs 4", SETTINGS),
    "epochs 4, seta": (Rules(rules=(FOUR, SeTa())), "epochs 4", SETTINGS),
    "epochs 4, infobatch": (Rules(rules=(FOUR, InfoBatch())), "epochs 4", SETTINGS),
    "constant rate": (None, "plain", FLAT),
    "constant rate, ema": (EMA(), "constant rate", FLAT),
    "constant rate, lawa": (LAWA(), "constant rate", FLAT),
}


class Bench:
    """The pool's documents, the tokenizer, and what is tested on."""

    def __init__(self, folder: Path):
        texts, sources, domains = [], [], []
        for domain in DOMAINS:
            corpus = assay.read(str(folder / "pool" / f"{domain}.jsonl.zst"))
            for part in range(corpus.num_parts):
                table = corpus.table(part, ["text", "source"])
                texts += table["text"].to_pylist()
                sources += table["source"].to_pylist()
                domains += [domain] * len(table)
        # As many documents of each domain, so that the short ones of one do not drown the others.
        rng = np.random.default_rng(0)
        shuffled = rng.permutation(len(texts))
        names = np.array(domains)[shuffled]
        per_domain = DOCUMENTS // len(DOMAINS)
        rows = rng.permutation(np.concatenate([shuffled[names == name][:per_domain] for name in DOMAINS]))
        sizes = [HELD_OUT_PIECE] * TESTED + [PIECE] * (len(rows) - TESTED)
        self.texts = [texts[row][:size] for row, size in zip(rows, sizes, strict=True)]
        self.sources = [sources[row] for row in rows]
        self.values = {
            "biomed": np.array([domains[row] == "biomed" for row in rows], float),
            "chance": rng.random(len(rows)),
            "bits": np.array([8 * len(zlib.compress(t.encode())) / max(1, len(t.encode())) for t in self.texts]),
        }
        self.bpe = BPE.train(self.texts[TESTED:], VOCAB)
        self.ids, self.starts = self.bpe.encode(pa.array(self.texts, pa.large_string()))
        self.bytes = np.array([len(text.encode()) for text in self.texts[:TESTED]])

    def stream(self, rule: Rule | None, seed: int) -> tuple[Stream, Facts]:
        """Documents in an order drawn by the seed, cut to what the rule wants for the budget."""
        order = TESTED + np.random.default_rng([1, seed]).permutation(len(self.texts) - TESTED)
        sizes = np.diff(self.starts)[order]
        num_tokens = selection_tokens(rule, BUDGET)
        num = int(np.searchsorted(np.cumsum(sizes), num_tokens)) + 1
        order, sizes = order[:num], sizes[:num]
        tokens = np.concatenate([self.ids[self.starts[row] : self.starts[row + 1]] for row in order])[:num_tokens]
        starts = np.minimum(np.concatenate(([0], np.cumsum(sizes))), num_tokens)
        has_end = np.arange(num) < num - 1
        column, meco = score_column(rule), metadata_rule(rule)
        values = None if column is None else self.values[column][order]
        texts = None if meco is None else meco.prefixes([self.sources[row] for row in order])
        prefixes = None if texts is None else self.bpe.encode(pa.array(texts, pa.large_string()))
        return Stream(tokens, starts, has_end), Facts(values, prefixes)


def run(bench: Bench, name: str, seed: int) -> dict[str, object]:
    """Trains by a rule; bits of each tested document, and what it cost."""
    from assay.models.gpt import GPT, GPTConfig
    from assay.models.neural_lm import of_network
    from assay.proxy.train import train

    rule, _, settings = ARMS[name]
    stream, facts = bench.stream(rule, seed)
    end_id = bench.bpe.vocab_size
    phases = make_phases(rule, stream, pack, length=LENGTH, end_id=end_id, seed=seed, facts=facts)
    model = GPT(GPTConfig(vocab_size=end_id + 1, context=LENGTH, **SHAPE), seed=seed)
    began = time.process_time()
    outcome = train(model, phases, settings, seed=seed, rule=rule)
    seconds = time.process_time() - began
    last = bench.starts[TESTED]
    losses = of_network(model, bench.bpe).log_probabilities(bench.ids[:last], bench.starts[: TESTED + 1])
    bits = -np.add.reduceat(losses.astype(np.float64), bench.starts[:TESTED]) / np.log(2)
    return {
        "bits": bits.round(2).tolist(),
        "cost": cost_of(phases, outcome.visits, outcome.forward_tokens).equivalent,
        "seconds": round(seconds, 1),
    }


def rows(found: dict[str, dict[str, object]], bench_bytes: np.ndarray, is_biomed: np.ndarray) -> list[str]:
    """The table: bits per byte, effect against its control with a 95 % interval over seeds and documents, cost."""
    seeds = sorted({int(key.rsplit("|", 1)[1]) for key in found})
    lines = [
        "| rule | against | bits/byte | effect | 95 % interval | biomedical | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (_, control, _) in ARMS.items():
        done = [s for s in seeds if f"{name}|{s}" in found and f"{control}|{s}" in found]
        if not done:
            continue
        ours, theirs = (np.array([found[f"{of}|{s}"]["bits"] for s in done]) for of in (name, control))
        effect = (ours - theirs).sum(1) / bench_bytes.sum()
        middle = f"{effect.mean():+.4f} | {_interval(ours - theirs, bench_bytes)}" if name != control else " | "
        biomed = (ours - theirs)[:, is_biomed].sum(1).mean() / bench_bytes[is_biomed].sum()
        cost = np.mean([found[f"{name}|{s}"]["cost"] / found[f"plain|{s}"]["cost"] for s in done])  # type: ignore[operator]
        level = ours.sum(1).mean() / bench_bytes.sum()
        lines.append(
            f"| {name} | {control if name != control else ''} | {level:.3f} | {middle} | {biomed:+.3f} | {cost:.2f} |"
        )
    return lines


def _interval(effects: np.ndarray, num_bytes: np.ndarray) -> str:
    """Bootstrap over seeds and documents together."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(2000):
        documents = rng.integers(0, len(num_bytes), len(num_bytes))
        some = effects[rng.integers(0, len(effects), len(effects))]
        draws.append(some[:, documents].sum() / len(effects) / num_bytes[documents].sum())
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{low:+.4f} to {high:+.4f}"


def main(folder: Path, num_seeds: int, names: Sequence[str]) -> None:
    """Runs what is missing and prints the table."""
    import torch

    torch.set_num_threads(1)
    FOUND.parent.mkdir(exist_ok=True)
    bench = Bench(folder)
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for seed in range(num_seeds):
        for name in names:
            key = f"{name}|{seed}"
            if key not in found:
                found[key] = run(bench, name, seed)
                FOUND.write_text(json.dumps(found))
                print(key, sum(found[key]["bits"]) / bench.bytes.sum(), found[key]["seconds"], flush=True)
    print("\n".join(rows(found, bench.bytes, bench.values["biomed"][:TESTED] > 0)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3, sys.argv[3:] or list(ARMS))
