"""`assay.train`: found again, gone on with after a stop, and trained on what was asked for."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import assay
from assay.artifacts.model import CURVE, Model
from assay.artifacts.workspace import Workspace
from assay.cli import app
from assay.errors import BudgetError, InvalidParameterError, MissingExtraError, SchemaError, StoppedError
from tests.conftest import make_prose, write_jsonl

pytest.importorskip("torch")

from safetensors.numpy import load_file

from assay.proxy.gpt import GPT
from assay.proxy.rules import RULES

TINY = GPT(vocab_size=300, settings={"sequence_length": 64, "min_steps": 4})


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> assay.Corpus:
    folder = tmp_path_factory.mktemp("training")
    path = write_jsonl(folder / "pool.jsonl", make_prose(12, seed=1, topic="g", length=40))
    return assay.read(str(path), workspace=Workspace(folder / ".assay"))


def space_of(pool: assay.Corpus) -> Workspace:
    return Workspace(pool.folder.parent)


def curve(model: Model) -> np.ndarray:
    table = pq.read_table(model.folder / CURVE)
    assert table["tokens"].to_numpy().sum() >= model.manifest.summary["tokens"]
    return table["loss"].to_numpy()


@pytest.fixture(scope="module")
def trained(pool: assay.Corpus) -> Model:
    return assay.train(pool, proxy=TINY, budget="600 tokens", workspace=space_of(pool))


def test_the_same_question_is_answered_once(pool: assay.Corpus, trained: Model) -> None:
    assert trained.manifest.summary["tokens"] == 600
    again = assay.train(pool, proxy=TINY, budget="600 tokens", workspace=space_of(pool))
    assert again == trained and len(curve(again)) == len(curve(trained))
    other = assay.train(pool, proxy=TINY, budget="600 tokens", seed=1, workspace=space_of(pool))
    assert other.fingerprint != trained.fingerprint and curve(other)[0] != curve(trained)[0]


def test_what_was_stopped_goes_on_to_the_same_weights(pool: assay.Corpus, trained: Model, tmp_path: Path) -> None:
    space, stops = Workspace(tmp_path / "other"), 0
    while True:
        try:
            model = assay.train(pool, proxy=TINY, budget="600 tokens", seconds=0, workspace=space)
            break
        except StoppedError as error:
            stops += 1
            assert f"Training stopped after {stops} of {len(curve(trained))} steps: its limit of time" in str(error)
    assert stops == len(curve(trained)) - 1 > 1
    np.testing.assert_allclose(curve(model), curve(trained), rtol=1e-6)
    ours, theirs = (load_file(str(one.path / "model.safetensors")) for one in (model, trained))
    for name, weights in theirs.items():
        np.testing.assert_allclose(ours[name], weights, atol=1e-5, err_msg=name)


def test_budgets_count_what_is_chosen(pool: assay.Corpus) -> None:
    space = space_of(pool)
    tokens = assay.tokenize(pool, vocab_size=300, workspace=space)
    chosen = assay.select(pool, budget="700 tokens", tokens=tokens, workspace=space)
    there = int(chosen.manifest.summary["chosen"])

    def trained_on(budget: str | None, **given: object) -> int:
        made = assay.train(pool, proxy=TINY, budget=budget, workspace=space, **given)  # type: ignore[arg-type]
        return int(made.manifest.summary["tokens"])

    assert trained_on("25%", selection=chosen) == round(there / 4)
    assert trained_on("400 tokens", selection=chosen) == 400
    # What is read twice needs half as many different tokens, even where the pool has no more.
    whole = tokens.manifest.summary["tokens"]
    assert trained_on(f"{whole + 100} tokens", rule=RULES["epochs"](times=2)) == -(-(whole + 100) // 2)
    with pytest.raises(InvalidParameterError, match=r"`budget` .=.3 documents.. must be in tokens, or a share"):
        trained_on("3 documents", selection=chosen)
    with pytest.raises(BudgetError, match=r"is more than the \d+ tokens of selection 'uniform'"):
        trained_on("2k tokens", selection=chosen)
    with pytest.raises(SchemaError, match="nothere"):
        trained_on("400 tokens", rule=RULES["curriculum"](by="nothere"))


def test_training_goes_on_from_a_model(pool: assay.Corpus, trained: Model) -> None:
    given = {"proxy": TINY, "budget": "600 tokens", "seed": 2, "workspace": space_of(pool)}
    model = assay.train(pool, start=trained, **given)  # type: ignore[arg-type]
    fresh = assay.train(pool, **given)  # type: ignore[arg-type]
    assert curve(model)[0] < curve(fresh)[0] - 0.1
    assert model.manifest.inputs["start"] == trained.fingerprint
    assert (model.path / "tokenizer.json").read_bytes() == (trained.path / "tokenizer.json").read_bytes()


def test_without_torch_the_pip_line_is_told(pool: assay.Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"needs torch, which is not installed. Run: pip install 'assay\[neur"):
        assay.train(pool, workspace=space_of(pool))
    recipe = {"pool": pool, "target": pool, "budget": "1k tokens", "arms": {}, "proxy": "gpt"}
    with pytest.raises(MissingExtraError, match=r"Proxy `gpt` needs torch.*pip install 'assay\[neural\]'"):
        assay.compare(recipe, workspace=space_of(pool))
    monkeypatch.setenv("COLUMNS", "400")
    found = CliRunner().invoke(app, ["train", "pool.jsonl", "--workspace", str(space_of(pool).root)])
    assert found.exit_code != 0


def test_the_command_says_what_is_wrong(pool: assay.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    space, documents = str(space_of(pool).root), str(space_of(pool).root.parent / "pool.jsonl")  # type: ignore[arg-type]

    def said(*arguments: str) -> str:
        found = CliRunner().invoke(app, [*arguments, "--workspace", space])
        assert found.exit_code == 1, found.output
        return found.output + (found.stderr or "")

    assert "`size` (='2M') must be one of 1M, 5M" in said("train", documents, "--size", "2M")
    assert "artifacts in" in said("train", documents, "--start", "nothere")
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / "empty")
    assert "`model`" in said("evaluate", folder, "--target", documents)
    assert "is not there" in said("evaluate", folder, "--task", str(tmp_path / "sets/none.jsonl"))
