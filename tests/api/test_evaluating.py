"""`assay.evaluate`: the sums that a model's own log probabilities give, and errors that say what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.artifacts.model import Model
from assay.artifacts.workspace import Workspace
from assay.errors import InputError, InvalidParameterError
from assay.proxy.tasks import read_task
from tests.conftest import make_prose, write_jsonl

pytest.importorskip("torch")

from assay.models.neural_lm import load_lm
from assay.proxy.evaluate import evaluate
from assay.proxy.gpt import GPT

ITEMS = [
    {"id": k, "question": f"g{k} g{k + 1}", "choices": [f"g{k + 2} g{k}", "t1"], "answer": k % 2} for k in range(6)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Workspace, Model]:
    folder = tmp_path_factory.mktemp("evaluating")
    space = Workspace(folder / ".assay")
    write_jsonl(folder / "pool.jsonl", make_prose(12, seed=1, topic="g", length=40))
    write_jsonl(folder / "test.jsonl", [*make_prose(3, seed=2, topic="g", length=60), {"id": "none", "text": "é"}])
    for name in ("quiz", "other"):
        (folder / name).mkdir()
        write_jsonl(folder / name / "test.jsonl", ITEMS[: 6 if name == "quiz" else 2])
    pool = assay.read(str(folder / "pool.jsonl"), workspace=space)
    proxy = GPT(vocab_size=300, settings={"sequence_length": 64, "min_steps": 4})
    return folder, space, assay.train(pool, proxy=proxy, budget="600 tokens", workspace=space)


def test_figures_are_those_of_the_model_itself(trained: tuple[Path, Workspace, Model]) -> None:
    folder, space, model = trained
    target = assay.read(str(folder / "test.jsonl"), workspace=space)
    given: dict[str, Any] = {"tasks": [str(folder / "quiz/test.jsonl")], "workspace": space}
    run = assay.evaluate(model, target={"a": target}, **given)
    lm = load_lm(model.path)
    table = run.to_table(["id", "target", "bits", "bytes"])
    texts = target.table(0, ["id", "text"])
    sizes = []
    for row, text in zip(table.to_pylist(), texts["text"].to_pylist(), strict=True):
        ids, starts = lm.encode(texts["text"].combine_chunks().slice(len(sizes), 1))
        assert row["bits"] == pytest.approx(-lm.log_probabilities(ids, starts).sum() / np.log(2), rel=1e-4)
        sizes.append(len(text.encode()))
    assert table["bytes"].to_pylist() == sizes
    expected = table["bits"].to_numpy().sum() / sum(sizes)
    assert run.manifest.summary == {"bits_per_byte": expected, "by_target": {"a": expected}}
    answers = run.answers()
    assert answers is not None and answers.equals(evaluate(lm, [read_task(folder / "quiz/test.jsonl")]))
    assert assay.evaluate(model, target={"a": target}, **given) == run
    by_path = assay.evaluate(str(model.path), **given)  # the same weights, asked by the folder
    assert by_path.answers().equals(answers)  # type: ignore[union-attr]


def test_every_task_counts(trained: tuple[Path, Workspace, Model], tmp_path: Path) -> None:
    folder, space, model = trained
    (tmp_path / "quiz").mkdir()
    other = str(write_jsonl(tmp_path / "quiz/test.jsonl", ITEMS[:2]))
    with pytest.raises(InvalidParameterError, match="`tasks` .* must be tasks of different names"):
        assay.evaluate(model, tasks=[str(folder / "quiz/test.jsonl"), other], workspace=space)
    both = [str(folder / name / "test.jsonl") for name in ("quiz", "other")]
    answers = assay.evaluate(model, tasks=both, workspace=space).answers()
    assert answers is not None and answers["task"].to_pylist() == ["quiz/test"] * 6 + ["other/test"] * 2


def test_errors_name_what_is_missing(trained: tuple[Path, Workspace, Model], tmp_path: Path) -> None:
    folder, space, model = trained
    task = str(folder / "quiz/test.jsonl")
    with pytest.raises(InvalidParameterError, match="`target` .=None. must be given, or tasks or harness"):
        assay.evaluate(model, workspace=space)
    with pytest.raises(InputError, match="nothere.jsonl is not there"):
        assay.evaluate(model, tasks=[str(tmp_path / "nothere.jsonl")], workspace=space)
    with pytest.raises(InvalidParameterError, match="`model` .=.*nothere. must be a file or a folder with files"):
        assay.evaluate(tmp_path / "nothere", tasks=[task], workspace=space)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("no model")
    with pytest.raises(InvalidParameterError, match="`model` .=.*foreign. must"):
        assay.evaluate(tmp_path / "foreign", tasks=[task], workspace=space)
