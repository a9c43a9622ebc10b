"""What asking for the right labels is worth: the table of docs/labels.md.

    python examples/label_loops.py POOL_FOLDER [domains] [spam] [news]

Three tasks with known labels: which of the domains (a file each) a document is of, 300 documents a domain; spam or not,
of e-mail; the section of a news story. `assay.label` asks an oracle; every so many labels a classifier is trained
on labels.jsonl and tested on a quarter of the documents, which was never asked for.
"""

import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import assay
from assay.models.linear import MULTICLASS, features
from assay.models.linear_fit import fit

SEEDS, BUDGETS, BATCH = 3, (60, 120, 200, 300), 20
ARMS = {
    "random": {"strategy": "random"},
    "least_confidence": {"strategy": "least_confidence"},
    "margin": {"strategy": "margin"},
    "diverse": {"strategy": "diverse"},
    "diverse, pseudo": {"strategy": "diverse", "pseudo": True},
}
MAX_CHARACTERS, PER_DOMAIN, PER_TASK = 3_000, 300, 4_000


def main(folder: Path, wanted: list[str]) -> None:
    """Prints mean accuracy by task, arm and number of labels."""
    everything = {path.name.split(".")[0]: _rows(path) for path in sorted(folder.glob("*.jsonl.zst"))}
    rng = np.random.default_rng(0)
    domains = [
        (rows[k]["text"], name) for name, rows in everything.items() for k in rng.permutation(len(rows))[:PER_DOMAIN]
    ]
    tasks = {"domains": domains}
    for task, name in (("spam", "email_spam"), ("news", "news")):
        labelled = [(row["text"], row["label"]) for row in everything[name] if row.get("label")]
        tasks[task] = [labelled[k] for k in rng.permutation(len(labelled))[:PER_TASK]]
    for task, documents in tasks.items():
        if wanted and task not in wanted:
            continue
        for arm, settings in ARMS.items():
            begun = time.time()
            found = np.mean([_accuracies(documents, settings, seed) for seed in range(SEEDS)], axis=0)
            told = "  ".join(f"{number}: {100 * a:.1f}" for number, a in zip(BUDGETS, found, strict=True))
            print(f"{task:8} {arm:18} {told}  ({time.time() - begun:.0f} s)", flush=True)


def _rows(path: Path) -> list[dict[str, str]]:
    stream = io.TextIOWrapper(pa.input_stream(str(path), compression="zstd"), encoding="utf-8")
    return [json.loads(line) for line in stream]


def _accuracies(documents: list[tuple[str, str]], settings: Mapping[str, object], seed: int) -> list[float]:
    order = np.random.default_rng(seed).permutation(len(documents))
    texts, labels = zip(*((documents[k][0][:MAX_CHARACTERS], documents[k][1]) for k in order), strict=True)
    classes, num_test = sorted(set(labels)), len(texts) // 4
    folder = Path(tempfile.mkdtemp())
    try:
        ids = [f"d{k}" for k in range(num_test, len(texts))]
        pq.write_table(pa.table({"id": ids, "text": list(texts[num_test:])}), folder / "pool.parquet")
        oracle = dict(zip(ids, labels[num_test:], strict=True))
        pool = assay.read(folder / "pool.parquet", workspace=folder / "work")
        found = []
        for budget in BUDGETS:
            made = assay.label(
                pool,
                folder / "labels",
                classes=classes,
                budget=budget,
                batch=BATCH,
                oracle=oracle,
                seed=seed,
                workspace=folder / "work",
                **settings,
            )
            found.append(_accuracy(made.path, classes, texts[:num_test], labels[:num_test]))
        return found
    finally:
        shutil.rmtree(folder)


def _accuracy(path: Path, classes: list[str], texts: tuple[str, ...], labels: tuple[str, ...]) -> float:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    given = np.array([classes.index(row["label"]) for row in rows], float)
    model, _ = fit(features(pa.array([row["text"] for row in rows])), given, kind=MULTICLASS, classes=classes)
    predicted = model.predict(pa.array(list(texts))).argmax(axis=1)
    return float(np.mean([classes[k] == label for k, label in zip(predicted, labels, strict=True)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
