"""Searches over mixtures of planted sources: the best one is known, and what is simulated is what training gives."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import assay
from assay.api.mixing import Lab, search_mixture
from assay.api.recipe import Recipe
from assay.api.recipe_parts import Mix
from assay.api.simulating import SOURCES, plan_sources, simulations
from assay.api.staging import Stage
from assay.artifacts.workspace import Workspace
from assay.cli import app
from assay.errors import BudgetError, InvalidParameterError
from assay.mixtures.mixture import Mixture
from assay.mixtures.runs import read_runs
from assay.models.ngram import Queries, score_once
from assay.proxy.stream import document_bits
from assay.selection.policies import Quota
from tests.conftest import make_prose, write_jsonl

BUDGET = 6_000
MIX = {"runs": 24, "tokens": f"{BUDGET} tokens"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target is half of one source's topic and half of another's; the third source is of no use."""
    folder = tmp_path_factory.mktemp("mixing")
    rows = [
        {"id": f"{topic}-{row['id']}", "text": row["text"], "source": name}
        for seed, (topic, name) in enumerate((("g", "general"), ("t", "topic"), ("x", "other")))
        for row in make_prose(160, seed=seed, topic=topic)
    ]
    write_jsonl(folder / "pool.jsonl", rows)
    write_jsonl(folder / "target.jsonl", make_prose(60, seed=9, topic="t") + make_prose(60, seed=8, topic="g"))
    return folder


def content(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "pool": {"read": str(folder / "pool.jsonl"), "id": "id"},
        "target": {"read": str(folder / "target.jsonl"), "holdout": 0.5},
        "budget": f"{BUDGET} tokens",
        "seeds": 3,
        "proxy": {"ngram": {"order": 3, "vocab_size": 500}},
        "mix": MIX,
    } | changes


@pytest.fixture(scope="module")
def space(folder: Path) -> Workspace:
    return Workspace(folder / "w")


@pytest.fixture(scope="module")
def stage(folder: Path, space: Workspace) -> Stage:
    plan, stage = plan_sources(Recipe.from_dict(content(folder)), "source", None, space)
    plan.run()
    return stage(space)


@pytest.fixture(scope="module")
def searched(folder: Path, space: Workspace) -> Any:
    return assay.mix.search(content(folder), workspace=space, out=folder / "out")


def test_a_simulated_run_is_a_run_on_what_select_takes(stage: Stage) -> None:
    """The same documents to one, and on these the same loss to the last digits."""
    simulation = Lab(stage=stage, mix=Mix(), num_tokens=BUDGET).simulation(1)
    shares = {"general": 0.5, "other": 0.2, "topic": 0.3}
    arms = stage.recipe.arms | {SOURCES: replace(stage.recipe.arms[SOURCES], select=Quota(by="source", shares=shares))}
    task = replace(stage, recipe=replace(stage.recipe, arms=arms)).task(SOURCES, 1)
    selection, corpus, tokens = task.selection(stage.bench), stage.bench.pool, stage.bench.tokens
    assert corpus.num_parts == 1
    chosen = np.flatnonzero(selection.repeats(0))
    ids, starts = tokens.ids(0)
    sizes = np.diff(starts)[chosen]
    names = np.array(corpus.table(0, ["source"])["source"].to_pylist())[chosen]
    amounts = np.array([[sizes[names == name].sum() for name in simulation.sources]])
    assert np.abs(amounts / BUDGET - list(shares.values())).max() < sizes.max() / BUDGET
    text = np.concatenate([ids[starts[k] : starts[k + 1]] for k in chosen])
    test = stage.bench.test
    queries = Queries.of(test.tokens, test.starts, vocab_size=stage.bench.vocab_size, order=3)
    trained = document_bits(score_once(queries, text, np.concatenate(([0], np.cumsum(sizes)))), test.starts)
    np.testing.assert_allclose(simulation.bits(amounts)[0], trained, rtol=1e-12)


