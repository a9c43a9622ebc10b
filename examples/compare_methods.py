"""Which published method chooses better than chance, for what? Makes the tables of docs/methods.md.

    python examples/compare_methods.py FOLDER [TARGET ...]

FOLDER holds `pool/*.jsonl.zst` and `benchmarks/*/*.jsonl.zst`. Every arm of every recipe that needs nothing but pool
and target is held against a random choice of the same number of tokens, for six question sets and two domains of the
pool; Ultra-FineWeb may verify each domain of the pool as seeds. All is kept under .assay/methods, so that an
interrupted run goes on where it stopped; docs/methods.json holds the numbers, and a target that is done anew replaces
its own.

The pool: a quarter of the documents of each of 13 files, drawn by the hash of the id, cut at line ends into pieces of
at most 6,000 characters (else a budget is a handful of chapters). For the two domains, others of their documents are
the target. What is tested on shares no document, article (SQuAD) or passage (SciQ) with what is chosen by.
"""

import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

import assay
from assay.api.comparing import chosen
from assay.artifacts.manifest import atomic_path
from assay.artifacts.workspace import Workspace
from assay.comparison.result import multiplier_estimate, multiplier_interval
from assay.errors import check_choice
from assay.recipes import RECIPES
from assay.recipes.pages import layout, options
from assay.recipes.running import learn

KEPT = Path(".assay/methods")
PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
FOUND = PAGE.with_suffix(".json")
BUDGET, SEEDS, SHARE = 500_000, 5, 0.25
PIECE = 6000  # characters
NUM_SEEDS = 300  # documents of a candidate that Ultra-FineWeb may verify
MOST = 1000  # documents to choose by, and as many to test on
Row = dict[str, str]

# Question set: its file, and what must not stand on both sides.
BENCHMARKS = {
    "sciq": ("validation", "context"),
    "arc_easy": ("train", "id"),
    "squad": ("validation", "title"),
    "hellaswag": ("validation", "id"),
    "gsm8k": ("train", "id"),
    "pubmedqa": ("train", "id"),
}
DOMAINS = {"biomed": ("CRAFT", "allofplos"), "code": ("",)}  # words in the names of sources: articles, no leaflets
TARGETS = (*BENCHMARKS, *DOMAINS)
CONTROLS: dict[str, Any] = {"another random": {}, "longest": {"score": "length.bytes"}}
SECONDS = "core_seconds"  # of choosing, in the JSON file
TIMED = "sciq"  # the target for which it is measured what choosing costs


def main(data: Path, *names: str) -> None:
    """Compares all arms for each target and writes what was found."""
    for name in names:
        check_choice("target", name, TARGETS)
    pool = stored("pool", pool_documents(data))
    for file in pool_files(data):
        stored(f"candidates/{file.name.split('.')[0]}", seed_documents(file))
    seeds = str(KEPT / "files/candidates/*.jsonl")
    for name in names or TARGETS:
        started = time.perf_counter()
        keep(name, found(question(data, name, pool, seeds)))
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    if TIMED in (names or TARGETS):
        keep(SECONDS, core_seconds(question(data, TIMED, pool, seeds)))
    write_page(json.loads(FOUND.read_text(encoding="utf-8")))


def question(data: Path, name: str, pool: str, seeds: str) -> dict[str, Any]:
    """The comparison for a target, whose files are written unless they are there."""
    sides = [stored(f"{name}-{side}", target_documents(data, name, side)) for side in ("fit", "test")]
    return layout_of(name, pool, seeds, *sides)


def stored(name: str, rows: Iterator[Row]) -> str:
    """The file of these documents, written unless it is there."""
    path = KEPT / "files" / f"{name}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as draft, open(draft, "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return str(path)


def pool_documents(data: Path) -> Iterator[Row]:
    """A share of every file's documents, in pieces; `source` is the file."""
    for file in pool_files(data):
        for row in lines_of(file):
            if draw(row["id"]) < SHARE:
                yield from pieces({"id": row["id"], "text": row["text"], "source": file.name.split(".")[0]})


def pool_files(data: Path) -> list[Path]:
    """One for each domain."""
    return sorted((data / "pool").glob("*.jsonl.zst"))


def seed_documents(file: Path) -> Iterator[Row]:
    """Some of a domain's documents that are in the pool, as a set of seeds."""
    rows = (row for row in lines_of(file) if draw(row["id"]) < SHARE / 5)
    return islice((piece for row in rows for piece in pieces({"id": row["id"], "text": row["text"]})), NUM_SEEDS)


