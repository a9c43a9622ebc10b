"""Parts of runs: whole, disjoint, with equal rows together."""

import numpy as np

from assay.mixtures.folds import folds


def test_each_row_is_in_one_part_with_its_equals_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(11, 3)), rng.integers(1, 4, 11), axis=0)
    order = rng.permutation(len(rows))
    parts, others = folds(rows, 5, 7), folds(rows[order], 5, 7)
    assert sorted(np.concatenate(parts)) == list(range(len(rows))) and len(parts) == 5
    for part in parts:
        kept = np.delete(rows, part, axis=0)
        assert not (kept[:, None] == rows[part][None]).all(axis=2).any()
    assert [set(order[part]) for part in others] == [set(part) for part in parts]
    assert len(folds(rows, 99, 0)) == 11
    assert any(a.tolist() != b.tolist() for a, b in zip(parts, folds(rows, 5, 8), strict=True))
