"""Recipes: each has a page and loads, what it cannot do without is asked for by name, and a run ends in evidence."""

import inspect
import re
import shutil
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import yaml

import assay
from assay import Recipe
from assay.api.comparing import chosen
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError
from assay.recipes import RECIPES
from assay.recipes.layout import OPTIONS, Layout, against_random
from assay.recipes.pages import SECTIONS, authors, example, layout, needs, options, page, with_page
from assay.recipes.running import run
from assay.scorers.dataman_lines import CRITERIA
from assay.scorers.qurating import CRITERIA as QURATING_CRITERIA
from tests.conftest import make_prose, write_jsonl

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_a_page_says_paper_differences_cost_and_when_not(name: str) -> None:
    about = page(name)
    assert tuple(about.sections) == SECTIONS
    assert re.fullmatch(r"\S.* \d{4}", authors(name))
    assert "arXiv:" in about.sections["Paper"] or "http" in about.sections["Paper"]
    assert about.title and about.summary.endswith(".") and len(about.summary) < 100
    assert len(inspect.getsource(RECIPES[name]).splitlines()) <= 100


@pytest.mark.parametrize("name", RECIPES)
def test_what_show_prints_is_the_recipe_itself(name: str, tmp_path: Path) -> None:
    text = with_page(name, example(name), 78)
    assert all(len(line) <= 78 for line in text.splitlines() if line.startswith("#"))
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    assert yaml.safe_load(text) == example(name)
    arms = Recipe.load(tmp_path / "recipe.yaml").arms
    assert next(iter(arms)) == "random" and len(arms) > 1


def test_every_option_is_taken_by_a_recipe_and_explained() -> None:
    taken = {option for name in RECIPES for option in options(name)}
    assert taken == set(OPTIONS)


def test_the_page_of_recipes_lists_each_with_its_needs() -> None:
    rows = (ROOT / "docs/recipes.md").read_text(encoding="utf-8").split("| recipe |")[1].splitlines()[2:]
    listed = {row.split("`")[1]: row.rstrip(" |").split(" | ")[-1] for row in rows if row.startswith("| `")}
    assert listed == {name: ", ".join(needs(name)) or "–" for name in RECIPES}


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InvalidParameterError, match="Did you mean 'gopher'"):
        page("gofer")


def test_an_option_that_a_recipe_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Recipe 'dsir' takes no --labels; it takes no such option"):
        layout("dsir", "pool.jsonl", "target.jsonl", "1M tokens", {"labels": "notes.jsonl"})


@pytest.mark.parametrize("name", [name for name in RECIPES if any(options(name).values())])
def test_what_a_recipe_cannot_do_without_is_asked_for_by_its_option(name: str) -> None:
    needed = next(option for option, is_needed in options(name).items() if is_needed)
    with pytest.raises(InvalidParameterError, match=rf"Recipe '{name}' needs .*\. Give it with --{needed} \S+\."):
        layout(name, "pool.jsonl", "target.jsonl", "1M tokens")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes")
    write_jsonl(path / "pool.jsonl", make_prose(400, seed=1, topic="g") + make_prose(150, seed=2, topic="t"))
    write_jsonl(path / "target.jsonl", make_prose(60, seed=4, topic="t"))
    return path


