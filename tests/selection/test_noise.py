import hashlib

import numpy as np
import pytest

from assay.selection.noise import gumbels, keyed_hashes, uniforms


def mix64(x: int) -> int:
    """SplitMix64's finaliser on Python integers."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


IDS = np.arange(100_000, dtype=np.uint64)


def test_uniforms_are_uniform() -> None:
    values = uniforms(keyed_hashes(IDS, 0, "x"))
    assert values.min() > 0 and values.max() < 1
    counts = np.histogram(values, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi-square with 99 degrees: 150 is far in the tail


@pytest.mark.parametrize("other", [(1, "x"), (0, "y"), (10, "x")])
def test_seeds_and_streams_are_independent(other: tuple[int, str]) -> None:
    a, b = uniforms(keyed_hashes(IDS, 0, "x")), uniforms(keyed_hashes(IDS, *other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.015


def test_the_same_id_seed_and_stream_give_the_same_number_wherever_it_stands() -> None:
    whole = keyed_hashes(IDS, 3, "pool")
    np.testing.assert_array_equal(keyed_hashes(IDS[::-7], 3, "pool"), whole[::-7])
    key = int.from_bytes(hashlib.blake2b(b"3/pool", digest_size=8).digest(), "little")
    assert whole[:50].tolist() == [mix64(mix64(k) ^ key) for k in range(50)]


def test_gumbels_have_mean_and_variance_of_the_standard_distribution() -> None:
    values = gumbels(uniforms(keyed_hashes(IDS, 1, "g")))
    assert values.mean() == pytest.approx(0.5772, abs=0.02)
    assert values.var() == pytest.approx(np.pi**2 / 6, rel=0.03)
