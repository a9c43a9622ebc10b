"""Critical shares of new text: a planted one, and one that n-gram models show."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from assay.api.continuing import critical_ratio_of, critical_share
from assay.errors import InvalidParameterError
from assay.mixtures.runs import Runs
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


def table(rows: list[tuple[float, float]]) -> Runs:
    """Runs of (share of law, tokens) in this order; general loss is at its start, 3, with .3 of law."""
    share, tokens = np.array(rows).T
    general = 3 + 0.4 * tokens**-0.1 * (share**1.5 - 0.3**1.5)
    return Runs(
        sources=("web", "law", "courts"),
        weights=np.stack([1 - share, 0.75 * share, 0.25 * share], axis=1),
        metrics=("general", "law"),
        losses=np.stack([general, 5 - share], axis=1),
        names=tuple(f"run{k}" for k in range(len(rows))),
        tokens=tokens,
    )


def test_critical_ratio_of_a_table_in_any_order() -> None:
    rows = [(r, t) for r in (0.1, 0.2, 0.4, 0.6, 0.8) for t in TOKENS]
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    found = critical_ratio_of(table(shuffled), ["law", "courts"], start=3.0, metric="general", max_rise=0.0)
    np.testing.assert_allclose(found.ratio, 0.3, atol=1e-3)
    assert found.tokens.tolist() == list(TOKENS)


def test_a_table_with_holes_is_refused() -> None:
    rows = [(r, t) for r in (0.1, 0.2, 0.4, 0.6) for t in TOKENS]
    for wrong, number in ((rows[:-1], 0), ([*rows, rows[-1]], 2)):
        with pytest.raises(InvalidParameterError, match=f"are {number} runs with a share of 0.6 .* after 2000 tokens"):
            critical_ratio_of(table(wrong), ["law", "courts"], start=3.0)
    with pytest.raises(InvalidParameterError, match="column `tokens`"):
        critical_ratio_of(replace(table(rows), tokens=None), ["law"], start=3.0)
    with pytest.raises(InvalidParameterError, match="`new`"):
        critical_ratio_of(table(rows), ["news"], start=3.0)