def _run(name: str, folder: Path, **settings: object) -> assay.Comparison:
    changes = {"proxy": "{ngram: {order: 3, vocab_size: 600}}", "pool.id": "id", **settings.pop("changes", {})}  # type: ignore[dict-item]
    given = {"budget": "8k tokens", "seeds": 2, "holdout": "0.4", "workspace": Workspace(folder / ".assay")}
    given |= {"out": folder / name} | settings
    return run(name, str(folder / "pool.jsonl"), str(folder / "target.jsonl"), changes=changes, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python's own manual, and words that make no sense, with notes and judgements that say which is which."""
    path = tmp_path_factory.mktemp("real")
    manual = [topic[k : k + 1500] for topic in topics.values() for k in range(0, len(topic) - 1000, 1500)]
    nonsense = [row["text"] for row in make_prose(300, seed=2, topic="t")]
    sources = ["manual"] * len(manual) + ["nonsense"] * len(nonsense)
    texts = [
        {"id": f"{k}", "text": text, "source": source}
        for k, (text, source) in enumerate(zip(manual + nonsense, sources, strict=True))
    ]
    write_jsonl(path / "pool.jsonl", texts[60:])
    write_jsonl(path / "target.jsonl", texts[:60])
    domains = [{"domain": "technology" if k % 3 else "other"} for k in range(len(texts))]
    notes = [dict.fromkeys(("score", *CRITERIA), 3 + k % 3 - 2 * (k >= len(manual))) for k in range(len(texts))]
    kinds = [{"label": "good" if k < len(manual) else "bad"} for k in range(len(texts))]
    rows = [text | domain | note | kind for text, domain, note, kind in zip(texts, domains, notes, kinds, strict=True)]
    write_jsonl(path / "labels.jsonl", rows[60:])  # what is learnt from is not tested on
    pairs = [(a, b, 0.1) if k % 2 else (b, a, 0.9) for k, (a, b) in enumerate(zip(manual, nonsense, strict=False))]
    judged = [{"text_a": a, "text_b": b, **dict.fromkeys(QURATING_CRITERIA, share)} for a, b, share in pairs]
    write_jsonl(path / "judgements.jsonl", judged)
    write_jsonl(path / "phrases.jsonl", [{"text": text} for text in ("the class", "an exception", "module")])
    (path / "candidates").mkdir()
    write_jsonl(path / "candidates/manual.jsonl", [{"text": text} for text in manual[60:160]])
    write_jsonl(path / "candidates/nonsense.jsonl", [{"text": text} for text in nonsense])
    return path


def _real(name: str, real: Path, budget: str) -> Layout:
    """A recipe on that pool, with everything that it needs."""
    taken = {option: real / OPTIONS[option][0] for option, is_needed in options(name).items()}
    given = {option: str(path) for option, path in taken.items() if path.exists() or options(name)[option]}
    target = {"read": str(real / "target.jsonl"), "id": "id", "holdout": 0.5}
    content = layout(name, {"read": str(real / "pool.jsonl"), "id": "id"}, target, budget, given)
    return content | {"pool_sample": 1, "seeds": 2, "proxy": {"ngram": {"order": 3, "vocab_size": 600}}}


@pytest.mark.parametrize("name", RECIPES)
def test_every_arm_of_every_recipe_takes_documents(name: str, real: Path) -> None:
    recipe = Recipe.from_dict(_real(name, real, "2k tokens"))
    for arm in recipe.arms:
        _, selection = chosen(recipe, arm, Workspace(real / ".assay"))
        assert selection.manifest.summary["chosen"] >= 2000


def test_ultra_fineweb_learns_from_verified_seeds_alone(real: Path) -> None:
    content = RECIPES["ultra_fineweb"].learn(_real("ultra_fineweb", real, "2k tokens"), Workspace(real / ".assay"))
    positives = {name: arm["score"]["classifier"]["positives"] for name, arm in content["arms"].items() if arm}
    assert positives == {
        "unverified": str(real / "candidates/*.jsonl"),
        "ultra-fineweb": [str(real / "candidates/manual.jsonl")],
    }


def test_ultra_fineweb_takes_no_candidate_for_another_of_the_same_file_name(real: Path, tmp_path: Path) -> None:
    for name in ("manual", "nonsense"):
        (tmp_path / name).mkdir()
        shutil.copy(real / f"candidates/{name}.jsonl", tmp_path / name / "data.jsonl")
    content = _real("ultra_fineweb", real, "2k tokens")
    for arm in ("ultra-fineweb", "unverified"):
        content["arms"][arm]["score"]["classifier"]["positives"] = str(tmp_path / "*/data.jsonl")
    learnt = RECIPES["ultra_fineweb"].learn(content, Workspace(real / ".assay"))
    positives = learnt["arms"]["ultra-fineweb"]["score"]["classifier"]["positives"]
    assert positives == [str(tmp_path / "manual/data.jsonl")]


def test_metarater_learns_weights_that_an_arm_goes_by(real: Path) -> None:
    content = RECIPES["metarater"].learn(_real("metarater", real, "4k tokens"), Workspace(real / ".assay"))
    scores = {name: arm.by for name, arm in Recipe.from_dict(content).arms.items() if arm.by}
    assert len(set(scores.values())) == 3 and all("dsir.per_ngram" in by for by in scores.values())


@pytest.mark.parametrize(("name", "arm"), [("doremi", "doremi"), ("skillit", "skill-it"), ("regmix", "regmix")])
def test_weights_of_sources_are_learnt_and_an_arm_takes_them(name: str, arm: str, real: Path) -> None:
    content = _real(name, real, "20k tokens") | {"pool_sample": 0.8}
    learnt = RECIPES[name].learn(content, Workspace(real / ".assay"))
    shares = learnt["arms"][arm]["select"]["quota"]["shares"]
    assert list(shares) == ["manual", "nonsense"] and sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert shares["manual"] > 0.6  # which teaches the target, and of which there is more to learn
    others = {k: v for k, v in learnt["arms"].items() if k != arm}
    assert others == {k: v for k, v in content["arms"].items() if k != arm}
    Recipe.from_dict(learnt)


def test_climb_learns_shares_of_clusters(real: Path) -> None:
    changes = {"pool_sample": 0.8, "scorers": {"clusters": {"num_clusters": 3}}}
    learnt = RECIPES["climb"].learn(_real("climb", real, "20k tokens") | changes, Workspace(real / ".assay"))
    shares = learnt["arms"]["climb"]["select"]["quota"]["shares"]
    assert len(shares) == 3 and sum(shares.values()) == pytest.approx(1, abs=1e-5)
    Recipe.from_dict(learnt)


def test_a_run_finds_the_target_and_leaves_a_recipe_that_gives_the_same(folder: Path) -> None:
    found = _run("dsir", folder, write=str(folder / "chosen"), changes={"arms.dsir.where": "length.words >= 20"})
    verdicts = {arm["name"]: arm.get("verdict") for arm in found.content["arms"]}
    assert verdicts == {"random": None, "dsir": "better", "dsir-smoothed": "better"}
    again = assay.compare(folder / "dsir/recipe.yaml", workspace=folder / ".assay")
    assert again.fingerprint == found.fingerprint
    chosen = assay.read(str(folder / "chosen/*.parquet"), workspace=folder / ".assay")
    assert chosen.num_documents == next(a["documents"] for a in found.content["arms"] if a["name"] == found.best)


def test_a_recipe_that_somebody_changed_is_left_alone(folder: Path) -> None:
    (folder / "gopher").mkdir()
    (folder / "gopher/recipe.yaml").write_text("mine: true\n")
    with pytest.raises(ArtifactError, match=r"gopher/recipe.yaml says something else\. Run it as it is"):
        _run("gopher", folder)
    assert (folder / "gopher/recipe.yaml").read_text() == "mine: true\n"


def test_a_bad_setting_is_found_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(InvalidParameterError, match="Did you mean 'smoothing'"):
        _run("dsir", folder, out=folder / "bad", changes={"arms.dsir.score.dsir.smothing": "0.5"})
    assert not (folder / "bad").exists()


def test_from_python_a_recipe_takes_open_corpora(folder: Path) -> None:
    pool = assay.read(str(folder / "pool.jsonl"), id="id", workspace=folder / ".assay")
    content = RECIPES["minhash"].recipe(pool, {"read": str(folder / "target.jsonl"), "holdout": 0.4}, "1k tokens")
    assert list(Recipe.from_dict(content).arms) == ["random", "exact", "minhash", "minhash-0.5", "substrings"]
    assert against_random(pool, "t", "1k", {}, seeds=2) == {
        "pool": {"read": pool},
        "target": {"read": "t"},
        "budget": "1k",
        "seeds": 2,
        "arms": {"random": {}},
    }
