"""The contract that every scorer in the table meets; a new scorer is found without anyone writing a test."""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest

from assay.api.recipe import named_scorer
from assay.errors import AssayError, NotFittedError
from assay.models.embedding import WordModel
from assay.scorers import Scorer, State
from tests.conftest import make_documents, words
from tests.contracts.examples import EXAMPLES, Example

TARGETS = ("one", "two")
TEXTS = [
    *(document["text"] for document in make_documents(20, seed=1, topic="a")),
    "",
    " \n\t ",
    "one",
    "Ünïcödé WÖRDS straße İstanbul ΣΊΣΥΦΟΣ 漢字かな交じり文 🙂🙂 e\u0301",
    "x" * 5000,
    " ".join(words(20_000, seed=2)),
    "\x00\x01 control \ufffd",
    None,
    *(document["text"] for document in make_documents(5, seed=3, topic="b")),
]


def batch(texts: list[str | None], type: pa.DataType | None = None) -> pa.RecordBatch:
    columns = [ids(texts), pa.array(texts, type or pa.string()), embedded(texts)]
    return pa.RecordBatch.from_arrays(columns, names=["id", "text", "embedding"])


def ids(texts: list[str | None]) -> pa.Array:
    """One for each text, wherever it stands: what a document is called stays with it."""
    return pa.array([hashlib.blake2b(repr(text).encode(), digest_size=8).hexdigest() for text in texts], pa.string())


def embedded(texts: list[str | None]) -> pa.Array:
    """Vectors as `assay.embed` stores them, of a small model that is not fitted to anything."""
    rows = np.arange(1 << 10, dtype=np.int32)
    model = WordModel(rows, np.random.default_rng(0).standard_normal((len(rows), 16)).astype(np.float32))
    vectors = model.encode(pa.array(texts, pa.string()), "mean").astype(np.float16)
    mask = pa.array([text is None for text in texts], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=pa.list_(pa.float16(), 16), mask=mask)


def fit(
    scorer: Scorer,
    pool: list[pa.RecordBatch],
    targets: dict[str, list[pa.RecordBatch]],
    documents: Mapping[str, list[pa.RecordBatch]] = MappingProxyType({}),
) -> State:
    sketches = {name: reduce(scorer.merge, map(scorer.sketch_target, batches)) for name, batches in targets.items()}
    for name, batches in documents.items():
        sketches[name] = reduce(scorer.merge, (scorer.sketch_documents(name, b) for b in batches))
    prepared = scorer.prepare(sketches)
    known = {**prepared, "num_documents": np.array([sum(map(len, pool))])}
    sketch = reduce(scorer.merge, (scorer.sketch_pool(b, known) for b in pool)) if scorer.reads_pool else {}
    return scorer.finish(prepared, sketch)


def target_batches(scorer: Scorer) -> dict[str, list[pa.RecordBatch]]:
    if not scorer.needs_target:
        return {}
    return {
        name: [batch([d["text"] for d in make_documents(6, seed=10 + k, topic=topic)] + TEXTS[:2])]
        for k, (name, topic) in enumerate(zip(TARGETS, "ab", strict=True))
    }


@pytest.fixture(params=EXAMPLES, scope="module")
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture(scope="module")
def scorer(example: Example) -> Scorer:
    return example.scorer


@pytest.fixture(scope="module")
def state(example: Example) -> State:
    documents = {name: [rows] for name, rows in example.documents.items()}
    return fit(example.scorer, [batch(TEXTS)], target_batches(example.scorer), documents)


def names(scorer: Scorer) -> list[str]:
    return [column.name for column in scorer.columns(tuple(target_batches(scorer)))]


def assert_same(a: list[pa.Array], b: list[pa.Array]) -> None:
    assert [column.to_pylist() for column in a] == [column.to_pylist() for column in b]


def test_columns_are_named_after_the_scorer_and_typed(scorer: Scorer, state: State) -> None:
    columns = scorer.columns(tuple(target_batches(scorer)))
    scored = scorer.score(batch(TEXTS), state)
    assert len(scored) == len(columns) and len(set(names(scorer))) == len(columns)
    for column, values in zip(columns, scored, strict=True):
        assert column.name.split(".")[0] in (scorer.prefixes or (scorer.name,))
        assert values.type == column.type
        assert column.meaning


def test_every_document_gets_a_row_and_null_text_gives_null(scorer: Scorer, state: State) -> None:
    missing = TEXTS.index(None)
    for values in scorer.score(batch(TEXTS), state):
        assert len(values) == len(TEXTS)
        assert values[missing].as_py() is None
        if pa.types.is_floating(values.type):
            assert not np.isnan(values.drop_null().to_numpy(zero_copy_only=False)).any()


