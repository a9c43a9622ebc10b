"""`assay.embed`: what is stored, what it depends on, and how scorers get at it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

import assay
from assay import Embedding
from assay.api import embedding
from assay.api.costing import steps_to
from assay.api.recipe import Recipe
from assay.artifacts.kinds import Corpus, Embeddings
from assay.artifacts.workspace import Workspace
from assay.cli import app
from assay.errors import ArtifactError, InvalidParameterError, SchemaError
from assay.scorers import PREFIXES, SCORERS, Column, Method, Scorer, State
from assay.scorers.vectors import set_embedding, vectors_of
from tests.conftest import make_documents, write_jsonl
from tests.s3 import Server

DOCUMENTS = [d for k, topic in enumerate("ab") for d in make_documents(30, seed=k, topic=topic)]


def matrix(embeddings: Embeddings) -> np.ndarray:
    arrays = [embeddings.vectors(k) for k in range(embeddings.num_parts)]
    return np.concatenate([a.values.to_numpy(zero_copy_only=False).reshape(len(a), -1) for a in arrays])


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(DOCUMENTS)


@pytest.fixture
def static_model(tmp_path: Path) -> Path:
    """A model2vec model of three words in four dimensions."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    StaticModel(np.eye(3, 4, dtype=np.float32), tokenizer).save_pretrained(str(tmp_path / "static"))
    return tmp_path / "static"


def test_every_document_has_a_vector_of_unit_length(pool: Corpus, workspace: Workspace) -> None:
    embeddings = assay.embed(pool, workspace=workspace)
    assert embeddings.vectors(0).type == pa.list_(pa.float16(), 128)
    vectors = matrix(embeddings).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert embeddings.dimensions == 128 and "128" in repr(embeddings)
    topics = np.array([d["source"] == "a" for d in DOCUMENTS])
    cosines = vectors @ vectors.T
    assert cosines[topics[:, None] == topics].mean() > cosines[topics[:, None] != topics].mean() + 0.1


def test_the_same_question_finds_the_same_vectors(pool: Corpus, workspace: Workspace) -> None:
    first = assay.embed(pool, "words", workspace=workspace)
    assert assay.embed(pool, Embedding(), workspace=workspace) == first
    others = [Embedding(dimensions=64), Embedding(pooling="position")]
    marks = {assay.embed(pool, other, workspace=workspace).fingerprint for other in others}
    assert len(marks | {first.fingerprint}) == 3


def test_neither_cuts_nor_order_change_a_vector(
    make_corpus: Callable[..., Corpus], tmp_path: Path, workspace: Workspace
) -> None:
    """The model is fitted to documents in the order of their hashes, and a text's vector goes by the text alone."""
    folder = tmp_path / "cut"
    folder.mkdir()
    for k in range(3):
        write_jsonl(folder / f"{k}.jsonl", DOCUMENTS[::-1][k::3])
    cut = assay.read(str(folder), workspace=workspace)
    ids = [i for k in range(cut.num_parts) for i in cut.table(k, ["id"])["id"].to_pylist()]
    assert cut.num_parts == 3
    whole = matrix(assay.embed(make_corpus(DOCUMENTS), workspace=workspace))
    rows = {d["id"]: k for k, d in enumerate(DOCUMENTS)}
    assert matrix(assay.embed(cut, workspace=workspace)).tobytes() == whole[[rows[i] for i in ids]].tobytes()


