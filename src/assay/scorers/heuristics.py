"""Heuristics: every quantity that the rules of Gopher, C4 and FineWeb are about, in one pass.

Sources: Gopher's quality and repetition rules (Rae et al. 2021, arXiv:2112.11446, table A1 and appendix A.1), C4
(Raffel et al. 2020, arXiv:1910.10683, section 2.2), FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6). What
counts as a word is said in `kernels.rule_words`. The columns decide nothing; rules with their thresholds are presets
over the columns (`selection.presets`), used as `where: "passes('gopher', 'c4', 'fineweb')"`.

Measured against datatrove 0.10.1, whose words are spaCy's, on 5,000 documents of 13 domains: the decision is the same
for 99.8 % (Gopher's quality and repetition rules), 99.96 % (FineWeb) and 99.94 % (C4) of them. What differs are words:
units behind numbers ("35mm"), emoticons and contractions without an apostrophe ("dont") are one word here.

Cost: 34 MB/s on one core, two fifths of it for splitting words and a quarter for repeated n-grams. In memory about
70 bytes for each word of the longest document of a batch. When not to use: as they are on other languages than English,
for which `assay.calibrate` derives stop words and thresholds; rules about words where there are no spaces between
words; and a column of code or tables means something else.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check
from assay.kernels.arrow import masked, utf8
from assay.kernels.c4 import c4_phrases
from assay.kernels.heuristics import COLUMNS, measure_rules, word_hash
from assay.kernels.rule_words import flags
from assay.scorers.base import Column, Scorer, State

ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
MAX_STOP_WORDS = 64
_COUNTS = ("gopher.word_count", "gopher.stop_words", *(name for name in COLUMNS if name.startswith("c4.")))
_MEANINGS = {
    "gopher.word_count": "words, punctuation left out",
    "gopher.mean_word_length": "characters a word, punctuation left out",
    "gopher.hash_ratio": "number signs by words",
    "gopher.ellipsis_ratio": "ellipses by words",
    "gopher.bullet_lines": "share of lines that start with a bullet or hyphen",
    "gopher.ellipsis_lines": "share of lines that end in an ellipsis",
    "gopher.alpha_words": "share of words with a letter",
    "gopher.stop_words": "how many of the stop words stand in it",
    "gopher.dup_paragraphs": "share of paragraphs that stood before in it",
    "gopher.dup_paragraph_chars": "share of characters in such paragraphs",
    "gopher.dup_lines": "share of lines that stood before in it",
    "gopher.dup_line_chars": "share of characters in such lines",
    "fineweb.terminal_lines": "share of lines that end in a sign that ends sentences",
    "fineweb.short_lines": "share of lines of at most 30 characters",
    "fineweb.dup_line_chars": "share of characters in lines that stood before, line breaks left out",
    "fineweb.newline_ratio": "line breaks by words",
    "c4.lines": "lines",
    "c4.lines_dropped": "lines that C4 takes out: no final punctuation, under 3 words, an endless word, a policy",
    "c4.sentences": "sentences in the lines that are left",
    "c4.lorem_ipsum": "such lines with lorem ipsum",
    "c4.curly_brackets": "such lines with a curly bracket",
}


@dataclass(frozen=True, kw_only=True)
class Heuristics(Scorer):
    """The quantities behind the rules of Gopher, C4 and FineWeb; nothing to fit.

    stop_words: the words of `gopher.stop_words`, at most 64, in their case.
    """

    name: ClassVar[str] = "heuristics"
    version: ClassVar[int] = 1
    prefixes: ClassVar[tuple[str, ...]] = ("gopher", "fineweb", "c4")

    stop_words: tuple[str, ...] = ENGLISH_STOP_WORDS

    def __post_init__(self) -> None:
        is_list = isinstance(self.stop_words, tuple | list) and all(isinstance(w, str) and w for w in self.stop_words)
        ok = is_list and len(set(self.stop_words)) == len(self.stop_words) <= MAX_STOP_WORDS
        check(ok, "stop_words", self.stop_words, f"a list of at most {MAX_STOP_WORDS} different words")
        object.__setattr__(self, "stop_words", tuple(self.stop_words))

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`gopher.word_count` (the score) and the others of `kernels.heuristics.COLUMNS`; int64 or float64."""
        kinds = {name: pa.int64() if name in _COUNTS else pa.float64() for name in COLUMNS}
        return [Column(name, kinds[name], None, _meaning(name)) for name in COLUMNS]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """One array per column; null where the text is null, 0 where there is nothing to divide by."""
        text = utf8(batch.column("text"))
        words = np.array([word_hash(word) for word in self.stop_words], np.uint64)
        figures = measure_rules(text.data, text.offsets, *flags(), words, *c4_phrases())
        arrays = [masked(figures[:, k], text.is_valid) for k in range(len(COLUMNS))]
        return [a.cast(c.type) for a, c in zip(arrays, self.columns(), strict=True)]


def _meaning(name: str) -> str:
    kind, _, rest = name.partition(".")[2].partition("_")
    grams = rest.partition("gram")[0]
    if "gram_share" not in name:
        return _MEANINGS[name]
    if kind == "top":
        return f"characters of the most frequent run of {grams} words, each time it stands, by all; above 1 in overlaps"
    return f"share of characters in runs of {grams} words that stood before"
