"""Best-fit packing of pieces of documents into sequences of one length."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def best_fit(sizes, length):
    """Puts each piece, in the order given, into the sequence with the least room that it fits in, or into a new one.

    Sequences with the same room left stand in a stack; a tree over the `length` + 1 amounts of room tells the smallest
    that is enough in log(length) steps.

    Args:
        sizes: of each piece, 1 to `length` [pieces] int64; largest first for best-fit decreasing.

    Returns:
        sequence of each piece, the position at which it starts there, its number there [pieces] int64 each, and the
        number of sequences.
    """
    num_leaves = 1
    while num_leaves <= length:
        num_leaves *= 2
    has_any = np.zeros(2 * num_leaves, np.bool_)
    top = np.full(length + 1, -1, np.int64)
    below = np.empty(len(sizes), np.int64)
    num_pieces = np.zeros(len(sizes), np.int64)
    sequence = np.empty(len(sizes), np.int64)
    position = np.empty(len(sizes), np.int64)
    number = np.empty(len(sizes), np.int64)
    num_sequences = 0
    for k in range(len(sizes)):
        room = _first_from(has_any, num_leaves, sizes[k])
        if room < 0:
            s = num_sequences
            num_sequences += 1
            room = length
        else:
            s = top[room]
            top[room] = below[s]
            if top[room] < 0:
                _set(has_any, num_leaves + room, False)
        sequence[k] = s
        position[k] = length - room
        number[k] = num_pieces[s]
        num_pieces[s] += 1
        room -= sizes[k]
        below[s] = top[room]
        if top[room] < 0:
            _set(has_any, num_leaves + room, True)
        top[room] = s
    return sequence, position, number, num_sequences


@njit(nogil=True, cache=True)
def _first_from(has_any, num_leaves, leaf):
    """The first leaf from `leaf` on that is set, or -1."""
    node = num_leaves + leaf
    while not has_any[node]:
        while node & 1:  # a right child: what lies to its right hangs on an ancestor
            node >>= 1
        if node == 0:
            return -1
        node += 1
    while node < num_leaves:
        node = 2 * node if has_any[2 * node] else 2 * node + 1
    return node - num_leaves


@njit(nogil=True, cache=True)
def _set(has_any, node, value):
    has_any[node] = value
    while node > 1:
        node >>= 1
        has_any[node] = has_any[2 * node] or has_any[2 * node + 1]


@njit(nogil=True, cache=True)
def fill_sequences(inputs, targets, pieces, tokens, starts, masked, cuts, places, end_id):
    """Writes every piece over the padding that `inputs`, `targets` and `pieces` are full of.

    Args:
        inputs, targets, pieces: [sequences, length] uint16.
        tokens, starts: ids of all documents and where each starts [documents + 1].
        masked: how many first tokens of each document carry no loss: their targets stay as they are [documents] int64.
        cuts: of each piece: its document, the first of its targets in the document, and their number [pieces] int64.
        places: sequence, position and number of each piece, as `best_fit` says.
    """
    document, first, size = cuts
    sequence, position, number = places
    for k in range(len(document)):
        start = starts[document[k]]
        stop = starts[document[k] + 1]
        s = sequence[k]
        for i in range(size[k]):
            p = position[k] + i
            t = first[k] + i
            inputs[s, p] = tokens[start + t - 1] if t > 0 else end_id
            if t >= masked[document[k]]:
                targets[s, p] = tokens[start + t] if start + t < stop else end_id
            pieces[s, p] = number[k]
