"""Recipes: every form that is documented, and every mistake answered."""

from pathlib import Path
from typing import Any

import pytest

import assay
from assay.api.recipe import Arm, Recipe
from assay.api.recipe_parts import OverlapGuard, Write
from assay.errors import InvalidParameterError
from assay.scorers import DSIR, Length
from assay.selection.budget import Budget
from assay.selection.policies import Quota, Sample, Threshold, Top, Uniform

BASE: dict[str, Any] = {"pool": "pool.jsonl", "target": "target.jsonl", "budget": "2M tokens", "arms": {}}


def recipe(**changes: Any) -> Recipe:
    return Recipe.from_dict(BASE | changes)


def arm(content: Any) -> Arm:
    return recipe(arms={"a": content}).arms["a"]


def test_the_recipe_of_the_documentation_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        """
        pool:   {read: "pool/*.jsonl.zst", id: id, text: text}
        target: {read: "target.jsonl", text: text, holdout: 0.3}
        budget: 2M tokens
        seeds:  5
        arms:
          random: {}
          dsir:     {score: {dsir: {num_buckets: 10000}}, select: {sample: {}}}
          dsir-top: {score: dsir, select: {top: {}}, where: "length.words >= 50"}
          longest:  {score: length.bytes, select: {top: {}}}
        proxy:  {ngram: {order: 4}}
        write:  {arm: best, to: chosen/, format: parquet}
        """
    )
    found = Recipe.load(tmp_path / "recipe.yaml")
    assert found.pool.read == str(tmp_path / "pool/*.jsonl.zst") and found.pool.id == "id"
    assert found.targets["target"].read == str(tmp_path / "target.jsonl") and found.targets["target"].holdout == 0.3
    assert found.budget == Budget(2_000_000, "tokens") and found.seeds == 5
    assert list(found.arms) == ["random", "dsir", "dsir-top", "longest"]
    assert found.arms["random"] == Arm()
    assert found.arms["dsir"] == Arm(scorer=DSIR(), by="dsir.log_weight", select=Sample())
    assert found.arms["dsir-top"].scorers() == [DSIR(), Length()]
    assert found.arms["longest"] == Arm(by="length.bytes", select=Top())
    assert found.arms["longest"].scorers() == [Length()]
    assert found.proxy == assay.NGram(order=4)
    assert found.write == Write(arm="best", to=str(tmp_path / "chosen"), format="parquet")


def test_the_recipe_that_init_writes_is_read(tmp_path: Path) -> None:
    from importlib.resources import files

    text = files("assay").joinpath("init.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(text)
    found = Recipe.load(tmp_path / "recipe.yaml")
    assert list(found.arms) == ["random", "dsir", "dsir-top", "longest"]
    assert found.overlap == OverlapGuard()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, Arm()),
        (None, Arm()),
        ({"where": "source = 'x'"}, Arm(where="source = 'x'")),
        ({"score": "dsir"}, Arm(scorer=DSIR(), by="dsir.log_weight", select=Top())),
        (
            {"score": {"dsir": {"smoothing": 0.5}, "by": "dsir.per_ngram"}},
            Arm(scorer=DSIR(smoothing=0.5), by="dsir.per_ngram", select=Top()),
        ),
        ({"score": {"dsir": None}}, Arm(scorer=DSIR(), by="dsir.log_weight", select=Top())),
        ({"score": "-quality / 2"}, Arm(by="-quality / 2", select=Top())),
        ({"score": "q", "select": "sample"}, Arm(by="q", select=Sample())),
        ({"score": "q", "select": {"sample": {"temperature": 2}}}, Arm(by="q", select=Sample(temperature=2))),
        ({"score": "q", "select": {"threshold": {"min": 1}}}, Arm(by="q", select=Threshold(min=1))),
        ({"select": {"quota": {"by": "lang", "shares": "equal"}}}, Arm(select=Quota(by="lang", shares="equal"))),
        (
            {"score": "q", "select": {"quota": {"shares": {"a": 1, "b": 2}, "within": {"top": {}}}}},
            Arm(by="q", select=Quota(shares={"a": 1, "b": 2}, within=Top())),
        ),
        ({"select": {"uniform": {}}, "max_repeats": 3}, Arm(select=Uniform(), max_repeats=3)),
        (Arm(by="q", select=Top()), Arm(by="q", select=Top())),
    ],
)
def test_arms_in_every_form(content: Any, expected: Arm) -> None:
    assert arm(content) == expected