def test_score_does_not_depend_on_order(scorer: Scorer, state: State) -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = scorer.score(batch([TEXTS[k] for k in order]), state)
    assert_same(shuffled, [values.take(pa.array(order)) for values in scorer.score(batch(TEXTS), state)])


def test_score_does_not_depend_on_how_batches_are_cut(scorer: Scorer, state: State) -> None:
    whole = batch(TEXTS)
    for cut in (1, 7, len(TEXTS) - 1):
        pieces = [scorer.score(piece, state) for piece in (whole.slice(0, cut), whole.slice(cut))]
        assert_same([pa.concat_arrays(column) for column in zip(*pieces, strict=True)], scorer.score(whole, state))


def test_fit_does_not_depend_on_how_batches_are_cut_or_ordered(example: Example, scorer: Scorer, state: State) -> None:
    whole = batch(TEXTS)
    cut = {name: [b.slice(3), b.slice(0, 3)] for name, (b,) in target_batches(scorer).items()}
    documents = {name: [b.slice(3), b.slice(0, 3)] for name, b in example.documents.items()}
    other = fit(scorer, [whole.slice(9), whole.slice(0, 9)], cut, documents)
    assert other.keys() == state.keys()
    for key in state:
        np.testing.assert_array_equal(other[key], state[key])


def test_string_types_score_alike(scorer: Scorer, state: State) -> None:
    expected = scorer.score(batch(TEXTS), state)
    assert_same(scorer.score(batch(TEXTS, pa.large_string()), state), expected)
    encoded = batch(TEXTS).set_column(1, "text", batch(TEXTS).column("text").dictionary_encode())
    assert_same(scorer.score(encoded, state), expected)


def test_bytes_hidden_under_a_null_are_not_read(scorer: Scorer, state: State) -> None:
    array = pa.array(["first", "second", "third"])
    validity = pa.py_buffer(bytes([0b101]))
    masked = pa.Array.from_buffers(pa.string(), 3, [validity, *array.buffers()[1:]])
    columns = [ids(["first", None, "third"]), masked, embedded(["first", None, "third"])]
    rows = pa.RecordBatch.from_arrays(columns, names=["id", "text", "embedding"])
    assert_same(scorer.score(rows, state), scorer.score(batch(["first", None, "third"]), state))


def test_scoring_twice_gives_the_same(scorer: Scorer, state: State) -> None:
    assert_same(scorer.score(batch(TEXTS), state), scorer.score(batch(TEXTS), state))


@pytest.mark.parametrize("texts", [[], [TEXTS[0]], [None], [""]], ids=["empty", "one", "null", "blank"])
def test_small_batches(scorer: Scorer, state: State, texts: list[str | None]) -> None:
    assert [len(values) for values in scorer.score(batch(texts), state)] == [len(texts)] * len(names(scorer))


def test_scorer_and_state_survive_pickling(scorer: Scorer, state: State) -> None:
    copy, copied_state = pickle.loads(pickle.dumps((scorer, state)))
    assert copy == scorer
    assert_same(copy.score(batch(TEXTS), copied_state), scorer.score(batch(TEXTS), state))


def test_score_before_fit_is_refused(scorer: Scorer) -> None:
    if not scorer.needs_target and not scorer.reads_pool and not scorer.document_sets():
        pytest.skip(f"{scorer.name} has nothing to fit")
    with pytest.raises(NotFittedError, match="has not been fitted"):
        scorer.score(batch(TEXTS), {})


def test_parameters_round_trip_and_are_checked_when_built(scorer: Scorer) -> None:
    assert named_scorer("score", {scorer.name: scorer.parameters()}) == scorer
    with pytest.raises(TypeError):
        type(scorer)(no_such_parameter=1)
    for name, value in scorer.parameters().items():
        if isinstance(value, int | float):
            for bad in (-1, "many", None):
                with pytest.raises(AssayError, match=f"`{name}` "):
                    replace(scorer, **{name: bad})
    with pytest.raises(AttributeError):
        scorer.name = "other"  # type: ignore[misc]


def test_summary_does_not_depend_on_parts(scorer: Scorer, state: State) -> None:
    def summarise(batches: list[pa.RecordBatch]) -> dict[str, float | dict[str, int]]:
        parts = [dict(zip(names(scorer), scorer.score(b, state), strict=True)) for b in batches]
        return scorer.summary(reduce(scorer.merge, map(scorer.summarise, parts)))

    whole = batch(TEXTS)
    parts, all_at_once = summarise([whole.slice(0, 5), whole.slice(5)]), summarise([whole])
    assert parts.keys() == all_at_once.keys()
    for key, figures in all_at_once.items():
        assert parts[key] == pytest.approx(figures)
