"""A pupil follows its teacher, is compared with it on what it has not seen, and is refused where it does not follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import DSIR, Classifier, Distil, Length
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.models.calibration import area_under_curve, spearman
from assay.scorers import Column, Exact, Scorer, State
from tests.conftest import make_documents, write_jsonl

SMALL = {"num_buckets": 1 << 14}


@dataclass(frozen=True, kw_only=True)
class Goodness(Scorer):
    """Share of words of topic g; low is better in the second column. Texts that start with `mute` have none."""

    name: ClassVar[str] = "goodness"
    version: ClassVar[int] = 1
    calls: ClassVar[list[int]] = []

    mute: str = "nothing"

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        return [
            Column("goodness.share", pa.float64(), True, "share"),
            Column("goodness.lack", pa.float64(), False, "1 - share"),
        ]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        self.calls.append(len(batch))
        known = [None if t.startswith(self.mute) else share(t) for t in batch.column("text").to_pylist()]
        return [pa.array(known, pa.float64()), pa.array([None if s is None else 1 - s for s in known], pa.float64())]

    def fit_summary(self, state: State) -> Mapping[str, Any]:
        return {"said": "hello"}


def share(text: str) -> float:
    words = text.split()
    return sum(word[0] == "g" for word in words) / max(1, len(words))


def documents(num: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    plain = make_documents(num, seed=seed, topic="c", length=40)
    good = make_documents(num, seed=seed + 1, topic="g", length=40)
    rows = []
    for k in range(num):
        number = int(20 * rng.uniform())
        text = " ".join(plain[k]["text"].split()[: 20 - number] + good[k]["text"].split()[:number])
        rows.append({"id": f"{seed}-{k}", "text": text, "rating": share(text)})
    return rows


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(documents(400))


def scored(pool: Corpus, scorer: Distil, workspace: Workspace, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    scores = assay.score(pool, scorer, workspace=workspace, **settings)
    return scores.to_table()["distil.score"].to_numpy(), scores.manifest.summary


def truth(pool: Corpus) -> np.ndarray:
    return np.array([share(t) for k in range(pool.num_parts) for t in pool.table(k, ["text"])["text"].to_pylist()])


def test_the_score_is_learnt_from_a_sample_only(pool: Corpus, workspace: Workspace) -> None:
    Goodness.calls.clear()
    found, summary = scored(pool, Distil(of=Goodness(), sample=150, **SMALL), workspace)
    assert sum(Goodness.calls) == 150
    correlation = spearman(found, truth(pool))
    assert correlation is not None and correlation > 0.85
    assert summary["spearman"] == pytest.approx(correlation, abs=0.1)
    assert summary["documents"] == 150 and summary["not_scored_by_teacher"] == 0
    assert summary["teacher"] == {"said": "hello"}
    assert np.abs(found - truth(pool)).mean() < 0.1  # in the teacher's units


@pytest.mark.parametrize("column", ["goodness.share", "goodness.lack"])
@pytest.mark.parametrize("bottom", [None, 0.3])
def test_the_top_is_what_the_teacher_thinks_best(
    pool: Corpus, workspace: Workspace, column: str, bottom: float | None
) -> None:
    scorer = Distil(of=Goodness(), column=column, top=0.2, bottom=bottom, **SMALL)
    found, summary = scored(pool, scorer, workspace)
    best = truth(pool) >= np.quantile(truth(pool), 0.8)
    auc = area_under_curve(found, best)
    assert auc is not None and auc > 0.9
    assert summary["spearman"] > 0.7
    assert summary["documents"] == pytest.approx(400 if bottom is None else 200, abs=30)  # equal values stay together
    assert scorer.columns(())[0].higher_is_better


def test_direction_is_the_teachers(pool: Corpus, workspace: Workspace) -> None:
    lack = assay.score(pool, Distil(of=Goodness(), column="goodness.lack", **SMALL), workspace=workspace)
    assert lack.lower_is_better == {"distil.score"}
    assert spearman(lack.to_table()["distil.score"].to_numpy(), truth(pool)) < -0.85


def test_what_the_teacher_does_not_score_is_counted_and_not_learnt(pool: Corpus, workspace: Workspace) -> None:
    _, summary = scored(pool, Distil(of=Goodness(mute="c1 "), **SMALL), workspace)
    muted = sum(t.startswith("c1 ") for k in range(pool.num_parts) for t in pool.table(k, ["text"])["text"].to_pylist())
    assert summary["not_scored_by_teacher"] == muted > 5
    assert summary["documents"] == 400 - muted


def test_numbers_of_a_file_are_a_teacher(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    labels = write_jsonl(tmp_path / "ratings.jsonl", documents(300, seed=5))
    found, summary = scored(pool, Distil(labels=str(labels), column="rating", **SMALL), workspace)
    correlation = spearman(found, truth(pool))
    assert correlation is not None and correlation > 0.85
    assert summary["sources"]["labels"]["documents"] == 300


def test_teachers_that_learn_themselves_get_target_pool_and_documents(
    pool: Corpus, make_corpus: Callable[..., Corpus], tmp_path: Path, workspace: Workspace
) -> None:
    target = make_corpus([row for row in documents(200, seed=9) if row["rating"] > 0.7], "target")
    teacher = DSIR(smoothing=0.5)
    found, summary = scored(pool, Distil(of=teacher, column="dsir.per_ngram", **SMALL), workspace, target=target)
    theirs = assay.score(pool, teacher, target=target, workspace=workspace).to_table()["dsir.per_ngram"].to_numpy()
    assert spearman(found, theirs) > 0.85 and summary["spearman"] > 0.7
    sets = {
        name: str(
            write_jsonl(
                tmp_path / f"{name}.jsonl", [r for r in documents(300, seed=7) if (r["rating"] > 0.5) == is_good]
            )
        )
        for name, is_good in (("positives", True), ("negatives", False))
    }
    _, summary = scored(pool, Distil(of=Classifier(**sets, **SMALL), **SMALL), workspace)
    assert summary["spearman"] > 0.8 and summary["teacher"]["auc"] > 0.9


def test_a_pupil_that_does_not_follow_is_refused(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    rng = np.random.default_rng(0)
    noise = [row | {"rating": float(rng.normal())} for row in documents(300, seed=5)]
    labels = str(write_jsonl(tmp_path / "noise.jsonl", noise))
    with pytest.raises(InvalidParameterError, match=r"rank correlation of -?0\.\d+ on 300 held-out .* `floor` is 0.5"):
        assay.score(pool, Distil(labels=labels, column="rating", **SMALL), workspace=workspace)
    same = str(write_jsonl(tmp_path / "same.jsonl", [row | {"rating": 1} for row in noise]))
    with pytest.raises(InvalidParameterError, match="1 different values"):
        assay.score(pool, Distil(labels=same, column="rating", **SMALL), workspace=workspace)
    words = str(write_jsonl(tmp_path / "words.jsonl", [row | {"rating": "high"} for row in noise]))
    with pytest.raises(InvalidParameterError, match="a label that is no number"):
        assay.score(pool, Distil(labels=words, column="rating", **SMALL), workspace=workspace)
    nan = str(write_jsonl(tmp_path / "nan.jsonl", [row | {"rating": "nan"} for row in noise]))
    with pytest.raises(InvalidParameterError, match="no finite number"):
        assay.score(pool, Distil(labels=nan, column="rating", **SMALL), workspace=workspace)
    many = str(write_jsonl(tmp_path / "many.jsonl", [row | {"rating": 1 if k else 0} for k, row in enumerate(noise)]))
    with pytest.raises(InvalidParameterError, match="is the same for 299 of 300|rank correlation"):
        assay.score(pool, Distil(labels=many, column="rating", top=0.1, **SMALL), workspace=workspace)


def test_the_two_ends_alone_do_not_flatter_the_pupil(tmp_path: Path, pool: Corpus, workspace: Workspace) -> None:
    """Ratings are half noise. The figure is of all documents, and not of the ends alone, which part by far."""
    rng = np.random.default_rng(0)
    rows = documents(500, seed=5)
    rows = [row | {"rating": row["rating"] + float(rng.normal(scale=0.4))} for row in rows]
    labels = str(write_jsonl(tmp_path / "noisy.jsonl", rows))
    scorer = Distil(labels=labels, column="rating", top=0.15, bottom=0.15, floor=0.1, **SMALL)
    _, summary = scored(pool, scorer, workspace)
    fresh = documents(2000, seed=77)
    told = np.array([row["rating"] for row in fresh]) + rng.normal(scale=0.4, size=2000)
    state = scorer.prepare(
        {"labels": scorer.sketch_documents("labels", pa.RecordBatch.from_pylist([{k: r[k] for k in r} for r in rows]))}
    )
    said = scorer.score(pa.RecordBatch.from_pylist([{"text": row["text"]} for row in fresh]), state)[0].to_numpy()
    honest = spearman(said, told)
    assert honest is not None and summary["spearman"] == pytest.approx(honest, abs=0.12)
    assert summary["compared"] == 500 and summary["documents"] < 160


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`of` .=None. must be a scorer, or `labels` given instead"),
        ({"of": Length(), "labels": "x", "column": "y"}, "`of`"),
        ({"of": Exact()}, "rates documents one by one"),
        ({"of": "dsir"}, "rates documents one by one"),
        ({"labels": "x"}, "`column` .=None. must be the column of `labels`"),
        ({"of": Length(), "top": 0}, "`top` .=0. must be a share"),
        ({"of": Length(), "bottom": 0.1}, "`top` .=None. must be a share where `bottom` is given"),
        ({"of": Length(), "top": 0.6, "bottom": 0.6}, "leaves `top` its own"),
        ({"of": Length(), "floor": 1.0}, "`floor`"),
    ],
)
def test_what_does_not_go_together_is_refused_when_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Distil(**settings)


def test_an_unknown_column_of_the_teacher_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="length.tokens.*Did you mean|one of length"):
        Distil(of=Length(), column="length.token").columns(())
