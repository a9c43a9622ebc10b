"""Which cleaning rules and deduplications help a small language model? Makes the tables of docs/evidence.md.

    python examples/evidence.py FOLDER [noisy] [clean] [copies] [lines]

FOLDER holds `pool/*.jsonl.zst`, `benchmarks/boolq/validation.jsonl.zst` and `raw/html/article-extraction-benchmark`.
Pools are put together under .assay/evidence, and everything computed is kept there: an interrupted run goes on where it
stopped. Delete that folder after a change to what a pool holds. Each pool is compared on two targets:

- noisy: good prose, and five times as much mail, spam, tweets, web pages with menus, other languages, wikitext, manuals
- clean: good prose alone, the control
- copies: good prose, as much again in copies with edits, and texts that come in several versions by nature
- lines: every document of the noisy pool as it is, and without the lines that C4 takes out
"""

import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import assay
from assay.api.running import run
from assay.api.staging import Evidence, Stage, gather_evidence, prepare
from assay.artifacts.manifest import atomic_path
from assay.artifacts.workspace import Workspace
from assay.comparison.result import evaluate, multiplier_estimate, multiplier_interval

KEPT = Path(".assay/evidence")
PAGE = Path(__file__).parents[1] / "docs" / "evidence.md"
BUDGET, SEEDS = 1_000_000, 5
Row = dict[str, str]

# File, words in the name of the source, share of its documents.
CLEAN = [("books", "100_english", 0.5), ("biomed", "CRAFT", 1), ("biomed", "allofplos", 1), ("gov_legal", "nltk", 1)]
CLEAN += [("wikipedia", "wikitext-2", 1), ("qa_forum", "MedQuAD", 0.2), ("news", "", 0.5)]
NOISE = [("email_spam", "", 1), ("web", "", 1), ("reviews_social", "", 1), ("multilingual", "", 0.25)]
NOISE += [("docs", "", 0.33), ("wikipedia", "enwiki", 1)]
VERSIONS = [("docs", "NVIDIA-NeMo/Curator", 1), ("books", "Sherlock", 1)]  # near duplicates by nature
PAGES = "raw/html/article-extraction-benchmark/html/*.html.gz"
GOOD = "clean: "  # before the source of good prose
THIN = 0.5  # share of it that the noisy pool and the pool of copies hold
PIECE = 6000  # characters; longer documents are cut at line ends, else a budget is a handful of chapters

ENGLISH = "language.code = 'en'"
ALL_RULES = "passes('gopher', 'fineweb', 'c4')"
DEDUPLICATION = {
    "exact": {"where": "exact.representative"},
    "minhash 0.8": {"where": "minhash.representative"},
    "repeats.later_lines <= 0.3": {"where": "repeats.later_lines <= 0.3"},
    "substrings.share <= 0.5": {"where": "substrings.share <= 0.5"},
}
RULES = {
    "another random": {},
    **{p: {"where": f"passes('{p}')"} for p in ("gopher_quality", "gopher_repetition", "gopher", "fineweb", "c4")},
    "all rules": {"where": ALL_RULES},
    "english": {"where": ENGLISH},
    "english, gopher": {"where": f"{ENGLISH} and passes('gopher')"},
    "english, all rules": {"where": f"{ENGLISH} and {ALL_RULES}"},
    **DEDUPLICATION,
}
NORMALISED = {"score": {"exact": {"normalise": True}}, "where": "exact.representative"}
MINHASH = {t: {"score": {"minhash": {"threshold": t}}, "where": "minhash.representative"} for t in (0.9, 0.7, 0.5)}
COPIES = {
    "another random": {},
    **DEDUPLICATION,
    "exact, normalised": NORMALISED,
    **{f"minhash {threshold}": arm for threshold, arm in MINHASH.items()},
    "unique: minhash 0.8": {"select": {"unique": {"by": "minhash"}}},
    "repeats.lines <= 0.3, no copy kept": {"where": "repeats.lines <= 0.3"},
    "minhash 0.7, later_lines": MINHASH[0.7] | {"where": "minhash.representative and repeats.later_lines <= 0.3"},
}
LINES = {
    "as it is": {"where": "edit = 'none'"},
    "c4 lines": {"where": "edit = 'c4'"},
    "c4 rules": {"where": "edit = 'none' and passes('c4')"},
    "c4 lines, c4 rules": {"where": "edit = 'c4' and passes('c4')"},
    "gopher": {"where": "edit = 'none' and passes('gopher')"},
    "c4 lines, gopher": {"where": "edit = 'c4' and passes('gopher')"},
}
ARMS: dict[str, dict[str, dict[str, Any]]] = {"noisy": RULES, "clean": RULES, "copies": COPIES, "lines": LINES}


