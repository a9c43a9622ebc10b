"""What stands between a decoder's matrix products; tests/models/test_gpt.py holds the whole against a plain model."""

import numpy as np
import pytest

from assay.kernels import decoder

F = np.float32


def test_exp_is_exp_to_three_units_in_the_last_place() -> None:
    x = np.concatenate([np.linspace(-87, 88, 20_001), [0.0, -0.0, 1e-30, -1e-6]]).astype(F)
    ours = np.array([decoder.exp32(value) for value in x])
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(ours - exact) <= 3 * np.spacing(exact.astype(F))).all()
    assert decoder.exp32(F(0)) == 1 and 0 < decoder.exp32(F(-1000)) < 2e-38


def test_softmax_looks_back_within_its_piece_and_nowhere_else() -> None:
    scores = np.random.default_rng(0).normal(0, 20, (2, 5, 6)).astype(F)
    starts = np.array([0, 1, 1, 3, 3, 5, 6, 6, 6])  # rows 1 to 6 are asked for: keys begin at row 1
    ours = scores.copy()
    decoder.look_back(ours, starts, 1)
    for head in range(2):
        for i in range(5):
            seen = range(starts[1 + i] - 1, i + 1)
            weights = {j: np.exp(float(scores[head, i, j])) for j in seen}
            for j in range(6):
                expected = weights[j] / sum(weights.values()) if j in weights else 0.0
                assert ours[head, i, j] == pytest.approx(expected, rel=1e-5, abs=1e-30)


@pytest.mark.parametrize("width", [1, 63, 64, 65, 300])
def test_surprise_is_the_negative_logarithm_of_a_targets_share(width: int) -> None:
    logits = np.random.default_rng(1).normal(0, 30, (4, width)).astype(F)
    targets = np.array([0, width - 1, 65535, width // 2])
    losses, inverses, powers = np.full(4, 9, F), np.full(4, 9, F), logits.copy()
    decoder.surprise(0, 4, powers, targets, 65535, losses, inverses)
    assert losses[2] == inverses[2] == 0
    for i in (0, 1, 3):
        wide = logits[i].astype(np.float64)
        shares = np.exp(wide - wide.max()) / np.exp(wide - wide.max()).sum()
        assert losses[i] == pytest.approx(-np.log(shares[targets[i]]), rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(powers[i] * inverses[i], shares, rtol=1e-4, atol=1e-30)


def test_rows_may_be_split_anywhere() -> None:
    rng = np.random.default_rng(2)
    number, width = 700, 33
    rows, slopes = rng.normal(size=(2, number, width)).astype(F)
    gain = rng.normal(size=width).astype(F)

    def all_of_it(cuts: list[int]) -> list[bytes]:
        normed, by_rows, by_gain = np.empty_like(rows), np.empty_like(rows), np.zeros((3, width), F)
        for first, last in zip([0, *cuts], [*cuts, number], strict=True):
            decoder.normalise(first, last, rows, gain, F(1e-6), normed)
            decoder.normalise_back(first, last, rows, gain, slopes, F(1e-6), by_rows, by_gain)
        return [normed.tobytes(), by_rows.tobytes(), by_gain.tobytes()]

    assert all_of_it([]) == all_of_it([decoder.SUMMED, 2 * decoder.SUMMED]) == all_of_it([1, 300, 699])
