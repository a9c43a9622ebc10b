"""Rules of published cleaning pipelines, by name: which columns, which thresholds, and what to call what fails.

`passes('gopher', 'c4')` in a `where` stands for all rules of the presets, in this order; the first that a document
fails is why it is dropped. A threshold is changed by its rule's name: `passes('gopher', too_few_words = 30)`. For
another language than English many are changed at once, see `changed`.

Thresholds: Gopher (Rae et al. 2021, arXiv:2112.11446, table A1 and appendix A.1), C4 (Raffel et al. 2020,
arXiv:1910.10683, section 2.2), FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6).
"""

from collections.abc import Mapping
from typing import NamedTuple

import sqlglot
from sqlglot.tokens import Token, TokenType


class Rule(NamedTuple):
    """A document is kept where `column` `sign` `threshold`; `name` says why else it is dropped."""

    name: str
    column: str
    sign: str
    threshold: float

    @property
    def reason(self) -> str:
        """The rule's name behind that of its column's family: "gopher.too_few_words"."""
        return f"{self.column.split('.')[0]}.{self.name}"


_QUALITY = (
    Rule("too_few_words", "gopher.word_count", ">=", 50),
    Rule("too_many_words", "gopher.word_count", "<=", 100_000),
    Rule("words_too_short", "gopher.mean_word_length", ">=", 3),
    Rule("words_too_long", "gopher.mean_word_length", "<=", 10),
    Rule("too_many_hashes", "gopher.hash_ratio", "<=", 0.1),
    Rule("too_many_ellipses", "gopher.ellipsis_ratio", "<=", 0.1),
    Rule("too_many_bullets", "gopher.bullet_lines", "<=", 0.9),
    Rule("too_many_ellipsis_lines", "gopher.ellipsis_lines", "<=", 0.3),
    Rule("too_few_alpha_words", "gopher.alpha_words", ">=", 0.8),
    Rule("too_few_stop_words", "gopher.stop_words", ">=", 2),
)
_REPETITION = (
    Rule("repeated_paragraphs", "gopher.dup_paragraphs", "<=", 0.3),
    Rule("repeated_paragraph_chars", "gopher.dup_paragraph_chars", "<=", 0.2),
    Rule("repeated_lines", "gopher.dup_lines", "<=", 0.3),
    Rule("repeated_line_chars", "gopher.dup_line_chars", "<=", 0.2),
    *(Rule(f"top_{n}gram", f"gopher.top_{n}gram_share", "<=", share) for n, share in ((2, 0.20), (3, 0.18), (4, 0.16))),
    *(
        Rule(f"repeated_{n}grams", f"gopher.dup_{n}gram_share", "<=", share)
        for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ),
)
PRESETS: dict[str, tuple[Rule, ...]] = {
    "gopher": _QUALITY + _REPETITION,
    "gopher_quality": _QUALITY,
    "gopher_repetition": _REPETITION,
    "fineweb": (
        Rule("too_few_terminal_lines", "fineweb.terminal_lines", ">=", 0.12),
        Rule("too_many_short_lines", "fineweb.short_lines", "<=", 0.67),
        Rule("repeated_line_chars", "fineweb.dup_line_chars", "<=", 0.01),
        Rule("too_many_newlines", "fineweb.newline_ratio", "<=", 0.3),
    ),
    "c4": (
        Rule("lorem_ipsum", "c4.lorem_ipsum", "<=", 0),
        Rule("curly_brackets", "c4.curly_brackets", "<=", 0),
        Rule("too_few_sentences", "c4.sentences", ">=", 5),
    ),
}
REASONS: tuple[str, ...] = tuple(dict.fromkeys(rule.reason for rules in PRESETS.values() for rule in rules))


def changed(text: str, thresholds: Mapping[str, float]) -> str:
    """`text`, an expression, with these thresholds, by rules' reasons, written into every `passes(...)` of it.

    What a `passes` changes itself stays as it is, and what is the rule's own threshold is not written.

    >>> changed("lang = 'de' and passes('c4', too_few_sentences = 3)", {"c4.too_few_sentences": 2, "c4.lorem_ipsum": 1})
    "lang = 'de' and passes('c4', too_few_sentences = 3, c4.lorem_ipsum = 1)"
    """
    tokens = sqlglot.tokenize(text, read="duckdb")
    for k in reversed(range(len(tokens) - 1)):  # from the end, so that places before it stay what they are
        if tokens[k].text.lower() != "passes" or tokens[k + 1].token_type != TokenType.L_PAREN:
            continue
        stop = next(i for i in range(k, len(tokens)) if tokens[i].token_type == TokenType.R_PAREN)
        inside = tokens[k + 2 : stop]
        own = _names_changed(inside)
        rules = [rule for t in inside if t.token_type == TokenType.STRING for rule in PRESETS.get(t.text, ())]
        others = [r for r in dict.fromkeys(rules) if not {r.name, r.reason} & own]
        added = [r.reason for r in others if thresholds.get(r.reason, r.threshold) != r.threshold]
        at = tokens[stop].start
        text = text[:at] + "".join(f", {reason} = {thresholds[reason]!r}" for reason in added) + text[at:]
    return text


def _names_changed(tokens: list[Token]) -> set[str]:
    """Left sides of the equations among the arguments of a `passes`, dots included."""
    names, name = set(), ""
    for token in tokens:
        if token.token_type == TokenType.EQ:
            names.add(name)
        name = "" if token.token_type in (TokenType.EQ, TokenType.COMMA) else name + token.text
    return names
