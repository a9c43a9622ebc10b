"""Ratings from judgements: planted quality, votes and orders, ids of the pool, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError
from assay.models.calibration import spearman
from assay.scorers import QuRating
from tests.conftest import write_jsonl
from tests.ratings import judgement_rows, planted


def fitted(rows: list[dict[str, Any]], **parameters: Any) -> tuple[QuRating, dict[str, np.ndarray]]:
    scorer = QuRating(judgements="pairs", **{"criteria": ["style"], "num_buckets": 1 << 14, **parameters})
    batch = pa.RecordBatch.from_pylist(rows)
    prepared = scorer.prepare({"judgements": scorer.sketch_documents("judgements", batch)})
    texts, _ = planted(300, seed=9)
    pool = pa.RecordBatch.from_pydict({"id": [f"d{k}" for k in range(300)], "text": texts})
    return scorer, scorer.finish(prepared, scorer.sketch_pool(pool, {**prepared, "num_documents": np.array([300])}))


def counts(rows: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    scorer, state = fitted(rows, min_accuracy=0, **parameters)
    return scorer.fit_summary(state)["criteria"]["style"]


def pair(share: float | None, a: str = "good1 good2 bad3", b: str = "bad1 bad2 good3", **more: Any) -> dict[str, Any]:
    return {"id": "x", "text": a, "text_b": b, "style": share, **more}


def votes(a: float | None, b: float | None) -> dict[str, Any]:
    return {k: v for k, v in pair(None).items() if k != "style"} | {"style_votes_a": a, "style_votes_b": b}


def test_planted_quality_is_recovered_and_ratings_have_mean_0_and_deviation_1_over_the_pool() -> None:
    scorer, state = fitted(judgement_rows(1500))
    texts, shares = planted(300, seed=9)
    (ratings,) = scorer.score(pa.RecordBatch.from_pydict({"text": texts}), state)
    assert spearman(ratings.to_numpy(), shares) > 0.97
    assert ratings.to_numpy().mean() == pytest.approx(0, abs=1e-9)
    assert ratings.to_numpy().std() == pytest.approx(1, abs=1e-9)
    report = scorer.fit_summary(state)
    assert report["criteria"]["style"]["accuracy"] > 0.95
    assert report["criteria"]["style"]["consistency"] == 1.0


def test_unclear_pairs_are_left_out_after_both_orders_are_averaged() -> None:
    rows = judgement_rows(200)
    # The judge likes whatever comes second: 0.9 in both orders is 1/2 on average, and says nothing.
    biased = [pair(0.9), pair(0.9, a="bad1 bad2 good3", b="good1 good2 bad3")]
    agreeing = [pair(0.2, a="bad7 bad8", b="good7 bad8"), pair(0.9, a="good7 bad8", b="bad7 bad8")]
    before, after = counts(rows), counts(rows + biased + agreeing)
    assert after["pairs"] - before["pairs"] == 2
    assert after["unclear"] - before["unclear"] == 1
    assert (after["in_both_orders"], after["orders_disagree"]) == (2, 1)


def test_votes_are_shares_and_few_votes_are_not_learnt_from() -> None:
    shares = judgement_rows(200)
    votes = [
        {k: row[k] for k in ("id", "text", "text_b")}
        | {"style_votes_a": 20 - round(20 * row["style"]), "style_votes_b": round(20 * row["style"])}
        for row in shares
    ]
    for row in shares:
        row["style"] = round(20 * row["style"]) / 20
    by_share, by_vote = fitted(shares), fitted(votes, min_votes=11)
    np.testing.assert_array_equal(by_share[1]["weights"], by_vote[1]["weights"])
    votes[0] |= {"style_votes_a": 4, "style_votes_b": 6}
    assert counts(votes, min_votes=11)["too_few_votes"] == 1


def test_a_batch_without_a_whole_pair_adds_nothing_but_its_count() -> None:
    scorer = QuRating(judgements="pairs", criteria=["style"])
    fields = [(name, pa.string()) for name in ("id", "text", "text_b")]
    schema = pa.schema([*fields, ("style_votes_a", pa.int64()), ("style_votes_b", pa.int64())])
    rows = [{"id": "x", "text": "a", "text_b": None, "style_votes_a": 3, "style_votes_b": 9}]
    for number in (0, 1):
        found = scorer.sketch_documents("judgements", pa.RecordBatch.from_pylist(rows[:number], schema=schema))
        assert found["rows"].tolist() == [number, number] and found["shares"].shape == (0, 1)


def test_nothing_is_lost_without_a_count() -> None:
    rows = [*judgement_rows(100), pair(None), pair(1.0, a="same", b="same"), pair(1.0) | {"text_b": None}]
    scorer, state = fitted(rows, min_accuracy=0)
    report = scorer.fit_summary(state)
    found = report["criteria"]["style"]
    assert (report["judgements"], report["without_text"]) == (103, 1)
    assert (found["not_judged"], found["same_text"]) == (1, 1)
    assert found["learnt_from"] + found["held_out"] + found["unclear"] == found["pairs"]


def test_judgements_of_ids_give_the_ratings_that_those_of_texts_give(tmp_path: Path, workspace: Workspace) -> None:
    rows = judgement_rows(300)
    texts = sorted({row[side] for row in rows for side in ("text", "text_b")})
    ids = {text: f"d{k}" for k, text in enumerate(texts)}
    pool = assay.read(
        write_jsonl(tmp_path / "pool.jsonl", [{"id": ids[t], "text": t} for t in texts]), workspace=workspace
    )
    by_text = write_jsonl(
        tmp_path / "texts.jsonl", [{"text_a": r["text"], "text_b": r["text_b"], "style": r["style"]} for r in rows]
    )
    by_id = write_jsonl(
        tmp_path / "ids.jsonl",
        [{"id_a": ids[r["text"]], "id_b": ids[r["text_b"]], "style": r["style"]} for r in rows],
    )
    settings = {"criteria": ["style"], "num_buckets": 1 << 14}
    columns = []
    for path, name in ((by_text, "text_a"), (by_id, "id_a")):
        scorer = QuRating(judgements={"read": str(path), "text": name}, **settings)
        scores = assay.score(pool, scorer, workspace=workspace)
        columns.append(scores.to_table()["qurating.style"].to_numpy())
        assert scores.manifest.summary["criteria"]["style"]["accuracy"] > 0.8
    np.testing.assert_allclose(columns[0], columns[1], rtol=1e-6)
    lost = write_jsonl(tmp_path / "lost.jsonl", [{"id_a": "d0", "id_b": "nobody", "style": 1.0}])
    with pytest.raises(AssayError, match="names 1 ids that no document .*'nobody'"):
        assay.score(pool, QuRating(judgements={"read": str(lost), "text": "id_a"}, **settings), workspace=workspace)


@pytest.mark.parametrize(
    ("rows", "parameters", "message"),
    [
        ([pair(1.5)], {}, "`style` .*from 0 to 1"),
        ([pair(float("nan"))], {}, "a number, or null"),
        ([votes(None, 9), votes(-3, 9)], {}, r"`style_votes_a` \(=\[-3.0\]\) must be a number of votes"),
        ([votes(3, float("inf"))], {}, r"`style_votes_b` \(=\[inf\]\) must be a number of votes"),
        ([pair(1.0)], {"criteria": ["taste"]}, "no column 'taste'"),
        ([pair(0.5)], {}, "no clear judgement by 'style'"),
        ([{"id": "x", "text": "a", "style": 1.0}], {}, "second text"),
        (judgement_rows(200, noise=0.5), {"min_accuracy": 0.9}, "held-out pairs as the judge did"),
    ],
    ids=["range", "nan", "negative", "infinite", "column", "unclear", "second", "floor"],
)
def test_what_cannot_be_learnt_from_is_refused(rows: list, parameters: dict, message: str) -> None:
    with pytest.raises(AssayError, match=message):
        fitted(rows, **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "`judgements`"),
        ({"judgements": "x", "criteria": []}, "`criteria`"),
        ({"judgements": "x", "min_margin": 0.6}, "`min_margin`"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict, message: str) -> None:
    with pytest.raises(AssayError, match=message):
        QuRating(**parameters)
