"""Linear equations against numpy, and the influence function against models that are fitted anew."""

import numpy as np
import pytest

from assay.kernels.solving import solve_positive


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_solutions_are_those_of_numpy(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((200, 40))
    matrix, right = rows.T @ rows + np.eye(40), rng.standard_normal((40, 3))
    np.testing.assert_allclose(solve_positive(matrix, right), np.linalg.solve(matrix, right), rtol=1e-10)


def test_influence_is_the_change_of_a_linear_model_that_is_fitted_anew(rng: np.random.Generator) -> None:
    """-g_target' (H + damping I)^-1 g_document is the derivative of the target's loss by the document's weight."""
    x, target = rng.standard_normal((50, 6)), rng.standard_normal((8, 6))
    truth = rng.standard_normal(6)
    y, wanted = x @ truth + 0.3 * rng.standard_normal(50), target @ truth
    damping = 0.2

    def fitted(weights: np.ndarray) -> np.ndarray:
        return np.linalg.solve((x * weights[:, None]).T @ x + damping * np.eye(6), (x * weights[:, None]).T @ y)

    even = np.full(50, 1 / 50)
    best = fitted(even)
    gradients = (x @ best - y)[:, None] * x
    reference = ((target @ best - wanted)[:, None] * target).mean(axis=0)
    solved = solve_positive(x.T @ x / 50 + damping * np.eye(6), reference[:, None])[:, 0]
    for document in range(5):
        more = np.zeros(50)
        more[document] = 1e-6
        up, down = (0.5 * np.mean((target @ fitted(even + s * more) - wanted) ** 2) for s in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(-gradients[document] @ solved, rel=1e-4)
