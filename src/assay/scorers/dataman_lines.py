"""The lines that DataMan's annotator answers with: a domain and fourteen criteria, read back without losing any.

An answer is the domain's letter and fourteen notes from 1 to 5, one a line in this order, each bare ("4") or with what
the question says around it ("[1]Accuracy:4/5", "Domain:A"). Order and names: the templates of pengr/DataMan at db3bc94
(facts only; it has no licence).
"""

import re
from collections.abc import Mapping

CRITERIA = (
    "accuracy",
    "coherence",
    "language_consistency",
    "semantic_density",
    "knowledge_novelty",
    "topic_focus",
    "creativity",
    "professionalism",
    "style_consistency",
    "grammatical_diversity",
    "structural_standardization",
    "originality",
    "sensitivity",
    "overall_score",
)
DOMAINS = (
    "medicine",
    "finance",
    "law",
    "education",
    "technology",
    "entertainment",
    "mathematics",
    "coding",
    "government",
    "culture",
    "transportation",
    "retail",
    "telecommunication",
    "agriculture",
    "other",
)
HIGHEST = 5
MISSING_LINE, OUT_OF_RANGE, NO_NOTE, WRONG_LETTER = "missing_line", "note_out_of_range", "no_note", "wrong_letter"
_NOTE = re.compile(r"^(?:\[(\d+)\])?\s*(?:([A-Za-z ]+?)\s*:)?\s*([+-]?\d+(?:\.\d+)?)\s*(?:/\s*5)?$")
_ASKED = re.compile(r"^domain\s*:\s*", re.I)
_LETTER = re.compile(r"^(?:\[([A-Za-z])\]|([A-Za-z])(?![A-Za-z]))[A-Za-z .-]*$")  # "A Medicine", not "Art"


class Unusable(ValueError):
    """A label that cannot be used; its text is the reason."""


def read_note(value: object) -> int | None:
    """A note from 1 to 5, from a number, "4", "4/5" or "[1]Accuracy:4/5"; None for null.

    Raises:
        Unusable: it is no note, or one out of range.
    """
    if value is None:
        return None
    match = _NOTE.match(str(value).strip())
    if match is None:
        raise Unusable(NO_NOTE)
    note = float(match[3])
    if not (1 <= note <= HIGHEST and note.is_integer()):
        raise Unusable(OUT_OF_RANGE)
    return int(note)


def read_domain(value: object) -> str | None:
    """A domain, from its letter ("A", "[A]", "Domain:A", "[A]Medicine"), after "Domain:" or as its own name; None for
    null.

    Raises:
        Unusable: a letter that stands for none.
    """
    if value is None or not str(value).strip():
        return None
    text = str(value).strip()
    is_asked = _ASKED.match(text) is not None
    rest = _ASKED.sub("", text)
    match = _LETTER.match(rest) if is_asked or len(text) == 1 or text[:1] == "[" else None
    if match is None:
        if is_asked and rest.lower() not in DOMAINS:
            raise Unusable(WRONG_LETTER)
        return rest.lower() if is_asked else text
    place = ord((match[1] or match[2]).upper()) - ord("A")
    if place >= len(DOMAINS):
        raise Unusable(WRONG_LETTER)
    return DOMAINS[place]


def read_answer(text: str) -> tuple[str, dict[str, int]]:
    """Domain and notes by criterion, from the fifteen lines of an answer; empty lines are passed over.

    Raises:
        Unusable: a line is missing or there is one too many, a note is none or out of range, a letter stands for no
            domain.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 1 + len(CRITERIA):
        raise Unusable(MISSING_LINE)
    domain = read_domain(lines[0] if not lines[0].isdigit() else f"Domain:{lines[0]}")
    if domain not in DOMAINS:
        raise Unusable(WRONG_LETTER)
    notes = {}
    for place, (name, line) in enumerate(zip(CRITERIA, lines[1:], strict=True), 1):
        match = _NOTE.match(line)
        told = match and (match[1] or (match[2] and match[2].strip().lower().replace(" ", "_")))
        if told and told not in (str(place), name):
            raise Unusable(MISSING_LINE)  # the lines that are there are those of other criteria
        note = read_note(line)
        assert note is not None
        notes[name] = note
    return domain, notes


def write_answer(domain: str, notes: Mapping[str, int]) -> str:
    """The fifteen lines that `read_answer` reads."""
    letter = chr(ord("A") + DOMAINS.index(domain))
    named = [(name.replace("_", " ").title(), notes[name]) for name in CRITERIA]
    return "\n".join([f"Domain:{letter}", *(f"[{k}]{name}:{note}/5" for k, (name, note) in enumerate(named, 1))])