def test_a_smaller_run_repeats_a_source_as_often_as_the_budget_would(stage: Stage) -> None:
    lab = Lab(stage=stage, mix=Mix(), num_tokens=BUDGET)
    whole, half = lab.simulation(0), replace(lab, num_tokens=BUDGET // 2).simulation(0)
    np.testing.assert_allclose(half.available, whole.available / 2)


def test_trained_runs_lose_what_simulated_ones_do(stage: Stage) -> None:
    """Other documents of the same sources, as a transformer's runs are made."""
    lab = Lab(stage=stage, mix=Mix(), num_tokens=BUDGET)
    weights = np.array([[0.5, 0.0, 0.5], [0.1, 0.8, 0.1], [1.0, 0.0, 0.0], [0.2, 0.2, 0.6]])
    trained, simulated = lab._trained(weights, 0)[:, 0], lab.losses(weights)[:, 0]
    np.testing.assert_allclose(trained, simulated, rtol=0.05)
    assert (np.argsort(trained) == np.argsort(simulated)).all()
    assert np.ptp(simulated) > 0.1


def test_the_planted_mixture_is_found_and_verified(folder: Path, searched: Any) -> None:
    weights = searched.mixtures["any"].weights
    assert weights["other"] < 0.1
    assert 0.3 < weights["topic"] < 0.7
    one = searched.verified[0]
    against = {rival["name"]: rival for rival in one["rivals"]}
    assert {"random", "uniform"} <= set(against)
    assert against["uniform"]["verdict"] == "better" and against["uniform"]["effect"]["estimate"] > 0
    found = searched.search.content["found"][0]
    assert found["fresh"]["uniform"] > min(found["fresh"]["foretold"], found["fresh"]["best_measured"])
    assert Mixture.load(folder / "out/mixture.yaml") == searched.mixtures["any"]
    runs = read_runs(folder / "out/runs.csv")
    assert len(runs) == 24 and runs.sources == ("general", "other", "topic") and runs.metrics == ("target",)
    assert "better than" in (folder / "out/mixture.html").read_text(encoding="utf-8")
    assert (folder / "out/comparison.json").exists()


def test_a_search_is_found_again_and_gives_the_same_bytes_elsewhere(
    folder: Path, space: Workspace, searched: Any, tmp_path: Path
) -> None:
    recipe = Recipe.from_dict(content(folder))
    again = search_mixture(recipe, workspace=space)
    assert again == searched.search
    other = search_mixture(recipe, workspace=Workspace(tmp_path))
    for name in ("search.json", "runs.csv"):
        assert (other.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_climb_goes_in_rounds_and_keeps_within_what_there_is(folder: Path, space: Workspace) -> None:
    mix = MIX | {"method": "climb", "max_epochs": 0.3, "target": ["any", "target"]}
    found = assay.mix.search(content(folder, mix=mix), workspace=space, verify=False)
    at_most = {one["name"]: one["at_most"] for one in found.search.content["sources"]}
    assert min(at_most.values()) < 1
    runs = read_runs(found.search.folder / "runs.csv")
    assert (runs.weights <= np.array([at_most[name] for name in runs.sources]) + 1e-6).all()
    assert len(runs) == 2 + 2 * 22 and set(found.mixtures) == {"any", "target"}
    assert found.mixtures["target"].weights["other"] < 0.2


def test_too_few_runs_are_refused_before_they_are_done(
    folder: Path, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "losses", lambda *_: pytest.fail("runs were done"))
    with pytest.raises(InvalidParameterError, match="lightgbm: it needs 45 mixtures of 3 sources, and has 21"):
        search_mixture(Recipe.from_dict(content(folder, mix=MIX | {"regressor": "lightgbm"})), workspace=space)


def test_climb_has_a_run_for_each_round_of_the_fewest(folder: Path, space: Workspace) -> None:
    found = assay.mix.search(content(folder, mix=MIX | {"method": "climb", "runs": 8}), workspace=space, verify=False)
    assert found.search.content["num_runs"] == 8


@pytest.mark.parametrize(
    ("mix", "error", "message"),
    [
        ({"target": "law"}, InvalidParameterError, r"`mix.target` \(='law'\) must be one of any, target"),
        ({"runs": 3}, InvalidParameterError, r"mix: `runs` \(=3\)"),
        ({"method": "guess"}, InvalidParameterError, "`method`"),
        ({"regressor": "oracle"}, InvalidParameterError, "`regressor`"),
        ({"by": "id"}, InvalidParameterError, "values of id"),
        ({"by": "colour"}, InvalidParameterError, "colour"),
        ({"where": "source = 'topic'"}, InvalidParameterError, r"`values of source` \(=1\) must be 2 to 200"),
        ({"max_epochs": 0.01}, BudgetError, "read 0.01 times give"),
        ({"tokens": "9k tokens"}, InvalidParameterError, "at most the budget"),
        ({"tokens": "9 documents"}, InvalidParameterError, "in tokens"),
        ({"tokens": 9000}, InvalidParameterError, r"mix: `tokens` \(=9000\) must be a number with a unit"),
    ],
)
def test_bad_searches_are_refused(
    folder: Path, space: Workspace, mix: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        assay.mix.search(content(folder, mix=MIX | mix), workspace=space, verify=False)


def test_names_of_arms_are_looked_at_before_the_work(folder: Path, tmp_path: Path) -> None:
    uniform, typo = {"arms": {"uniform": {"select": "uniform"}}}, {"write": {"arm": "mxi", "to": "chosen"}}
    for changes, message in (
        (uniform, "Arm 'uniform' is added by the search"),
        (typo, r"`write.arm` \(='mxi'\) must be one of best, random, uniform, mix, best measured"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            assay.mix.search(content(folder, **changes), workspace=tmp_path / "w")
    with pytest.raises(InvalidParameterError, match=r"`write.arm` \(='mix'\) must be one of best, random\."):
        assay.compare(content(folder, write={"arm": "mix", "to": "chosen"}), workspace=tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_the_commands_print_what_was_found(folder: Path, searched: Any) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(content(folder)), encoding="utf-8")
    shared = ["--workspace", str(folder / "w")]
    run = CliRunner().invoke(app, ["mix", "search", str(recipe), *shared])
    assert run.exit_code == 0, run.output
    assert "mixture.yaml" in run.output and "proportional" in run.output
    assert max(map(len, run.output.splitlines())) <= 80 or str(folder) in run.output
    run = CliRunner().invoke(app, ["mix", "ablate", str(recipe), *shared])
    assert run.exit_code == 0 and "other" in run.output and "harms" in run.output
    run = CliRunner().invoke(
        app, ["mix", "design", str(folder / "pool.jsonl"), "--runs", "9", "--to", str(folder / "d.csv"), *shared]
    )
    assert run.exit_code == 0, run.output
    assert len((folder / "d.csv").read_text(encoding="utf-8").splitlines()) == 10


def test_a_source_that_some_draw_has_nothing_of_is_left_out(folder: Path, tmp_path: Path) -> None:
    """Otherwise the columns of weights would be those of other sources there."""
    pool = [json.loads(line) for line in (folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()]
    rare = [row | {"id": f"{name}-{row['id']}", "source": name} for name in "abcdef" for row in pool[:1]]
    write_jsonl(tmp_path / "pool.jsonl", pool + rare)
    asked = content(folder, pool={"read": str(tmp_path / "pool.jsonl"), "id": "id"}, pool_sample=0.6)
    space = Workspace(tmp_path / "w")
    found = assay.mix.search(asked, workspace=space)
    sources = set(found.search.weights["any"])
    assert {"general", "other", "topic"} <= sources and not set("abcdef") <= sources
    assert all(set(one.sources) == sources for one in simulations(Recipe.from_dict(asked), seeds=3, workspace=space))


def test_a_run_shorter_than_any_document_is_refused(folder: Path, space: Workspace) -> None:
    with pytest.raises(InvalidParameterError, match=r"`tokens` \(='20 of a run'\) must be more than half a document"):
        assay.mix.search(content(folder, mix=MIX | {"tokens": "20 tokens"}), workspace=space, verify=False)


def test_arms_called_much_as_what_is_added_stand_beside_it(folder: Path, tmp_path: Path) -> None:
    """And what was found for another target does not; a target's name need not be that of a file."""
    targets = {name: {"read": str(folder / "target.jsonl"), "holdout": 0.5} for name in ("web/chat", "t")}
    arms = {"mix of mine": {"select": "uniform"}, "best measured of mine": {"select": "uniform"}}
    asked = content(folder, target=targets, arms=arms, mix=MIX | {"target": ["web/chat", "any"]}, seeds=2)
    found = assay.mix.search(asked, workspace=tmp_path / "w", out=tmp_path)
    for one, target in zip(found.verified, ("web/chat", "any"), strict=True):
        rivals = {rival["name"] for rival in one["rivals"]}
        assert rivals - {f"best measured {target}"} == {"random", "uniform", *arms}
        assert sum(rival["p_best"] for rival in one["rivals"]) + one["p_best"] == pytest.approx(1)
    page = (tmp_path / "mixture-web_chat.html").read_text(encoding="utf-8")
    assert "mix of mine" in page and "best measured of mine" in page
