"""The bounded sample is the documents of the least hashes, however the pool is cut and ordered."""

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.scorers import State
from assay.scorers.sampling import merge_samples, sampled, shortened, sketch_sample, thinned

NUM_DOCUMENTS = 20_000


def pool(num_documents: int = NUM_DOCUMENTS) -> pa.RecordBatch:
    rows = range(num_documents)
    texts = [None if k % 10 == 9 else f"text {k} ü" for k in rows]
    vectors = np.arange(2 * num_documents, dtype=np.float32)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 2)
    return pa.RecordBatch.from_pydict({"id": [f"d{k}" for k in rows], "text": texts, "embedding": embedding})


def sketch(batches: list[pa.RecordBatch], size: int, seed: int = 0) -> State:
    num_documents = sum(map(len, batches))
    return reduce(merge_samples, (sketch_sample(batch, num_documents, size, seed) for batch in batches))


def test_rows_stay_together_and_documents_without_text_are_passed_over() -> None:
    found = sampled(sketch([pool()], 500), 500).to_pylist()
    assert len(found) == 500
    for row in found:
        k = int(row["id"][1:])
        assert row["text"] == f"text {k} ü" and row["embedding"] == [2 * k, 2 * k + 1]


def test_cuts_and_order_change_nothing() -> None:
    whole = pool()
    shuffled = whole.take(pa.array(np.random.default_rng(0).permutation(len(whole))))
    pieces = [shuffled.slice(0, 7), shuffled.slice(7, 9000), shuffled.slice(9007)]
    assert sampled(sketch(pieces, 300), 300).equals(sampled(sketch([whole], 300), 300))


def test_every_document_is_as_likely_as_any_other_and_seeds_differ() -> None:
    times = np.zeros(NUM_DOCUMENTS)
    for seed in range(40):
        times[[int(id[1:]) for id in sampled(sketch([pool()], 2000, seed), 2000)["id"].to_pylist()]] += 1
    has_text = np.arange(NUM_DOCUMENTS) % 10 != 9
    expected = 40 * 2000 / has_text.sum()
    assert times[~has_text].sum() == 0
    # Counts of a sample without replacement vary like a binomial's, a little less.
    assert times[has_text].var() == pytest.approx(expected * (1 - expected / 40), rel=0.05)
    halves = times[has_text].reshape(2, -1).sum(axis=1)
    assert abs(halves[0] - halves[1]) < 5 * np.sqrt(halves.sum())


def test_what_is_kept_on_the_way_is_little_more_than_the_sample() -> None:
    assert 1000 <= len(sketch([pool()], 1000)["sample.keys"]) < 1300


def test_a_small_pool_is_taken_whole_and_a_prefix_is_a_smaller_sample() -> None:
    small = sampled(sketch([pool(50)], 1000), 1000)
    assert sorted(small["id"].to_pylist()) == sorted(f"d{k}" for k in range(50) if k % 10 != 9)
    large = sketch([pool()], 400)
    assert sampled(large, 100).equals(sampled(large, 400).slice(0, 100))


def test_a_pool_without_text_is_refused() -> None:
    nothing = pool(10).set_column(1, "text", pa.nulls(10, pa.string()))
    with pytest.raises(InvalidParameterError, match="no documents with text"):
        sampled(sketch([nothing], 5), 5)


def test_thinning_on_the_way_changes_no_sample_and_bounds_it() -> None:
    whole = pool(5000).drop_columns("embedding")
    pieces = [sketch_sample(whole.slice(k, 500), 0, 100) for k in range(0, 5000, 500)]
    bounded = reduce(lambda a, b: thinned(merge_samples(a, b), 100), pieces)
    assert len(bounded["sample.keys"]) <= 200
    assert sampled(bounded, 100).equals(sampled(reduce(merge_samples, pieces), 100))


def test_shortened_texts_are_the_starts_of_the_texts() -> None:
    texts = ["", "ab", "abcdef", "ü" * 4]
    batch = pa.RecordBatch.from_pydict({"id": list("wxyz"), "text": texts})
    found = sampled(shortened(sketch_sample(batch, 4, 4), 4), 4).to_pydict()
    assert dict(zip(found["id"], found["text"], strict=True)) == dict(
        zip("wxyz", ["", "ab", "abcd", "üü"], strict=True)
    )


def test_of_documents_that_share_an_id_the_same_are_taken_in_any_order() -> None:
    rows = pa.RecordBatch.from_pydict({"id": ["twin"] * 40, "text": [f"text {k}" for k in range(40)]})
    there, back = (
        sampled(sketch_sample(rows.take(pa.array(order)), 0, 10), 10) for order in (range(40), range(39, -1, -1))
    )
    assert there.column("text").to_pylist() == back.column("text").to_pylist()
