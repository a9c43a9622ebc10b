"""What reads checkpoints of transformers: norms against autograd, tables of losses, soft labels, missing folders."""

import json
import shutil
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay import EL2N, Learnability, Perplexity, PreSelect, Trajectories
from assay.api.recipe import rooted_scorer
from assay.artifacts.kinds import Corpus
from assay.artifacts.model import Model
from assay.errors import AssayError, InputError, InvalidParameterError, MissingExtraError
from assay.proxy.tasks import read_task
from assay.scorers import Scorer, State
from tests.conftest import make_prose

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from assay.models.gpt import load  # noqa: E402
from assay.models.neural_lm import load_lm  # noqa: E402
from assay.models.token_figures import _norms, likeliest, token_norms  # noqa: E402
from tests.checkpoints import train_tiny  # noqa: E402


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [document["text"] for document in make_prose(60, seed=1, vocabulary=40, length=30)]


@pytest.fixture(scope="module")
def checkpoints(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return train_tiny(tmp_path_factory.mktemp("run"), texts, (0, 8, 60))


@pytest.fixture(scope="module")
def pool(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(3)
    noise = ["".join(map(chr, rng.integers(33, 127, 120))) for _ in range(30)]
    rows = [{"id": f"{k}", "text": text} for k, text in enumerate([*texts, *noise, ""])]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return assay.read(str(folder / "pool.jsonl"), workspace=folder / "w")


def test_norms_are_those_of_autograd(checkpoints: list[str], texts: list[str]) -> None:
    lm = load_lm(checkpoints[1])
    ids, starts = lm.encode(pa.array(texts[:1]))
    ids, starts = ids[:20], np.array([0, 20])
    errors, gradients = token_norms(lm, ids, starts)
    model = load(Path(checkpoints[1]))
    inputs = torch.tensor([[lm.end_id, *ids[:-1].tolist()]])
    states = model.hidden(inputs)[0].detach()
    matrix = model.embedding.weight.detach().clone().requires_grad_()
    for place in range(20):
        loss = cross_entropy(states[place] @ matrix.T, torch.tensor(int(ids[place])))
        (found,) = torch.autograd.grad(loss, matrix)
        assert gradients[place] == pytest.approx(float(found.norm()), rel=1e-4)
        assert errors[place] == pytest.approx(float(found.norm() / states[place].norm()), rel=1e-4)


def test_a_bias_of_the_output_layer_counts() -> None:
    layer, states, answers = torch.nn.Linear(6, 9), torch.randn(4, 6), torch.tensor([0, 3, 8, 3])
    errors, lengths = _norms(True, states, layer(states).detach(), answers).T
    for place in range(4):
        loss = cross_entropy(layer(states[place]), answers[place])
        found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(layer.parameters()))])
        assert float(errors[place] * lengths[place]) == pytest.approx(float(found.norm()), rel=1e-4)


def test_several_models_are_their_mean_and_training_lowers_errors(
    pool: Corpus, checkpoints: list[str], tmp_path: Path
) -> None:
    def errors(*models: str) -> np.ndarray:
        table = assay.score(pool, EL2N(models=models), workspace=tmp_path).to_table()
        return np.stack([table[name].to_numpy(zero_copy_only=False) for name in ("el2n.error", "grand.norm")])

    early, late, both = errors(checkpoints[0]), errors(checkpoints[2]), errors(checkpoints[0], checkpoints[2])
    np.testing.assert_allclose(both[:, :-1], ((early + late) / 2)[:, :-1], atol=1e-3)
    assert np.isnan(both[:, -1]).all()  # no tokens
    assert late[0, :60].mean() < early[0, :60].mean() - 0.01
    of_folder = assay.score(pool, EL2N(models=str(Path(checkpoints[0]).parent)), workspace=tmp_path).to_table()
    assert of_folder["el2n.error"].null_count == 1


