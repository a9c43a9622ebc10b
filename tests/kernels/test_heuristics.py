"""The quantities of the rules against slow Python that does what the papers and datatrove say, word for word."""

import re
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.kernels.arrow import utf8
from assay.kernels.c4 import c4_phrases
from assay.kernels.heuristics import COLUMNS, letter_words, measure_rules, word_hash
from assay.kernels.rule_words import TERMINAL, flags, split_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def split(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    starts, ends, stack = (np.empty(len(data) + 2, np.int64) for _ in range(3))
    count = split_words(data, 0, len(data), *flags(), starts, ends, stack)
    return [text.encode()[a:b].decode() for a, b in zip(starts[:count], ends[:count], strict=True)]


def measured(texts: list[str]) -> list[dict[str, float]]:
    text = utf8(pa.array(texts, pa.large_string()))
    words = np.array([word_hash(word) for word in STOP_WORDS], np.uint64)
    figures = measure_rules(text.data, text.offsets, *flags(), words, *c4_phrases())
    return [dict(zip(COLUMNS, row, strict=True)) for row in figures.tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n\t ", []),
        ("Don't go, he said.", "Do|n't|go|,|he|said|."),
        ("They're sure I'd've won't", "They|'re|sure|I'd|'ve|wo|n't"),
        ("Mr. Smith's dog, e.g. Rex (well-known).", "Mr.|Smith|'s|dog|,|e.g.|Rex|(|well|-|known|)|."),
        ("$5.00, 50% and 3+4; a/b x=y", "$|5.00|,|50|%|and|3|+|4|;|a|/|b|x|=|y"),
        ("Wait... what?! -- yes–no", "Wait|...|what|?|!|--|yes|–|no"),
        ("see www.a.com/b_c, me@b.org.", "see|www.a.com/b_c|,|me@b.org|."),
        ("the end.Next one,two", "the|end|.|Next|one|,|two"),
        ("“Ça va”, dit-il…", "“|Ça|va|”|,|dit|-|il|…"),
        ("日本語。 テスト", "日本語|。|テスト"),
        ("'quoted' ''twice'' and/or", "'|quoted|'|'|'|twice|'|'|and/or"),
        ("𰀀 𠀀", "𰀀|𠀀"),
        ("foo_bar #tag @me C++ .NET", "foo_bar|#|tag|@me|C++|.NET"),
    ],
)
def test_words_as_people_would_cut_them(text: str, expected: str | list[str]) -> None:
    assert split(text) == (expected.split("|") if expected else [])


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("ab Z.,-'’n'tsdreé…日\n$5%/:_()"), max_size=40) | st.text(max_size=40))
def test_words_are_the_text_without_its_spaces(text: str) -> None:
    assert "".join(split(text)) == "".join(text.split())


@pytest.mark.parametrize("unit", ["-", "--a", ".", "—", "…", "'", "[", "n't", "1-", "日", "\n"])
def test_a_long_run_of_one_sign_takes_no_longer_than_text(unit: str) -> None:
    measured(["warm"])
    started = time.process_time()
    measured([unit * 300_000])
    assert time.process_time() - started < 2


def duplicates(chunks: list[str]) -> tuple[int, int]:
    again = [chunk for k, chunk in enumerate(chunks) if chunk in chunks[:k]]
    return len(again), sum(map(len, again))


def repeated_grams(words: list[str], n: int) -> int:
    seen, characters, k = set(), 0, 0
    while k < len(words) - n + 1:
        gram = tuple(words[k : k + n])
        if gram in seen:
            characters += len("".join(gram))
            k += n
        else:
            seen.add(gram)
            k += 1
    return characters


def is_symbol(word: str) -> bool:
    import unicodedata

    return all(unicodedata.category(c)[0] in "PS" or unicodedata.category(c) == "Cc" for c in word)


def c4(text: str) -> dict[str, float]:
    kept, lorem, bracket, lines = [], 0, 0, text.splitlines()
    for line in (line.strip() for line in lines):
        words = line.split()
        bare = re.sub(r"(\[\d*]|\[edit]|\[citation needed])+$", "", line)
        is_whole = bare.endswith((".", "?", "!", '"', "'")) and not bare.endswith("...")
        if any(len(word) > 1000 for word in words) or not is_whole or len(words) < 3:
            continue
        lower = bare.lower()
        if "lorem ipsum" in lower:
            lorem += 1
        elif "javascript" in lower:
            continue
        elif "{" in bare:
            bracket += 1
        elif any(phrase in lower for phrase in POLICIES):
            continue
        kept.append(line)
    return {
        "c4.lines": len(lines),
        "c4.lines_dropped": len(lines) - len(kept),
        "c4.sentences": sum(map(sentences, kept)),
        "c4.lorem_ipsum": lorem,
        "c4.curly_brackets": bracket,
    }


def sentences(line: str) -> int:
    import unicodedata

    count, is_over = 1, False
    for word in split(line):
        ends = len(word) == 1 and bool(flags().flags[ord(word)] & TERMINAL)
        if is_over and not ends and not all(unicodedata.category(c)[0] == "P" for c in word):
            count, is_over = count + 1, False
        elif ends:
            is_over = True
    return count


