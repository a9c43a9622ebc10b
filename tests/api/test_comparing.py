"""The whole job on planted corpora, through the public API."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import assay
from assay.api.comparing import write_arm
from assay.api.recipe import Recipe
from assay.artifacts.comparison import Comparison
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError, StorageError
from tests.conftest import make_prose, write_jsonl


def shuffled(documents: list[dict[str, str]]) -> list[dict[str, str]]:
    rng = random.Random(0)
    result = []
    for document in documents:
        words = document["text"].split()
        rng.shuffle(words)
        result.append({"id": f"shuffled-{document['id']}", "text": " ".join(words), "source": "shuffled"})
    return result


def without_times(content: Any) -> Any:
    return {key: value for key, value in content.items() if key != "cost"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose truth is known.

    The pool is mostly of topic g; some documents are of the target's topic t, and some are of topic g and t with their
    words shuffled. No pool document shares text with the target: the words are drawn anew.
    """
    folder = tmp_path_factory.mktemp("planted")
    general = make_prose(1500, seed=1, topic="g")
    on_topic = make_prose(120, seed=2, topic="t")
    noise = shuffled(make_prose(400, seed=3, topic="g"))
    write_jsonl(folder / "pool.jsonl", general + on_topic + noise)
    mixed = make_prose(60, seed=4, topic="t") + make_prose(60, seed=5, topic="g")
    write_jsonl(folder / "target.jsonl", mixed)
    (folder / "recipe.yaml").write_text(
        """
        pool: {read: pool.jsonl}
        target: {read: target.jsonl, holdout: 0.4}
        budget: 20k tokens
        seeds: 4
        proxy: {ngram: {order: 3, vocab_size: 600}}
        overlap: {words: 13, max_share: 1}
        arms:
          shuffled: {where: "source = 'shuffled'"}
          soaked: {select: {quota: {by: source, shares: {g: 0.5, t: 0.5}}}, max_repeats: 4}
        write: {arm: soaked, to: chosen}
        """
    )
    return folder


@pytest.fixture(scope="module")
def comparison(planted: Path) -> Comparison:
    return assay.compare(planted / "recipe.yaml", workspace=planted / "workspace")


def test_planted_arms_get_the_right_verdicts(comparison: Comparison) -> None:
    verdicts = {name: arm.get("verdict") for name, arm in comparison.arms.items()}
    assert verdicts["shuffled"] == "worse"
    assert verdicts["soaked"] == "better"
    assert comparison.best == "soaked"
    assert (
        comparison.arms["soaked"]["multiplier"]["estimate"] > 1 > comparison.arms["shuffled"]["multiplier"]["estimate"]
    )
    assert sum(arm["p_best"] for arm in comparison.arms.values()) == pytest.approx(1.0)


def test_everything_that_was_promised_is_there(planted: Path, comparison: Comparison) -> None:
    content = json.loads((planted / "comparison.json").read_text())
    assert content == comparison.content
    assert content["headline"].startswith("soaked is better than random: at 20k tokens it saves ")
    assert [arm["name"] for arm in content["arms"]] == ["random", "shuffled", "soaked"]
    for arm in content["arms"]:
        funnel = arm["funnel"]
        assert funnel["in"] == funnel["kept"] + sum(funnel["dropped"].values()) + sum(funnel["failed"].values())
        assert arm["tokens"] >= 20_000
        assert content["cost"]["arms"][arm["name"]]["training"] > 0
    assert content["lineage"]["artifacts"]["pool"]["fingerprint"] == content["pool"]["fingerprint"]
    tokens = [point["tokens"] for point in content["random_curve"]]
    assert tokens == sorted(tokens) and {5_000, 10_000, 20_000} <= set(tokens)


def test_the_documentation_names_every_key(comparison: Comparison) -> None:
    text = (Path(__file__).parents[2] / "docs/comparison.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)`", text))
    content, arm = comparison.content, comparison.arms["soaked"]
    for part in (content, arm, arm["effect"], arm["multiplier"], content["pool"], content["lineage"]):
        assert set(part) <= documented
    assert set(content["random_curve"][0]) | set(content["overlap"]) | set(content["cost"]) <= documented
    assert set(content["cost"]["steps"][0]) <= documented


