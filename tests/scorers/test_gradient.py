"""LESS's score from vectors of gradients: against its formula, planted truth, and the curvature that is divided by."""

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.errors import InvalidParameterError
from assay.models.gradients import Gradients
from assay.scorers import Gradient
from assay.scorers.vectors import vectors_of
from tests.conftest import make_prose, write_jsonl
from tests.scorers.embedded import fit, scored, to_batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_score_is_the_mean_over_a_target_and_the_best_over_targets(rng: np.random.Generator) -> None:
    pool = to_batch(rng.standard_normal((50, 12)))
    targets = {name: to_batch(rng.standard_normal((size, 12)), name) for name, size in (("a", 7), ("b", 3))}
    found = scored(Gradient(), pool, targets, cuts=3)
    each = [(vectors_of(pool).values @ vectors_of(t).values.T).mean(axis=1) for t in targets.values()]
    np.testing.assert_allclose(found["gradient.similarity.a"], each[0], atol=1e-6)
    np.testing.assert_allclose(found["gradient.similarity"], np.maximum(*each), atol=1e-6)


def test_several_checkpoints_side_by_side_are_a_sum_by_learning_rate(rng: np.random.Generator) -> None:
    """What `models.gradients` does with them: each scaled by the root of its share."""
    shares = Gradients(gradients=("a", "b"), rates=(2e-3, 1e-3)).shares
    parts = [[_unit(rng.standard_normal((n, 16))) for n in (30, 4)] for _ in shares]
    pool, target = (
        to_batch(np.concatenate([s**0.5 * p[k] for s, p in zip(shares, parts, strict=True)], axis=1)) for k in (0, 1)
    )
    found = scored(Gradient(), pool, {"t": target})["gradient.similarity"]
    expected = sum(s * (p[0] @ p[1].T).mean(axis=1) for s, p in zip(shares, parts, strict=True))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_damping_divides_by_the_curvature_and_much_of_it_gives_plain_products(rng: np.random.Generator) -> None:
    pool, target = to_batch(rng.standard_normal((80, 6)) * [4, 2, 1, 1, 1, 1]), to_batch(rng.standard_normal((5, 6)))
    values, mean = vectors_of(pool).values.astype(float), vectors_of(target).values.astype(float).mean(axis=0)
    fisher = values.T @ values / 80
    scale = np.trace(fisher) / 6
    for damping in (0.01, 1.0):
        solved = np.linalg.solve((fisher + damping * scale * np.eye(6)) / (scale * (1 + damping)), mean)
        found = scored(Gradient(damping=damping), pool, {"t": target}, cuts=4)["gradient.similarity"]
        np.testing.assert_allclose(found, values @ solved, atol=1e-9)
    plain, heavy = (scored(Gradient(damping=d), pool, {"t": target})["gradient.similarity"] for d in (None, 1e9))
    np.testing.assert_allclose(plain, heavy, atol=1e-8)
    assert np.argsort(plain).tolist() != np.argsort(found).tolist()


def test_damping_of_next_to_nothing_is_refused_and_a_target_without_words() -> None:
    with pytest.raises(InvalidParameterError, match="`damping` .=0. must be a number from 1e-6 up"):
        Gradient(damping=0)
    with pytest.raises(InvalidParameterError, match="Target 't' has no document that a gradient"):
        scored(Gradient(), to_batch(np.eye(3)), {"t": to_batch(np.zeros((1, 3)), "t")})
    with pytest.raises(InvalidParameterError, match="The pool has no document that a gradient"):
        fit(Gradient(damping=1.0), [to_batch(np.zeros((2, 3)))], {"t": to_batch(np.eye(3), "t")})


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[assay.Corpus, assay.Corpus]:
    """A pool of two topics, in which the target's documents stand once more, and the target."""
    folder = tmp_path_factory.mktemp("gradient")
    target = make_prose(3, seed=9, topic="t")
    copies = [{"id": f"copy of {row['id']}", "text": row["text"]} for row in target]
    pool = make_prose(60, seed=1, topic="g") + make_prose(40, seed=2, topic="t") + copies
    write_jsonl(folder / "pool.jsonl", [*pool, {"id": "empty", "text": ""}])
    write_jsonl(folder / "target.jsonl", target)
    return tuple(
        assay.read(str(folder / f"{n}.jsonl"), id="id", workspace=folder / ".assay") for n in ("pool", "target")
    )  # type: ignore[return-value]


def test_copies_of_the_targets_documents_come_first(files: tuple[assay.Corpus, assay.Corpus]) -> None:
    """Where both sides have plain gradients; Adam's at least come before all of the other topic."""
    pool, target = files
    ids = [name for batch in pool.batches(0, ["id"]) for name in batch.column("id").to_pylist()]
    for adam in (False, True):
        scorer = Gradient(embedding=Gradients(dimensions=512, adam=adam))
        found = assay.score(pool, scorer, target=target, workspace=pool.folder.parent).to_table()["gradient.similarity"]
        assert found[ids.index("empty")].as_py() is None
        order = [ids[k] for k in np.argsort(-found.to_numpy(zero_copy_only=False))]
        assert adam or all(name.startswith("copy") for name in order[:3])
        assert not set(order[:20]) & set(ids[:60])


def test_the_store_of_gradients_is_made_once_and_targets_have_plain_ones(
    files: tuple[assay.Corpus, assay.Corpus],
) -> None:
    pool, target = files
    wanted = Gradients(dimensions=128)
    made = assay.embed(pool, wanted, workspace=pool.folder.parent)
    assert made.dimensions == 128 and made.vectors(0).type == pa.list_(pa.float16(), 128)
    again = assay.embed(pool, wanted, workspace=pool.folder.parent)
    assert again.fingerprint == made.fingerprint
    plain = assay.embed(pool, wanted.of_target, workspace=pool.folder.parent)
    assert (made.manifest.summary["steps"], plain.manifest.summary["steps"]) == ("Adam", "plain")
    others = [Gradients(dimensions=128, seed=1), Gradients(dimensions=192)]
    marks = {made.fingerprint, plain.fingerprint}
    marks |= {assay.embed(pool, other, workspace=pool.folder.parent).fingerprint for other in others}
    assert len(marks) == 4
    assay.score(pool, Gradient(embedding=wanted), target=target, workspace=pool.folder.parent)
    of_target = assay.embed(target, wanted.of_target, fitted_on=pool, workspace=pool.folder.parent)
    assert of_target.manifest.counts["in"] == 3


def test_any_method_that_goes_by_vectors_goes_by_gradients(files: tuple[assay.Corpus, assay.Corpus]) -> None:
    pool, target = files
    by = {"gradients": "words", "dimensions": 64}
    found = assay.score(pool, assay.KNN(embedding=by), target=target, workspace=pool.folder.parent)  # type: ignore[arg-type]
    assert found.to_table()["knn.similarity"].null_count == 1
