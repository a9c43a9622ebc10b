"""The tokens that a selection stands for, cut to exactly the budget."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from assay.artifacts.kinds import Selection, Tokens
from assay.errors import InvalidParameterError
from assay.kernels.ragged import take_runs


class Stream(NamedTuple):
    """Documents one after another.

    tokens: ids [tokens] uint16. starts: where each document starts [documents + 1] int64.
    has_end: False for a document that was cut off [documents].
    """

    tokens: np.ndarray
    starts: np.ndarray
    has_end: np.ndarray


class Taken(NamedTuple):
    """The documents of one part that are trained on, each as often as it is seen.

    rows: which of the part's documents [documents]. sizes: how many tokens of each are taken [documents].
    """

    part: int
    rows: np.ndarray
    sizes: np.ndarray


def documents_taken(selection: Selection, tokens: Tokens, num_tokens: int) -> Iterator[Taken]:
    """Every chosen document as often as it is to be seen, in corpus order, until there are `num_tokens` tokens.

    A selection meets its budget within one document; the cut of the last makes arms equal to the token.

    Raises:
        InvalidParameterError: the selection holds fewer tokens.
    """
    left = num_tokens
    for part in range(tokens.num_parts):
        repeats = selection.repeats(part)
        if left == 0 or not repeats.any():
            continue
        rows = np.repeat(np.arange(len(repeats)), repeats)
        sizes = np.diff(tokens.ids(part)[1])[rows]
        num_whole = int(np.searchsorted(np.cumsum(sizes), left, side="right"))
        sizes = sizes[: num_whole + 1]
        if num_whole < len(rows):
            sizes[-1] = left - sizes[:-1].sum()
        left -= int(sizes.sum())
        yield Taken(part, rows[: len(sizes)], sizes)  # of which the very last may be cut to nothing
    if left > 0:
        raise InvalidParameterError(
            f"Selection {selection.name!r} holds {num_tokens - left:,} tokens, not the {num_tokens:,} to train on."
        )


def training_stream(selection: Selection, tokens: Tokens, num_tokens: int) -> Stream:
    """The tokens of `documents_taken`.

    Raises:
        InvalidParameterError: the selection holds fewer tokens.
    """
    out = np.empty(num_tokens, np.uint16)
    lengths: list[np.ndarray] = []
    first = 0
    for taken in documents_taken(selection, tokens, num_tokens):
        ids, starts = tokens.ids(taken.part)
        last = first + int(taken.sizes.sum())
        take_runs(ids, starts[taken.rows], taken.sizes, out[first:last])
        lengths.append(taken.sizes)
        first = last
    sizes = np.concatenate(lengths)
    sizes = sizes[: len(sizes) - (sizes[-1] == 0)]
    has_end = np.ones(len(sizes), np.bool_)
    has_end[-1] = False  # whether or not it was cut, so that arms differ in nothing else
    return Stream(out, np.concatenate(([0], np.cumsum(sizes))), has_end)


def document_bits(log_probabilities: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The loss of each document [documents], bits, from that of its tokens.

    Args:
        log_probabilities: natural logs [tokens]. starts: where each document starts among them [documents + 1].
    """
    return np.diff(np.concatenate(([0.0], np.cumsum(-log_probabilities / np.log(2))))[starts])