def main(folder: str, *names: str) -> None:
    """Puts the pools together, compares, and writes the tables of each into docs/evidence.md."""
    unknown = sorted(set(names) - set(ARMS))
    if unknown:
        sys.exit(f"There is no pool {unknown[0]!r}; there are {', '.join(ARMS)}.")
    data = Path(folder)
    targets = {name: stored(f"target-{name}", rows) for name, rows in target_documents(data).items()}
    for name in names or ARMS:
        pool = stored(f"pool-{name}", pool_documents(data, name))
        put(name, "\n\n".join(table(name, pool, target, file) for target, file in targets.items()))


def stored(name: str, rows: Iterator[Row]) -> str:
    """The file of these documents, written unless it is there."""
    path = KEPT / "files" / f"{name}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as draft, open(draft, "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return str(path)


def target_documents(data: Path) -> dict[str, Iterator[Row]]:
    """Edited English prose: news, of which the pools hold other stories, and Wikipedia passages on all subjects."""
    news = documents(data, [("news", "", 1)])
    boolq = lines_of(data / "benchmarks/boolq/validation.jsonl.zst")
    passages = enumerate(sorted({row["context"] for row in boolq}))
    return {
        "news": (row for row in news if draw(row["id"].split("#cut")[0]) >= 0.5),
        "passages": ({"id": str(k), "text": text, "source": "boolq"} for k, text in passages),
    }


def pool_documents(data: Path, name: str) -> Iterator[Row]:
    """The documents of one of the pools."""
    if name == "clean":
        yield from documents(data, CLEAN, GOOD)
    elif name == "copies":
        originals = list(documents(data, CLEAN, GOOD, THIN))
        yield from originals
        yield from documents(data, VERSIONS, "versions: ")
        yield from copies(originals)
    elif name == "noisy":
        yield from documents(data, CLEAN, GOOD, THIN)
        yield from documents(data, NOISE)
        pages = assay.read(str(data / PAGES), max_failed_share=0.05, workspace=KEPT)
        for row in rows_of(pages, "id", "text"):
            yield from pieces(row | {"source": "pages"})
    else:
        noisy = stored("pool-noisy", pool_documents(data, "noisy"))
        corpus = assay.read(noisy, id="id", workspace=KEPT)
        for edit, edited_corpus in (("none", corpus), ("c4", assay.refine(corpus, "c4", workspace=KEPT))):
            yield from (row | {"edit": edit} for row in rows_of(edited_corpus, "id", "text", "source"))


def documents(data: Path, parts: list[tuple[str, str, float]], label: str = "", thin: float = 1) -> Iterator[Row]:
    """Documents of some sources, as many as their share says, drawn by the hash of the id, in pieces."""
    for file, words, share in parts:
        for row in lines_of(data / "pool" / f"{file}.jsonl.zst"):
            if words in row["source"] and draw(row["id"]) < share * thin:
                yield from pieces({"id": row["id"], "text": row["text"], "source": f"{label}{file}"})


def pieces(row: Row) -> Iterator[Row]:
    """The document cut at line ends, a new piece where one would grow longer than `PIECE` characters."""
    piece, number = "", 0
    for line in row["text"].splitlines(keepends=True):
        if piece and len(piece) + len(line) > PIECE:
            yield row | {"id": f"{row['id']}#cut{number}", "text": piece}
            piece, number = "", number + 1
        piece += line
    yield row | {"id": f"{row['id']}#cut{number}", "text": piece}


def copies(originals: list[Row]) -> Iterator[Row]:
    """A quarter of the documents 1, 3, 8 or 24 times more, each copy with an edit of its own."""
    rng = np.random.default_rng(0)
    made: Counter[str] = Counter()
    for row in originals:
        for k in range(int(rng.choice([1, 3, 8, 24], p=[0.5, 0.3, 0.15, 0.05])) if rng.random() < 0.25 else 0):
            kind = EDITS[int(rng.integers(len(EDITS)))]
            made[kind] += 1
            yield {"id": f"{row['id']}#copy{k}", "text": edited(row["text"], kind, rng), "source": f"copies: {kind}"}
    print(f"{made.total():,} copies of {len(originals):,} documents: {dict(sorted(made.items()))}", flush=True)


EDITS = ("the same", "case and space", "2 % of words", "6 % of words", "in a page", "first half")
MENU = "Home\nNews\nAbout us\nContact\nSign in to your account\nYou are here: Home > Archive > Article\n\n"
FOOTER = "\n\nShare this page\nRead more\nAll rights reserved. Terms of use and privacy policy\nBack to top\n"


