"""`assay.calibrate`: the rules' stop words and thresholds for a language, from text of that language.

After FineWeb2 (Penedo et al. 2025, arXiv:2506.20920; stop words, thresholds and pipeline as released in
huggingface/fineweb-2, `configs/` and `fineweb-2-pipeline.py`), which derives both from Wikipedia in each language:

- Stop words are the words that make up at least 0.8 % of all words, or the eight most frequent.
- Lines without final punctuation, line breaks and words without a letter: the threshold leaves out a tenth of the
  reference ("10Tail").
- Repetition and the length of words: the threshold lies as many standard deviations from the mean as the English one
  does in English text of the same kind ("MeanStd"). Where no English text is given or nothing varies, it is the
  English one.
- Short lines are let pass, and characters in repeated lines may be a tenth, for every language.
- All others stay as for English, C4's rules too, which FineWeb2 does not use.

What differs: no rule may leave out more than a tenth of the reference, whichever way its threshold was found (FineWeb2
has no such bound; it is what keeps text without spaces between words, or short documents, from being lost whole);
repeated paragraphs keep their rule, which FineWeb2 drops because its extractor leaves no paragraphs; FineWeb2's lists
hold punctuation and lower-case words only, ours any word with a letter.

Cost: one pass for words and one for the rules, about 20 MB/s a core. Memory grows with the different words of the
reference (16 bytes each) and with 8 bytes a document.
"""

from functools import partial, reduce

import numpy as np

from assay.api.recipe_parts import Calibration
from assay.api.scoring import score
from assay.artifacts.kinds import Corpus, Scores, check_corpus
from assay.artifacts.workspace import Workspace
from assay.corpus.engine import map_parts
from assay.errors import InvalidParameterError, check_number
from assay.kernels.arrow import utf8
from assay.kernels.heuristics import letter_words
from assay.kernels.rule_words import flags
from assay.scorers.heuristics import MAX_STOP_WORDS, Heuristics
from assay.selection.presets import PRESETS, Rule

_STOP_WORD_SHARE = 0.008
_MIN_STOP_WORDS = 8
_MIN_DOCUMENTS = 50
_TAIL = {"gopher.too_few_alpha_words", "fineweb.too_few_terminal_lines", "fineweb.too_many_newlines"}
_SPREAD = {"gopher.words_too_short", "gopher.words_too_long", "gopher.repeated_lines"} | {
    rule.reason for rule in PRESETS["gopher_repetition"] if rule.name.endswith(("gram", "grams"))
}
_FINEWEB2 = {"fineweb.too_many_short_lines": 1.0, "fineweb.repeated_line_chars": 0.1}
_DECIMALS = 3


def calibrate(
    corpus: Corpus,
    *,
    english: Corpus | None = None,
    tail: float = 0.1,
    workspace: Workspace | str | None = None,
) -> Calibration:
    """Stop words and thresholds for the language of `corpus`, for `where: "passes('gopher', 'fineweb')"`.

    Args:
        corpus: clean text of one language, at least 50 documents of the length that is to be judged; FineWeb2 takes
            Wikipedia.
        english: English text of the same kind, to carry over how strict the English thresholds are.
        tail: the share of `corpus` that a rule may leave out at most, and leaves out where the threshold is found so.

    Raises:
        InvalidParameterError: too few documents, or no words in them.
    """
    check_number("tail", tail, "a share from 0 to 0.5", lambda x: 0 <= x <= 0.5)
    for name, reference in (("corpus", corpus), ("english", english)):
        if name == "corpus" or reference is not None:
            _check_reference(reference, name)
    stop_words = _stop_words(corpus)
    scores = score(corpus, Heuristics(stop_words=stop_words), workspace=workspace)
    anchor = None if english is None else score(english, Heuristics(), workspace=workspace)
    thresholds, dropped = {}, {}
    for rule in PRESETS["gopher"] + PRESETS["fineweb"]:
        values = _values(scores, rule)
        thresholds[rule.reason] = threshold = _threshold(rule, values, _values(anchor, rule) if anchor else None, tail)
        fails = values < threshold if rule.sign == ">=" else values > threshold
        dropped[rule.reason] = round(float(fails.mean()), _DECIMALS)
    return Calibration(stop_words=stop_words, thresholds=thresholds, dropped=dropped)


