"""What sources are worth: planted worths, intervals that cover them, and sources that stand in for each other."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from assay.api.ablating import ablate, ablation_of_runs, response_curve
from assay.api.simulated import Simulated
from assay.errors import InvalidParameterError
from assay.mixtures.ablation import without_each
from assay.mixtures.runs import Runs

GAINS = np.array([0.4, 0.1, 0.0, -0.2])  # bits per byte that a source saves, in proportion to its share


@dataclass
class Planted:
    """Losses that fall by known amounts with shares, with noise of documents, seeds and both."""

    seed: int
    noise: float = 0.02
    sources: tuple[str, ...] = ("good", "some", "none", "bad")
    metrics: tuple[str, ...] = ("one", "two", "source:good")
    available: np.ndarray = field(default_factory=lambda: np.array([1e3, 4e3, 4e3, 1e3]))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.groups = np.arange(90) % 3
        self.sizes = rng.integers(200, 2000, 90).astype(float)
        self.level = rng.normal(2, 0.5, 90)
        self.touch = rng.normal(1, 0.3, 90)  # how much a document has of a source's gain

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        saved = tokens / tokens.sum(axis=1, keepdims=True) @ GAINS
        noise = self.noise * (rng.normal(size=(len(tokens), 1)) + rng.normal(size=(len(tokens), 90)))
        return np.asarray(self.sizes * (self.level - np.outer(saved, self.touch) + noise))


def seeds(number: int, **given: float) -> list[Simulated]:
    return [Planted(k, **given) for k in range(number)]  # type: ignore[arg-type]


def truth(weights: np.ndarray, simulation: Planted) -> np.ndarray:
    """Worth of each source [sources], mean over the two targets."""
    saved = np.concatenate(([weights @ GAINS], without_each(weights)[1] @ GAINS))
    inside = [simulation.groups == g for g in (0, 1)]
    scale = np.mean([simulation.touch[i] @ simulation.sizes[i] / simulation.sizes[i].sum() for i in inside])
    return np.asarray((saved[0] - saved[1:]) * scale)


def test_planted_worths_are_found_exactly_without_noise() -> None:
    found = ablate(seeds(2, noise=0.0), tokens=1000, weights=np.full(4, 0.25))
    worth = [interval.estimate for interval in found.worth.values()]
    np.testing.assert_allclose(worth, truth(np.full(4, 0.25), Planted(0)), atol=1e-12)
    assert list(found.worth) == ["good", "some", "none", "bad"]


def test_intervals_cover_the_planted_worth_and_verdicts_are_right() -> None:
    weights, covered, helps = np.full(4, 0.25), [], []
    expected = truth(weights, Planted(0))
    for trial in range(20):
        found = ablate([Planted(100 * trial + k) for k in range(5)], tokens=1000, weights=weights)
        intervals = found.worth.values()
        covered += [i.low <= true <= i.high for i, true in zip(intervals, expected, strict=True)]
        helps.append(found.verdicts())
    assert np.mean(covered) >= 0.9
    assert sum(said["good"] == "helps" for said in helps) >= 18
    assert sum(said["bad"] == "harms" for said in helps) >= 18


def test_a_source_with_a_twin_is_worth_nothing_and_both_together_are() -> None:
    class Twins(Planted):
        def bits(self, tokens: np.ndarray) -> np.ndarray:
            either = tokens[:, 0] + tokens[:, 1] > 0
            return np.asarray(self.sizes * (self.level - 0.3 * either[:, None]))

    found = ablate([Twins(0), Twins(1)], tokens=1000)
    assert {name: i.estimate for name, i in found.worth.items()} == pytest.approx(dict.fromkeys(found.worth, 0.0))
    alone = ablate([Twins(0), Twins(1)], tokens=1000, weights=np.array([0.5, 0.0, 0.5, 0.0]))
    assert alone.worth["good"].estimate == pytest.approx(0.3)


def test_a_curve_goes_by_the_share_and_says_what_is_repeated() -> None:
    found = response_curve(seeds(3, noise=0.0), "good", tokens=2000, shares=[0.0, 0.25, 0.5, 1.0])
    saved = [interval.estimate for interval in found.saved]
    np.testing.assert_allclose(saved, saved[3] * found.shares, atol=1e-12)
    assert saved[3] > 0.3
    np.testing.assert_allclose(found.epochs, [1, 1, 1, 2])  # 2,000 tokens of 1,000
    assert "1.000" in str(found) and "read 2.0 times" in str(found)


def test_metrics_say_what_counts_and_the_own_text_of_sources_does_not() -> None:
    class OnlyOwn(Planted):
        def bits(self, tokens: np.ndarray) -> np.ndarray:
            return np.where(self.groups == 2, super().bits(tokens), self.sizes)

    given = [OnlyOwn(0, noise=0), OnlyOwn(1, noise=0)]
    assert ablate(given, tokens=100).worth["good"].estimate == 0
    assert ablate(given, tokens=100, metrics=["source:good"]).worth["good"].estimate > 0
    with pytest.raises(InvalidParameterError, match="`metrics`.*one of one, two"):
        ablate(given, tokens=100, metrics=["three"])


def test_repeated_runs_of_a_table_give_students_interval() -> None:
    whole = np.array([0.5, 0.5])
    weights = np.array([whole, whole, whole, [0, 1], [0, 1], [1, 0]])
    losses = np.array([2.0, 2.1, 1.9, 2.5, 2.7, 2.0])[:, None]
    runs = Runs(sources=("a", "b"), weights=weights, metrics=("m",), losses=losses, names=tuple("uvwxyz"))
    found = ablation_of_runs(runs, whole)
    # Welch by hand: standard error sqrt(.01 / 3 + .02 / 2), degrees (1/75)^2 / ((1/300)^2 / 2 + (1/100)^2) = 1.68
    a = found.worth["a"]
    assert a.estimate == pytest.approx(0.6)
    assert a.high - a.estimate == pytest.approx(12.7062 * np.sqrt(0.01 / 3 + 0.02 / 2), rel=1e-4)
    assert found.worth["b"].low == -np.inf and found.verdicts()["b"] == "no difference shown"


def test_runs_without_a_tiny_source_are_not_those_of_the_whole() -> None:
    """Their mixtures differ by less than what is taken for the same elsewhere."""
    whole = np.array([5996, 4000, 4.0])  # need not sum to 1
    weights = np.array([whole, whole, [5996, 4000, 0], [5996, 4000, 0]])
    losses = np.array([2.0, 2.01, 2.5, 2.52])[:, None]
    runs = Runs(
        sources=("a", "b", "c"),
        weights=weights / weights.sum(axis=1, keepdims=True),
        metrics=("m",),
        losses=losses,
        names=tuple("uvwx"),
    )
    assert ablation_of_runs(runs, whole).worth["c"].estimate == pytest.approx(0.505)


def test_weights_may_be_a_list() -> None:
    found = ablate(seeds(2), tokens=10, weights=[1, 1, 1, 1])  # type: ignore[arg-type]
    assert found == ablate(seeds(2), tokens=10, weights=np.ones(4))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="`simulations` .=1. must be two or more"):
        ablate(seeds(1), tokens=10)
    with pytest.raises(InvalidParameterError, match="`tokens`"):
        ablate(seeds(2), tokens=0)
    with pytest.raises(InvalidParameterError, match="`weights`"):
        ablate(seeds(2), tokens=10, weights=np.ones(3))
    other = Planted(1)
    other.sizes = other.sizes + 1
    with pytest.raises(InvalidParameterError, match="share sources and held-out documents"):
        ablate([Planted(0), other], tokens=10)
    broken = Planted(1, noise=float("nan"))
    with pytest.raises(InvalidParameterError, match=r"The model of good 0\.100, some 0\.400.* lost no number"):
        ablate([Planted(0), broken], tokens=10)
    with pytest.raises(InvalidParameterError, match="`source` .=.*one of good, some"):
        response_curve(seeds(2), "god", tokens=10)