def slow(text: str) -> dict[str, float]:
    words, size = split(text), max(1, len(text))
    real = [word for word in words if not is_symbol(word)]
    lines = text.splitlines()
    found: dict[str, float] = {
        "gopher.word_count": len(real),
        "gopher.mean_word_length": sum(map(len, real)) / max(1, len(real)),
        "gopher.hash_ratio": text.count("#") / max(1, len(words)),
        "gopher.ellipsis_ratio": (text.count("...") + text.count("…")) / max(1, len(words)),
        "gopher.bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(1, len(lines)),
        "gopher.ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(1, len(lines)),
        "gopher.alpha_words": sum(any(c.isalpha() for c in word) for word in words) / max(1, len(words)),
        "gopher.stop_words": len(set(STOP_WORDS) & set(words)),
    }
    paragraphs, elements = re.split(r"\n{2,}", text.strip()), re.split("\n+", text)
    number, characters = duplicates(paragraphs)
    found |= {"gopher.dup_paragraphs": number / len(paragraphs), "gopher.dup_paragraph_chars": characters / size}
    number, characters = duplicates(elements)
    found |= {"gopher.dup_lines": number / len(elements), "gopher.dup_line_chars": characters / size}
    for n in (2, 3, 4):
        grams = [" ".join(words[k : k + n]) for k in range(len(words) - n + 1)]
        top = Counter(grams).most_common(1)
        found[f"gopher.top_{n}gram_share"] = len(top[0][0]) * top[0][1] / size if top else 0
    for n in range(5, 11):
        found[f"gopher.dup_{n}gram_share"] = repeated_grams(words, n) / size
    kept = [line for line in text.split("\n") if line.strip()]
    ends = [bool(flags().flags[ord(line[-1])] & TERMINAL) for line in kept]
    found |= {
        "fineweb.terminal_lines": sum(ends) / max(1, len(kept)),
        "fineweb.short_lines": sum(len(line) <= 30 for line in kept) / max(1, len(kept)),
        "fineweb.dup_line_chars": duplicates(kept)[1] / max(1, len(text.replace("\n", ""))),
        "fineweb.newline_ratio": text.count("\n") / max(1, len(words)),
    }
    return found | c4(text)


WORDS = [
    "the",
    "of",
    "To",
    "a",
    "dog",
    "ran.",
    "…",
    "...",
    "#x",
    "-",
    "•",
    "wait!",
    "é",
    "日本",
    "it's",
    "[12]",
    "{",
    '"Hi."',
]
PHRASES = [
    "Lorem Ipsum",
    "JavaScript",
    "terms of use.",
    "privacy policy",
    "uses cookies",
    "x" * 1001,
    "[edit]",
    "etc...",
]
BREAKS = [" ", " ", " ", " ", " ", "\n", "\n", "\n\n", "\n \n", "\r\n", "\t", "\x85", "\u2028", "  "]
PIECES = st.lists(st.tuples(st.sampled_from(WORDS * 4 + PHRASES), st.sampled_from(BREAKS)), max_size=60)


@settings(max_examples=400)
@given(st.lists(PIECES.map(lambda pieces: "".join(w + b for w, b in pieces)) | st.text(max_size=30), max_size=4))
def test_figures_equal_the_slow_version(texts: list[str]) -> None:
    for text, found in zip(texts, measured(texts), strict=True):
        assert found == pytest.approx(slow(text)), text


def test_long_documents_and_many_lines_need_more_room() -> None:
    lines, prose, numbers = "\n" * 300_000, "a dog ran. " * 40_000, " ".join(map(str, range(150_000)))
    for text, found in zip([lines, prose, numbers], measured([lines, prose, numbers]), strict=True):
        assert found["gopher.word_count"] == len([w for w in split(text) if not is_symbol(w)])
        assert found["c4.lines"] == len(text.splitlines())
    assert measured([prose])[0]["gopher.dup_10gram_share"] == pytest.approx(
        slow("a dog ran. " * 40_000)["gopher.dup_10gram_share"]
    )


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_measured(documents: list[bytes]) -> None:
    offsets = np.concatenate(([0], np.cumsum([len(d) for d in documents]))).astype(np.int64)
    data = np.frombuffer(b"".join(documents), np.uint8)
    words = np.array([word_hash("the")], np.uint64)
    assert np.isfinite(measure_rules(data, offsets, *flags(), words, *c4_phrases())).all()


@settings(max_examples=100)
@given(st.lists(st.text(alphabet=st.sampled_from("ab Z.,-'’n'té…日\n$5_"), max_size=60), max_size=4))
def test_words_with_a_letter_are_found_with_their_places(texts: list[str]) -> None:
    text = utf8(pa.array(texts, pa.large_string()))
    hashes, starts, ends = letter_words(text.data, text.offsets, *flags())
    words = [text.data[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)]
    assert words == [word for one in texts for word in split(one) if any(map(str.isalpha, word))]
    assert hashes.tolist() == [word_hash(word) for word in words]


def test_words_of_a_long_document_and_of_many_are_found() -> None:
    text = utf8(pa.array(["a " * 300_000, "bb " * 100_000], pa.large_string()))
    hashes = letter_words(text.data, text.offsets, *flags())[0]
    assert np.array_equal(hashes, np.repeat([word_hash("a"), word_hash("bb")], [300_000, 100_000]))
