"""Packing: nothing lost, nothing twice, and the packing that best-fit decreasing is known to find."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.models.sequences import NONE, Sequences
from assay.packing.sequences import pack

END = 300


def documents(sizes: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random ids of documents of these sizes, and where each starts."""
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return np.random.default_rng(seed).integers(0, END, starts[-1]).astype(np.uint16), starts


def packed(sizes: Any, length: int, seed: int = 0, **options: Any) -> Sequences:
    tokens, starts = documents(sizes)
    has_end = options.pop("has_end", np.ones(len(sizes), np.bool_))
    return pack(tokens, starts, has_end, length=length, end_id=END, seed=seed, **options)


def runs(sequences: Sequences) -> Iterator[tuple[int, list[int], list[int]]]:
    """Document, inputs and targets of every piece, sequence by sequence."""
    for s, pieces in enumerate(sequences.pieces):
        of = sequences.documents[sequences.first_pieces[s] : sequences.first_pieces[s + 1]]
        for number, document in enumerate(of):
            here = pieces == number
            yield int(document), sequences.inputs[s, here].tolist(), sequences.targets[s, here].tolist()
        padding = pieces == len(of)
        assert (pieces <= len(of)).all()
        assert (sequences.inputs[s, padding] == END).all() and (sequences.targets[s, padding] == NONE).all()
        assert (np.diff(pieces.astype(int)) >= 0).all(), "a piece lies in one run"


def best_fit_decreasing(sizes: list[int], length: int) -> list[list[int]]:
    """Sizes in each sequence, by looking at every sequence for every piece."""
    sequences: list[list[int]] = []
    for size in sorted(sizes, reverse=True):
        fitting = [held for held in sequences if sum(held) + size <= length]
        if not fitting:
            sequences.append([])
            fitting = [sequences[-1]]
        max(fitting, key=sum).append(size)
    return sequences


@pytest.mark.parametrize("length", [1, 2, 7, 64, 500])
def test_every_token_and_end_is_a_target_once_after_those_before_it(length: int) -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 90, 60)
    has_end = rng.random(60) < 0.8
    tokens, starts = documents(sizes)
    sequences = packed(sizes, length, has_end=has_end)
    found: dict[int, list[tuple[list[int], list[int]]]] = {k: [] for k in range(60)}
    for document, inputs, targets in runs(sequences):
        found[document].append((inputs, targets))
    assert (sequences.targets != NONE).sum() == sizes.sum() + has_end.sum()
    for k, pieces in found.items():
        text = [END, *tokens[starts[k] : starts[k + 1]].tolist(), *([END] if has_end[k] else [])]
        expected = [(text[a : a + length], text[a + 1 : a + length + 1]) for a in range(0, len(text) - 1, length)]
        expected = [(inputs[: len(targets)], targets) for inputs, targets in expected]
        assert sorted(pieces) == sorted(expected)


@pytest.mark.parametrize("seed", range(5))
def test_packs_as_the_slow_obvious_best_fit_decreasing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(5, 80))
    sizes = rng.integers(1, 2 * length, 300)
    sequences = packed(sizes, length, seed)
    pieces = [min(size + 1 - a, length) for size in sizes for a in range(0, size + 1, length)]
    room = [
        int((sequence == n).sum())
        for sequence, n in zip(sequences.pieces, np.diff(sequences.first_pieces), strict=True)
    ]
    slow = [length - sum(held) for held in best_fit_decreasing(pieces, length)]
    assert sorted(room) == sorted(slow)  # which of two with the same room takes a piece changes no sequence's room


def test_needs_11_sequences_where_9_would_do_in_the_worst_case_of_johnson_1974() -> None:
    """Johnson, Demers, Ullman, Garey and Graham 1974: 11/9 of the best packing, the most that it ever needs."""
    m, length, e = 3, 1000, 10
    sizes = [500 + e] * 6 * m + [250 + 2 * e] * 6 * m + [250 + e] * 6 * m + [250 - 2 * e] * 12 * m
    assert sum(sizes) == 9 * m * length
    assert len(packed(np.array(sizes) - 1, length).inputs) == 11 * m


def test_pads_little_on_documents_as_they_are() -> None:
    """Less than a thousandth of all positions, and no document is cut that fits into a sequence."""
    sizes = np.random.default_rng(0).lognormal(5.5, 1.2, 20_000).astype(int) + 1
    for length in (256, 2048):
        sequences = packed(sizes, length)
        assert sequences.inputs.size < 1.001 * (sizes.sum() + len(sizes)) + length
    uncut = sizes[sizes < 2048]
    assert len(packed(uncut, 2048).documents) == len(uncut)


def test_a_seed_gives_the_same_sequences_and_another_one_another_order() -> None:
    sizes = np.random.default_rng(0).integers(1, 60, 200)
    first, again, other = packed(sizes, 64, 3), packed(sizes, 64, 3), packed(sizes, 64, 4)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(first.inputs) == len(other.inputs)
    assert (first.documents != other.documents).mean() > 0.9
    # Not by size: a sequence of long documents is as likely to come late as early.
    place = np.repeat(np.arange(len(first.inputs)), np.diff(first.first_pieces))
    assert abs(np.corrcoef(place, sizes[first.documents])[0, 1]) < 0.2


def test_masked_tokens_are_read_and_not_predicted() -> None:
    sizes, masked = np.array([30, 3, 5, 0]), np.array([12, 3, 0, 0])
    tokens, starts = documents(sizes)
    sequences = packed(sizes, 8, masked=masked)
    kept = [token for k in range(4) for token in (*tokens[starts[k] + masked[k] : starts[k + 1]].tolist(), END)]
    losses = sequences.targets[sequences.targets != NONE].tolist()
    assert Counter(losses) == Counter(kept)
    plain = packed(sizes, 8)
    np.testing.assert_array_equal(sequences.inputs, plain.inputs)
    assert (plain.targets != sequences.targets).sum() == masked.sum()


def test_what_cannot_be_packed_is_refused() -> None:
    tokens, starts = documents([3, 2])
    ends = np.ones(2, np.bool_)

    def refused(match: str, **changed: Any) -> None:
        options = dict(tokens=tokens, starts=starts, has_end=ends, length=8, end_id=END, seed=0) | changed
        with pytest.raises(InvalidParameterError, match=match):
            pack(options.pop("tokens"), options.pop("starts"), options.pop("has_end"), **options)

    refused(r"`length` \(=0\) must be an integer from 1 to 65535", length=0)
    refused(r"`end_id` \(=65535\) must be an integer from", end_id=NONE)
    refused(r"`end_id` \(=0\) must be an integer from", end_id=0)
    refused(r"`starts` must rise from 0 to the 5 tokens", starts=np.array([0, 3, 4]))
    refused(r"`starts` must rise", starts=np.array([0, 6, 5]))
    refused(r"`len\(has_end\)` \(=1\) must be the number of documents, 2", has_end=ends[:1])
    refused(r"`tokens` \(=0\) must be at least one token", tokens=tokens[:0], starts=np.zeros(3, np.int64))
    refused(r"`masked` of document 1 \(=3\) must be from 0 to its 2 tokens", masked=np.array([0, 3]))