def test_every_run_is_trained_on_exactly_its_budget(planted: Path, comparison: Comparison) -> None:
    workspace = Workspace(planted / "workspace")
    tokens = {
        name: assay.artifacts.kinds.Run(workspace.find(mark)).manifest.summary["tokens"]
        for name, mark in comparison.content["lineage"]["runs"].items()
    }
    assert len(tokens) == comparison.content["num_runs"]
    for name, count in tokens.items():
        assert count == int(name.split(".")[2])


def test_the_chosen_corpus_is_what_the_arm_took(planted: Path, comparison: Comparison) -> None:
    rows = pq.read_table(planted / "chosen").to_pylist()
    arm = comparison.arms["soaked"]
    assert len({row["id"] for row in rows}) == arm["documents"]
    assert {row["source"] for row in rows} == {"g", "t"}
    manifest = json.loads((planted / "chosen/_manifest.json").read_text())
    assert manifest["inputs"]["selection"] == arm["selection"]


def test_the_report_is_whole_offline_and_escaped(planted: Path) -> None:
    html = (planted / "report.html").read_text(encoding="utf-8")
    assert "soaked is better than random" in html
    assert html.count("<svg") >= 3
    for forbidden in ("<script", "src=", "@import", 'href="http'):
        assert forbidden not in html


def test_a_second_call_computes_nothing_and_says_the_same(planted: Path, comparison: Comparison) -> None:
    before = {path: path.stat().st_mtime_ns for path in (planted / "workspace").rglob("*") if path.is_file()}
    again = assay.compare(planted / "recipe.yaml", workspace=planted / "workspace")
    assert again.content == comparison.content
    assert {path: path.stat().st_mtime_ns for path in (planted / "workspace").rglob("*") if path.is_file()} == before


def test_another_workspace_gives_the_same_comparison_apart_from_times(
    planted: Path, comparison: Comparison, tmp_path: Path
) -> None:
    other = assay.compare(planted / "recipe.yaml", workspace=tmp_path / "elsewhere", out=tmp_path)
    assert without_times(other.content) == without_times(comparison.content)


def test_a_new_arm_reuses_all_that_was_done(planted: Path, comparison: Comparison, tmp_path: Path) -> None:
    recipe = assay.Recipe.load(
        planted / "recipe.yaml", {"arms.shuffled": "{where: \"source <> 't'\"}", "write": "null"}
    )
    before = {path.name for path in (planted / "workspace").iterdir()}
    other = assay.compare(recipe, workspace=planted / "workspace", out=tmp_path)
    added = {path.name.rsplit("-", 1)[0] for path in (planted / "workspace").iterdir() if path.name not in before}
    assert added == {"selection-shuffled", "run-shuffled", "comparison-pool"}
    assert other.arms["soaked"]["bits_per_byte"] == comparison.arms["soaked"]["bits_per_byte"]