def _check_reference(corpus: object, name: str) -> None:
    check_corpus(corpus, name)
    assert isinstance(corpus, Corpus)
    if corpus.num_documents < _MIN_DOCUMENTS:
        raise InvalidParameterError(
            f"`{name}` (={corpus.name!r}) has {corpus.num_documents} documents and must have at least "
            f"{_MIN_DOCUMENTS}, or a tenth of them says little. Give more text."
        )


def _threshold(rule: Rule, values: np.ndarray, english: np.ndarray | None, tail: float) -> float:
    """The threshold of a rule from its column in the reference [documents], and in English text if there is some."""
    room = int(tail * len(values))  # documents that may fail
    if rule.sign == ">=":
        bound = np.floor(np.sort(values)[room] * 10**_DECIMALS) / 10**_DECIMALS
    else:
        bound = np.ceil(np.sort(values)[len(values) - 1 - room] * 10**_DECIMALS) / 10**_DECIMALS
    if rule.reason in _TAIL:
        return float(bound)
    wanted = _FINEWEB2.get(rule.reason, rule.threshold)
    if rule.reason in _SPREAD and english is not None and english.std() > 0 and values.std() > 0:
        wanted = values.mean() + (rule.threshold - english.mean()) / english.std() * values.std()
    return round(float(min(wanted, bound) if rule.sign == ">=" else max(wanted, bound)), _DECIMALS)


def _values(scores: Scores, rule: Rule) -> np.ndarray:
    values = scores.to_table([rule.column])[rule.column].drop_null().to_numpy().astype(np.float64)
    if len(values) < _MIN_DOCUMENTS:
        raise InvalidParameterError(f"Only {len(values)} documents have a text; {_MIN_DOCUMENTS} are needed.")
    return values


def _stop_words(corpus: Corpus) -> tuple[str, ...]:
    """The most frequent words, most frequent first; equally frequent ones by alphabet."""
    hashes, counts = reduce(_added, map_parts(partial(_count_words, corpus), range(corpus.num_parts)))
    if len(hashes) < _MIN_STOP_WORDS:
        raise InvalidParameterError(
            f"`corpus` (={corpus.name!r}) has {len(hashes)} different words; stop words need {_MIN_STOP_WORDS}."
        )
    least = min(_STOP_WORD_SHARE * counts.sum(), np.sort(counts)[-_MIN_STOP_WORDS])
    wanted = {int(hashes[k]): int(counts[k]) for k in np.flatnonzero(counts >= least)}
    words = _spelled(corpus, wanted)
    ranked = sorted(words, key=lambda word: (-wanted[words[word]], word))
    num_frequent = sum(count >= _STOP_WORD_SHARE * counts.sum() for count in wanted.values())
    return tuple(ranked[: min(max(_MIN_STOP_WORDS, num_frequent), MAX_STOP_WORDS)])


def _count_words(corpus: Corpus, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the different words of one part, ascending, and how often each stands there."""
    total = (np.empty(0, np.uint64), np.empty(0, np.int64))
    for batch in corpus.batches(part, ["text"]):
        text = utf8(batch.column("text"))
        total = _added(total, np.unique(letter_words(text.data, text.offsets, *flags())[0], return_counts=True))
    return total


def _added(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    hashes, places = np.unique(np.concatenate((a[0], b[0])), return_inverse=True)
    counts = np.zeros(len(hashes), np.int64)
    np.add.at(counts, places, np.concatenate((a[1], b[1])))
    return hashes, counts


def _spelled(corpus: Corpus, hashes: dict[int, int]) -> dict[str, int]:
    """The words behind some hashes, each with its hash; being frequent they stand in the first documents."""
    words: dict[str, int] = {}
    for part in range(corpus.num_parts):
        for batch in corpus.batches(part, ["text"]):
            text = utf8(batch.column("text"))
            found, starts, ends = letter_words(text.data, text.offsets, *flags())
            places = np.flatnonzero(np.isin(found, np.array(list(hashes), np.uint64)))
            _, first = np.unique(found[places], return_index=True)
            for k in places[first]:
                words[text.data[starts[k] : ends[k]].tobytes().decode()] = int(found[k])
            if len(words) == len(hashes):
                return words
    raise AssertionError("a word that was counted is not there")
