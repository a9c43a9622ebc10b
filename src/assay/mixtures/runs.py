"""A table of runs: the mixture that each was trained on, and what it lost. What every search over mixtures reads."""

from dataclasses import dataclass

import numpy as np

from assay.errors import InvalidParameterError, check


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs of one trainer, at one size, on mixtures of the same sources.

    sources: names of the sources. weights: share of each in what a run read [runs, sources] float64, rows sum to 1.
    metrics: names of what was measured; lower is better. losses: [runs, metrics] float64, finite.
    names: of the runs [runs]. tokens: what each run read [runs] float64, or None where nobody says.
    """

    sources: tuple[str, ...]
    weights: np.ndarray
    metrics: tuple[str, ...]
    losses: np.ndarray
    names: tuple[str, ...]
    tokens: np.ndarray | None = None

    def __post_init__(self) -> None:
        num = len(self.names)
        check(num > 0, "runs", num, "at least one")
        check(self.weights.shape == (num, len(self.sources)), "weights", self.weights.shape, "runs x sources")
        check(self.losses.shape == (num, len(self.metrics)), "losses", self.losses.shape, "runs x metrics")
        for k, name in enumerate(self.names):
            if not np.isfinite(self.losses[k]).all():
                raise InvalidParameterError(
                    f"Run {name!r} has a loss that is no number. Leave it out, or run it again."
                )

    def __len__(self) -> int:
        return len(self.names)

    def loss(self, metric: str | None = None) -> np.ndarray:
        """Losses by one metric, or their mean over all [runs]."""
        if metric is None:
            return self.losses.mean(axis=1)
        check(metric in self.metrics, "metric", metric, f"one of {', '.join(self.metrics)}")
        return self.losses[:, self.metrics.index(metric)]
