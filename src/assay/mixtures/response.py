"""Response curves: the loss that is foretold as one source's share moves and the others keep their proportions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from assay.errors import check, check_integer


class Response(NamedTuple):
    """shares: of each source that is moved [sources, points], rising. losses: foretold there [sources, points]."""

    shares: np.ndarray
    losses: np.ndarray


def response(
    predict: Callable[[np.ndarray], np.ndarray], around: np.ndarray, highest: np.ndarray, num_points: int = 25
) -> Response:
    """One curve a source, through the mixture `around`.

    Args:
        predict: losses [rows] of mixtures [rows, sources].
        around: the mixture [sources]. Where it is all of one source, the others move in equal parts.
        highest: share that each source is moved up to [sources], of which more than it has in `around` is of use: the
            most that any run had, so that curves do not leave what was run.
    """
    around, highest = np.asarray(around, np.float64), np.asarray(highest, np.float64)
    check(highest.shape == around.shape, "highest", highest.shape, f"a share for each of {len(around)} sources")
    check_integer("num_points", num_points, 2)
    num = len(around)
    shares = np.linspace(0, np.clip(np.maximum(highest, around), 0.01, 1), num_points, axis=1)
    losses = np.empty_like(shares)
    for k in range(num):
        others = np.delete(np.arange(num), k)
        rest = around[others].sum()
        proportions = around[others] / rest if rest > 0 else np.full(num - 1, 1 / (num - 1))
        mixtures = np.empty((num_points, num))
        mixtures[:, k] = shares[k]
        mixtures[:, others] = (1 - shares[k])[:, None] * proportions
        losses[k] = predict(mixtures)
    return Response(shares, losses)
