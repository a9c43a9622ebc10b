"""Mixtures as files and plans: what is checked, what limits of epochs move, what comes back from disk."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from assay.errors import BudgetError, InvalidParameterError
from assay.mixtures.mixture import Mixture

WEIGHTS = {"web": 0.7, "books": 0.2, "law": 0.1}


def printed(table: object) -> str:
    out = StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": {}}, r"`weights` \(=\{\}\) must be numbers of which one is above 0"),
        ({"weights": [1]}, r"`weights` \(=\[1\]\) must be a mapping such as"),
        ({"weights": {"a": 0}}, "must be numbers of which one is above 0"),
        ({"weights": {"a": 1.1, "b": -0.1}}, r"`weights.b` \(=-0.1\) must be a number of at least 0"),
        ({"weights": {"a": float("nan")}}, r"`weights.a` \(=nan\) must be a number"),
        ({"weights": {"a": float("inf")}}, r"`weights.a` \(=inf\) must be a number"),
        ({"weights": {"a": 10**400}}, r"`weights.a` \(=1000.* must be a number"),
        ({"weights": {"a": 1e308, "b": 1e308}}, "`weights` .* must be numbers with a finite sum"),
        ({"weights": {"a": "half"}}, r"`weights.a` \(='half'\) must be a number"),
        ({"weights": {"a": 0.5, "b": 0.4}}, r"`weights` \(=0.9\) must be numbers that sum to 1. .*Mixture.scaled"),
        ({"weights": {False: 1.0}}, r"`weights` \(=False\) must be given by names that are text. Put the name"),
        ({"weights": {"a": 1.0}, "by": ""}, "`by` .* must be text"),
        ({"weights": {"a": 1.0}, "max_epochs": 0}, r"`max_epochs` \(=0\) must be a number above 0"),
        ({"weights": {"a": 1.0}, "max_epochs": {"a": -1}}, r"`max_epochs.a` \(=-1\) must be a number above 0"),
        ({"weights": {"wiki": 1.0}, "max_epochs": {"wkii": 2}}, "`max_epochs` .*'wiki'. Did you mean 'wiki'"),
    ],
)
def test_a_mixture_is_checked_when_built(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Mixture(**fields)


def test_weights_are_scaled_when_asked_and_within_a_millionth() -> None:
    assert Mixture.scaled({"a": 3, 2020: 1}).weights == {"a": 0.75, "2020": 0.25}
    close = Mixture(weights={"a": 0.3333333, "b": 0.3333333, "c": 0.3333333})
    assert sum(close.weights.values()) == pytest.approx(1, abs=1e-15)
    with pytest.raises(InvalidParameterError, match="sum to 1"):
        Mixture(weights={"a": 0.33333, "b": 0.33333, "c": 0.33333})


@pytest.mark.parametrize("temperature", [0.5, 1, 1.7, 5, float("inf")])
def test_temperature_is_the_root_of_the_size(temperature: float) -> None:
    sizes = {"en": 9e11, "de": 4e9, "sw": 1e7, "none": 0}
    powers = np.array([9e11, 4e9, 1e7, 0]) ** (1 / temperature) * [1, 1, 1, 0]
    found = Mixture.proportional(sizes, temperature)
    np.testing.assert_allclose(list(found.weights.values()), powers / powers.sum(), rtol=1e-9)


def test_extreme_temperatures_neither_overflow_nor_lose_a_source() -> None:
    cold = Mixture.proportional({"a": 2e15, "b": 1e15}, 1e-3)
    assert cold.weights == pytest.approx({"a": 1, "b": 0})
    assert Mixture.proportional({"a": 2e15, "b": 1}, float("inf")).weights == Mixture.uniform("ab").weights
    for bad in (0, -1, float("nan"), "hot", True):
        with pytest.raises(InvalidParameterError, match="`temperature` .* must be a number above 0"):
            Mixture.proportional({"a": 1}, bad)


def test_what_exceeds_the_limit_goes_to_the_others_in_proportion() -> None:
    mixture = Mixture(weights=WEIGHTS, max_epochs=2)
    plan = mixture.plan({"web": 1000, "books": 1000, "law": 20}, 1000)
    assert plan.tokens == pytest.approx({"law": 40, "web": 960 * 7 / 9, "books": 960 * 2 / 9})
    assert plan.moved == pytest.approx(0.06)
    assert [plan.epochs(name) for name in ("law", "books")] == pytest.approx([2, 960 * 2 / 9 / 1000])
    within = mixture.within({"web": 1000, "books": 1000, "law": 20}, 1000)
    assert within.weights == pytest.approx({name: tokens / 1000 for name, tokens in plan.tokens.items()})
    text = printed(plan.table())
    assert ["law", "0.1000", "20", "100", "40", "0.0400", "2.00"] in [line.split() for line in text.split("\n")]
    assert "Limits of epochs move 6.0% of the budget to other sources." in text


def test_nothing_moves_where_no_limit_is_met() -> None:
    plan = Mixture(weights=WEIGHTS).plan({"web": 1000, "books": 1000, "law": 25, "other": 9}, 1000)
    assert plan.tokens == plan.wanted == pytest.approx({"web": 700, "books": 200, "law": 100})
    assert plan.moved == 0
    assert "Limits" not in printed(plan.table())


def test_limits_count_what_was_read_before() -> None:
    sizes = {"web": 1000, "books": 1000, "law": 25}
    plan = Mixture(weights=WEIGHTS).plan(sizes, 1000, {"law": 40})
    assert plan.tokens["law"] == pytest.approx(60)  # four epochs are 100


def test_limits_can_be_given_for_some_sources() -> None:
    mixture = Mixture(weights=WEIGHTS, max_epochs={"law": 8})
    assert [mixture.epochs_of(name) for name in (*WEIGHTS, "other")] == [4, 4, 8, 0]


@pytest.mark.parametrize(
    ("mixture", "tokens", "error", "message"),
    [
        (
            Mixture(weights=WEIGHTS),
            10_000,
            BudgetError,
            "The budget is 10,000 .*, but within `max_epochs` .* 8,400",
        ),
        (
            Mixture(weights=WEIGHTS, max_epochs=None),
            2_000,
            BudgetError,
            "'law' is to give 200 tokens and has 100 left: that would be 2.00 epochs. Lower its weight or the budget",
        ),
        (
            Mixture(weights={"lwa": 1.0}),
            10,
            InvalidParameterError,
            "Source 'lwa' has a weight of 1 and no tokens; there are 'books', 'law', 'web'",
        ),
        (Mixture(weights=WEIGHTS), 0, InvalidParameterError, r"`tokens` \(=0\) must be a number above 0"),
    ],
)
def test_what_cannot_be_met_is_explained(mixture: Mixture, tokens: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mixture.plan({"web": 1500, "books": 500, "law": 100}, tokens)


def test_two_mixtures_blend() -> None:
    a = Mixture(weights={"web": 0.5, "books": 0.5}, max_epochs=1)
    b = Mixture(weights={"web": 0.2, "law": 0.8}, max_epochs={"law": 8})
    both = a.blended(b, 0.25)
    assert both.weights == pytest.approx({"web": 0.425, "books": 0.375, "law": 0.2})
    assert both.max_epochs == {"web": 4, "books": 1, "law": 8}
    with pytest.raises(InvalidParameterError, match="`by` .* must be the column of the other mixture, 'source'"):
        a.blended(Mixture(weights={"0": 1.0}, by="clusters.cluster"), 0.5)


@pytest.mark.parametrize("name", ["mixture.yaml", "mixture.json"])
@pytest.mark.parametrize("max_epochs", [4.0, None, {"web": 1.5}])
def test_a_mixture_comes_back_from_its_file(tmp_path: Path, name: str, max_epochs: object) -> None:
    mixture = Mixture(
        weights={"no": 0.1, "2020": 0.2, "1e3": 0.3, "web": 0.4}, by="clusters.cluster", max_epochs=max_epochs
    )
    mixture.save(tmp_path / name)
    assert Mixture.load(tmp_path / name) == mixture
    if name.endswith("json"):
        assert json.loads((tmp_path / name).read_text())["weights"] == mixture.weights


def test_weights_do_not_drift_from_file_to_file(tmp_path: Path) -> None:
    for seed in range(50):
        drawn = np.random.default_rng(seed).dirichlet(np.ones(17))
        mixture = Mixture.scaled({f"s{k}": weight for k, weight in enumerate(drawn)})
        mixture.save(tmp_path / "m.yaml")
        assert Mixture.load(tmp_path / "m.yaml") == Mixture(weights=mixture.weights) == mixture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weigths: {a: 1}", "has no 'weigths'; it takes by, weights, max_epochs. Did you mean 'weights'"),
        ("by: source", "weights` .* must be given, as in"),
        ("weights: {a: 0.5}", "mixture.yaml: `weights` .* must be numbers that sum to 1"),
        ("weights: {no: 1}", "must be given by names that are text. Put the name between quotes"),
        ("[1, 2]", "must be a mapping of keys to values"),
        ("weights: {a: 1, a: 1}", "is not YAML: 'a' stands twice"),
        (None, "There is no mixture .*mixture.yaml"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "mixture.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidParameterError, match=message):
        Mixture.load(path)


def test_a_file_is_scaled_when_asked(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("weights: {a: 3, b: 1}\nmax_epochs: 2\n")
    assert Mixture.load(tmp_path / "m.yaml", scale=True) == Mixture(weights={"a": 0.75, "b": 0.25}, max_epochs=2)


def test_the_table_has_the_largest_first() -> None:
    lines = printed(Mixture(weights={"small": 0.25, "large": 0.75}).table()).split("\n")
    assert [line.split() for line in lines if "." in line] == [["large", "0.7500", "4"], ["small", "0.2500", "4"]]
