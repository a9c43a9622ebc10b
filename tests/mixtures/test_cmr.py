"""Critical mixture ratios that were planted, and the ones that a published table has."""

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.cmr import critical_ratio

RATIOS = np.array([0.1, 0.25, 0.4, 0.55, 0.7, 0.85])
TOKENS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def losses(form: str = "power", sd: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(general loss [runs, points] of a law with CMR(T) = .2 + .1 T^.4, that CMR [points]): start 3, rise .05."""
    truth = 0.2 + 0.1 * TOKENS**0.4
    shape = (lambda r: r**1.7) if form == "power" else (lambda r: np.exp(2.5 * r))
    slope = 0.3 * TOKENS**-0.2
    rise = 0.05 + slope * (shape(RATIOS[:, None]) - shape(truth))
    return 3 + rise + sd * np.random.default_rng(seed).normal(size=rise.shape), truth


@pytest.mark.parametrize("form", ["power", "exponential"])
def test_planted_ratio_is_recovered_and_foretold_at_more_tokens(form: str) -> None:
    general, truth = losses(form)
    found = critical_ratio(RATIOS, TOKENS, general, start=3.0, form=form, resamples=20)
    np.testing.assert_allclose(found.ratio, truth, rtol=0.01)
    assert found.at(64.0).ratio == pytest.approx(0.2 + 0.1 * 64**0.4, rel=0.01)
    assert found.inside.all() and found.advice == () and found.error == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(found.rise(RATIOS), general - 3, atol=1e-5)


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held, widths = [], []
    for seed in range(24):
        general, truth = losses(sd=0.003, seed=seed)
        found = critical_ratio(RATIOS, TOKENS[:3], general[:, :3], start=3.0, resamples=60, seed=seed)
        held += list((found.low <= truth[:3]) & (truth[:3] <= found.high))
        widths += list(found.high - found.low)
    assert np.mean(held) > 0.85
    assert 0.005 < np.mean(widths) < 0.06


def test_no_ratio_or_any_ratio() -> None:
    general, _ = losses()
    assert (critical_ratio(RATIOS, TOKENS, general + 1, start=3.0, resamples=0).ratio == 0).all()
    free = critical_ratio(RATIOS, TOKENS, general - 1, start=3.0, resamples=0)
    assert (free.ratio == 1).all() and not free.inside.any()
    assert "outside the ratios that were run (0.1 to 0.85)" in free.advice[0]


def test_three_ratios_have_no_interval() -> None:
    general, truth = losses()
    found = critical_ratio(RATIOS[::2], TOKENS, general[::2], start=3.0)
    np.testing.assert_allclose(found.ratio, truth, rtol=0.01)
    assert np.isnan(found.low).all() and found.error is None and "fourth" in found.advice[0]


def test_a_bad_run_is_spoken_of() -> None:
    general, _ = losses()
    general[3] -= 0.2
    assert "falls with the ratio between" in critical_ratio(RATIOS, TOKENS, general, start=3.0).advice[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": 1 - RATIOS}, "does not rise .* shares of the new text, and not of the old"),
        ({"ratios": RATIOS * 2}, "shares from 0 to 1"),
        ({"ratios": RATIOS[:2], "general": losses()[0][:2]}, "3 different"),
        ({"general": losses()[0].T}, "6 runs x 5"),
        ({"general": np.where(RATIOS[:, None] == 0.4, np.nan, losses()[0])}, "ratio 0.4 has a general loss"),
        ({"tokens": TOKENS - 1}, "`tokens`"),
        ({"form": "cubic"}, "power, exponential"),
        ({"max_rise": -1.0}, "`max_rise`"),
        ({"start": float("nan")}, "`start`"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    parameters = {"ratios": RATIOS, "tokens": TOKENS, "general": losses()[0], "start": 3.0} | change
    with pytest.raises(InvalidParameterError, match=message):
        critical_ratio(**parameters)


def test_foretelling_takes_three_numbers_of_tokens() -> None:
    general, _ = losses()
    with pytest.raises(InvalidParameterError, match="3 at least"):
        critical_ratio(RATIOS, TOKENS[:2], general[:, :2], start=3.0, resamples=0).at(100.0)


def test_published_table_gives_the_published_ratio(shared: Path) -> None:
    """Pile and Python, 70M: .28622 of Pile keeps the loss on the Pile, says "Data Mixing Laws"; four ratios were run.

    A fifth run, at .28515625 of Pile, was held out by the authors: loss 2.87207, foretold 2.87288.
    """
    folder = shared / "papers" / "mixing_laws"
    share = json.loads((folder / "pile_validation_weights.json").read_text())
    pile: dict[tuple[float | None, int], dict[str, float]] = {}
    for r in pyarrow.csv.read_csv(folder / "continual_2domains.csv").to_pylist():
        if r["valid_domain"] in share:
            pile.setdefault((r["p1"], r["step"]), {})[r["valid_domain"]] = r["loss"]
    loss = {run: sum(share[d] * losses[d] for d in losses) for run, losses in pile.items()}
    old = np.array([0.125, 0.25, 0.375, 0.5])
    steps = np.array([9000.0, 10_000.0])
    general = np.array([[loss[p, int(step)] for step in steps] for p in old])
    start = loss[None, 20_000]
    for k in range(2):
        alone = critical_ratio(
            1 - old, steps[k:][:1], general[:, k:][:, :1], start=start, max_rise=0.0, form="exponential", resamples=60
        )
        assert 1 - alone.ratio[0] == pytest.approx(0.2831, abs=1e-4)
        assert 1 - alone.high[0] < 0.28622 < 1 - alone.low[0]
    fifth = next(p for p, step in loss if p is not None and abs(p - 0.28515625) < 1e-3)
    assert loss[fifth, 10_000] == pytest.approx(2.87207, abs=1e-5)
    assert start + alone.rise(np.array([1 - fifth]))[0, 0] == pytest.approx(2.87288, abs=1e-5)
    found = critical_ratio(1 - old, steps, general, start=start, max_rise=0.0, form="exponential", resamples=0)
    np.testing.assert_allclose(1 - found.ratio, [0.2831, 0.2831], atol=5e-4)
    power = critical_ratio(1 - old, steps, general, start=start, max_rise=0.0, resamples=0)
    np.testing.assert_allclose(1 - power.ratio, [0.2831, 0.2831], atol=0.012)