def test_another_corpus_is_embedded_by_the_model_of_the_pool(
    pool: Corpus, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    target = make_corpus(DOCUMENTS[5:7], "target")
    own = assay.embed(target, fitted_on=pool, workspace=workspace)
    assert matrix(own).tobytes() == matrix(assay.embed(pool, workspace=workspace))[5:7].tobytes()


def test_on_an_object_store_vectors_and_scores_are_those_of_a_local_disk(
    s3: Server, tmp_path: Path, workspace: Workspace
) -> None:
    file = write_jsonl(tmp_path / "pool.jsonl", DOCUMENTS)
    tables, vectors = [], []
    for space in (workspace, Workspace(s3.make_bucket())):
        pool = assay.read(file, workspace=space)
        vectors.append(assay.embed(pool, workspace=space))
        tables.append(assay.score(pool, "betr", target=pool, workspace=space).to_table())
    assert tables[0].equals(tables[1])
    assert vectors[0].fingerprint == vectors[1].fingerprint
    assert matrix(vectors[0]).tobytes() == matrix(vectors[1]).tobytes()


def test_a_damaged_model_is_made_again(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    def answer(dimensions: int) -> bytes:
        return matrix(assay.embed(pool, Embedding(dimensions=dimensions), workspace=workspace)).tobytes()

    expected = answer(8)
    (model,) = Path(str(workspace.root)).glob("embedder-*/model.npz")
    (vectors,) = Path(str(workspace.root)).glob("embeddings-*")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 255
    model.write_bytes(content)
    shutil.rmtree(vectors)
    embedding._encoder.cache_clear()
    with pytest.raises(ArtifactError, match="model.npz is damaged .* Run the same command again"):
        answer(8)
    assert answer(8) == expected


def test_a_document_without_words_has_zeros(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    texts = ["one two", "", "two three", " \n", "two one"]
    vectors = matrix(assay.embed(make_corpus([{"text": text} for text in texts]), workspace=workspace))
    assert vectors.any(axis=1).tolist() == [bool(text.strip()) for text in texts]


def test_the_command_shows_what_it_made(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool.jsonl", DOCUMENTS)
    done = CliRunner().invoke(
        app, ["embed", str(tmp_path / "pool.jsonl"), "--dimensions", "8", "--workspace", str(tmp_path / "w")]
    )
    assert done.exit_code == 0 and "words, pooling mean" in done.output and "60" in done.output


def test_a_static_model_gives_the_mean_of_its_tokens(
    make_corpus: Callable[..., Corpus], static_model: Path, workspace: Workspace
) -> None:
    corpus = make_corpus([{"text": t} for t in ("one two", "one two two unknown", "unknown", "one " * 2000 + "two")])
    mean = matrix(assay.embed(corpus, str(static_model), workspace=workspace)).astype(np.float64)
    expected = np.array([[0, 1, 1, 0], [0, 1, 2, 0], [0, 0, 0, 0], [0, 2000, 1, 0]], np.float64)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(mean, expected / np.where(lengths, lengths, 1), atol=1e-3)
    position = Embedding(model=str(static_model), pooling="position")
    weighted = matrix(assay.embed(corpus, position, workspace=workspace)).astype(np.float64)
    np.testing.assert_allclose(weighted[1], np.array([0, 1, 5, 0]) / 26**0.5, atol=1e-3)


def test_content_of_a_model_and_not_its_path_makes_the_fingerprint(
    pool: Corpus, static_model: Path, workspace: Workspace
) -> None:
    first = assay.embed(pool, str(static_model), workspace=workspace)
    moved = static_model.rename(static_model.with_name("moved"))
    assert assay.embed(pool, str(moved), workspace=workspace) == first
    (moved / "README.md").write_text("changed")
    assert assay.embed(pool, str(moved), workspace=workspace).fingerprint != first.fingerprint


def test_what_cannot_be_a_model_is_refused(pool: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text("{}")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "model2vec"}')
    for path, message in (
        (tmp_path / "none", r'must be "words" or a folder that is there. Models are not downloaded'),
        (tmp_path / "other", r"sentence-transformers model \(modules.json\) or a model2vec one"),
        (broken, "broken cannot be loaded"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            assay.embed(pool, str(path), workspace=workspace)
    blank = assay.read(write_jsonl(tmp_path / "blank.jsonl", [{"text": " "}]), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="no words to fit an embedding on"):
        assay.embed(blank, workspace=workspace)


@dataclass(frozen=True, kw_only=True)
class Nearest(Scorer):
    """The best cosine with a target document, and how many vectors the fit has seen."""

    name: ClassVar[str] = "nearest"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    nested: ClassVar[tuple[str, ...]] = ("of",)

    embedding: Embedding = Embedding()  # noqa: RUF009
    of: Method | None = None

    def __post_init__(self) -> None:
        set_embedding(self)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        return [
            Column("nearest.cosine", pa.float64(), True, "cosine"),
            Column("nearest.seen", pa.int64(), None, "seen"),
        ]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        return {"target": vectors_of(batch)[0]}

    def prepare(self, targets: dict[str, State]) -> State:
        return {"target": targets["target"]["target"]}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        return {"seen": np.array([vectors_of(batch)[1].sum()])}

    def finish(self, prepared: State, pool: State) -> State:
        return prepared | pool

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        assert batch.schema.names == ["text", "id", "embedding"]
        vectors, is_valid = vectors_of(batch)
        best = (vectors @ state["target"].T).max(axis=1).astype(np.float64)
        return [pa.array(best, mask=~is_valid), pa.array(np.repeat(state["seen"], len(batch)))]


@pytest.fixture
def nearest(monkeypatch: pytest.MonkeyPatch) -> type[Nearest]:
    monkeypatch.setitem(SCORERS, "nearest", Nearest)
    monkeypatch.setitem(PREFIXES, "nearest", "nearest")
    return Nearest


def test_scorers_are_given_vectors(
    nearest: type[Nearest], pool: Corpus, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    target = make_corpus(DOCUMENTS[:3], "target")
    table = assay.score(pool, nearest(), target=target, workspace=workspace).to_table()
    vectors = matrix(assay.embed(pool, workspace=workspace)).astype(np.float32)
    np.testing.assert_allclose(table["nearest.cosine"], (vectors @ vectors[:3].T).max(axis=1), atol=2e-3)
    assert set(table["nearest.seen"].to_pylist()) == {60}


def test_what_vectors_cost_is_told_as_steps_of_their_own(
    nearest: type[Nearest], pool: Corpus, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    target = make_corpus(DOCUMENTS[:3], "target")
    scores = assay.score(pool, nearest(), target=target, workspace=workspace)
    steps = [step["step"] for step in steps_to(scores.manifest, workspace)]
    assert steps == ["read pool", "read target", "fit embedding words128", "embed pool", "score nearest"]


def test_what_makes_vectors_makes_the_fingerprint_of_scores(
    nearest: type[Nearest], pool: Corpus, static_model: Path, workspace: Workspace
) -> None:
    def mark(scorer: Scorer) -> str:
        return assay.score(pool, scorer, target=pool, workspace=workspace).fingerprint

    static = Embedding(model=str(static_model))
    first = mark(nearest(embedding=static))
    moved = static_model.rename(static_model.with_name("moved"))
    assert mark(nearest(embedding=replace(static, model=str(moved)))) == first
    assert mark(nearest(embedding={"model": str(moved), "pooling": "position"})) != first
    assert mark(nearest()) not in (first, mark(nearest(embedding=Embedding(dimensions=8))))


def test_what_is_nested_shares_the_embedding(nearest: type[Nearest], pool: Corpus, workspace: Workspace) -> None:
    both = nearest(of=nearest(embedding=Embedding(dimensions=8)))
    with pytest.raises(InvalidParameterError, match="several embeddings"):
        assay.score(pool, both, target=pool, workspace=workspace)


def test_a_recipe_takes_the_path_of_a_model_from_its_folder(nearest: type[Nearest], tmp_path: Path) -> None:
    content = {"pool": "pool.jsonl", "target": "t.jsonl", "budget": "1k tokens", "arms": {}}
    for given, expected in (("words", "words"), ("m", str(tmp_path / "m")), ({"model": "m"}, str(tmp_path / "m"))):
        arms = {"near": {"score": {"nearest": {"embedding": given}}}}
        scorer = Recipe.from_dict(content | {"arms": arms}, tmp_path).arms["near"].scorer
        assert isinstance(scorer, Nearest) and scorer.embedding.model == expected


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_model_from_a_folder_is_named(
    pool: Corpus, static_model: Path, workspace: Workspace, file: str
) -> None:
    content = (static_model / file).read_bytes()
    (static_model / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidParameterError, match=rf"The embedding model in {static_model} cannot be loaded: "):
        assay.embed(pool, str(static_model), workspace=workspace)


@pytest.mark.parametrize("pooling", ["mean", "position"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_with_numbers_that_are_none_is_refused(
    make_corpus: Callable[..., Corpus], static_model: Path, workspace: Workspace, pooling: str, number: float
) -> None:
    corpus = make_corpus([{"id": "a", "text": "one two"}, {"id": "b", "text": "two"}])
    model = StaticModel.from_pretrained(static_model)
    model.embedding[1, 0] = number
    model.save_pretrained(str(static_model))
    with pytest.raises(InvalidParameterError, match="gives vectors with NaN or infinite numbers"):
        assay.embed(corpus, Embedding(model=str(static_model), pooling=pooling), workspace=workspace)


def test_vectors_of_a_slice_with_nulls() -> None:
    values = pa.array(np.array([0, 1, 0.6, 0.8, 0.5, 0.5, 0.5, 0.5, -1, 0, 0, 0], np.float16))
    column = pa.FixedSizeListArray.from_arrays(
        values, type=pa.list_(pa.float16(), 2), mask=pa.array([False, False, True, False, False, False])
    )
    batch = pa.RecordBatch.from_arrays([pa.array(["a", "b", "c", None, "e", "f"]), column], names=["text", "embedding"])
    vectors, is_valid = vectors_of(batch.slice(1))
    assert is_valid.tolist() == [True, False, False, True, False]
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0], [-1, 0], [0, 0]], atol=2**-11)
    with pytest.raises(SchemaError, match="no column 'embedding'"):
        vectors_of(batch.select(["text"]))
