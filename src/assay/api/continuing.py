"""How much new text continued pretraining may read: `critical_ratio_of` a table of runs, `critical_share` by rung 0.

A table of runs is of anybody's trainer: one row for each ratio and number of tokens, with weights, tokens and losses.

Continued pretraining of an n-gram model is adding counts: each run is the model of what was read before and of what is
read now, which a simulation gives in milliseconds. What it cannot show is forgetting as neural models do it. Here the
loss on general text rises because new text takes its share of the probability, which is less; so read the answer as an
upper bound, and the order of domains as the finding. The law of both is that of
`mixtures.cmr`.
"""

from collections.abc import Sequence

import numpy as np

from assay.api.simulated import Simulated, bits_of, columns_of, weights_of
from assay.errors import InvalidParameterError, check, check_choice, check_number
from assay.mixtures.cmr import CriticalRatio, critical_ratio
from assay.mixtures.runs import Runs

_RATIOS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def critical_ratio_of(
    runs: Runs,
    new: Sequence[str],
    *,
    start: float,
    metric: str | None = None,
    max_rise: float = 0.05,
    form: str = "power",
    seed: int = 0,
) -> CriticalRatio:
    """The largest share of new text at which general loss rises by no more than `max_rise`, from a table of runs.

    Args:
        runs: with tokens; every ratio at every number of tokens.
        new: sources of the new domain; all others are general.
        start: general loss of the model that all runs went on from. metric: the general loss; default the mean of all.

    Raises:
        InvalidParameterError: no tokens in the table, a ratio without some number of tokens or twice with it, unknown
            sources, or as `critical_ratio`.
    """
    is_new = _is_new(runs.sources, new)
    if runs.tokens is None:
        raise InvalidParameterError("The table does not say what each run had read. Add a column `tokens`.")
    losses = runs.loss(metric)
    ratios, row = np.unique(runs.weights[:, is_new].sum(axis=1).round(6), return_inverse=True)
    tokens, column = np.unique(runs.tokens, return_inverse=True)
    times = np.zeros((len(ratios), len(tokens)), int)
    np.add.at(times, (row, column), 1)
    for ratio, point in np.argwhere(times != 1)[:1]:
        raise InvalidParameterError(
            f"There are {times[ratio, point]} runs with a share of {ratios[ratio]:g} of new text after"
            f" {tokens[point]:g} tokens. There must be one of each ratio at each number of tokens."
        )
    general = np.empty(times.shape)
    general[row, column] = losses
    return critical_ratio(ratios, tokens, general, start=start, max_rise=max_rise, form=form, seed=seed)


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
    is_new = _is_new(simulation.sources, new)
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


def _is_new(sources: Sequence[str], new: Sequence[str]) -> np.ndarray:
    for name in new:
        check_choice("new", name, sources)
    is_new = np.isin(sources, list(new))
    check(bool(is_new.any() and not is_new.all()), "new", list(new), "some of the sources, and not all")
    return is_new


def _general(simulation: Simulated, is_new: np.ndarray) -> list[str]:
    wanted = [f"source:{name}" for name, new in zip(simulation.sources, is_new, strict=True) if not new]
    found = [name for name in wanted if name in simulation.metrics]
    if not found:
        raise InvalidParameterError(
            "There is no held-out text of a general source to see what is lost. Simulate with held-out text of each"
            " source, or name `metrics`."
        )
    return found
