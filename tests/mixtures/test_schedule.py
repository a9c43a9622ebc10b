"""Schedules: the field's ways to build one, plans, files."""

from pathlib import Path

import pytest

from assay.errors import BudgetError, InvalidParameterError
from assay.mixtures.mixture import Mixture
from assay.mixtures.schedule import Phase, Schedule
from tests.mixtures.test_mixture import printed

BASE = Mixture(weights={"web": 0.8, "books": 0.16, "math": 0.03, "code": 0.01})
SIZES = {"web": 10_000, "books": 3_000, "math": 60, "code": 500}


def test_upsampling_gives_the_sets_their_weights_and_the_rest_what_is_left() -> None:
    schedule = Schedule.upsampled(BASE, {"math": 0.3, "code": 0.2}, share=0.2, max_epochs=8)
    main, end = schedule.phases
    assert (main.name, main.share, main.mixture) == ("main", 0.8, BASE)
    assert (end.name, end.share) == ("upsampled", 0.2)
    assert end.mixture.weights == pytest.approx({"math": 0.3, "code": 0.2, "web": 0.5 * 0.8 / 0.96, "books": 0.5 / 6})
    assert [end.mixture.epochs_of(name) for name in ("math", "code", "web", "books")] == [8, 8, 4, 4]


def test_upsampling_to_the_brim_reads_the_sets_alone() -> None:
    end = Schedule.upsampled(BASE, {"math": 0.5, "wiki": 0.5}).phases[1]
    assert end.mixture == Mixture(weights={"math": 0.5, "wiki": 0.5})
    assert end.share == 0.15


def test_the_planner_follows_the_formulas_of_the_tail() -> None:
    # Tokens of a set in the tail are p * T * w, epochs those over its size, and limits count both phases.
    plan = Schedule.upsampled(BASE, {"math": 0.3, "code": 0.2}, share=0.2, max_epochs=8).plan(SIZES, 4_000)
    main, end = plan.phases
    assert main.tokens == pytest.approx({name: 3200 * weight for name, weight in BASE.weights.items()})
    assert end.wanted["math"] == pytest.approx(0.2 * 4000 * 0.3)
    assert end.tokens["math"] == pytest.approx(240)  # 96 + 240 are 5.6 epochs of 60
    assert plan.epochs("math") == pytest.approx([96 / 60, 336 / 60])
    tight = Schedule.upsampled(BASE, {"math": 0.3, "code": 0.2}, share=0.2, max_epochs=4).plan(SIZES, 4_000)
    assert tight.epochs("math")[1] == pytest.approx(4)
    assert tight.phases[1].tokens["math"] == pytest.approx(144)
    assert sum(tight.phases[1].tokens.values()) == pytest.approx(800)
    text = printed(tight.table())
    assert "Limits of epochs move to other sources: 12.0% of upsampled." in text
    assert ["math", "96", "0.0300", "1.60", "144", "0.1800", "4.00"] in [line.split() for line in text.split("\n")]


def test_replay_keeps_general_text_and_the_critical_ratio_is_of_the_domain() -> None:
    general = Mixture(weights={"web": 0.75, "books": 0.25})
    replay = Schedule.replay("law", general, 0.2).phases[0]
    assert replay.mixture.weights == pytest.approx({"law": 0.8, "web": 0.15, "books": 0.05})
    critical = Schedule.critical("law", "web", 0.298).phases[0]
    assert critical.mixture.weights == pytest.approx({"law": 0.298, "web": 0.702})


def test_a_phase_that_has_too_little_is_named() -> None:
    schedule = Schedule.cooldown(BASE, Mixture(weights={"math": 1.0}), 0.1)
    with pytest.raises(BudgetError, match="Phase 'cooldown': The budget is 400 tokens, but within `max_epochs` .* 132"):
        schedule.plan(SIZES, 4_000)


@pytest.mark.parametrize("name", ["s.yaml", "s.json"])
def test_a_schedule_comes_back_from_its_file(tmp_path: Path, name: str) -> None:
    schedule = Schedule.upsampled(BASE, {"math": 0.3}, max_epochs=8)
    schedule.save(tmp_path / name)
    assert Schedule.load(tmp_path / name) == schedule


def test_phases_may_name_files_of_mixtures(tmp_path: Path) -> None:
    (tmp_path / "mixtures").mkdir()
    BASE.save(tmp_path / "mixtures/base.yaml")
    text = "phases: [{name: main, share: 0.9, mixture: mixtures/base.yaml}, {name: end, share: 0.1, weights: {web: 1}}]"
    (tmp_path / "s.yaml").write_text(text)
    expected = (
        Phase(name="main", share=0.9, mixture=BASE),
        Phase(name="end", share=0.1, mixture=Mixture(weights={"web": 1.0})),
    )
    assert Schedule.load(tmp_path / "s.yaml").phases == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "phases: [{name: a, share: 0.5, weights: {x: 1}}]",
            r"s.yaml: `phases` \(=0.5\) must be given shares that",
        ),
        ("phases: [{name: a, share: 1, weight: {x: 1}}]", "has no 'weight'; .* Did you mean 'weights'"),
        ("phases: [{name: a, share: 1}]", r"`phases\[0\]` .* must be given either `weights` or `mixture`"),
        ("phases: [{share: 1, weights: {x: 1}}]", r"`phases\[0\].name` .* must be given"),
        ("phases: [{name: ../a, share: 1, weights: {x: 1}}]", r"`name` \(='../a'\) must be letters, digits"),
        (
            "phases: [{name: a, share: 1, weights: {x: 0.5}}]",
            r"phases\[0\]: `weights` .* must be numbers that sum",
        ),
        ("phases: [{name: a, share: 1, mixture: no.yaml}]", "There is no mixture .*no.yaml"),
        ("phases: {a: 1}", "must be a list of"),
        ("phases: []", "`phases` .* must be a list of phases, at least one"),
        ("steps: []", "has no 'steps'; it takes by, phases"),
        (
            "phases: [{name: a, share: .5, weights: {x: 1}}, {name: a, share: .5, weights: {x: 1}}]",
            r"`phases` \(='a'\) must be given a name each",
        ),
    ],
)
def test_a_bad_schedule_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InvalidParameterError, match=message):
        Schedule.load(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Schedule.upsampled(BASE, {"math": 0.7, "code": 0.5}),
            "`sets` .* weights that sum to at most 1",
        ),
        (lambda: Schedule.upsampled(Mixture(weights={"a": 1.0}), {"a": 0.5}), "`base` has no other source"),
        (lambda: Schedule.cooldown(BASE, BASE, 1.0), r"`share` \(=1.0\) must be a share above 0 and below 1"),
        (lambda: Schedule.replay("law", "web", 1.2), r"`ratio` \(=1.2\) must be a share from 0 to 1"),
        (lambda: Schedule.critical({"law": 1.0}, "web", 0.3), r"`domain, general` \(=.* must be a mixture or the name"),
        (
            lambda: Schedule.cooldown(BASE, Mixture(weights={"0": 1.0}, by="clusters.cluster")),
            "must be a mixture by 'source' as in the first phase",
        ),
    ],
)
def test_what_makes_no_schedule_is_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        make()
