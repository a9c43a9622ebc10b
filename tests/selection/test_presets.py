"""Many thresholds of presets changed at once."""

import pytest

from assay.selection.expressions import Expression
from assay.selection.presets import changed

THRESHOLDS = {
    "gopher.repeated_line_chars": 0.25,
    "fineweb.repeated_line_chars": 0.1,
    "c4.too_few_sentences": 2,
    "c4.lorem_ipsum": -1e-7,
    "gopher.too_few_words": 50.0,  # what it is anyway
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("length.words > 3 and lang = 'passes(''c4'')'", None),
        ("passes('gopher_quality')", None),
        ("passes('c4')", "passes('c4', c4.lorem_ipsum = -1e-07, c4.too_few_sentences = 2)"),
        ("PASSES ( 'fineweb' )", "PASSES ( 'fineweb' , fineweb.repeated_line_chars = 0.1)"),
        (
            "(passes('gopher_repetition', 'fineweb'))",
            "(passes('gopher_repetition', 'fineweb', gopher.repeated_line_chars = 0.25, "
            "fineweb.repeated_line_chars = 0.1))",
        ),
        ("passes('gopher_repetition', 'fineweb', repeated_line_chars = 0.3)", None),
        (
            "passes('gopher_repetition', 'fineweb', gopher.repeated_line_chars = 0.3)",
            "passes('gopher_repetition', 'fineweb', gopher.repeated_line_chars = 0.3, "
            "fineweb.repeated_line_chars = 0.1)",
        ),
        (
            "not passes('c4', c4.lorem_ipsum = 0) or passes('gopher', 'c4', \"too_few_sentences\" = 1)",
            "not passes('c4', c4.lorem_ipsum = 0, c4.too_few_sentences = 2) or passes('gopher', 'c4', "
            '"too_few_sentences" = 1, gopher.repeated_line_chars = 0.25, c4.lorem_ipsum = -1e-07)',
        ),
        ("passes + (1) > 2", None),
    ],
)
def test_thresholds_are_written_into_every_passes_that_does_not_give_them(text: str, expected: str | None) -> None:
    found = changed(text, THRESHOLDS)
    assert found == (expected or text)
    assert changed(found, THRESHOLDS) == found
    Expression(found)
