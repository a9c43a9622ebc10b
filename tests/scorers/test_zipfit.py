"""ZIP-FIT: what its forms share, what is cut, what is refused."""

import zlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import ZipFit
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from tests.conftest import make_documents, make_prose


def batch(texts: list[str | None]) -> pa.RecordBatch:
    ids = [f"d{k}" for k in range(len(texts))]
    return pa.RecordBatch.from_arrays([pa.array(ids), pa.array(texts, pa.string())], names=["id", "text"])


def scored(scorer: ZipFit, target: list[str | None], pool: list[str | None]) -> dict[str, np.ndarray]:
    prepared = scorer.prepare({"target": scorer.sketch_target(batch(target))})
    sketch = scorer.sketch_pool(batch(pool), prepared | {"num_documents": np.array([len(pool)])})
    state = scorer.finish(prepared, sketch)
    columns = [column.name for column in scorer.columns(("target",))]
    found = {
        c: v.to_numpy(zero_copy_only=False) for c, v in zip(columns, scorer.score(batch(pool), state), strict=True)
    }
    return found | scorer.fit_summary(state)


def test_a_text_is_aligned_with_itself_and_less_so_with_another() -> None:
    one, other = (make_prose(1, topic=topic, length=400)[0]["text"] for topic in "ab")
    alignment = scored(ZipFit(), [one], [one, other])["zipfit.alignment"]
    assert alignment[0] > 0.9
    assert alignment[1] < 0.4


@pytest.mark.parametrize("compressor", ["zlib", "zstd"])
def test_planted_documents_come_first(compressor: str) -> None:
    kinds = {topic: [d["text"] for d in make_prose(30, topic=topic, length=80)] for topic in "ab"}
    found = scored(ZipFit(compressor=compressor), kinds["a"][:10], kinds["a"][10:] + kinds["b"])
    for column in ("zipfit.alignment", "zipfit.primed"):
        pairs = found[column][:20, None] > found[column][None, 20:]
        assert pairs.mean() > 0.98


def test_with_as_many_anchors_as_texts_the_form_is_exact() -> None:
    texts = [d["text"] for d in make_documents(25)]
    exact, all_anchors, few = (scored(ZipFit(anchors=n), texts[:8], texts) for n in (0, 8, 3))
    np.testing.assert_allclose(exact["zipfit.alignment"], all_anchors["zipfit.alignment"], rtol=1e-12)
    assert not np.allclose(exact["zipfit.alignment"], few["zipfit.alignment"])
    np.testing.assert_array_equal(exact["zipfit.primed"], few["zipfit.primed"])
    assert all_anchors["agreement_with_exact"] == pytest.approx(1)
    assert "agreement_with_exact" not in exact
    order = np.argsort(np.argsort(exact["zipfit.alignment"])), np.argsort(np.argsort(few["zipfit.alignment"]))
    assert few["agreement_with_exact"] == pytest.approx(np.corrcoef(*order)[0, 1])  # 25 documents are all judged


def test_only_the_start_of_a_text_is_read() -> None:
    texts = [d["text"] for d in make_documents(12, length=300)]
    cut = [text[:500] for text in texts]
    whole = scored(ZipFit(max_bytes=500), texts[:4], texts)
    np.testing.assert_array_equal(
        whole["zipfit.alignment"], scored(ZipFit(max_bytes=500), cut[:4], cut)["zipfit.alignment"]
    )
    assert whole["zipfit.alignment"][5] != scored(ZipFit(), texts[:4], texts)["zipfit.alignment"][5]


def test_the_longest_texts_allowed_lie_inside_the_window_and_longer_ones_would_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 40_000, np.uint8).tobytes()
    seen, unseen = noise[:16_384], noise
    assert len(zlib.compress(seen + seen, 6)) < 1.05 * len(zlib.compress(seen, 6))
    assert len(zlib.compress(unseen + unseen, 6)) > 1.95 * len(zlib.compress(unseen, 6))
    with pytest.raises(InvalidParameterError, match=r"`max_bytes` .*from 1 to 16384"):
        ZipFit(max_bytes=16_385)


def test_a_bounded_sample_of_the_target_is_taken_whatever_its_order() -> None:
    texts = [d["text"] for d in make_documents(700, length=10)]
    whole, scorer = batch(texts), ZipFit(max_targets=50)
    pieces = [scorer.sketch_target(whole.slice(k, 100)) for k in range(0, 700, 100)]
    merged = pieces[-1]
    for piece in pieces[-2::-1]:
        merged = scorer.merge(merged, piece)
    assert len(merged["sample.keys"]) <= 400
    cut, at_once = scorer.prepare({"t": merged}), scorer.prepare({"t": scorer.sketch_target(whole)})
    assert len(cut["text_bytes"]) == 50
    for key in cut:
        np.testing.assert_array_equal(cut[key], at_once[key])


def test_of_several_targets_the_best_counts() -> None:
    kinds = {topic: [d["text"] for d in make_prose(12, topic=topic, length=80)] for topic in "ab"}
    scorer = ZipFit()
    sketches = {topic: scorer.sketch_target(batch(texts[:6])) for topic, texts in kinds.items()}
    state = scorer.prepare(sketches) | {"agreement": np.array([np.nan])}
    best, primed, *each = (c.to_numpy() for c in scorer.score(batch(kinds["a"][6:] + kinds["b"][6:]), state))
    assert [c.name for c in scorer.columns(("a", "b"))][2:] == [
        f"zipfit.{column}.{target}" for target in "ab" for column in ("alignment", "primed")
    ]
    np.testing.assert_array_equal(best, np.maximum(each[0], each[2]))
    np.testing.assert_array_equal(primed, np.maximum(each[1], each[3]))
    assert (each[0][:6] > each[2][:6]).all() and (each[0][6:] < each[2][6:]).all()
    assert scorer.fit_summary(state) == {"agreement_with_exact": None}


def test_agreement_stands_in_the_manifest(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    pool, target = make_corpus(make_documents(60)), make_corpus(make_documents(10, seed=5), "target")
    scores = assay.score(pool, "zipfit", target=target, workspace=workspace)
    assert -1 <= scores.manifest.summary["agreement_with_exact"] <= 1


@pytest.mark.parametrize("texts", [[], [None], ["", None]])
def test_a_target_without_text_is_refused(texts: list[str | None]) -> None:
    with pytest.raises(InvalidParameterError, match="Target 't' has no text"):
        ZipFit().prepare({"t": ZipFit().sketch_target(batch(texts))})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"level": 0}, r"`level` \(=0\) must be an integer from 1 to 9"),  # stores only, and so ranks by length
        ({"level": 10}, "`level`"),
        ({"compressor": "lz4"}, "`compressor` .*one of zlib, zstd"),
        ({"max_targets": 0}, "`max_targets`"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        ZipFit(**parameters)