def target_documents(data: Path, name: str, side: str) -> Iterator[Row]:
    """The documents to choose by ("fit") or to test on ("test"), at most `MOST`, by the hash of their ids."""
    if name in DOMAINS:
        rows = [row for row in lines_of(data / f"pool/{name}.jsonl.zst") if draw(row["id"]) >= SHARE]
        rows = [row for row in rows if any(words in row["source"] for words in DOMAINS[name])]
        both = [(draw(row["id"]) < (1 + SHARE) / 2, piece) for row in rows for piece in pieces(row)]
    else:
        file, apart = BENCHMARKS[name]
        rows = lines_of(data / f"benchmarks/{name}/{file}.jsonl.zst")
        both = [(draw(row[apart] or row["id"]) < 0.5, row) for row in rows]
    taken = sorted((row for is_fit, row in both if is_fit == (side == "fit")), key=lambda row: draw(row["id"]))
    return ({"id": row["id"], "text": row["text"]} for row in taken[:MOST])


def pieces(row: Row) -> Iterator[Row]:
    """The document cut at line ends, a new piece where one would grow longer than `PIECE` characters."""
    piece, number = "", 0
    for line in row["text"].splitlines(keepends=True):
        if piece and len(piece) + len(line) > PIECE:
            yield row | {"id": f"{row['id']}#cut{number}", "text": piece}
            piece, number = "", number + 1
        piece += line
    yield row | {"id": f"{row['id']}#cut{number}", "text": piece}


def lines_of(path: Path) -> Iterator[Any]:
    """The rows of a compressed file of JSON lines."""
    return map(json.loads, pa.input_stream(str(path)).read().decode().split("\n")[:-1])


def draw(text: str) -> float:
    """A number from 0 to 1 that belongs to the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) / 2**48


def arms(recipes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The controls, and the arms of all recipes, called by recipe and arm."""
    known = dict(CONTROLS)
    for recipe, content in recipes.items():
        for arm, settings in content["arms"].items():
            if arm != "random":
                is_clear = arm.startswith(recipe.replace("_", "-"))
                known[arm if is_clear else f"{recipe}: {arm}"] = settings
    return known


def recipes_of(pool: str, target: dict[str, Any], seeds: str) -> dict[str, dict[str, Any]]:
    """Every recipe that needs nothing but pool and target, or sets of seeds that may or may not be good."""
    given = {"candidates": seeds}
    needed = {name: [option for option, is_needed in options(name).items() if is_needed] for name in RECIPES}
    able = {name: {k: given[k] for k in needs} for name, needs in needed.items() if set(needs) <= set(given)}
    return {name: layout(name, pool, target, f"{BUDGET} tokens", own) | {"seeds": SEEDS} for name, own in able.items()}


def layout_of(name: str, pool: str, seeds: str, fit: str, test: str) -> dict[str, Any]:
    """The comparison of all arms for a target, as a recipe says it; what has to be learnt first is learnt."""
    target = {"read": fit, "id": "id", "holdout": test}
    recipes = recipes_of(pool, target, seeds)
    for recipe, content in recipes.items():
        sides = content | {"pool": {"read": pool, "id": "id"}, "target": {name: target}}
        recipes[recipe] = learn(recipe, sides, Workspace(KEPT))
    return next(iter(recipes.values())) | {"arms": {"random": {}} | arms(recipes)}


def found(content: dict[str, Any]) -> dict[str, Any]:
    """Compares the arms: what the page says of each."""
    content = assay.compare(content, workspace=KEPT).content
    keys = ("name", "bits_per_byte", "effect", "verdict", "detectable", "multiplier")
    taken = {k: content["pool"][k] for k in ("documents", "bytes", "tokens")}
    rows = [{k: arm.get(k) for k in keys} for arm in content["arms"]]
    return {"heldout_documents": content["heldout_documents"], "pool": taken, "arms": rows}


def core_seconds(content: dict[str, Any]) -> dict[str, float]:
    """What it takes to score the whole pool and choose, for each arm by itself; reading and tokenizing are done before.

    Seconds of this process on all cores: how busy the machine is otherwise hardly changes them.
    """
    recipe, spent = assay.Recipe.from_dict(content), {}
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        ready, own = Path(folder, "ready"), Path(folder, "own")
        chosen(recipe, "random", Workspace(ready))
        for arm in recipe.arms:
            shutil.copytree(ready, own, copy_function=os.link)
            before = time.process_time()
            chosen(recipe, arm, Workspace(own))
            spent[arm] = time.process_time() - before
            shutil.rmtree(own)
    return spent


