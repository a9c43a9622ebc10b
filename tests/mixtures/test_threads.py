"""What regressors find, on any number of threads."""

import numpy as np
from threadpoolctl import threadpool_limits

from assay.mixtures.optimum import best_mixture
from assay.mixtures.regression import choose


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    weights = np.random.default_rng(0).dirichlet(np.full(6, 0.5), 150)
    losses = 2 + (0.05 + weights @ [1.0, 0.3, 0.05, 0.01, 0.0, 0.0]) ** -0.4

    def found() -> list[bytes]:
        choice = choose(weights, losses, ["gp", "ridge"])
        best = best_mixture(choice.predictor.predict, np.full(6, 1.0), num_draws=4000)
        return [choice.held_out.tobytes(), best.tobytes()]

    with threadpool_limits(limits=1, user_api="blas"):
        one = found()
    with threadpool_limits(limits=2, user_api="blas"):
        assert found() == one