def test_scorers_are_found_behind_columns() -> None:
    found = arm({"score": {"dsir": {"smoothing": 0.1}, "by": "dsir.per_ngram + 0.1 * length.words"}, "where": "q > 1"})
    assert found.scorers() == [DSIR(smoothing=0.1), Length()]


def test_a_bare_name_means_the_scorer_with_its_parameters() -> None:
    scorers = {"distil": {"of": {"classifier": {"positives": "good.jsonl"}}}}
    notes = {"classifier": {"labels": "notes.jsonl", "kind": "ordinal"}}
    content = BASE | {"arms": {"a": {"score": "distil"}, "b": {"score": "classifier"}}, "scorers": scorers | notes}
    arms = Recipe.from_dict(content, Path("here")).arms
    assert arms["a"].by == "distil.score" and arms["a"].scorer.of.positives == "here/good.jsonl"
    assert arms["b"].by == "classifier.score" and arms["b"].scorer.labels == "here/notes.jsonl"
    with pytest.raises(InvalidParameterError, match="arms.a.score.distil: `of` .=None. must be a scorer"):
        arm({"score": "distil"})


def test_random_is_always_there_and_first() -> None:
    assert list(recipe(arms={"b": {"where": "true"}}).arms) == ["random", "b"]
    assert list(recipe(arms={"b": {}, "random": {}}).arms) == ["random", "b"]


