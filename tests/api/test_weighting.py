"""Weights learnt from proxies: a planted utility comes out, and what is found can be chosen by."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import assay
from assay.api.recipe import Recipe
from assay.api.weighting import _score_of
from assay.artifacts.workspace import Workspace
from assay.cli import app
from assay.errors import InvalidParameterError
from tests.conftest import make_prose, write_jsonl

TRUTH = np.array([0.7, 0.25, 0.05])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of documents that are the more of the target's topic, sentence by sentence, the higher their utility."""
    folder = tmp_path_factory.mktemp("weights")
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1200, 3))
    share = 1 / (1 + np.exp(-2.5 * (scores @ TRUTH) / np.linalg.norm(TRUTH)))
    of_topic = {topic: make_prose(1200, seed=1, topic=topic, length=60) for topic in "tg"}
    rows = []
    for k in range(1200):
        words = {topic: documents[k]["text"].split() for topic, documents in of_topic.items()}
        cut = int(share[k] * len(words["t"]))
        text = " ".join(words["t"][:cut] + words["g"][cut:])
        rows.append(
            {"id": f"d{k}", "text": text, "a": scores[k, 0], "b": 7 + 3 * scores[k, 1], "c": scores[k, 2], "d": 1.0}
            | {"source": "here"}
        )
    write_jsonl(folder / "pool.jsonl", rows)
    write_jsonl(folder / "target.jsonl", make_prose(120, seed=4, topic="t"))
    (folder / "recipe.yaml").write_text(
        """
        pool: pool.jsonl
        target: {read: target.jsonl, holdout: 0.3}
        budget: 6k tokens
        proxy: {ngram: {order: 2, vocab_size: 600}}
        overlap: {words: 13, max_share: 1}
        arms: {plain: {score: a}}
        """,
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> assay.Weights:
    return assay.weigh(Recipe.load(folder / "recipe.yaml"), ["a", "b", "c"], workspace=Workspace(folder / "w"))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_planted_utility_is_recovered_from_64_proxies(found: assay.Weights) -> None:
    assert len(found.runs) == 64
    assert cosine(np.array(found.weights), TRUTH) > 0.9
    assert cosine(np.array(found.rule_weights), TRUTH) > 0.9
    assert all(value is not None and value > 0.5 for value in found.agreement.values())
    assert min(run["bits_per_byte"] for run in found.runs) < found.random


def test_terms_are_scaled_in_the_expression(found: assay.Weights) -> None:
    factors = [float(part.split(" * ")[0]) for part in found.by.split(" + ")]
    np.testing.assert_allclose(np.array(factors) * [1, 3, 1], found.weights, rtol=0.1)


def test_a_term_that_is_the_same_for_all_moves_nobody(folder: Path) -> None:
    with_constant = assay.weigh(
        Recipe.load(folder / "recipe.yaml"), ["a", "d", "c"], num_draws=16, workspace=Workspace(folder / "w")
    )
    assert with_constant.rule_weights[1] == 0
    assert cosine(np.array(with_constant.weights)[[0, 2]], TRUTH[[0, 2]]) > 0.9


def test_runs_are_found_again_and_the_outcome_is_the_same(folder: Path, found: assay.Weights) -> None:
    runs = sorted(path.name for path in (folder / "w").glob("run-*"))
    again = assay.weigh(Recipe.load(folder / "recipe.yaml"), ["a", "b", "c"], workspace=Workspace(folder / "w"))
    assert again == found
    assert runs == sorted(path.name for path in (folder / "w").glob("run-*"))


def test_the_expression_is_an_arm_and_beats_the_terms(folder: Path, found: assay.Weights) -> None:
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    for source in ("pool", "target"):
        content[source] = {"read": str(folder / f"{source}.jsonl")}
    content |= {"arms": {"found": {"score": found.by}, "rule": {"score": found.rule}, "c": {"score": "c"}}, "seeds": 2}
    compared = assay.compare(Recipe.from_dict(content), workspace=Workspace(folder / "w"))
    loss = {arm["name"]: arm["bits_per_byte"] for arm in compared.content["arms"]}
    assert max(loss["found"], loss["rule"]) < loss["c"]
    assert max(loss["found"], loss["rule"]) < loss["random"]


def test_what_is_saved_can_be_read(found: assay.Weights, tmp_path: Path) -> None:
    found.save(tmp_path / "weights.yaml")
    stored = yaml.safe_load((tmp_path / "weights.yaml").read_text())
    assert stored["by"] == found.by and len(stored["runs"]) == 64
    assert stored["terms"] == dict(zip("abc", found.weights, strict=True))
    assert [column.header for column in found.table().columns][:2] == ["term", "weight"]


@pytest.mark.parametrize(
    ("terms", "settings", "message"),
    [
        (["a"], {}, "`terms` .*at least two"),
        (["a", "a"], {}, "`terms` .*different"),
        ("ab", {}, "`terms` .*a list"),
        (["a", "b +"], {}, "cannot be read as an expression"),
        (["d", "2 * d"], {}, r"Every term is the same for all documents: d, 2 \* d"),
        (["a", "nowhere"], {}, "nowhere"),
        (["a", "ln(d - 1)"], {}, r"Term 'ln\(d - 1\)' is infinite for a document"),
        (["a", "source"], {}, "`terms` .='source'. must be numbers, and is of type .*string"),
        (["a", "b > 7"], {}, "`terms` .='b > 7'. must be numbers, and is of type bool"),
        (["a", "b"], {"num_draws": 3}, "`num_draws` .*from 8"),
    ],
)
def test_what_cannot_be_weighed_is_refused(
    folder: Path, terms: list[str], settings: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        assay.weigh(Recipe.load(folder / "recipe.yaml"), terms, workspace=Workspace(folder / "w"), **settings)


def test_the_command_prints_what_an_arm_can_be_given(folder: Path, found: assay.Weights, tmp_path: Path) -> None:
    terms = [part for term in ("a", "b", "c") for part in ("--term", term)]
    place = ["--workspace", str(folder / "w"), "--to", str(tmp_path / "weights.yaml")]
    printed = CliRunner().invoke(app, ["weigh", str(folder / "recipe.yaml"), *terms, *place])
    assert printed.exit_code == 0, printed.output
    assert f"weights {found.agreement['weights']:.2f}, rule" in " ".join(printed.output.split())
    assert f"score: {found.by}" in printed.output and f"score: {found.rule}" in printed.output
    assert yaml.safe_load((tmp_path / "weights.yaml").read_text())["by"] == found.by


def test_names_of_scorers_mean_their_first_column_with_its_better_end_up(folder: Path) -> None:
    recipe = Recipe.load(folder / "recipe.yaml")
    assert _score_of(recipe, "dsir") == "dsir.log_weight"
    assert _score_of(recipe, "repeats") == "-repeats.lines"
