"""Bradley-Terry strengths against scikit-learn's logistic regression without intercept on difference features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from assay.models.bradley_terry import PENALTY, fit_strengths
from tests.models.test_bradley_terry import judged


def by_regression(first, second, shares, num_things: int, C: float) -> np.ndarray:
    differences = np.zeros((len(first), num_things))
    rows = np.arange(len(first))
    differences[rows, second] += 1
    differences[rows, first] -= 1
    # A share is two rows, won and lost, weighted.
    model = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    x, y = np.concatenate((differences, differences)), np.repeat([1, 0], len(first))
    model.fit(x, y, sample_weight=np.concatenate((shares, 1 - shares)))
    return model.coef_[0] - model.coef_[0].mean()


@pytest.mark.parametrize("is_soft", [False, True])
def test_strengths_equal_logistic_regression_up_to_a_constant(is_soft: bool) -> None:
    planted = np.random.default_rng(0).normal(size=40)
    first, second, shares = judged(planted, 1500, seed=1)
    if is_soft:
        shares = 0.8 * shares + 0.1
    found = fit_strengths(first, second, shares, 40)
    assert not found.is_penalised
    np.testing.assert_allclose(found.values, by_regression(first, second, shares, 40, 1e9), atol=1e-5)


def test_under_separation_strengths_equal_penalised_logistic_regression() -> None:
    first, second = np.triu_indices(8, 1)
    shares = np.ones(len(first))
    found = fit_strengths(first, second, shares, 8)
    assert found.is_penalised
    np.testing.assert_allclose(found.values, by_regression(first, second, shares, 8, 1 / PENALTY), atol=1e-5)
