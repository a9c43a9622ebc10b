"""Critical shares of new text: a planted one, and one that n-gram models show."""

from dataclasses import dataclass

import numpy as np
import pytest

from assay.api.continuing import critical_share
from assay.errors import InvalidParameterError
from tests.api.test_online import LENGTH, Retrained

TOKENS = (500.0, 1000.0, 2000.0)


@dataclass(frozen=True)
class Planted:
    """General loss rises with the power 1.5 of the share of "law" in what is read after 1,000 tokens."""

    sources = ("web", "books", "law")
    available = np.array([3000.0, 1000.0, 500.0])
    metrics = ("target", "source:web", "source:books", "source:law")
    groups = np.array([0, 1, 1, 2, 3])
    sizes = np.array([10.0, 10.0, 30.0, 20.0, 10.0])

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        general, law = tokens[:, :2].sum(axis=1), tokens[:, 2]
        np.testing.assert_allclose(tokens[:, 0], 3 * tokens[:, 1])
        share = law / np.maximum(general + law - 1000, 1)
        rise = np.where(law > 0, 0.4 * (share**1.5 - 0.3**1.5), 0.0)
        return (2 + rise[:, None] + np.array([9, 0.3, 0.3, 0, 9])) * self.sizes


def test_planted_share_is_found_at_all_numbers_of_tokens() -> None:
    found = critical_share(Planted(), ["law"], before=1000, tokens=TOKENS, max_rise=0.0)
    np.testing.assert_allclose(found.ratio, 0.3, atol=1e-3)
    assert found.inside.all() and found.at(9000).ratio == pytest.approx(0.3, abs=2e-3)
    more = critical_share(Planted(), ["law"], before=1000, tokens=TOKENS[:1], max_rise=0.05, metrics=["source:web"])
    assert more.ratio[0] == pytest.approx((0.3**1.5 + 0.05 / 0.4) ** (1 / 1.5), abs=1e-3)


def test_n_gram_models_lose_what_noise_takes() -> None:
    found = critical_share(Retrained(), ["noise"], before=200 * LENGTH, tokens=[100 * LENGTH, 200 * LENGTH])
    assert ((found.ratio > 0) & (found.ratio < 1)).all()
    rises = found.rise(np.array([0.1, 1.0]))
    assert (rises[0] < 0).all() and (rises[1] > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": ["laws"]}, "`new` .*web, books, law.*Did you mean 'law'"),
        ({"new": []}, "some of the sources"),
        ({"new": ["web", "books", "law"]}, "some of the sources"),
        ({"before": 0}, "`before`"),
        ({"metrics": ["source:news"]}, "`metrics`"),
        ({"tokens": []}, "`tokens`"),
        ({"ratios": [0.5, 1.0]}, "`ratios`"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    parameters = {"new": ["law"], "before": 1000, "tokens": TOKENS} | change
    with pytest.raises(InvalidParameterError, match=message):
        critical_share(Planted(), **parameters)
    with pytest.raises(InvalidParameterError, match="no held-out text of a general source"):
        critical_share(Retrained(with_own=False), ["noise"], before=1000, tokens=[1000])
