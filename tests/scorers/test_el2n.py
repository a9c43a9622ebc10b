"""EL2N and GraNd: formulas by hand and by differences, planted wrong labels, noise of single runs, language models."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import EL2N
from assay.artifacts.kinds import Corpus
from assay.errors import InvalidParameterError, SchemaError
from assay.models.calibration import ranks, softmax
from assay.scorers.el2n import _keys, error_norms
from tests.conftest import make_documents

Read = Callable[[list[dict[str, str]]], Corpus]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_documents(documents: list[dict[str, str]]) -> Corpus:
        path = tmp_path / f"pool-{len(documents)}.jsonl"
        path.write_text("\n".join(map(json.dumps, documents)))
        return assay.read(str(path), workspace=tmp_path / "w")

    return read_documents


def planted(number: int, share: float) -> tuple[list[dict[str, str]], np.ndarray]:
    """Documents of three topics that share half of their words, with a share of wrong labels, and which these are."""
    rng = np.random.default_rng(4)
    shared = make_documents(3 * number, seed=9, topic="w", length=20)
    own = [d for k, topic in enumerate("abc") for d in make_documents(number, seed=k, topic=topic, length=20)]
    is_wrong = rng.random(3 * number) < share
    moves = np.where(is_wrong, rng.integers(1, 3, 3 * number), 0)
    labels = ["abc"[("abc".index(d["source"]) + move) % 3] for d, move in zip(own, moves, strict=True)]
    texts = [f"{a['text']} {b['text']}" for a, b in zip(own, shared, strict=True)]
    rows = zip(texts, labels, strict=True)
    return [{"id": f"{k}", "text": text, "label": label} for k, (text, label) in enumerate(rows)], is_wrong


def columns(scores: assay.Scores) -> tuple[np.ndarray, np.ndarray]:
    table = scores.to_table()
    return table["el2n.error"].to_numpy(), table["grand.norm"].to_numpy()


def test_norms_are_those_of_the_gradient() -> None:
    """|p - y| |(x, 1)| against central differences of the loss by every weight and bias."""
    rng = np.random.default_rng(0)
    x, weights, bias, label = rng.normal(size=5), rng.normal(size=(5, 4)), rng.normal(size=4), 2

    def loss(flat: np.ndarray) -> float:
        return -float(np.log(softmax((x @ flat[:20].reshape(5, 4) + flat[20:])[None])[0, label]))

    flat = np.concatenate([weights.ravel(), bias])
    steps = 1e-6 * np.eye(24)
    gradient = np.array([(loss(flat + step) - loss(flat - step)) / 2e-6 for step in steps])
    error = error_norms(softmax((x @ weights + bias)[None]), np.array([label]))[0]
    assert error == pytest.approx(np.linalg.norm(softmax((x @ weights + bias)[None])[0] - np.eye(4)[label]))
    assert np.linalg.norm(gradient) == pytest.approx(error * np.sqrt(x @ x + 1), rel=1e-6)


def test_wrong_labels_take_the_top(read: Read, tmp_path: Path) -> None:
    documents, is_wrong = planted(300, 0.1)
    scores = assay.score(read(documents), EL2N(runs=5, num_buckets=1 << 12), workspace=tmp_path / "w")
    errors, norms = columns(scores)
    top = np.argsort(-errors)[: is_wrong.sum()]
    assert is_wrong[top].mean() > 0.8
    np.testing.assert_allclose(norms, errors * 2**0.5, atol=2e-4)  # what the layer reads has length 1
    assert scores.manifest.summary["reliability"] > 0.5
    assert scores.manifest.summary["classes"] == 3


def test_documents_that_were_learnt_from_are_judged_like_others(read: Read, tmp_path: Path) -> None:
    documents, _ = planted(300, 0.0)
    scorer = EL2N(runs=4, sample=450, num_buckets=1 << 12)
    errors, _ = columns(assay.score(read(documents), scorer, workspace=tmp_path / "w"))
    pool = pa.RecordBatch.from_pylist(documents)
    is_learnt = np.isin(_keys(pool), scorer.sketch_pool(pool, {})["keys"])
    assert is_learnt.sum() == 450
    assert errors[is_learnt].mean() == pytest.approx(errors[~is_learnt].mean(), abs=0.03)


def test_the_mean_over_runs_is_less_noise(read: Read, tmp_path: Path) -> None:
    pool = read(planted(100, 0.1)[0])

    def spread(runs: int) -> float:
        scorers = [EL2N(runs=runs, seed=seed, num_buckets=1 << 10) for seed in range(5)]
        found = [columns(assay.score(pool, scorer, workspace=tmp_path / "w"))[0] for scorer in scorers]
        return float(np.var([ranks(errors) for errors in found], axis=0).mean())

    assert spread(8) < 0.5 * spread(1)


def test_a_label_that_no_model_knows_and_a_missing_one(read: Read, tmp_path: Path) -> None:
    documents, _ = planted(40, 0.0)
    scorer = EL2N(runs=2, num_buckets=1 << 10)
    known = pa.RecordBatch.from_pylist(documents)
    state = scorer.finish({}, scorer.sketch_pool(known, {}))
    rows = [{**documents[0], "label": label} for label in ("z", None, documents[0]["label"])]
    strange = pa.RecordBatch.from_pylist(rows)
    errors = scorer.score(strange, state)[0].to_pylist()
    assert errors[1] is None and 1 <= errors[0] <= 2**0.5 and errors[0] > errors[2]


def test_what_cannot_be_is_refused(read: Read, tmp_path: Path) -> None:
    documents, _ = planted(10, 0.0)
    pool = read(documents)
    with pytest.raises(SchemaError, match="Column 'topic' is not in corpus"):
        assay.score(pool, EL2N(column="topic"), workspace=tmp_path / "w")
    one = read([{**document, "label": "a"} for document in documents[:20]])
    with pytest.raises(InvalidParameterError, match="1 different labels"):
        assay.score(one, EL2N(), workspace=tmp_path / "w")
    with pytest.raises(InvalidParameterError, match="`num_buckets` .*There are 3 labels and 100 runs"):
        assay.score(pool, EL2N(runs=100, num_buckets=1 << 20), workspace=tmp_path / "w")
    with pytest.raises(InvalidParameterError, match="`models` .*at least 1 folders"):
        EL2N(models=())
    with pytest.raises(InvalidParameterError, match="`models` "):
        EL2N(models=["a", "a"])  # type: ignore[arg-type]
