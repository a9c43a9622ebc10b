"""ZIP-FIT against its published formula with gzip, and its fast form against the exact one."""

import gzip

import numpy as np
import pytest

from assay import ZipFit
from tests.reference.test_dsir import spearman, tasks, toy_pile  # noqa: F401  (fixtures)
from tests.scorers.test_zipfit import scored


def gzip_bytes(data: bytes) -> int:
    """gzip's header and check sum take 12 bytes more than zlib's."""
    return len(gzip.compress(data, 6)) - 12


def published(text: str, target: list[str]) -> float:
    """Mean of 1 - NCD over target texts, as the paper has it (section 3)."""
    alone = gzip_bytes(text.encode())
    total = 0.0
    for other in target:
        theirs = gzip_bytes(other.encode())
        joint = gzip_bytes((text + other).encode())
        total += 1 - (joint - min(alone, theirs)) / max(alone, theirs)
    return total / len(target)


def test_exact_form_equals_the_published_formula_with_gzip(toy_pile, tasks) -> None:  # noqa: F811
    texts, _ = toy_pile
    for target, rest, _ in tasks[:2]:
        chosen, pool = [texts[k] for k in target], [texts[k] for k in rest[:60]]
        found = scored(ZipFit(anchors=0), chosen, pool)["zipfit.alignment"]
        np.testing.assert_allclose(found, [published(text, chosen) for text in pool], rtol=1e-9)


def test_fast_form_ranks_as_the_exact_one_and_says_how_well(toy_pile, tasks) -> None:  # noqa: F811
    texts, _ = toy_pile
    for target, rest, _ in tasks[:2]:
        chosen, pool = [texts[k] for k in target], [texts[k] for k in rest]
        exact, fast = (scored(ZipFit(anchors=n), chosen, pool) for n in (0, 5))
        agreement = spearman(fast["zipfit.alignment"], exact["zipfit.alignment"])
        assert agreement >= 0.9
        assert fast["agreement_with_exact"] == pytest.approx(agreement, abs=0.06)  # of 200 documents of the pool