def keep(name: str, result: dict[str, Any]) -> None:
    """Puts what was found for a target, or what choosing cost, into the JSON file, numbers to five digits."""
    everything = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    everything[name] = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.5g}"))
    lines = [f'"{key}": {_lines(everything[key])}' for key in (*TARGETS, SECONDS) if key in everything]
    with atomic_path(FOUND) as draft:
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _lines(result: dict[str, Any]) -> str:
    """JSON with a line for each arm."""
    if "arms" not in result:
        return json.dumps(result)
    head, arms = json.dumps({k: v for k, v in result.items() if k != "arms"}), map(json.dumps, result["arms"])
    return f'{head[:-1]}, "arms": [\n  ' + ",\n  ".join(arms) + "\n]}"


def write_page(everything: dict[str, Any]) -> None:
    """Puts the tables between the markers of docs/methods.md."""
    start, end = "<!-- tables -->", "<!-- end of tables -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    PAGE.write_text(f"{before}{start}\n{tables(everything)}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def tables(everything: dict[str, Any]) -> str:
    """One table of multipliers over arms and targets, and one a target with effects and intervals."""
    seconds = everything.get(SECONDS, {})
    results = {target: everything[target] for target in TARGETS if target in everything}
    return "\n\n".join([overview(results, seconds), *(detail(*item, seconds) for item in results.items())])


def overview(results: dict[str, Any], seconds: dict[str, float]) -> str:
    """Data multipliers where an arm differs from random, how often it does, and its cost; the best on average first."""
    lines = [
        f"| arm | {' | '.join(results)} | better, worse | core seconds |",
        f"|---|{'---|' * len(results)}---|---|",
    ]
    by_arm: dict[str, dict[str, Any]] = {}
    for target, result in results.items():
        for arm in result["arms"]:
            by_arm.setdefault(arm["name"], {})[target] = arm
    for name, per_target in sorted(by_arm.items(), key=lambda item: -mean_saved(item[1])):
        cells = [short(per_target.get(target)) for target in results]
        verdicts = [arm["verdict"] for arm in per_target.values()]
        counts = f"{verdicts.count('better')}, {verdicts.count('worse')}" if name != "random" else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {counts} | {cost(name, seconds)} |")
    return "\n".join(lines)


def mean_saved(per_target: dict[str, Any]) -> float:
    """Mean over targets of what an arm saves against random, in bits per byte."""
    return statistics.mean(arm["effect"]["estimate"] if arm["effect"] else 0 for arm in per_target.values())


def cost(name: str, seconds: dict[str, float]) -> str:
    """Core seconds of an arm for the table."""
    return f"{seconds[name]:.1f}" if name in seconds else ""


def short(arm: dict[str, Any] | None) -> str:
    """ "**2.1x**" where better, "0.6x worse", "no" where no difference was shown."""
    if arm is None:
        return ""
    if arm["verdict"] is None:
        return "1x"
    times = multiplier_estimate(arm["multiplier"])
    times = f"{arm['effect']['estimate']:+.3f}" if times == "–" else times
    return {"better": f"**{times}**", "worse": f"{times} worse"}.get(arm["verdict"], "no")


def detail(name: str, result: dict[str, Any], seconds: dict[str, float]) -> str:
    """A target's table, best arm first: bits per byte saved with interval, verdict, data multiplier, cost."""
    pool, baseline = result["pool"], result["arms"][0]["bits_per_byte"]
    lines = [
        f"**{name}**: n = {SEEDS} seeds x {result['heldout_documents']:,} held-out documents; {BUDGET / 1e6:g}M tokens "
        f"an arm, from {pool['documents']:,} documents with {pool['tokens'] / 1e6:.1f}M; random: {baseline:.3f} bits "
        "per byte.",
        "",
        "| arm | bits per byte saved | verdict | data multiplier | core seconds |",
        "|---|---|---|---|---|",
    ]
    for arm in sorted(result["arms"][1:], key=lambda arm: arm["bits_per_byte"]):
        effect, times = arm["effect"], arm["multiplier"]
        verdict = f"**{arm['verdict']}**"
        if arm["verdict"] == "no difference shown":
            verdict = f"no difference shown (detectable: {arm['detectable']:.3f})"
        saved = f"{effect['estimate']:+.3f} ({effect['low']:+.3f} to {effect['high']:+.3f})"
        multiplier = multiplier_estimate(times) + (f" ({multiplier_interval(times)})" if times else "")
        lines.append(f"| {arm['name']} | {saved} | {verdict} | {multiplier} | {cost(arm['name'], seconds)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
