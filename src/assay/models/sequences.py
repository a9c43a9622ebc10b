"""What a neural model is trained on: token sequences of one length, made of documents or pieces of documents."""

from typing import NamedTuple

import numpy as np

NONE = 65_535
"""The target of a position that carries no loss."""


class Sequences(NamedTuple):
    """Sequences of the same length, each of one or more pieces of documents and perhaps padding at its end.

    A document of tokens t_1 ... t_n is the text END, t_1, ..., t_n, END (the last only where it has an end); a position
    holds one token of it as input and the next as target, so it has as many positions as tokens and end together.

    inputs: ids [sequences, length] uint16; padding holds the end mark.
    targets: the id that follows each input in its document [sequences, length] uint16; `NONE` where no loss is taken.
    pieces: which piece of its sequence each position is of, from 0 [sequences, length] uint16; padding has the number
        after the last piece's.
    documents: which document each piece is of, sequence by sequence [all pieces] int64.
    first_pieces: where each sequence's pieces start in `documents` [sequences + 1] int64.
    """

    inputs: np.ndarray
    targets: np.ndarray
    pieces: np.ndarray
    documents: np.ndarray
    first_pieces: np.ndarray
