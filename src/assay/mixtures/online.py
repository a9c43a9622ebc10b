"""Training while the weights change: each step reads some more by the weights of the moment, and is then measured."""

from collections.abc import Callable

import numpy as np

from assay.errors import check, check_number
from assay.kernels.filling import fill

Step = Callable[[np.ndarray], np.ndarray]
"""Trains a model for one more step by weights [sources], then measures it [figures]; the model is the caller's."""

Measure = Callable[[np.ndarray], np.ndarray]
"""Figures [models, figures] of the models that have read so many tokens of each source [models, sources]."""


class Reader:
    """A `Step` for models to which order does not matter, such as n-gram counts: they are what they have read.

    read: tokens of each source so far [sources].
    """

    def __init__(self, measure: Measure, num_sources: int, tokens: float):
        """Begins with nothing read.

        Args:
            measure: such as `Simulation.losses` or `Simulation.bits`. tokens: that a step reads.

        Raises:
            InvalidParameterError: tokens below 1.
        """
        check_number("tokens", tokens, "a number of at least 1", lambda x: x >= 1)
        self._measure, self._tokens = measure, tokens
        self.read = np.zeros(num_sources)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Reads one step by weights [sources], and gives the figures of the model that has read it all."""
        self.read = self.read + weights * self._tokens
        return self._measure(self.read[None])[0]


def within(weights: np.ndarray, at_most: np.ndarray | None) -> np.ndarray:
    """The weights, no source above its most; what is too much goes to the others in proportion [sources], sum 1.

    Args:
        weights: sum 1 [sources]. at_most: largest weight of each source [sources]; None = no limit.

    Raises:
        InvalidParameterError: limits that leave less than everything.
    """
    if at_most is None:
        return weights
    rule = f"a limit for each of {len(weights)} sources, that together leave room for 1"
    ok = at_most.shape == weights.shape and bool((at_most >= 0).all()) and float(at_most.sum()) >= 1
    check(ok, "at_most", at_most.tolist(), rule, "Read less text, or more often.")
    met = fill(1.0, weights, at_most)
    return met + fill(1.0 - float(met.sum()), at_most - met, at_most - met)  # where those with a weight are all full
