"""Mixtures without a source, with more of one, and the runs of a table that are such."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.ablation import repeats_of, with_share, without_each
from assay.mixtures.runs import Runs

WEIGHTS = np.array([0.5, 0.0, 0.3, 0.2])


def test_each_is_left_out_and_the_others_keep_their_proportions() -> None:
    which, mixtures = without_each(WEIGHTS)
    assert which.tolist() == [0, 2, 3]  # the second is not in it anyway
    np.testing.assert_allclose(mixtures.sum(axis=1), 1)
    np.testing.assert_allclose(mixtures[0], [0, 0, 0.6, 0.4])
    np.testing.assert_allclose(mixtures[1] / mixtures[1, 0], [1, 0, 0, 0.4])


def test_a_share_is_met_and_the_others_keep_their_proportions() -> None:
    mixtures = with_share(WEIGHTS, 1, np.array([0.0, 0.4, 1.0]))
    np.testing.assert_allclose(mixtures, [WEIGHTS, [0.3, 0.4, 0.18, 0.12], [0, 1, 0, 0]])
    np.testing.assert_allclose(with_share(WEIGHTS, 0, np.array([0.5])), WEIGHTS[None])


def test_runs_of_the_mixture_and_without_a_source_are_found_in_a_table() -> None:
    _, mixtures = without_each(WEIGHTS)
    weights = np.array([WEIGHTS, mixtures[0], WEIGHTS, np.full(4, 0.25), mixtures[2]])
    runs = Runs(
        sources=tuple("abcd"), weights=weights, metrics=("m",), losses=np.arange(5.0)[:, None], names=tuple("vwxyz")
    )
    whole, without_a, without_d = repeats_of(runs, WEIGHTS)
    assert (whole.source, without_a.source, without_d.source) == (None, "a", "d")
    assert (whole.losses.tolist(), without_a.losses.tolist(), without_d.losses.tolist()) == ([0, 2], [1], [4])
    with pytest.raises(InvalidParameterError, match="none of the mixture.*without_each"):
        repeats_of(runs, np.array([0.1, 0.2, 0.3, 0.4]))
    with pytest.raises(InvalidParameterError, match="none without a source"):
        repeats_of(runs, np.full(4, 0.25))


def test_bad_weights_and_shares_are_refused() -> None:
    for weights in ([1.0, 0.0], [0.5, -0.5, 1.0], [np.nan, 1.0, 1.0]):
        with pytest.raises(InvalidParameterError, match="`weights`"):
            without_each(np.array(weights))
    with pytest.raises(InvalidParameterError, match="`shares`"):
        with_share(WEIGHTS, 0, np.array([1.2]))
    with pytest.raises(InvalidParameterError, match="`weights`"):
        with_share(np.array([1.0, 0.0]), 0, np.array([0.5]))
