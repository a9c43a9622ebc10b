"""What the scorers that compare vectors with a target's have in common."""

import numpy as np
import pytest

from assay.scorers import BETR, KNN, RDS, Scorer
from tests.scorers.embedded import scored, to_batch


@pytest.mark.parametrize("scorer", [RDS(), BETR(), BETR(aggregate="mean"), KNN()], ids=lambda s: s.name)
def test_a_document_in_which_the_model_finds_nothing_has_no_score_and_changes_none(scorer: Scorer) -> None:
    """A cosine of 0 would put it before all that is unlike the target."""
    rows = np.random.default_rng(0).standard_normal((40, 5))
    target = {"t": to_batch(rows[:1] + 0.1, "t")}
    alone = scored(scorer, to_batch(rows), target)
    among = scored(scorer, to_batch(np.concatenate((rows, np.zeros((3, 5))))), target, cuts=4)
    for name, values in among.items():
        assert np.isnan(values[40:]).all()
        np.testing.assert_array_equal(values[:40], alone[name])
