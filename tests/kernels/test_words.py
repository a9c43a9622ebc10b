"""Words as Python's own regular expressions find them."""

import re
import sys

import numpy as np
import pyarrow as pa
import pytest

from assay.kernels.arrow import utf8
from assay.kernels.unicode import OTHER, SPACE, WORD, decode, tables
from assay.kernels.words import count_ngrams, measure, next_words, sum_ngrams, word_windows

TEXTS = [
    "Hello, World! It's 3.14 -- \t\nfoo_bar  ",
    "Ünïcödé STRASSE straße Ελληνικά Ω ΣΊΣΥΦΟΣ İstanbul ǅ",
    "漢字かな交じり文、テスト。 한국어 العربية हिन्दी ไทย",
    "a\u00a0b\u2003c\u200bd\u3000e 🙂👩‍👩‍👧 e\u0301 x²",
    "",
    "   ",
    "...!!!",
    "\x00\x1f\x7f\x85 end",
]
WORD_PUNCT = re.compile(r"\w+|[^\w\s]+")


def word_hashes(text: str, buffer: int = 4096) -> list[tuple[int, int]]:
    """(hash, class) of each word of a text, through a buffer of so many."""
    data = np.frombuffer(text.encode(), np.uint8)
    hashes, kinds = np.empty(buffer, np.uint64), np.empty(buffer, np.uint8)
    found: list[tuple[int, int]] = []
    i, h, kind = 0, np.uint64(0), np.uint8(SPACE)
    while i < len(data):
        count, i, h, kind = next_words(data, i, len(data), h, kind, hashes, kinds, tables())
        found += zip(hashes[:count].tolist(), kinds[:count].tolist(), strict=True)
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_the_regular_expression(text: str) -> None:
    words = WORD_PUNCT.findall(text)
    assert word_hashes(text) == [word_hashes(word)[0] for word in words]
    assert [kind == WORD for _, kind in word_hashes(text)] == [re.match(r"\w", word) is not None for word in words]


@pytest.mark.parametrize("buffer", [3, 4, 17])
def test_the_size_of_the_buffer_does_not_matter(buffer: int) -> None:
    for text in TEXTS:
        assert word_hashes(text, buffer) == word_hashes(text)


def test_different_words_have_different_hashes() -> None:
    words = [f"{a}{b}" for a in ("", "x", "yz", "é") for b in range(5000)]
    assert len({h for h, _ in word_hashes(" ".join(words))}) == len(words)


def test_classes_and_lower_case_are_those_of_python_for_every_code_point() -> None:
    _, classes, lower = tables()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        expected = WORD if re.match(r"\w", character) else SPACE if character.isspace() else OTHER
        assert classes[code] == expected, hex(code)
        if len(character.lower()) == 1 and expected == WORD:
            assert chr(lower[code]) == character.lower(), hex(code)


@pytest.mark.parametrize("character", ["a", "é", "漢", "🙂", "\ufffd", "\U0010ffff"])
def test_decoding_is_that_of_utf8(character: str) -> None:
    data = np.frombuffer(character.encode(), np.uint8)
    assert decode(data, 0, len(data)) == (ord(character), len(data))


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xe2\x82", b"\xf5\x80\x80\x80", b"\x80", b"\xc3a"])
def test_ill_formed_bytes_are_replaced_one_at_a_time(raw: bytes) -> None:
    assert decode(np.frombuffer(raw, np.uint8), 0, len(raw)) == (0xFFFD, 1)


def counted(texts: list[str], order: int, num_buckets: int = 1 << 20) -> np.ndarray:
    data = utf8(pa.array(texts))
    counts = np.zeros(num_buckets, np.int64)
    count_ngrams(data.data, data.offsets, order, counts, tables())
    return counts


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_distinct_ngram_has_a_bucket_of_its_own_when_there_are_many(order: int) -> None:
    words = [w.lower() for w in WORD_PUNCT.findall(TEXTS[0] * 3)]
    ngrams = [tuple(words[k : k + n]) for n in range(1, order + 1) for k in range(len(words) - n + 1)]
    counts = counted([TEXTS[0] * 3], order)
    expected = sorted(ngrams.count(ngram) for ngram in set(ngrams))
    assert sorted(counts[counts > 0].tolist()) == expected


def test_case_does_not_matter_and_order_does() -> None:
    np.testing.assert_array_equal(counted(["One TWO"], 2), counted(["one two"], 2))
    assert (counted(["one two"], 2) != counted(["two one"], 2)).any()


def test_ngrams_do_not_cross_documents() -> None:
    np.testing.assert_array_equal(counted(["one two", "three"], 2), counted(["one two"], 2) + counted(["three"], 2))


def test_sums_are_the_dot_product_of_counts_and_weights() -> None:
    weights = np.random.default_rng(0).normal(size=(1000, 3))
    data = utf8(pa.array(TEXTS))
    sums, num_ngrams = sum_ngrams(data.data, data.offsets, 2, weights, tables())
    counts = np.stack([counted([text], 2, 1000) for text in TEXTS])
    np.testing.assert_allclose(sums, counts @ weights, atol=1e-9)
    np.testing.assert_array_equal(num_ngrams, counts.sum(axis=1))


@pytest.mark.parametrize("text", TEXTS)
def test_measures(text: str) -> None:
    data = utf8(pa.array([text]))
    characters, num_words, tokens = measure(data.data, data.offsets, tables())[0]
    assert characters == len(text)
    assert num_words == len(re.findall(r"\w+", text))
    assert tokens == sum(-(-len(run.encode()) // 6) for run in WORD_PUNCT.findall(text))


def windows(text: str, length: int) -> list[int]:
    data = utf8(pa.array([text]))
    hashes, starts = word_windows(data.data, data.offsets, length, tables())
    assert starts.tolist() == [0, len(hashes)]
    return hashes.tolist()


def test_windows_ignore_case_punctuation_and_what_stands_around() -> None:
    inside = windows("before A quick, BROWN (fox) after", 3)
    assert windows("a quick brown", 3)[0] in inside
    assert windows("a quick red", 3)[0] not in inside
    assert len(inside) == 4


def test_a_rolling_window_equals_the_window_alone() -> None:
    words = [f"w{k}" for k in range(100)]
    rolled = windows(" ".join(words), 13)
    assert rolled == [windows(" ".join(words[k : k + 13]), 13)[0] for k in range(88)]


def test_a_text_shorter_than_the_window_is_one_window_that_no_longer_text_has() -> None:
    assert len(windows("only four words here", 13)) == 1
    assert windows("only four words here", 13) == windows("Only; four words here!", 13)
    assert windows("only four words here", 13)[0] not in windows(" ".join(["only four words here"] * 10), 13)
    assert windows("...", 13) == []
