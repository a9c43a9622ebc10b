"""Which cleaning rules and deduplications help a small language model? Makes the tables of docs/evidence.md.

    python examples/evidence.py FOLDER [noisy] [clean] [copies] [versions] [lines]

FOLDER holds `pool/*.jsonl.zst`, `benchmarks/boolq/validation.jsonl.zst` and `raw/html/article-extraction-benchmark`.
All is kept under .assay/evidence, so that an interrupted run goes on where it stopped; delete it after a change to what
a pool holds. There are five pools, each compared on two targets:

- noisy: mail, spam, tweets, web pages with menus, other languages, wikitext and manuals, and one part in six good prose
- clean: good prose alone, the control
- copies: good prose, and almost twice as much in copies with edits
- versions: good prose, manuals in four versions each and a book in five editions
- lines: every document of the noisy pool as it is, and without the lines that C4 takes out
"""

import hashlib
import json
import sys
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
from assay.errors import check_choice

KEPT = Path(".assay/evidence")
PAGE = Path(__file__).parents[1] / "docs" / "evidence.md"
BUDGET, SEEDS = 1_000_000, 5  # tokens of each arm
Row = dict[str, str]

# File, words in the name of the source, share of its documents.
CLEAN = [("books", "100_english", 0.5), ("biomed", "CRAFT", 1), ("biomed", "allofplos", 1), ("gov_legal", "nltk", 1)]
CLEAN += [("wikipedia", "wikitext-2", 1), ("qa_forum", "MedQuAD", 0.2), ("news", "", 0.5)]
NOISE = [("email_spam", "", 1), ("web", "", 1), ("reviews_social", "", 1), ("multilingual", "", 0.25)]
NOISE += [("docs", "", 0.33), ("wikipedia", "enwiki", 1)]
VERSIONS = [("docs", "NVIDIA-NeMo/Curator", 1), ("books", "Sherlock", 1)]  # near duplicates by nature
GOOD = "clean: "  # before the source of good prose
THIN = 0.5  # share of it that the noisy pool and the pool of copies hold
PIECE = 6000  # characters; longer documents are cut at line ends, else a budget is a handful of chapters

PRESETS = ("gopher_quality", "gopher_repetition", "gopher", "fineweb", "c4")
ALL_RULES, ENGLISH = "passes('gopher', 'fineweb', 'c4')", "language.code = 'en'"
FILTERS = ("exact.representative", "minhash.representative", "repeats.later_lines <= 0.3", "substrings.share <= 0.5")
DEDUPLICATION = {rule: {"where": rule} for rule in FILTERS}
RULES = {
    "another random": {},
    **{name: {"where": f"passes('{name}')"} for name in PRESETS},
    "all rules": {"where": ALL_RULES},
    "english": {"where": ENGLISH},
    "english, gopher": {"where": f"{ENGLISH} and passes('gopher')"},
    "english, all rules": {"where": f"{ENGLISH} and {ALL_RULES}"},
    **DEDUPLICATION,
}
MINHASH = {t: {"score": {"minhash": {"threshold": t}}, "where": "minhash.representative"} for t in (0.9, 0.7, 0.5)}
COPIES = {
    "another random": {},
    "the originals": {"where": f"source like '{GOOD}%'"},
    "exact, normalised": {"score": {"exact": {"normalise": True}}, "where": "exact.representative"},
    **DEDUPLICATION,
    **{f"minhash {threshold}": arm for threshold, arm in MINHASH.items()},
    "unique by minhash": {"select": {"unique": {"by": "minhash"}}},
    "repeats.lines <= 0.3": {"where": "repeats.lines <= 0.3"},
}
LINES = {"as it is": {"where": "edit = 'none'"}, "c4 lines": {"where": "edit = 'c4'"}}
for _rules in ("c4", "gopher"):
    LINES[f"{_rules} rules"] = {"where": f"edit = 'none' and passes('{_rules}')"}
    LINES[f"c4 lines, {_rules} rules"] = {"where": f"edit = 'c4' and passes('{_rules}')"}
ARMS: dict[str, dict[str, dict[str, Any]]] = {"noisy": RULES, "clean": RULES, "copies": COPIES}
ARMS |= {"versions": COPIES, "lines": LINES}


def main(data: Path, *names: str) -> None:
    """Puts the pools together, compares, and writes the tables of each into docs/evidence.md."""
    for name in names:
        check_choice("pool", name, ARMS)
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
        print(f"put together: {name}", flush=True)
    return str(path)


def target_documents(data: Path) -> dict[str, Iterator[Row]]:
    """Edited English prose: news, of which the pools hold other stories, and Wikipedia passages on all subjects."""
    stories = ((row["id"], row["text"]) for row in lines_of(data / "pool/news.jsonl.zst"))
    passages = sorted({row["context"] for row in lines_of(data / "benchmarks/boolq/validation.jsonl.zst")})
    return {
        "news": ({"id": name, "text": text} for name, text in stories if draw(name) >= 0.5),
        "passages": ({"id": str(k), "text": text} for k, text in enumerate(passages)),
    }


