"""Notes and domains from labels: planted notes, DataMan's lines, and what cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import assay
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError
from assay.models.calibration import spearman
from assay.scorers import DataMan
from assay.scorers.dataman_lines import CRITERIA, DOMAINS, Unusable, read_answer, read_domain, read_note, write_answer
from tests.conftest import write_jsonl
from tests.ratings import label_rows

NAMES = ("clarity", "overall_score")


def fitted(rows: list[dict[str, Any]], **parameters: Any) -> tuple[DataMan, dict[str, np.ndarray]]:
    scorer = DataMan(labels="labels", **{"criteria": NAMES, "num_buckets": 1 << 14, **parameters})
    sketch = scorer.sketch_documents("labels", pa.RecordBatch.from_pylist(rows))
    return scorer, scorer.finish(scorer.prepare({"labels": sketch}), {})


def test_planted_notes_and_domains_are_recovered() -> None:
    scorer, state = fitted(label_rows(600))
    fresh = label_rows(200, seed=5)
    columns = scorer.score(pa.RecordBatch.from_pylist([{"text": row["text"]} for row in fresh]), state)
    scored = dict(zip((c.name for c in scorer.columns(())), columns, strict=True))
    assert next(iter(scored)) == "dataman.overall_score"
    notes = np.array([row["clarity"] for row in fresh])
    assert spearman(scored["dataman.clarity"].to_numpy(), notes) > 0.9
    assert scored["dataman.clarity"].to_numpy().min() >= 1 and scored["dataman.clarity"].to_numpy().max() <= 5
    assert (
        np.mean([a == row["domain"] for a, row in zip(scored["dataman.domain"].to_pylist(), fresh, strict=True)]) > 0.98
    )
    report = scorer.fit_summary(state)
    assert report["criteria"]["clarity"]["spearman"] > 0.85 and report["domain"]["accuracy"] > 0.95
    assert report["unusable"] == {} and report["labels"] == 600


def test_domain_quotas_are_met_within_a_document(tmp_path: Path, workspace: Workspace) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", label_rows(300))
    pool = assay.read(
        write_jsonl(tmp_path / "pool.jsonl", [{"text": row["text"]} for row in label_rows(400, seed=3)]),
        workspace=workspace,
    )
    scorer = DataMan(labels={"read": str(labels)}, criteria=NAMES, num_buckets=1 << 14)
    scores = assay.score(pool, scorer, workspace=workspace)
    policy = assay.Quota(by="dataman.domain", shares={"law": 0.25, "coding": 0.75}, within=assay.Top())
    taken = {}
    for number in (40, 80):
        chosen = assay.select(
            pool,
            scores=scores,
            by="dataman.overall_score",
            policy=policy,
            budget=f"{number} documents",
            workspace=workspace,
        )
        taken[number] = chosen.to_table()["repeats"].to_numpy() > 0
        domains = np.array(scores.to_table()["dataman.domain"].to_pylist())[taken[number]]
        assert abs((domains == "law").sum() - number / 4) <= 1 and len(domains) == number
    assert (taken[80] | ~taken[40]).all()  # the more is taken, the more is added


def test_an_answer_goes_there_and_back() -> None:
    rng = np.random.default_rng(0)
    for domain in DOMAINS:
        notes = {name: int(note) for name, note in zip(CRITERIA, rng.integers(1, 6, 14), strict=True)}
        assert read_answer(write_answer(domain, notes)) == (domain, notes)
        bare = "\n".join([chr(65 + DOMAINS.index(domain)), *map(str, notes.values())])
        assert read_answer(bare) == (domain, notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:7] + lines[8:], "missing_line"),
        (lambda lines: [*lines, "5/5"], "missing_line"),
        (lambda lines: [*lines[:3], lines[4], *lines[4:]], "missing_line"),
        (lambda lines: [*lines[:5], "[5]Knowledge Novelty:6/5", *lines[6:]], "note_out_of_range"),
        (lambda lines: [*lines[:5], "[5]Knowledge Novelty:0/5", *lines[6:]], "note_out_of_range"),
        (lambda lines: [*lines[:5], "[5]Knowledge Novelty:good", *lines[6:]], "no_note"),
        (lambda lines: ["Domain:P", *lines[1:]], "wrong_letter"),
        (lambda lines: ["Domain:7", *lines[1:]], "wrong_letter"),
        (lambda lines: ["cookery", *lines[1:]], "wrong_letter"),
    ],
)
def test_a_spoilt_answer_is_told_by_its_reason(change, reason: str) -> None:
    lines = write_answer("law", dict.fromkeys(CRITERIA, 3)).splitlines()
    with pytest.raises(Unusable, match=reason):
        read_answer("\n".join(change(lines)))


@given(st.text(max_size=60) | st.lists(st.sampled_from(["A", "3", "4/5", "[2]Coherence:1/5", "9", ""])).map("\n".join))
def test_any_answer_is_read_or_is_told_to_be_unusable(text: str) -> None:
    try:
        domain, notes = read_answer(text)
    except Unusable:
        return
    assert domain in DOMAINS and list(notes) == list(CRITERIA) and set(notes.values()) <= {1, 2, 3, 4, 5}


def test_notes_and_domains_are_read_in_every_form() -> None:
    assert [read_note(v) for v in (4, 4.0, "4", " 4/5 ", "[1]Accuracy:4/5", "Accuracy: 4", None)] == [4] * 6 + [None]
    assert [read_domain(v) for v in ("C", "[C]", "[C]Law", "Domain:C", "law", None, "")] == ["law"] * 5 + [None, None]
    # A name is not the letter that it begins with.
    names = {"Domain:Medicine": "medicine", "Domain: C Law": "law", "domain names": "domain names"}
    names |= {"Domain A": "Domain A"}
    assert {given: read_domain(given) for given in names} == names
    for bad in (4.5, "4.5", 0, "many", True):
        with pytest.raises(Unusable):
            read_note(bad)


def test_labels_that_cannot_be_used_are_counted_and_named() -> None:
    rows = label_rows(100)
    rows[3]["clarity"], rows[4]["overall_score"], rows[5]["domain"], rows[6]["text"] = 9, "good", "Z", None
    scorer, state = fitted([{**row, "clarity": str(row["clarity"])} for row in rows])
    report = scorer.fit_summary(state)
    assert report["unusable"] == {"note_out_of_range": 1, "no_note": 1, "wrong_letter": 1, "no_text": 1}
    assert {row["id"] for row in report["unusable_ids"]} == {"l3", "l4", "l5", "l6"}
    assert report["criteria"]["clarity"]["documents"] == 96


def test_answers_in_one_column_are_learnt_from() -> None:
    rows = []
    for row in label_rows(200):
        notes = dict.fromkeys(CRITERIA, 3) | {"overall_score": row["clarity"], "accuracy": 6 - row["clarity"]}
        rows.append({"id": row["id"], "text": row["text"], "out": write_answer(row["domain"], notes)})
    scorer, state = fitted(rows, answer="out", criteria=("accuracy", "overall_score"))
    columns = scorer.score(pa.RecordBatch.from_pylist(rows), state)
    assert np.corrcoef(columns[0].to_numpy(), columns[1].to_numpy())[0, 1] < -0.9


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        ({"clarity": 3}, {}, "All 60 labels by 'clarity' have the note 3"),
        ({"domain": "law"}, {}, "of 1 domains .law. and must be of at least 2"),
        ({"clarity": 7}, {}, "60 of 60 labels cannot be used .60 note_out_of_range"),
        ({}, {"criteria": ("charm",)}, "no column 'charm'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(change: dict, parameters: dict, message: str) -> None:
    with pytest.raises(AssayError, match=message):
        fitted([row | change for row in label_rows(60)], **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "`labels`"),
        ({"labels": "x", "criteria": "a"}, "`criteria`"),
        ({"labels": "x", "answer": "out", "criteria": ["a"]}, "`criteria`"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict, message: str) -> None:
    with pytest.raises(AssayError, match=message):
        DataMan(**parameters)
