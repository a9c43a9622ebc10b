"""Copying runs out of a flat array of documents."""

from numba import njit


@njit(nogil=True, cache=True)
def take_runs(values, starts, sizes, out):
    """Fills `out` with the runs values[start : start + size], one after another.

    Args:
        starts, sizes: of each run [runs] int64. out: as long as all sizes together.
    """
    n = 0
    for k in range(len(starts)):
        for i in range(starts[k], starts[k] + sizes[k]):
            out[n] = values[i]
            n += 1