def test_targets_in_every_form(tmp_path: Path) -> None:
    named = recipe(target={"law": {"read": "l.jsonl", "holdout": 0.5}, "medicine": "m.jsonl"})
    assert {name: (t.read, t.holdout) for name, t in named.targets.items()} == {
        "law": ("l.jsonl", 0.5),
        "medicine": ("m.jsonl", 0.3),
    }
    placed = Recipe.from_dict(
        BASE | {"pool": {"read": ["a.jsonl", "/b.jsonl"]}, "target": {"read": "t.jsonl", "holdout": "h.jsonl"}},
        tmp_path,
    )
    assert placed.pool.read == [str(tmp_path / "a.jsonl"), "/b.jsonl"]
    assert placed.targets["target"].holdout == str(tmp_path / "h.jsonl")
    assert recipe(target=["a.jsonl", "b.jsonl"]).targets["target"].read == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, "`recipe` has no 'seed'; it takes .*seeds.* Did you mean 'seeds'"),
        ({"seeds": 1}, r"`seeds` \(=1\) must be an integer from 2 to 1000"),
        ({"seeds": "five"}, r"`seeds` \(='five'\) must be an integer from 2"),
        ({"target": {"read": "x", "holdout": float("nan")}}, r"`holdout` \(=nan\) must be a share above 0 and below 1"),
        ({"pool": {"read": "x", "max_failed_share": "abc"}}, r"`max_failed_share` \(='abc'\) must be a share"),
        ({"target": {"any": {"read": "x"}}}, r"`target` \(='any'\) must be another name"),
        ({"pool_sample": 0}, r"`pool_sample` \(=0\) must be a share above 0"),
        ({"budget": "2 GB"}, "`budget` .* must be in tokens. Arms are compared token for token"),
        ({"budget": "10%"}, "`budget` .* must be in tokens"),
        ({"budget": 5}, r"`budget` \(=5\) must be a number with a unit"),
        ({"pool": {"reed": "x"}}, "`pool` has no 'reed'; .* Did you mean 'read'"),
        ({"pool": {"text": "x"}}, r"`pool.read` \(=None\) must be given"),
        ({"pool": {"read": 5}}, r"`pool.read` \(=5\) must be a path or list of paths"),
        ({"pool": 5}, r"`pool` \(=5\) must be a mapping"),
        ({"target": {"law": {"holdout": 0.3}}}, r"`target.law.read` \(=None\) must be given"),
        ({"arms": ["dsir"]}, "`arms` .* must be a mapping"),
        (
            {"arms": {"random": {"where": "true"}}},
            "Arm 'random' is the yardstick and takes no settings but max_repeats",
        ),
        ({"arms": {"a": {"scores": "dsir"}}}, "`arms.a` has no 'scores'; .* Did you mean 'score'"),
        ({"arms": {"a": {"score": {"dsri": {}}}}}, r"`arms.a.score` \(='dsri'\) must be one of .*dsir, .*overlap"),
        ({"arms": {"a": {"score": {"dsir": {"buckets": 5}}}}}, "`arms.a.score.dsir` has no 'buckets'"),
        (
            {"arms": {"a": {"score": {"dsir": {"num_buckets": 0}}}}},
            r"arms.a.score.dsir: `num_buckets` \(=0\) must be an integer from 2",
        ),
        ({"arms": {"a": {"score": {"dsir": {}, "length": {}}}}}, "`arms.a.score` .* must be one of"),
        (
            {"arms": {"a": {"score": "dsir", "select": "best"}}},
            r"`arms.a.select` \(='best'\) must be one of uniform, top",
        ),
        ({"arms": {"a": {"select": {"top": {}}}}}, "`arms.a` selects by 'top', which goes by a score. Add `score:`"),
        ({"arms": {"a": {"where": "length.words >="}}}, "an operand is missing"),
        ({"arms": {"a": {"where": "language.cod = 'en'"}}}, "arms.a: 'language' gives no column .* 'language.code'"),
        ({"arms": {"a": {"select": {"unique": {"by": "dsir"}}}}}, "arms.a: 'dsir' gives no column 'dsir.cluster'"),
        ({"pool": {"read": "x", "refine": {"c4": {"x": 1}}}}, "`pool.refine.c4` has no 'x'; it takes no parameters"),
        ({"arms": {"a": {"where": True}}}, r"`arms.a.where` \(=True\) must be text. Put it between quotes"),
        ({"arms": {"a": {"where": 5}}}, r"`arms.a.where` \(=5\) must be text"),
        ({"arms": {"a": {"where": "source = 'web"}}}, "a quote or a comment is not closed"),
        ({"arms": {"a": {"score": {"dsir": {}, "by": 5}}}}, r"`arms.a.score.by` \(=5\) must be text"),
        ({"arms": {"a": {"score": 5}}}, r"`arms.a.score` \(=5\) must be a mapping"),
        ({"arms": {"a": {"select": {"quota": {"shares": 1}}}}}, r"arms.a.select.quota: `shares` \(=1\) must be prop"),
        ({"arms": {"a": {"select": {"quota": {"shares": {False: 1}}}}}}, "Put the name between quotes"),
        ({"arms": {"best": {"score": "q"}}}, "No arm can be called 'best'"),
        ({"pool": {"read": "x", "text": 5}}, r"pool: `text` \(=5\) must be text"),
        ({"target": {"read": "x", "format": 5}}, r"target.target: `format` \(=5\) must be text"),
        ({"target": {"a": "x", "a.heldout": "y"}}, r"`target` \(='a.heldout'\) must be a name that is not another's"),
        ({"write": {"to": 5}}, r"write: `to` \(=5\) must be text"),
        ({"arms": {"a": {"max_repeats": 0}}}, r"`arms.a.max_repeats` \(=0\) must be an integer ≥ 1"),
        ({"proxy": {"lstm": {}}}, r"`proxy` \(='lstm'\) must be one of ngram"),
        ({"proxy": {"ngram": {"order": 0}}}, r"proxy.ngram: `order` \(=0\) must be an integer ≥ 1"),
        ({"proxy": {"ngram": {"order": 6}}}, r"proxy.ngram: `order` \(=6\) must be at most 5. A vocabulary of 8,192"),
        ({"proxy": {"ngram": {"order": True}}}, r"proxy.ngram: `order` \(=True\) must be an integer ≥ 1"),
        ({"overlap": {"words": 0}}, r"overlap: `words` \(=0\)"),
        ({"overlap": {"max_share": 2}}, r"overlap: `max_share` \(=2\) must be a share"),
        ({"write": {"arm": "best"}}, r"`write.to` \(=None\) must be given"),
        ({"write": {"to": "x", "arm": "dsir"}}, r"`write.arm` \(='dsir'\) must be one of best, random"),
        ({"write": {"to": "x", "format": "csv"}}, r"write: `format` \(='csv'\) must be one of parquet, jsonl"),
    ],
)
def test_mistakes_are_named_with_the_way_out(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        recipe(**changes)


@pytest.mark.parametrize("missing", ["pool", "target", "budget", "arms"])
def test_what_a_recipe_must_have(missing: str) -> None:
    with pytest.raises(
        InvalidParameterError, match=rf"`{missing}` \(=None\) must be given. `assay init` writes a recipe"
    ):
        Recipe.from_dict({key: value for key, value in BASE.items() if key != missing})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pool: [", "recipe.yaml is not YAML: "),
        ("- just\n- a list", r"`recipe` .* must be a mapping"),
        ("", r"`recipe` \(=None\) must be a mapping"),
        ("arms: {z: {}, z: {score: n}}", "recipe.yaml is not YAML: .*'z' stands twice"),
        ("seeds: 3\nseeds: 4", "'seeds' stands twice"),
        ("arms: {1: {}, '1': {}}", "'1' stands twice"),
        ("!!python/object/apply:os.system [ls]", "recipe.yaml is not YAML: could not determine a constructor"),
    ],
)
def test_what_is_not_a_recipe_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(InvalidParameterError, match=message):
        Recipe.load(tmp_path / "recipe.yaml")
    with pytest.raises(InvalidParameterError, match="There is no recipe .*nowhere.yaml. `assay init` writes one"):
        Recipe.load(tmp_path / "nowhere.yaml")


