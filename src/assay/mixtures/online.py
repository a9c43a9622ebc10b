"""Training while the weights change: each step reads some more by the weights of the moment, and is then measured."""

from collections.abc import Callable

import numpy as np

from assay.errors import check_number

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
