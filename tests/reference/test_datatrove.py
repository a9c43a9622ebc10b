"""Decisions of the rule presets against datatrove's, on 5,000 documents of the shared pool.

`datatrove_decisions.parquet` holds, for each document (BLAKE2b-64 of its id), the first rule that datatrove 0.10.1 with
spaCy 3.8 dropped it for, under our names for the rules; "" where it was kept.
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.selection.expressions import Expression
from assay.selection.presets import PRESETS

DECISIONS = pq.read_table(Path(__file__).with_name("datatrove_decisions.parquet"))


@pytest.fixture(scope="module")
def measured(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The first reason by preset, for the documents and in the order of DECISIONS."""
    workspace = tmp_path_factory.mktemp("workspace")
    corpus = assay.read(shared / "pool" / "*.jsonl.zst", workspace=workspace)
    wanted = {mark: k for k, mark in enumerate(DECISIONS["id"].to_pylist())}
    rows: list[pa.RecordBatch] = []
    places: list[int] = []
    for part in range(corpus.num_parts):
        for batch in corpus.batches(part):
            marks = [hashlib.blake2b(i.encode(), digest_size=8).digest() for i in batch.column("id").to_pylist()]
            found = [k for k, mark in enumerate(marks) if mark in wanted]
            rows.append(batch.take(pa.array(found, pa.int64())))
            places += [wanted[marks[k]] for k in found]
    batch = pa.Table.from_batches(rows).combine_chunks().to_batches()[0]
    scorer = assay.Heuristics()
    table = pa.table(scorer.score(batch, {}), names=[c.name for c in scorer.columns()])
    table = table.take(pa.array(np.argsort(places)))
    return {preset: first_reasons(preset, table) for preset in DECISIONS.column_names[1:]}


def first_reasons(preset: str, table: pa.Table) -> np.ndarray:
    reasons = np.full(len(table), "", object)
    for reason, mask in Expression(f"passes('{preset}')").conditions(table):
        reasons[(reasons == "") & ~mask.to_numpy(zero_copy_only=False)] = reason
    return reasons


@pytest.mark.parametrize(
    ("preset", "same_decision", "same_reason"),
    [
        ("gopher_quality", 0.997, 0.995),
        ("gopher_repetition", 0.997, 0.995),
        ("fineweb", 0.999, 0.999),
        ("c4", 0.999, 0.999),
    ],
)
def test_decisions_and_reasons_are_datatroves(
    measured: dict[str, np.ndarray], preset: str, same_decision: float, same_reason: float
) -> None:
    theirs, ours = np.array(DECISIONS[preset].to_pylist(), object), measured[preset]
    assert 0.1 < np.mean(theirs == "") < 0.9
    assert np.mean((theirs == "") == (ours == "")) >= same_decision
    assert np.mean(theirs == ours) >= same_reason
    assert set(theirs) <= {"", *(rule.reason for rule in PRESETS[preset])}


def test_all_presets_together_agree(measured: dict[str, np.ndarray]) -> None:
    theirs = np.all([np.array(DECISIONS[p].to_pylist(), object) == "" for p in measured], axis=0)
    ours = np.all([reasons == "" for reasons in measured.values()], axis=0)
    assert np.mean(theirs == ours) >= 0.995