def test_settings_can_be_changed_by_dotted_keys(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "{pool: p.jsonl, target: t.jsonl, budget: 1k tokens, arms: {a: {score: dsir}, b: {}}, write: {to: out}}"
    )
    changes = {
        "budget": "5M tokens",
        "seeds": "9",
        "arms.a.score.dsir.num_buckets": "20000",
        "arms.b.where": "source = 'x'",
        "arms.c.score": "length.words",
        "write": "null",
    }
    found = Recipe.load(tmp_path / "r.yaml", changes)
    assert found.budget.amount == 5_000_000 and found.seeds == 9 and found.write is None
    assert found.arms["a"] == Arm(scorer=DSIR(num_buckets=20_000), by="dsir.log_weight", select=Top())
    assert found.arms["b"] == Arm(where="source = 'x'")
    assert found.arms["c"] == Arm(by="length.words", select=Top())
    with pytest.raises(InvalidParameterError, match="`arms.a` has no 'scores'"):
        Recipe.load(tmp_path / "r.yaml", {"arms.a.scores": "dsir"})


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        ("pool: p", {"seeds": "["}, "`--set` .seeds=.. is not YAML"),
        ("", {"seeds": "3"}, r"`--set` \(='seeds'\) must be a change of a recipe that is a mapping"),
        ("- a", {"seeds": "3"}, "must be a change of a recipe that is a mapping"),
    ],
)
def test_changes_that_cannot_be_made_are_refused(
    tmp_path: Path, content: str, changes: dict[str, str], message: str
) -> None:
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(InvalidParameterError, match=message):
        Recipe.load(tmp_path / "r.yaml", changes)


def test_numbers_with_exponents_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{pool: p, target: t, budget: 1k tokens, arms: {}, pool_sample: 1e-2}")
    assert Recipe.load(tmp_path / "r.yaml").pool_sample == 0.01


def test_the_random_arm_may_repeat() -> None:
    assert recipe(arms={"random": {"max_repeats": 3}}).arms["random"] == Arm(max_repeats=3)
