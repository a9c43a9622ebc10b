"""Exact duplicates against Python's own equality, and against the published count of the shared pool."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.scorers.exact import Exact


def normalised(text: str) -> str:
    squeezed = " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())
    return squeezed or text


def sizes(corpus: Corpus, scorer: Exact) -> list[int]:
    scores = assay.score(corpus, scorer, workspace=corpus.folder.parent)
    return scores.to_table()["exact.cluster_size"].to_pylist()


def test_clusters_are_texts_that_are_equal(make_corpus: Callable[..., Corpus]) -> None:
    rng = np.random.default_rng(0)
    letters = list("aAbB .,\n!é漢🙂")
    texts = ["".join(letters[k] for k in rng.integers(0, len(letters), rng.integers(0, 5))) for _ in range(600)]
    texts += [
        "x" * 15,
        "x" * 16,
        "x" * 17,
        "\x00",
        "\x00\x00",
        "Don't  stop",
        "dont\tSTOP!",
        " dont stop",
        "don t stop",
    ]
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    for scorer, form in ((Exact(), str), (Exact(normalise=True), normalised)):
        counts = Counter(map(form, texts))
        assert sizes(corpus, scorer) == [counts[form(text)] for text in texts]
    assert len({normalised(text) for text in texts}) < len(set(texts))


def test_duplicates_of_the_shared_pool_are_those_of_its_table(shared: Path, tmp_path: Path) -> None:
    """The table counts texts without white space at their ends, file by file."""
    rows = re.findall(r"^\| pool/(\S+)\.jsonl\.zst \| \d.*?\| (\d+) \([\d.]+%\) \|$", table_of(shared), re.M)
    assert len(rows) == 13
    for name, _ in rows:
        with pa.input_stream(str(shared / "pool" / f"{name}.jsonl.zst"), compression="zstd") as stream:
            lines = [msgspec.json.decode(line) for line in stream.read().split(b"\n") if line]
        kept = [{"id": row["id"], "text": row["text"].strip(), "file": name} for row in lines]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, kept)) + b"\n")
    corpus = assay.read(str(tmp_path / "*.jsonl"), id="id", workspace=tmp_path / "w")
    scores = assay.score(corpus, Exact(), workspace=tmp_path / "w")
    found: Counter[str] = Counter()
    for part in range(corpus.num_parts):
        file = corpus.table(part, ["file"])["file"].to_pylist()
        stands = scores.table(part)["exact.representative"].to_pylist()
        found.update(name for name, keeps in zip(file, stands, strict=True) if not keeps)
    assert {name: found[name] for name, _ in rows} == {name: int(number) for name, number in rows}


def table_of(shared: Path) -> str:
    return next(shared.glob("README*")).read_text(encoding="utf-8")


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_normalise_is_true_or_false(value: object) -> None:
    with pytest.raises(assay.AssayError, match="`normalise` .* must be true or false"):
        Exact(normalise=value)  # type: ignore[arg-type]
