"""The embedded model "words" against a slow, obvious version; what it must not depend on."""

import pickle
import re

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.arrow import utf8
from assay.kernels.embedding import count_words, project_words
from assay.kernels.unicode import tables
from assay.models.embedding import NUM_BUCKETS, Embedding, WordModel, as_embedding, fit_words
from tests.conftest import make_documents

COMMON = " the of and to in is that for it was on as with , . ( )"  # or else a topic would be the first component
TEXTS = [d["text"] + COMMON for k, topic in enumerate("abc") for d in make_documents(40, seed=k, topic=topic)]
ODD = ["", " \n", "zzzqqq", None, "Ünïcödé WÖRDS 漢字 🙂 " + TEXTS[0], TEXTS[1].upper(), TEXTS[2] * 50]


def sparse(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    text = utf8(pa.array(texts, pa.string()))
    return count_words(text.data, text.offsets, NUM_BUCKETS, tables())


@pytest.fixture(scope="module")
def model() -> WordModel:
    return fit_words(*sparse(TEXTS), 16)


def encode(model: WordModel, texts: list[str | None], pooling: str = "mean") -> np.ndarray:
    return model.encode(pa.array(texts, pa.string()), pooling)


def split(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text.lower())


def test_counts_are_those_of_the_words() -> None:
    starts, _, counts = sparse(["one two two", "", "three! three, One"])
    assert starts.tolist() == [0, 2, 2, 6]
    assert counts.tolist() == [1, 2, 2, 1, 1, 1]


def test_vectors_equal_latent_semantic_analysis_by_numpy() -> None:
    """The same weights in a dense matrix, and its singular vectors by LAPACK."""
    words = [split(text) for text in TEXTS]
    known = sorted({word for some in words for word in some if sum(word in other for other in words) >= 2})
    counts = np.array([[some.count(word) for word in known] for some in words])
    idf = np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(axis=0))) + 1
    weights = np.log1p(counts) * idf
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    singular, right = np.linalg.svd(weights, full_matrices=False)[1:]
    assert singular[2] > 2 * singular[3]  # three topics: of the rest, which is noise, any direction is as good
    expected = np.log1p(counts) * idf @ right[1:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = encode(fit_words(*sparse(TEXTS), 2), TEXTS).astype(np.float64)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.02)


def test_components_hold_nearly_as_much_as_any_could(model: WordModel) -> None:
    """Against LAPACK on the same sparse matrix, in a spectrum that is nearly flat."""
    starts, buckets, counts = sparse(TEXTS)
    known = np.flatnonzero(model.rows >= 0)
    dense = np.zeros((len(TEXTS), NUM_BUCKETS))
    dense[np.repeat(np.arange(len(TEXTS)), np.diff(starts)), buckets] = np.log1p(counts)
    frequencies = (dense > 0).sum(axis=0)[known]
    idf = np.log((1 + len(TEXTS)) / (1 + frequencies)) + 1
    dense = dense[:, known] * idf
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    best = np.linalg.svd(dense, compute_uv=False)
    components = model.vectors[model.rows[known]].astype(np.float64) / idf[:, None]
    np.testing.assert_allclose(components.T @ components, np.eye(16), atol=1e-6)
    assert (np.linalg.norm(dense @ components) ** 2) / (best[1:17] ** 2).sum() > 0.98


def test_position_weights_a_word_by_its_place(model: WordModel) -> None:
    first, second = (word for word in split(TEXTS[0])[:2])
    own = {word: encode(model, [word])[0] for word in (first, second)}
    assert first != second
    rows, vectors = model.rows, model.vectors
    both = f"{first} {second} {second}"  # places 1, 2, 3 of 3: weights 1/6 and 5/6, times 3
    text = utf8(pa.array([first, second]))
    raw = [vectors[rows[b]] for b in count_words(text.data, text.offsets, NUM_BUCKETS, tables())[1]]
    expected = np.log1p(0.5) * raw[0] + np.log1p(2.5) * raw[1]
    np.testing.assert_allclose(encode(model, [both], "position")[0], expected / np.linalg.norm(expected), atol=1e-6)
    mean = np.log1p(1) * raw[0] + np.log1p(2) * raw[1]
    np.testing.assert_allclose(encode(model, [both])[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert own[first] @ own[second] < 0.999


@pytest.mark.parametrize("pooling", ["mean", "position"])
def test_a_text_has_the_same_bytes_in_any_batch(model: WordModel, pooling: str) -> None:
    texts = TEXTS[:10] + ODD
    whole = encode(model, texts, pooling)
    for k, text in enumerate(texts):
        assert encode(model, [text], pooling)[0].tobytes() == whole[k].tobytes()


def test_vectors_have_unit_length_or_are_zero(model: WordModel) -> None:
    lengths = np.linalg.norm(encode(model, TEXTS + ODD), axis=1)
    is_zero = np.array([text is None or not text.strip() or text == "zzzqqq" for text in TEXTS + ODD])
    np.testing.assert_allclose(lengths, np.where(is_zero, 0.0, 1.0), atol=1e-6)


def test_the_plain_function_gives_what_the_compiled_one_does(model: WordModel) -> None:
    text = utf8(pa.array([*TEXTS[:2], "", "a b"]))
    arguments = text.data, text.offsets, model.rows, model.vectors, True, tables()
    with np.errstate(over="ignore"):
        plain = project_words.py_func(*arguments)
    np.testing.assert_allclose(plain, project_words(*arguments), atol=1e-6)


def test_topics_lie_apart(model: WordModel) -> None:
    vectors = encode(model, TEXTS)
    topics = np.repeat(np.arange(3), 40)
    same = topics[:, None] == topics
    cosines = vectors @ vectors.T
    assert cosines[same].mean() > 0.5 > 0.1 > cosines[~same].mean()


def test_fitting_twice_gives_the_same_bytes(model: WordModel) -> None:
    again = fit_words(*sparse(TEXTS), 16)
    assert again.vectors.tobytes() == model.vectors.tobytes()
    assert encode(pickle.loads(pickle.dumps(again)), TEXTS).tobytes() == encode(model, TEXTS).tobytes()


@pytest.mark.parametrize("texts", [["only one"], ["same same"] * 5, ["a b", "b c"], ["a", "b", "c"]])
def test_small_samples_give_vectors_that_end_in_zeros(texts: list[str]) -> None:
    vectors = encode(fit_words(*sparse(texts), 8), texts)
    assert vectors.shape == (len(texts), 8)
    assert np.linalg.norm(vectors, axis=1).max() == pytest.approx(1)
    assert not vectors[:, len(texts) :].any()


def test_no_words_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="no words to fit an embedding on"):
        fit_words(*sparse(["", "  "]), 8)


def test_what_recipes_write_becomes_an_embedding() -> None:
    assert as_embedding("words") == Embedding() == as_embedding({}) == as_embedding(Embedding())
    assert as_embedding("models/x") == Embedding(model="models/x")
    assert as_embedding({"model": "m", "pooling": "position"}) == Embedding(model="m", pooling="position")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"`embedding` \(=3\) must be an Embedding"),
        ({"modell": "x"}, "no parameter 'modell'; it has model, dimensions, pooling. Did you mean 'model'"),
        ({"dimensions": 1}, r"`dimensions` \(=1\)"),
        ({"pooling": "max"}, r"`pooling` \(='max'\) must be one of mean, position"),
        ("", "`model` "),
    ],
)
def test_bad_embeddings_are_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        as_embedding(value)
