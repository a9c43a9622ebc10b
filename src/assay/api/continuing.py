"""`critical_share`: how much new text continued pretraining may read, found with n-gram models on rung 0.

Continued pretraining of an n-gram model is adding counts: each run is the model of what was read before and of what is
read now, which a simulation gives in milliseconds. What it cannot show is forgetting as neural models do it. Here the
loss on general text rises because new text takes its share of the probability, which is less; so read the answer as an
upper bound, and the order of domains as the finding. The law is that of `mixtures.cmr`.
"""

from collections.abc import Sequence

import numpy as np

from assay.api.simulated import Simulated, bits_of, columns_of, weights_of
from assay.errors import InvalidParameterError, check, check_choice, check_number
from assay.mixtures.cmr import CriticalRatio, critical_ratio

_RATIOS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def critical_share(
    simulation: Simulated,
    new: Sequence[str],
    *,
    before: float,
    tokens: Sequence[float],
    ratios: Sequence[float] = _RATIOS,
    metrics: Sequence[str] | None = None,
    max_rise: float = 0.0,
    form: str = "power",
    seed: int = 0,
) -> CriticalRatio:
    """The largest share of new text at which general loss rises by no more than `max_rise`.

    Args:
        new: sources of the new domain; all others are general. Within each side sources are read in proportion to what
            there is of them.
        before: tokens of general text that the model has read when it goes on.
        tokens: that it then reads, one number or more; with 3 the answer at another number can be foretold.
        metrics: what general loss is the mean of; default: of held-out text of the general sources.
        max_rise: in bits per byte. ratios, form: as of `critical_ratio`.

    Raises:
        InvalidParameterError: unknown sources or metrics, no general source, or as `critical_ratio`.
    """
    for name in new:
        check_choice("new", name, simulation.sources)
    is_new = np.isin(simulation.sources, list(new))
    check(bool(is_new.any() and not is_new.all()), "new", list(new), "some of the sources, and not all")
    check_number("before", before, "a number of at least 1", lambda x: x >= 1)
    columns = columns_of(simulation, _general(simulation, is_new) if metrics is None else metrics)
    shares = [weights_of(simulation, np.where(side, simulation.available, 0.0)) for side in (~is_new, is_new)]
    runs = [(ratio, more) for ratio in ratios for more in tokens]
    read = np.array(
        [before * shares[0], *(before * shares[0] + more * ((1 - r) * shares[0] + r * shares[1]) for r, more in runs)]
    )
    bits = bits_of(simulation, read)
    belongs = simulation.groups[:, None] == np.array(columns)
    losses = ((bits @ belongs) / (simulation.sizes @ belongs)).mean(axis=1)
    return critical_ratio(
        np.array(ratios, np.float64),
        np.array(tokens, np.float64),
        losses[1:].reshape(len(ratios), len(tokens)),
        start=float(losses[0]),
        max_rise=max_rise,
        form=form,
        seed=seed,
    )


def _general(simulation: Simulated, is_new: np.ndarray) -> list[str]:
    wanted = [f"source:{name}" for name, new in zip(simulation.sources, is_new, strict=True) if not new]
    found = [name for name in wanted if name in simulation.metrics]
    if not found:
        raise InvalidParameterError(
            "There is no held-out text of a general source to see what is lost. Simulate with held-out text of each"
            " source, or name `metrics`."
        )
    return found
