"""PreSelect against the package perplexity-correlations on real losses, and on planted domains."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from perplexity_correlations.estimation import sign_sign

from assay import PreSelect
from assay.models.calibration import spearman
from assay.scorers.preselect import predictive_strength, reliability
from tests.reference.test_dsir import area_under_curve, tasks, toy_pile  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def published(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bits per byte of 90 language models [documents, models], and their mean rank by error, 0 to 1 [models]."""
    folder = shared / "papers/perplexity_correlations"
    with open(folder / "chunked_synthetic_sample_bpb_id.csv", encoding="utf-8", newline="") as stream:
        _, *models = next(reader := csv.reader(stream))
        losses = np.array([[float(value) for value in row[1:]] for row in reader])
    with open(folder / "error.csv", encoding="utf-8", newline="") as stream:
        rows = {row.pop("benchmark"): row for row in csv.DictReader(stream)}
    accuracies = [name for name in rows if "lambada" not in name]
    errors = np.array([[float(rows[name][model]) for model in models] for name in accuracies])
    return losses, np.argsort(np.argsort(errors, axis=1), axis=1).mean(axis=0) / len(models)


def test_strength_is_the_sign_estimator_of_perplexity_correlations(published: tuple[np.ndarray, np.ndarray]) -> None:
    losses, error = published
    distinct = np.unique(error, return_index=True)[1]  # it counts a pair of equals as a pair, we do not
    found = predictive_strength(losses[:, distinct], -error[distinct])
    np.testing.assert_allclose(2 * found - 1, sign_sign(losses[:, distinct].T, error[distinct]), atol=1e-12)


def test_few_models_give_mostly_noise_and_reliability_says_so(published: tuple[np.ndarray, np.ndarray]) -> None:
    """The method notes: 12 random models agree with ninety to 0.30, 24 to 0.45, 45 to 0.73 (text of one kind)."""
    losses, error = published
    whole = predictive_strength(losses, -error)
    for number, agreement in ((12, 0.30), (24, 0.45), (45, 0.73)):
        draws = [np.random.default_rng(k).choice(len(error), number, replace=False) for k in range(30)]
        found = [spearman(predictive_strength(losses[:, d], -error[d]), whole) for d in draws]
        assert np.mean(found) == pytest.approx(agreement, abs=0.08)
    # The 45 are half of the ninety; with 45 others they would agree less, which is what reliability foretells.
    assert 0 < np.mean([reliability(losses[:, d], -error[d]) for d in draws]) < 0.4


def test_planted_domains_are_found_by_a_ladder_on_twenty_documents(toy_pile, tasks) -> None:  # noqa: F811
    """The best of the yardstick in the method notes is logistic regression, 0.947 (0.861)."""
    texts, _ = toy_pile
    batch = pa.RecordBatch.from_pydict({"id": [str(k) for k in range(len(texts))], "text": texts})
    areas = []
    for target, rest, is_member in tasks:
        scorer, pool = PreSelect(), batch.take(pa.array(rest))
        prepared = scorer.prepare({"target": scorer.sketch_target(batch.take(pa.array(target)))})
        state = scorer.finish(prepared, scorer.sketch_pool(pool, prepared | {"num_documents": np.array([len(pool)])}))
        assert scorer.fit_summary(state)["reliability"] > 0.5
        areas.append(area_under_curve(scorer.score(pool, state)[0].to_numpy(), is_member))
    assert np.mean(areas) >= 0.92
    assert min(areas) >= 0.80
