"""Influence learnt from a sample: how well it follows what every document's is, planted truth, sampling, refusals."""

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.errors import InvalidParameterError
from assay.models.bag import Counted, fit_bag, one_step, wanted_shares
from assay.models.calibration import spearman
from assay.scorers import Influence, State
from assay.selection.policies import Sample
from tests.conftest import make_prose, write_jsonl


def to_batch(rows: list[dict[str, str]]) -> pa.RecordBatch:
    names = ("id", "text")
    return pa.RecordBatch.from_arrays([pa.array([r[n] for r in rows], pa.string()) for n in names], names=list(names))


def pool_rows() -> list[dict[str, str]]:
    """300 documents of one topic, 100 of another."""
    rows = make_prose(300, seed=1, topic="g") + make_prose(100, seed=2, topic="t")
    return [{"id": f"d{k}", "text": str(row["text"])} for k, row in enumerate(rows)]


TARGET = [{"id": f"t{k}", "text": str(row["text"])} for k, row in enumerate(make_prose(30, seed=4, topic="t"))]


def fitted(scorer: Influence, rows: list[dict[str, str]], read: list[dict[str, str]] | None = None) -> State:
    sketches = {"target": scorer.sketch_target(to_batch(TARGET))}
    if read is not None:
        pieces = [scorer.sketch_documents("trained_on", to_batch(read[k::3])) for k in range(3)]
        sketches["trained_on"] = reduce(scorer.merge, pieces)
    prepared = scorer.prepare(sketches)
    known = {**prepared, "num_documents": np.array([len(rows)])}
    return scorer.finish(
        prepared, reduce(scorer.merge, [scorer.sketch_pool(to_batch(rows[k::2]), known) for k in (0, 1)])
    )


def values(scorer: Influence, state: State, rows: list[dict[str, str]]) -> np.ndarray:
    return scorer.score(to_batch(rows), state)[0].to_numpy(zero_copy_only=False)


def test_it_follows_the_influence_of_every_document_and_says_how_well() -> None:
    rows, scorer = pool_rows(), Influence(sample=150)
    state = fitted(scorer, rows)
    documents = Counted(pa.array([row["text"] for row in rows]))
    bag = fit_bag(documents.starts, documents.buckets, documents.counts)
    wanted = wanted_shares(Counted(pa.array([row["text"] for row in TARGET])), np.ones(30))
    exact = -one_step(bag, documents, wanted, 1e-3)
    found = values(scorer, state, rows)
    report = scorer.fit_summary(state)
    agreement = spearman(found, exact)
    assert agreement is not None and agreement > 0.65
    assert report["judged"] == 150 and abs(report["spearman"] - agreement) < 0.12
    assert found[300:].min() > np.median(found[:300])  # the target's own topic
    assert 0 < report["helpful"] < 1 and report["loss"] > 0 and report["model"] == "softmax over words"


def test_values_are_in_standard_deviations_of_documents_that_it_has_not_learnt_from() -> None:
    rows = pool_rows()
    found = values(Influence(sample=100), fitted(Influence(sample=100), rows), rows)
    assert abs(found.mean()) < 0.3 and 0.7 < found.std() < 1.3


def test_what_a_model_has_read_it_needs_less() -> None:
    """MATES' point: influence is that on the model as it is. A target of two topics, one of which has been read."""
    rows = pool_rows()
    both = {"id": "x", "text": " ".join([str(TARGET[0]["text"]), *(row["text"] for row in rows[:2])])}
    scorer = Influence(sample=150)

    def gap(read: list[dict[str, str]]) -> float:
        sketches = {"target": scorer.sketch_target(to_batch([*TARGET[:10], *rows[:10], both]))}
        sketches["trained_on"] = scorer.sketch_documents("trained_on", to_batch(read))
        prepared = scorer.prepare(sketches)
        known = {**prepared, "num_documents": np.array([len(rows)])}
        found = values(scorer, scorer.finish(prepared, scorer.sketch_pool(to_batch(rows), known)), rows)
        return float(found[300:].mean() - found[:300].mean())

    assert gap(rows[:200]) > 1 > -1 > gap(rows[300:])


def test_sampling_by_influence_prefers_what_helps_by_the_temperature() -> None:
    """The sign that the authors' code has wrong: the better of two is taken e^(difference / 0.5) times as often."""
    influence, rng = np.array([0.0, 0.5]), np.random.default_rng(0)
    policy = Sample(temperature=0.5)
    taken = [int(np.argmax(policy.priorities(influence, rng.random(2)))) for _ in range(4000)]
    expected = np.exp(1) / (1 + np.exp(1))
    assert np.mean(taken) == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5)


def test_what_cannot_be_measured_is_refused() -> None:
    same = [{"id": f"d{k}", "text": "the same words"} for k in range(40)]
    with pytest.raises(InvalidParameterError, match="40 documents with text, of 1 different influences"):
        fitted(Influence(), same)
    with pytest.raises(InvalidParameterError, match="could measure 5 documents"):
        fitted(Influence(), pool_rows()[:5])
    with pytest.raises(InvalidParameterError, match="`trained_on` has no words"):
        fitted(Influence(trained_on="x.jsonl"), pool_rows(), [{"id": "a", "text": ""}] * 3)
    with pytest.raises(InvalidParameterError, match="Target 'target' has no text"):
        Influence().prepare({"target": Influence().sketch_target(to_batch([{"id": "a", "text": ""}]))})
    with pytest.raises(InvalidParameterError, match="must be left out where `model` is given"):
        Influence(model="m", trained_on="a.jsonl")


def test_through_the_verb_it_is_found_again_and_depends_on_what_was_read(tmp_path) -> None:
    rows = pool_rows()
    for name, some in (("pool", rows), ("target", TARGET), ("read", rows[:40])):
        write_jsonl(tmp_path / f"{name}.jsonl", some)
    pool, target = (
        assay.read(str(tmp_path / f"{n}.jsonl"), id="id", workspace=tmp_path / "w") for n in ("pool", "target")
    )
    scorers = [Influence(sample=100), Influence(sample=100, trained_on=str(tmp_path / "read.jsonl"))]
    marks = [assay.score(pool, scorer, target=target, workspace=tmp_path / "w").fingerprint for scorer in scorers]
    assert len(set(marks)) == 2
    assert assay.score(pool, scorers[0], target=target, workspace=tmp_path / "w").fingerprint == marks[0]
