"""PreSelect against the package perplexity-correlations, on real losses."""

import csv
from pathlib import Path

import numpy as np
import pytest
from perplexity_correlations.estimation import sign_sign

from assay.models.calibration import spearman
from assay.scorers.preselect import predictive_strength, reliability


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
