"""C4's lines against a slow version, and against what datatrove keeps."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.refiners import C4
from tests.kernels.test_heuristics import BREAKS, PHRASES, POLICIES, WORDS

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


def slow(text: str) -> tuple[str, int]:
    kept, lines = [], text.splitlines()
    for line in (line.strip() for line in lines):
        words, bare = line.split(), CITATION.sub("", line)
        at_end = re.sub(r"(\[\d*]|\[edit]|\[citation needed])+$", "", line)
        is_whole = at_end.endswith((".", "?", "!", '"', "'")) and not at_end.endswith("...")
        lower = at_end.lower()
        is_policy = any(phrase in lower for phrase in POLICIES) and "{" not in at_end
        if len(words) < 3 or max(map(len, words)) > 1000 or not is_whole:
            continue
        if "lorem ipsum" in lower or not ("javascript" in lower or is_policy):
            kept.append(bare)
    return "\n".join(kept), len(lines) - len(kept)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("A whole sentence.\nno end\nTwo words.", "A whole sentence."),
        ("  It was so [12] then.[edit]  \r\nAnd on it went[citation needed]!", "It was so  then.\nAnd on it went!"),
        ("We use cookies on this site.\nEnable JavaScript to go on.\nRead the terms of use now.", ""),
        ("And so on it went...\nHe said “so there”", ""),
        ("One two " + "x" * 1001 + ".", ""),
        ("An [ open bracket stays.\nA [12 open one too.", "An [ open bracket stays.\nA [12 open one too."),
    ],
)
def test_lines_by_hand(text: str, expected: str) -> None:
    assert C4().refine(pa.array([text]))[0].to_pylist() == [expected]


PIECES = st.lists(st.tuples(st.sampled_from(WORDS * 4 + PHRASES), st.sampled_from(BREAKS)), max_size=60)


@settings(max_examples=300)
@given(st.lists(PIECES.map(lambda pieces: "".join(w + b for w, b in pieces)) | st.text(max_size=30), max_size=4))
def test_texts_and_edits_equal_the_slow_version(texts: list[str]) -> None:
    new, edits = C4().refine(pa.array(texts, pa.string()))
    new.validate(full=True)
    assert list(zip(new.to_pylist(), edits.to_pylist(), strict=True)) == [slow(text) for text in texts]


def test_nulls_and_slices_are_no_trouble() -> None:
    texts = pa.array(["Not this one.", None, "But it was this one."])
    assert C4().refine(texts.slice(1))[0].to_pylist() == ["", "But it was this one."]