def pool_documents(data: Path, name: str) -> Iterator[Row]:
    """The documents of one of the pools."""
    if name == "clean":
        yield from documents(data, CLEAN, GOOD)
    elif name in ("copies", "versions"):
        originals = list(documents(data, CLEAN, GOOD, THIN))
        yield from originals
        yield from copies(originals) if name == "copies" else documents(data, VERSIONS, "versions: ")
    elif name == "noisy":
        yield from documents(data, CLEAN, GOOD, THIN)
        yield from documents(data, NOISE)
        pages = assay.read(str(data / "raw/html/article-extraction-benchmark/html/*.html.gz"), workspace=KEPT)
        for part in range(pages.num_parts):
            for row in pages.table(part, ["id", "text"]).to_pylist():
                yield from pieces(row | {"source": "pages"})
    else:
        noisy = assay.read(stored("pool-noisy", pool_documents(data, "noisy")), id="id", workspace=KEPT)
        for edit, corpus in (("none", noisy), ("c4", assay.refine(noisy, "c4", workspace=KEPT))):
            for part in range(corpus.num_parts):
                for row in corpus.table(part, ["id", "text", "source"]).to_pylist():
                    yield row | {"edit": edit}


def documents(data: Path, parts: Any, label: str = "", thin: float = 1) -> Iterator[Row]:
    """Documents of some sources, as many as their share says, drawn by the hash of the id, in pieces."""
    for file, words, share in parts:
        for row in lines_of(data / f"pool/{file}.jsonl.zst"):
            if words in row["source"] and draw(row["id"]) < share * thin:
                yield from pieces({"id": row["id"], "text": row["text"], "source": label + file})


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
    """A quarter of the documents 1, 4, 16 or 64 times more, each copy with an edit of its own."""
    rng = np.random.default_rng(0)
    for row in originals:
        for k in range(int(rng.choice([1, 4, 16, 64], p=[0.5, 0.3, 0.15, 0.05])) if rng.random() < 0.25 else 0):
            kind = EDITS[int(rng.integers(len(EDITS)))]
            yield {"id": f"{row['id']}#copy{k}", "text": edited(row["text"], kind, rng), "source": f"copies: {kind}"}


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
    """The rows of a compressed file of JSON lines."""
    return map(json.loads, pa.input_stream(str(path)).read().decode().split("\n")[:-1])


def draw(text: str) -> float:
    """A number from 0 to 1 that belongs to the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) / 2**48


def table(name: str, pool: str, target: str, target_file: str) -> str:
    """Compares the arms of a pool for one target: a table in Markdown."""
    print(f"{name}, {target}", flush=True)
    recipe = {
        "pool": {"read": pool, "id": "id"},
        "target": {target: {"read": target_file, "id": "id", "holdout": 0.9}},
        "budget": f"{BUDGET} tokens",
        "seeds": SEEDS,
        "arms": {arm: {"select": "uniform"} | settings for arm, settings in ARMS[name].items()},
    }
    found = assay.compare(recipe, workspace=KEPT).content
    stage = prepare(assay.Recipe.from_dict(recipe), Workspace(KEPT))
    baseline = "as it is" if name == "lines" else "random"
    arms = against(baseline, stage) if name == "lines" else found["arms"]
    loss = next(arm["bits_per_byte"] for arm in arms if arm["name"] == baseline)
    lines = [
        f"**{name}, {target}**: n = {SEEDS} seeds x {found['heldout_documents']:,} held-out documents; "
        f"{BUDGET / 1e6:g}M tokens an arm, from {found['pool']['documents']:,} documents with "
        f"{found['pool']['tokens'] / 1e6:.1f}M; {baseline}: {loss:.3f} bits per byte.\n",
        "| arm | to choose from | clean share | bits per byte saved | verdict | P(best) | data multiplier |",
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
    effect, times, verdict = arm["effect"], arm["multiplier"], f"**{arm['verdict']}**"
    if arm["verdict"] == "no difference shown":
        verdict = f"no difference shown (detectable: {arm['detectable']:.3f})"
    saved = f"{effect['estimate']:+.3f} ({effect['low']:+.3f} to {effect['high']:+.3f})"
    multiplier = multiplier_estimate(times) + (f" ({multiplier_interval(times)})" if times else "")
    return [saved, verdict, f"{arm['p_best']:.2f}", multiplier]


def against(baseline: str, stage: Stage) -> list[dict[str, Any]]:
    """The arms measured against another one than random, which is trained on fewer and more tokens for it."""
    runs = dict(gather_evidence(stage).runs)
    ladder = [BUDGET // 4, BUDGET // 2, BUDGET, 2 * BUDGET, 4 * BUDGET]
    for num in ladder:
        runs[baseline, num] = [run(stage.bench, stage.task(baseline, k, num_tokens=num)) for k in range(SEEDS)]
    losses = Evidence(runs=runs, ladder=ladder, pool_ends=False).losses()
    return evaluate(losses, list(runs), list(stage.recipe.arms), ladder, BUDGET, baseline)["arms"]


def put(name: str, text: str) -> None:
    """Writes the tables of a pool between its two markers."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    PAGE.write_text(f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
