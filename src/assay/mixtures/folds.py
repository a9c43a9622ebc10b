"""Runs to hold out, part by part."""

import numpy as np


def folds(rows: np.ndarray, num: int, seed: int) -> list[np.ndarray]:
    """Numbers of rows, in `num` parts or fewer; which part a row is in does not depend on the order of rows.

    Equal rows are in one part: a run's other seed, fitted to, would give away what the run lost.

    Args:
        rows: what was run, such as mixtures [runs, sources].
    """
    _, which = np.unique(rows, axis=0, return_inverse=True)
    different = int(which.max()) + 1
    order = np.random.default_rng([seed, 0]).permutation(different)
    return [np.flatnonzero(np.isin(which, part)) for part in np.array_split(order, min(num, different))]