def test_trajectories_of_checkpoints_in_a_folder_fall(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    folder = str(Path(checkpoints[0]).parent)
    scores = assay.score(pool, Trajectories(models=folder, num_clusters=4), workspace=tmp_path)
    losses = scores.manifest.summary["mean_losses"]
    assert len(losses) == 3 and losses == sorted(losses, reverse=True)
    drop = scores.to_table()["trajectories.drop"].to_numpy(zero_copy_only=False)
    assert np.nanmin(drop[:60]) > np.nanmax(drop[60:])
    listed = assay.score(pool, Trajectories(models=tuple(checkpoints), num_clusters=4), workspace=tmp_path)
    assert listed.to_table().equals(scores.to_table())
    learnt = assay.score(pool, Learnability(models=folder), workspace=tmp_path).to_table()
    assert learnt["learnability.drop"].to_pylist() == scores.to_table()["trajectories.drop"].to_pylist()


def test_a_table_of_losses_is_what_preselect_takes(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    models = dict(zip(("none", "some", "much"), checkpoints, strict=True))
    path = assay.losses(pool, models, workspace=tmp_path)
    table = pq.read_table(path)
    assert table.column_names == ["id", "none", "some", "much"] and len(table) == 90  # one has no text
    lm = load_lm(checkpoints[1])
    text = dict(zip(*(pool.table(0, [name])[name].to_pylist() for name in ("id", "text")), strict=True))
    for name, found in table.select(["id", "some"]).slice(0, 5).to_pandas().itertuples(index=False):
        ids, starts = lm.encode(pa.array([text[name]]))
        bits = -lm.log_probabilities(ids, starts).sum() / np.log(2)
        assert found == pytest.approx(bits / len(text[name].encode()), abs=1e-3)
    assert table["much"].to_numpy()[:60].mean() < table["some"].to_numpy()[:60].mean()
    scores = assay.score(pool, PreSelect(losses=path, top=0.3), workspace=tmp_path)
    probability = scores.to_table()["preselect.probability"].to_numpy(zero_copy_only=False)
    assert probability[:60].mean() > probability[60:90].mean() + 0.3  # models in order of training tell text from noise
    turned = assay.losses(pool, models, ability={"none": 3, "some": 2, "much": 1}, workspace=tmp_path)
    assert pq.read_table(turned).column_names == ["id", "much", "some", "none"]
    assert len(pq.read_table(assay.losses(pool, models, sample=10, workspace=tmp_path))) < 60


def test_losses_that_cannot_be_are_refused(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    models = {"a": checkpoints[0], "b": checkpoints[1]}
    cases: list[tuple[dict[str, object], str]] = [
        ({"models": {"a": checkpoints[0]}}, "`models` .*two folders at least"),
        ({"models": {"id": checkpoints[0], "b": checkpoints[1]}}, "`models` .*without one called id"),
        ({"models": {**models, "c": str(tmp_path / "nowhere")}}, "nowhere"),
        ({"models": models, "ability": {"a": 1.0}}, "`ability` .*b has none"),
        ({"models": models, "ability": {"a": 1.0, "b": float("nan")}}, "`ability.b` "),
        ({"models": models, "ability": {"a": 1.0, "b": 1.0}}, "`ability` .*different"),
        ({"models": models, "sample": 1}, "`sample` "),
    ]
    for arguments, message in cases:
        with pytest.raises(InvalidParameterError, match=message):
            assay.losses(pool, workspace=tmp_path, **arguments)  # type: ignore[arg-type]
    (tmp_path / "empty.jsonl").write_text("\n".join(json.dumps({"id": f"{k}", "text": ""}) for k in range(3)))
    empty = assay.read(str(tmp_path / "empty.jsonl"), workspace=tmp_path)
    with pytest.raises(InputError, match="None of the 0 documents drawn has text"):
        assay.losses(empty, models, workspace=tmp_path)


def test_soft_labels_are_the_likeliest_tokens(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    found = assay.soft_labels(pool, checkpoints[2], k=5, workspace=tmp_path)
    tokens, starts, ids, chances = found.labels(0)
    assert (found.k, len(starts), ids.dtype, chances.dtype) == (5, 92, np.uint16, np.float16)
    lm = load_lm(checkpoints[2])
    expected_tokens, expected_starts = lm.encode(pa.array(pool.table(0, ["text"])["text"].to_pylist()))
    np.testing.assert_array_equal(tokens, expected_tokens)
    np.testing.assert_array_equal(starts, expected_starts)
    model = load(Path(checkpoints[2]))
    own = tokens[starts[3] : starts[4]][:20].astype(np.int64)
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([[lm.end_id, *own[:-1].tolist()]])))[0]
    top = torch.log_softmax(logits, dim=-1).topk(5)
    np.testing.assert_allclose(chances[starts[3] :][:20].astype(float), top.values.numpy(), rtol=2e-3, atol=2e-3)
    assert (ids[starts[3] :][:20] == top.indices.numpy()).mean() > 0.95  # but for ties
    assert 0 < found.manifest.summary["mass"] <= 1
    assert assay.soft_labels(pool, checkpoints[2], k=5, workspace=tmp_path).folder == found.folder
    with pytest.raises(InvalidParameterError, match="`k` "):
        assay.soft_labels(pool, checkpoints[2], k=0, workspace=tmp_path)
    assert [each.shape for each in likeliest(lm, tokens[:0], np.zeros(1, np.int64), 5)] == [(0, 5), (0, 5)]


def test_scores_do_not_depend_on_what_else_is_in_the_batch(checkpoints: list[str], texts: list[str]) -> None:
    rows = pa.RecordBatch.from_pylist([{"id": f"{k}", "text": text} for k, text in enumerate([*texts[:9], None, ""])])
    models = (checkpoints[0], checkpoints[2])
    trajectories = Trajectories(models=models, num_clusters=2)
    sketch = trajectories.sketch_pool(rows, {"num_documents": np.array([len(rows)])})
    fitted: list[tuple[Scorer, State]] = [
        (EL2N(models=models), {}),
        (Learnability(models=models), {}),
        (trajectories, trajectories.finish({}, sketch)),
    ]
    for scorer, state in fitted:
        whole = scorer.score(rows, state)
        pieces = [scorer.score(piece, state) for piece in (rows.slice(0, 1), rows.slice(1, 6), rows.slice(7))]
        assert [pa.concat_arrays(column) for column in zip(*pieces, strict=True)] == whole
        turned = scorer.score(rows.take(pa.array(np.arange(len(rows))[::-1])), state)
        assert [column.take(pa.array(np.arange(len(rows))[::-1])) for column in turned] == whole
        assert all(column.slice(9).null_count == 2 for column in whole)  # no text, and no tokens


def test_leakage_goes_by_what_orders_differ_in(checkpoints: list[str]) -> None:
    """Sums from the first token that differs rank orders as the log probabilities of whole texts do."""
    item = {"question": "p1 p2 p3 and what comes then", "choices": ["p4 p5", "p9", "p11 p2 p3"]}
    found = assay.leakage([item], checkpoints[2])
    lm, letters = load_lm(checkpoints[2]), "ABC"
    orders = list(permutations(range(3)))
    texts = ["\n".join([item["question"], *(f"{a}. {item['choices'][k]}" for a, k in zip(letters, o))]) for o in orders]  # noqa: B905
    ids, starts = lm.encode(pa.array(texts))
    sums = np.add.reduceat(lm.log_probabilities(ids, starts), starts[:-1])
    assert found.items["likeliest"].to_pylist() == ["".join(letters[k] for k in orders[int(sums.argmax())])]
    assert found.items["is_first_best"].to_pylist() == [bool(sums.argmax() == 0)]


def test_models_of_a_recipe_lie_beside_it() -> None:
    scorer = rooted_scorer(Trajectories(models=("a", "b")), "scorers", Path("/r"))
    assert scorer == Trajectories(models=("/r/a", "/r/b")) and scorer.paths() == {
        "models.0": "/r/a",
        "models.1": "/r/b",
    }
    assert rooted_scorer(EL2N(models="a"), "scorers", Path("/r")).paths() == {"models": "/r/a"}


def test_without_torch_the_pip_line_is_given(
    pool: Corpus, checkpoints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for ask in (
        lambda: assay.score(pool, EL2N(models=tuple(checkpoints)), workspace=tmp_path),
        lambda: assay.score(pool, Learnability(models=tuple(checkpoints)), workspace=tmp_path),
        lambda: assay.losses(pool, {"a": checkpoints[0], "b": checkpoints[1]}, workspace=tmp_path),
        lambda: assay.soft_labels(pool, checkpoints[0], workspace=tmp_path),
        lambda: assay.leakage([{"question": "q", "choices": ["a", "b"]}], checkpoints[0]),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'assay\[neural\]'"):
            ask()


def test_folders_that_hold_no_model_are_named(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(checkpoints[0], broken)
    (broken / "model.safetensors").unlink()
    for scorer in (EL2N(models=(str(broken),)), Trajectories(models=(checkpoints[0], str(broken)), num_clusters=2)):
        with pytest.raises(AssayError, match="broken"):
            assay.score(pool, scorer, workspace=tmp_path / "w")
    with pytest.raises(AssayError, match="broken"):
        assay.soft_labels(pool, str(broken), workspace=tmp_path / "w")


def test_norms_of_no_tokens_are_none(checkpoints: list[str]) -> None:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["", None], pa.string())})
    for own in (batch, batch.slice(0, 0)):
        assert [column.null_count for column in EL2N(models=checkpoints[0]).score(own, {})] == [len(own)] * 2


def test_a_model_of_no_numbers_is_no_null(checkpoints: list[str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(checkpoints[0], tmp_path / "spoilt")
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidParameterError, match="spoilt gives probabilities that are NaN"):
        EL2N(models=str(folder)).score(pa.RecordBatch.from_pydict({"text": ["some text"]}), {})


def test_checkpoints_have_one_tokenizer(checkpoints: list[str], tmp_path: Path) -> None:
    other = train_tiny(tmp_path, ["quite other text than theirs " * 9], (0,))
    batch = pa.RecordBatch.from_pydict({"id": ["1"], "text": ["quite other text"]})
    with pytest.raises(InvalidParameterError, match="`models` .* must have the same tokenizer"):
        Learnability(models=(checkpoints[0], other[0])).score(batch, {})


def test_tasks_of_one_name_are_no_stale_answers(checkpoints: list[str], tmp_path: Path) -> None:
    item = {"id": 1, "question": "q", "choices": ["a", "b"], "answer": 0}
    (tmp_path / "items.jsonl").write_text(json.dumps(item))
    plain, default = (read_task(str(tmp_path / "items.jsonl"), form=form) for form in ("plain", "default"))
    with pytest.raises(InvalidParameterError, match="`tasks` .*must be tasks of different names"):
        assay.evaluate(checkpoints[0], tasks=[plain, default], workspace=tmp_path / "w")
    named = [plain, replace(default, name="other")]
    answers = assay.evaluate(checkpoints[0], tasks=named, workspace=tmp_path / "w").answers()
    assert answers is not None and answers.column("task").to_pylist() == [plain.name, "other"]


def test_a_model_is_given_as_it_is_or_by_its_path(pool: Corpus, checkpoints: list[str], tmp_path: Path) -> None:
    shutil.copytree(checkpoints[2], tmp_path / "trained" / "model")
    model = Model(tmp_path / "trained", replace(pool.manifest, kind="model"))
    found = [assay.soft_labels(pool, given, k=2, workspace=tmp_path) for given in (model, model.path, str(model.path))]
    assert len({labels.folder for labels in found}) == 1
    for given in (model, model.path):
        assert assay.membership(pool, pool, given, shares=(0.2,)).scores[0].auc == 0.5
        assert len(assay.leakage([{"question": "q", "choices": ["a", "b"]}], given).items) == 1
        assert assay.losses(pool, {"a": checkpoints[0], "b": given}, workspace=tmp_path)
    scores = assay.score(pool, Perplexity(model=str(model.path)), workspace=tmp_path)
    run = assay.evaluate(model.path, target=pool, workspace=tmp_path)
    tested = pq.read_table(Path(run.folder) / run.manifest.parts[0]["file"])
    found_bits = scores.table(0).column("perplexity.bits_per_byte").to_pylist()
    np.testing.assert_allclose(found_bits[:-1], tested.column("bits_per_byte").to_pylist()[:-1], atol=1e-4)
    with pytest.raises(
        InvalidParameterError, match=r"`model` .* as text. Of a trained model that is str\(model.path\)"
    ):
        Perplexity(model=model.path)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="`model` .* must be a trained model, a folder"):
        assay.leakage([{"question": "q", "choices": ["a", "b"]}], 3)  # type: ignore[arg-type]


def test_a_path_may_start_at_home(
    pool: Corpus, checkpoints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path(checkpoints[0]).parent))
    name = Path(checkpoints[0]).name
    home, whole = (assay.soft_labels(pool, path, k=2, workspace=tmp_path) for path in (f"~/{name}", checkpoints[0]))
    assert home.folder == whole.folder