def edited(text: str, kind: str, rng: np.random.Generator) -> str:
    """What a copy of a text may look like; words are replaced by other words of the text."""
    if "%" in kind:
        words = text.split(" ")
        for place in np.flatnonzero(rng.random(len(words)) < float(kind.split()[0]) / 100):
            words[place] = words[int(rng.integers(len(words)))]
        return " ".join(words)
    if kind == "case and space":
        return "\n".join(f"  {line.upper()} " for line in text.splitlines())
    return {"the same": text, "in a page": MENU + text + FOOTER, "first half": text[: (len(text) + 1) // 2]}[kind]


def lines_of(path: Path) -> Iterator[Any]:
    """The lines of a compressed file of JSON lines."""
    with io.TextIOWrapper(pa.input_stream(str(path)), "utf-8") as stream:
        yield from map(json.loads, stream)


def rows_of(corpus: assay.Corpus, *columns: str) -> Iterator[Row]:
    """The documents of a corpus."""
    for part in range(corpus.num_parts):
        for batch in corpus.batches(part, list(columns)):
            yield from batch.to_pylist()


def draw(text: str) -> float:
    """A number from 0 to 1 that belongs to the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) / 2**48


def table(name: str, pool: str, target: str, target_file: str) -> str:
    """Compares the arms of a pool for one target: a table in Markdown."""
    print(f"{name}, {target}", flush=True)
    settings: dict[str, Any] = {
        "pool": {"read": pool, "id": "id"},
        "target": {target: {"read": target_file, "id": "id", "holdout": 0.9}},
        "budget": f"{BUDGET} tokens",
        "seeds": SEEDS,
        "arms": {arm: {"select": "uniform"} | settings for arm, settings in ARMS[name].items()},
    }
    recipe = assay.Recipe.from_dict(settings)
    found = assay.compare(recipe, workspace=KEPT).content
    stage = prepare(recipe, Workspace(KEPT))
    baseline = "as it is" if name == "lines" else "random"
    arms = against(baseline, stage) if name == "lines" else found["arms"]
    loss = next(arm["bits_per_byte"] for arm in arms if arm["name"] == baseline)
    lines = [
        f"**{name}, {target}**: n = {SEEDS} seeds x {found['heldout_documents']:,} held-out documents; "
        f"{BUDGET / 1e6:g}M tokens an arm, from {found['pool']['documents']:,} documents with "
        f"{found['pool']['tokens'] / 1e6:.1f}M; {baseline}: {loss:.3f} bits per byte.\n",
        "| arm | tokens to choose from | of them clean | bits per byte saved | verdict | P(best) | data multiplier |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, facts in zip(arms, found["arms"], strict=True):
        summary = stage.task(arm["name"], 0, whole_pool=True).selection(stage.bench).manifest.summary
        chosen = facts["composition"]["chosen"]
        clean = sum(tokens for source, tokens in chosen.items() if source.startswith(GOOD)) / sum(chosen.values())
        lines.append(f"| {arm['name']} | {summary['eligible'] / 1e6:.1f}M | {clean:.0%} | {' | '.join(results(arm))} |")
    return "\n".join(lines)


def results(arm: dict[str, Any]) -> list[str]:
    """Effect, verdict, P(best) and multiplier as the table says them."""
    if "effect" not in arm:
        return ["", "", f"{arm['p_best']:.2f}", "1x"]
    effect, times = arm["effect"], arm["multiplier"]
    sure = arm["verdict"] != "no difference shown"
    return [
        f"{effect['estimate']:+.3f} ({effect['low']:+.3f} to {effect['high']:+.3f})",
        f"**{arm['verdict']}**" if sure else f"no difference shown (detectable: {arm['detectable']:.3f})",
        f"{arm['p_best']:.2f}",
        multiplier_estimate(times) + (f" ({multiplier_interval(times)})" if times else ""),
    ]


def against(baseline: str, stage: Stage) -> list[dict[str, Any]]:
    """The arms measured against another one than random, which is trained on fewer and more tokens for it."""
    runs = dict(gather_evidence(stage).runs)
    ladder = [BUDGET // 4, BUDGET // 2, BUDGET, 2 * BUDGET, 4 * BUDGET]
    for tokens in ladder:
        tasks = [stage.task(baseline, seed, num_tokens=tokens) for seed in range(SEEDS)]
        runs[baseline, tokens] = [run(stage.bench, task) for task in tasks]
    losses = Evidence(runs=runs, ladder=ladder, pool_ends=False).losses()
    return evaluate(losses, list(runs), list(stage.recipe.arms), ladder, BUDGET, baseline)["arms"]


def put(name: str, text: str) -> None:
    """Writes the tables of a pool between its two markers."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    with atomic_path(PAGE) as draft:
        draft.write_text(f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
