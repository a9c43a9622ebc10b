"""How many planted benchmark items `Contamination` finds, by what was done to them and by their length.

    python examples/planted_items.py "benchmarks/*/*.jsonl.zst" "pool/*.jsonl.zst"

Items are drawn from every set (question and answer, or the text of an item without question), edited, and put between
two words of a document of the pool in which nothing is found. Prints a table in Markdown: the share found. False alarms
are what is found in the pool itself, `assay.score(pool, "contamination", target=sets)`, looked at one by one.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

import assay

NUM_DOCUMENTS = 2000
ITEMS_A_SET = 40
LENGTHS = {"5 to 7": (5, 8), "8 to 12": (8, 13), "13 to 24": (13, 25), "25 to 60": (25, 61), "over 60": (61, 10**9)}


def replaced(share: float) -> Callable[[list[str], np.random.Generator], list[str]]:
    """An edit that replaces a share of the words, each by a word that no item has."""

    def edit(words: list[str], rng: np.random.Generator) -> list[str]:
        gone = set(rng.choice(len(words), max(1, round(share * len(words))), replace=False).tolist())
        return [f"other{rng.integers(1000)}" if k in gone else word for k, word in enumerate(words)]

    return edit


EDITS: dict[str, Callable[[list[str], np.random.Generator], list[str]]] = {
    "as it is": lambda words, rng: words,
    "upper case": lambda words, rng: [word.upper() for word in words],
    "no punctuation": lambda words, rng: [
        word for word in (re.sub(r"[^\w\s]+", " ", w).strip() for w in words) if word
    ],
    "a dash after every word, line breaks": lambda words, rng: [f"{word} --\n\n  " for word in words],
    "5 % of words replaced": replaced(0.05),
    "10 % of words replaced": replaced(0.10),
    "20 % of words replaced": replaced(0.20),
    "first half": lambda words, rng: words[: (len(words) + 1) // 2],
    "second half": lambda words, rng: words[len(words) // 2 :],
}


def main(benchmark_files: str, pool_files: str) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        sets = assay.benchmarks(benchmark_files, workspace=folder)
        pool = assay.read(pool_files, workspace=folder)
        scores = assay.score(pool, "contamination", target=sets, workspace=folder)
        hosts = clean_documents(pool, scores)
        planted = Path(folder) / "planted.jsonl"
        lengths = plant(items(sets), hosts, planted)
        corpus = assay.read(planted, workspace=folder)
        table = assay.score(corpus, "contamination", target=sets, workspace=folder).to_table(["contamination.found"])
        ids = [i for k in range(corpus.num_parts) for i in corpus.table(k, ["id"])["id"].to_pylist()]
        print_table(dict(zip(ids, table["contamination.found"].to_pylist(), strict=True)), lengths)
        found = sum(f is not None and len(f) > 0 for f in scores.to_table()["contamination.found"].to_pylist())
        print(f"\nPool: {pool.num_documents:,} documents, {found} with an item; {len(ids):,} plants.")


def items(sets: dict[str, assay.Corpus]) -> dict[str, str]:
    """Some items of each set: name to text."""
    rng = np.random.default_rng(0)
    chosen: dict[str, str] = {}
    for name, corpus in sets.items():
        columns = [c for c in ("id", "text", "question", "answer_text") if c in corpus.column_names]
        rows = [row for k in range(corpus.num_parts) for row in corpus.table(k, columns).to_pylist()]
        for k in rng.permutation(len(rows))[:ITEMS_A_SET]:
            row = rows[k]
            question = row.get("question") or ""
            text = f"{question} {row.get('answer_text') or ''}" if question.strip() else row["text"]
            chosen[f"{name}:{row['id']}"] = text
    return chosen


def clean_documents(pool: assay.Corpus, scores: assay.Scores) -> list[str]:
    """Texts of documents in which no item was found."""
    texts: list[str] = []
    for k in range(pool.num_parts):
        number = scores.table(k, ["contamination.items"])["contamination.items"].to_numpy()
        column = pa.concat_tables([pa.Table.from_batches([b]) for b in pool.batches(k, ["text"])])["text"]
        texts += column.filter(pa.array(number == 0)).to_pylist()
    order = np.random.default_rng(1).permutation(len(texts))[:NUM_DOCUMENTS]
    return [texts[k] for k in order]


def plant(chosen: dict[str, str], hosts: list[str], path: Path) -> dict[str, int]:
    """Writes a document for every item and edit; returns the number of words of each item."""
    rng = np.random.default_rng(2)
    lengths = {name: len(re.findall(r"\w+", text)) for name, text in chosen.items()}
    with open(path, "w", encoding="utf-8") as stream:
        for name, text in chosen.items():
            for edit, change in EDITS.items() if lengths[name] >= 5 else ():
                host = hosts[rng.integers(len(hosts))].split(" ")
                where = int(rng.integers(len(host) + 1))
                planted = " ".join([*host[:where], *change(text.split(), rng), *host[where:]])
                stream.write(json.dumps({"id": f"{edit}|{name}", "text": planted}) + "\n")
    return lengths


def print_table(found: dict[str, list[str]], lengths: dict[str, int]) -> None:
    """Share found by edit and words of the item."""
    print("| edit | " + " | ".join(f"{label} words" for label in LENGTHS) + " | all |")
    print("|---|" + "---|" * (len(LENGTHS) + 1))
    for edit in EDITS:
        hits = {i.split("|", 1)[1]: i.split("|", 1)[1] in names for i, names in found.items() if i.startswith(edit)}
        cells = []
        for low, high in (*LENGTHS.values(), (0, 10**9)):
            group = [hit for name, hit in hits.items() if low <= lengths[name] < high]
            cells.append(f"{100 * np.mean(group):.0f} % of {len(group)}" if group else "-")
        print(f"| {edit} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