@pytest.fixture(scope="module")
def spiked(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Random against random plus 5 % of target text, both from a pool that has little of it."""
    folder = tmp_path_factory.mktemp("spiked")
    write_jsonl(folder / "pool.jsonl", make_prose(3000, seed=1, topic="g") + make_prose(40, seed=2, topic="t"))
    write_jsonl(folder / "target.jsonl", make_prose(200, seed=4, topic="t"))
    recipe = {
        "pool": str(folder / "pool.jsonl"),
        "target": {"read": str(folder / "target.jsonl"), "holdout": 0.5},
        "budget": "50k tokens",
        "seeds": 5,
        "proxy": {"ngram": {"order": 3, "vocab_size": 600}},
        "arms": {"spiked": {"select": {"quota": {"by": "source", "shares": {"g": 0.917, "t": 0.083}}}}},
    }
    return assay.compare(recipe, workspace=folder / "workspace")


def test_random_plus_a_little_target_text_is_better(spiked: Comparison) -> None:
    """The pool holds 2 % of target text, the arm 5 % more of it."""
    assert spiked.arms["spiked"]["verdict"] == "better"
    assert spiked.arms["spiked"]["multiplier"]["low"] > 1


def test_pool_documents_that_quote_the_test_text_are_counted_and_left_out(tmp_path: Path) -> None:
    target = make_prose(20, seed=4, topic="t")
    quotes = [
        {"id": f"quote-{k}", "text": f"as seen elsewhere {d['text']}", "source": "quote"} for k, d in enumerate(target)
    ]
    write_jsonl(tmp_path / "pool.jsonl", make_prose(200, seed=1, topic="g") + quotes)
    write_jsonl(tmp_path / "target.jsonl", target)
    recipe = {
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "budget": "8k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 2, "vocab_size": 500}},
        "arms": {"dsir": {"score": "dsir"}},
    }
    kept_out = assay.compare(recipe, workspace=tmp_path / "w")
    counts = kept_out.content["overlap"]["documents"]
    assert counts == {"any": 20, "target": 14, "target.heldout": 6}
    assert kept_out.arms["dsir"]["funnel"]["dropped"]["overlap"] == 20
    assert "quote" not in kept_out.arms["dsir"]["composition"]["chosen"]
    counted = assay.compare(recipe | {"overlap": {"max_share": 1}}, workspace=tmp_path / "w")
    assert counted.content["overlap"]["documents"] == counts
    assert "overlap" not in counted.arms["dsir"]["funnel"]["dropped"]
    assert counted.arms["dsir"]["composition"]["chosen"]["quote"] > 0


def test_an_arm_that_goes_by_overlap_sees_no_test_text(tmp_path: Path) -> None:
    target = make_prose(20, seed=4, topic="t")
    quotes = [{"id": f"quote-{k}", "text": d["text"], "source": "quote"} for k, d in enumerate(target)]
    write_jsonl(tmp_path / "pool.jsonl", make_prose(200, seed=1, topic="g") + quotes)
    write_jsonl(tmp_path / "target.jsonl", target)
    recipe = {
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "budget": "1k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 2, "vocab_size": 500}},
        "overlap": {"max_share": 1},
        "arms": {"quotes": {"where": "overlap.share > 0.9"}},
    }
    result = assay.compare(recipe, workspace=tmp_path / "w")
    assert result.content["overlap"]["documents"] == {"any": 20, "target": 14, "target.heldout": 6}
    assert result.arms["quotes"]["funnel"]["dropped"]["where"] == 206  # all but those that quote the 14
    peeping = recipe | {"overlap": {"max_share": 0.9}, "arms": {"peep": {"score": "guard.overlap.share"}}}
    with pytest.raises(InvalidParameterError, match="'guard.overlap.share' is taken: .* which no arm may see"):
        assay.compare(peeping, workspace=tmp_path / "w")


def test_the_random_arm_may_see_documents_again_where_the_pool_is_small(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_prose(100, seed=1, topic="g"))
    write_jsonl(tmp_path / "target.jsonl", make_prose(20, seed=2, topic="g"))
    recipe = {
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "budget": "40k tokens",
        "seeds": 2,
        "pool_sample": 1,
        "proxy": {"ngram": {"order": 2, "vocab_size": 500}},
        "arms": {"random": {"max_repeats": 4}, "long": {"score": "length.words", "max_repeats": 4}},
    }
    result = assay.compare(recipe, workspace=tmp_path / "w", out=tmp_path / "out")
    tokens = result.content["pool"]["tokens"]
    assert tokens < 40_000 and [p["tokens"] for p in result.content["random_curve"]][-1] <= 4 * tokens
    with pytest.raises(InvalidParameterError, match="Arm 'random', seed 0: .* or allow max_repeats: 3"):
        assay.compare(recipe | {"arms": {}}, workspace=tmp_path / "w")
    with pytest.raises(ArtifactError, match="comparison.json and report.html cannot be put into"):
        assay.compare(recipe, workspace=tmp_path / "w", out=tmp_path / "pool.jsonl")


@pytest.mark.parametrize("write", [True, False])
def test_a_place_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path, write: bool) -> None:
    recipe = {"pool": "nowhere.jsonl", "target": "nowhere.jsonl", "budget": "1k tokens", "arms": {}}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for to, error, message in (
        (str(tmp_path / "mine"), ArtifactError, "is not empty and was not written by `assay write`"),
        ("hf://datasets/org/set", StorageError, "can only be read from"),
    ):
        with pytest.raises(error, match=message):
            if write:
                write_arm(Recipe.from_dict(recipe), Workspace(tmp_path / "w"), "random", to)
            else:
                assay.compare(recipe | {"write": {"to": to}}, workspace=tmp_path / "w")


def test_several_targets_and_open_corpora(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    pool = make_prose(300, seed=1, topic="g") + make_prose(100, seed=2, topic="t") + make_prose(100, seed=3, topic="u")
    corpora = {
        name: assay.read(write_jsonl(tmp_path / f"{name}.jsonl", rows), workspace=workspace)
        for name, rows in (
            ("pool", pool),
            ("t", make_prose(30, seed=4, topic="t")),
            ("u", make_prose(30, seed=5, topic="u")),
        )
    }
    targets = {"tea": {"read": corpora["t"]}, "you": {"read": corpora["u"]}}
    recipe = {
        "pool": corpora["pool"],
        "target": targets,
        "budget": "10k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 3, "vocab_size": 800}},
        "arms": {
            "both": {"score": {"dsir": {"smoothing": 0.5}, "by": "dsir.per_ngram"}},
            "one": {"score": {"dsir": {"smoothing": 0.5}, "by": "dsir.log_weight.tea"}},
        },
    }
    comparison = assay.compare(recipe, workspace=workspace)
    reversed_targets = {"target": dict(reversed(targets.items()))}
    again = assay.compare(recipe | reversed_targets, workspace=Workspace(tmp_path / "other"))
    assert without_times(again.content) == without_times(comparison.content)
    assert set(comparison.content["targets"]) == {"tea", "you"}
    chosen = {name: set(arm["composition"]["chosen"]) for name, arm in comparison.arms.items()}
    assert {"t", "u"} <= chosen["both"]
    assert comparison.arms["both"]["bits_per_byte"] < comparison.arms["one"]["bits_per_byte"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": "9M tokens"}, r"Arm 'random', seed 0: The budget is 9,000,000, .* Each seed sees 50% of the pool"),
        ({"arms": {"a": {"where": "source = 'nowhere'"}}}, "Arm 'a', seed 0: The budget is 40,000, .* hold only 0"),
        (
            {"arms": {"a": {"score": "quality"}}},
            "'quality' is neither a column of the corpus nor a score. There are id",
        ),
        ({"target": {"read": "TARGET", "holdout": "TARGET"}}, "is tested on the very documents it is chosen by"),
        (
            {"target": {"read": "TARGET", "holdout": "EMPTY"}},
            r"1 of the held-out documents of 'target' have text; at least 2 are needed",
        ),
        ({"target": {"read": "TARGET", "holdout": 0.001}}, r"`holdout` \(=0.001\) leaves 120 and 0 of the 120"),
    ],
)
def test_what_cannot_be_compared_is_explained(planted: Path, change: dict[str, Any], message: str) -> None:
    write_jsonl(planted / "empty.jsonl", [*make_prose(1, seed=9, topic="t"), {"id": "e", "text": ""}])
    text = json.dumps(change).replace("TARGET", str(planted / "target.jsonl"))
    text = text.replace("EMPTY", str(planted / "empty.jsonl"))
    recipe = {
        "pool": str(planted / "pool.jsonl"),
        "target": str(planted / "target.jsonl"),
        "budget": "40k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 3, "vocab_size": 600}},
        "arms": {},
    } | json.loads(text)
    with pytest.raises(InvalidParameterError, match=message):
        assay.compare(recipe, workspace=planted / "workspace")
