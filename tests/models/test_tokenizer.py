"""Ids equal to those of `tokenizers`, byte for byte."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from assay.errors import ArtifactError, InvalidParameterError
from assay.models.tokenizer import BPE
from tests.conftest import make_documents

SAMPLE = [
    *(d["text"] for d in make_documents(300, seed=0)),
    "def f(x):\n    return [y for y in range(x)]  # comment\n" * 20,
    "Das Straßenfest in München war schön, fand Jürgen. " * 20,
]
HARD = [
    "",
    " ",
    "\n\n\t  x",
    "a" * 1000,
    " " * 100 + "b" * 33 + "  c",
    "é" * 70 + "漢字" * 40,
    "🙂👩‍👩‍👧\u0301\u200b\ufeff",
    "\x00\x01\x7f\x80\u0085\u2028",
    "1234567890 3.14159e-10 0xFFFF __init__",
    "!" * 40 + "?!.,;:" * 10,
    "mixed漢字and🙂punct...tabs\t\tend ",
]


@pytest.fixture(scope="module")
def bpe() -> BPE:
    return BPE.train(SAMPLE, 1500)


def assert_same_ids(bpe: BPE, texts: list[str]) -> None:
    reference = Tokenizer.from_str(bpe.to_json())
    ids, starts = bpe.encode(pa.array(texts, pa.string()))
    for k, text in enumerate(texts):
        assert ids[starts[k] : starts[k + 1]].tolist() == reference.encode(text, add_special_tokens=False).ids, text[
            :80
        ]


def test_ids_are_those_of_tokenizers(bpe: BPE) -> None:
    assert_same_ids(bpe, SAMPLE + HARD)


def test_ids_are_those_of_tokenizers_on_random_characters(bpe: BPE) -> None:
    rng = np.random.default_rng(0)
    alphabets = [range(32, 127), range(0, 256), range(0x3B0, 0x400), range(0x4E00, 0x4F00), range(0x1F600, 0x1F640)]
    texts = ["".join(chr(c) for c in rng.choice(list(alphabet), 200)) for alphabet in alphabets for _ in range(20)]
    assert_same_ids(bpe, texts)


def test_ids_do_not_change_when_the_cache_overflows(bpe: BPE) -> None:
    rng = np.random.default_rng(1)
    text = " ".join(f"{n:x}" for n in rng.integers(0, 2**40, 250_000))
    assert_same_ids(bpe, [text])


def test_every_byte_comes_back(bpe: BPE) -> None:
    reference = Tokenizer.from_str(bpe.to_json())
    for text in HARD:
        ids, _ = bpe.encode(pa.array([text]))
        assert reference.decode(ids.tolist()) == text


def test_null_and_slices(bpe: BPE) -> None:
    texts = pa.array(["one", None, "two", "three"])
    ids, starts = bpe.encode(texts.slice(1, 2))
    assert starts[1] == 0
    np.testing.assert_array_equal(ids, bpe.encode(pa.array(["two"]))[0])


def test_training_is_deterministic_and_survives_saving(bpe: BPE, tmp_path: Path) -> None:
    assert BPE.train(SAMPLE, 1500).to_json() == bpe.to_json()
    bpe.save(tmp_path / "tokenizer.json")
    for copy in (BPE.load(tmp_path / "tokenizer.json"), pickle.loads(pickle.dumps(bpe))):
        assert copy.to_json() == bpe.to_json()
        assert copy.vocab_size == bpe.vocab_size == 1500


def test_a_small_sample_gives_a_smaller_vocabulary() -> None:
    small = BPE.train(["abc abc abd"], 1000)
    assert 257 <= small.vocab_size < 300
    assert_same_ids(small, ["abc abd xyz", ""])


@pytest.mark.parametrize("size", [256, 65_535, 3.5])
def test_vocabulary_sizes_that_cannot_be_are_refused(size: int) -> None:
    with pytest.raises(InvalidParameterError, match="`vocab_size` .* must be an integer from 257 to 65534"):
        BPE.train(["a"], size)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"model": {}}')
    with pytest.raises(ArtifactError, match="is not a tokenizer made by this version"):
        BPE.load(tmp_path / "t.json")
