"""SQL expressions against Python's own arithmetic and SQL's rules for null."""

import math

import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.selection.expressions import Expression

ROWS = pa.table(
    {
        "length.words": [10, 200, None, 0],
        "f": [0.5, -1.5, 2.5, None],
        "lang": ["en", "de", None, "e%"],
        "ok": [True, False, None, True],
        "dsir.log_weight.law": [1.0, 2.0, 3.0, 4.0],
        "odd name": ["a", "b", "c", "d"],
    }
)
N = None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("length.words >= 50", [False, True, N, False]),
        ("length.words > 10 or lang = 'en'", [True, True, N, False]),
        ("length.words > 10 and lang = 'xx'", [False, False, N, False]),
        ("not ok", [False, True, N, False]),
        ("ok", [True, False, N, True]),
        ("ok is true", [True, False, False, True]),
        ("ok is not true", [False, True, True, False]),
        ("lang is null", [False, False, True, False]),
        ("lang is not null and ok", [True, False, False, True]),
        ("lang <> 'en'", [False, True, N, True]),
        ("lang != 'en'", [False, True, N, True]),
        ("lang in ('en', 'fr')", [True, False, N, False]),
        ("lang not in ('en')", [False, True, N, True]),
        ("length.words in (0, 10)", [True, False, N, True]),
        ("lang like 'e%'", [True, False, N, True]),
        ("lang not like 'e_'", [False, True, N, False]),
        ("length.words between 1 and 100", [True, False, N, False]),
        ("1 + 2 * 3 - length.words", [-3, -193, N, 7]),
        ("(1 + 2) * length.words", [30, 600, N, 0]),
        ("length.words / 4", [2.5, 50.0, N, 0.0]),
        ("length.words % 3", [1, 2, N, 0]),
        ("-7 % length.words", [-7, -7, N, N]),
        ("f % 1", [0.5, -0.5, 0.5, N]),
        ("f / length.words", [0.05, -0.0075, N, N]),
        ("lang not in ('en', null)", [False, N, N, N]),
        ("lang in ('en', null)", [True, N, N, N]),
        ("length.words in (10, 0.5)", [True, False, N, False]),
        ("length.words > 99999999999999999999", [False, False, N, False]),
        ("-f", [-0.5, 1.5, -2.5, N]),
        ("abs(f) + sqrt(4)", [2.5, 3.5, 4.5, N]),
        ("coalesce(f, 0)", [0.5, -1.5, 2.5, 0.0]),
        ("greatest(f, 0.0)", [0.5, 0.0, 2.5, 0.0]),
        ("least(f, 1)", [0.5, -1.5, 1.0, 1.0]),
        ("lower(lang) = 'en'", [True, False, N, False]),
        ("length(lang)", [2, 2, N, 2]),
        ("dsir.log_weight.law * 2", [2.0, 4.0, 6.0, 8.0]),
        ("\"odd name\" = 'b'", [False, True, False, False]),
        ('"length.words" = 10', [True, False, N, False]),
        ("true", [True] * 4),
        ("1 < 2", [True] * 4),
        ("null", [N] * 4),
        ("lang = 'it''s'", [False, False, N, False]),
        ("length.words >= 50 -- a comment", [False, True, N, False]),
    ],
)
def test_values_are_those_of_sql(text: str, expected: list[object]) -> None:
    assert Expression(text).evaluate(ROWS).to_pylist() == expected


C4 = pa.table(
    {
        "c4.lorem_ipsum": [0, 1, 0, 0, N],
        "c4.curly_brackets": [0, 1, 1, 0, 0],
        "c4.sentences": [5, 6, 3, 3, 9],
        "lang": ["en", "en", "de", "de", "en"],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passes('c4')", [True, False, False, False, N]),
        ("PASSES('c4', 'c4')", [True, False, False, False, N]),
        ("passes('c4', too_few_sentences = 3)", [True, False, False, True, N]),
        ("passes('c4', c4.too_few_sentences = 3, curly_brackets = 1)", [True, False, True, True, N]),
        ("passes('c4', too_few_sentences = 9, c4.too_few_sentences = 3)", [True, False, False, True, N]),
        ("not passes('c4') or lang = 'en'", [True, True, True, True, True]),
        ("passes('c4') and lang = 'de' or lang = 'en'", [True, True, False, False, True]),
    ],
)
def test_passes_stands_for_the_rules_of_its_presets(text: str, expected: list[object]) -> None:
    assert Expression(text).evaluate(C4).to_pylist() == expected
    assert Expression(text).columns >= {"c4.lorem_ipsum", "c4.curly_brackets", "c4.sentences"}


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("passes('c4')", ["c4.lorem_ipsum", "c4.curly_brackets", "c4.too_few_sentences"]),
        ("lang = 'en' and (passes('c4'))", [N, "c4.lorem_ipsum", "c4.curly_brackets", "c4.too_few_sentences"]),
        ("lang = 'en' and (lang = 'de' and lang is null)", [N, N]),
        ("not passes('c4')", [N]),
        ("passes('c4') or lang = 'en'", [N]),
    ],
)
def test_conditions_are_what_and_joins_each_rule_with_its_reason(text: str, reasons: list[object]) -> None:
    found = list(Expression(text).conditions(C4))
    assert [reason for reason, _ in found] == reasons
    whole = Expression(text).evaluate(C4).fill_null(False).to_pylist()
    assert [all(row) for row in zip(*(mask.fill_null(False).to_pylist() for _, mask in found), strict=True)] == whole


@pytest.mark.parametrize(
    ("column", "expressions"),
    [
        (pa.array([1, 255, N], pa.uint8()), {"-x": [-1, -255, N], "3 - x": [2, -252, N], "x * x": [1, 65025, N]}),
        (pa.array([1, 2, N], pa.uint32()), {"-x": [-1, -2, N], "x - 5": [-4, -3, N], "x > 1": [False, True, N]}),
        (pa.array([-128, 2, N], pa.int8()), {"-x": [128, -2, N], "abs(x)": [128, 2, N]}),
        (pa.array([1, 2**62, N], pa.uint64()), {"-x": [-1, -(2**62), N], "x % 3": [1, 1, N]}),
        (pa.array([1, 2, N], pa.float16()), {"x > 1": [False, True, N]}),
        (pa.array([0.1, 2, N], pa.float32()), {"x > 1": [False, True, N], "x in (2)": [False, True, N]}),
        (pa.array([1, 2, N], pa.decimal128(38, 2)), {"x % 2": [1.0, 0.0, N], "greatest(x, 1)": [1.0, 2.0, 1.0]}),
        (
            pa.array(["2020-01-31", "2021-01-01", N]).cast(pa.date32()),
            {
                "x >= '2020-06-01'": [False, True, N],
                "x between '2020-01-01' and '2020-02-01'": [True, False, N],
                "x in ('2021-01-01')": [False, True, N],
            },
        ),
        (
            pa.array(["En", "de", N]).dictionary_encode(),
            {"x in ('de')": [False, True, N], "x like 'E%'": [True, False, N], "lower(x)": ["en", "de", N]},
        ),
        (pa.array(["En", "de", N], pa.string_view()), {"x = 'de'": [False, True, N], "lower(x)": ["en", "de", N]}),
        (pa.array(["En", "de", N], pa.large_string()), {"x = 'de'": [False, True, N], "lower(x)": ["en", "de", N]}),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_way_to_store_a_column_gives_the_same_values(
    column: pa.Array, expressions: dict[str, list[object]]
) -> None:
    for text, expected in expressions.items():
        assert Expression(text).evaluate(pa.table({"x": column})).to_pylist() == expected


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"`x \* x` does not fit its columns: overflow"):
        Expression("x * x").evaluate(pa.table({"x": [2**62]}))
    with pytest.raises(InvalidParameterError, match="`x % 2 = 0` does not fit its columns: .* not in range"):
        Expression("x % 2 = 0").evaluate(pa.table({"x": pa.array([2**63], pa.uint64())}))
    assert Expression("x / -1").evaluate(pa.table({"x": [2**62]})).to_pylist() == [-(2.0**62)]


def test_too_many_terms_are_refused_with_the_way_out() -> None:
    text = " or ".join(f"x = {k}" for k in range(5000))
    with pytest.raises(InvalidParameterError, match="has too many terms. Put a list of values as"):
        Expression(text)


@pytest.mark.parametrize("value", [True, 5, None, ["f > 1"]])
def test_an_expression_is_text(value: object) -> None:
    with pytest.raises(InvalidParameterError, match="`expression` .* must be text. Write it as in SQL"):
        Expression(value)


def test_ln_is_the_natural_logarithm() -> None:
    values = Expression("ln(dsir.log_weight.law)").evaluate(ROWS).to_pylist()
    assert values == pytest.approx([math.log(v) for v in (1, 2, 3, 4)])


def test_columns_are_the_ones_it_reads() -> None:
    expression = Expression("length.words > 3 and (f < 1 or lang in ('a', 'b')) and dsir.log_weight.law > 0")
    assert expression.columns == {"length.words", "f", "lang", "dsir.log_weight.law"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as an expression: .* Write it as in SQL"),
        ("length.words >=", "cannot be read as an expression: an operand is missing"),
        ("(f > 1", "cannot be read as an expression"),
        ("lang = 'en", "cannot be read as an expression: a quote or a comment is not closed. Write it as in SQL"),
        ("lang like null", "uses .*; like wants text such as 'http%'"),
        ("lang like length.words", "to the right of in and like there must be values, not columns"),
        ("lang in ()", "to the right of in and like there must be values"),
        ("length.words in (f, 1)", "to the right of in and like there must be values"),
        ('"lang = 1', "a quote or a comment is not closed"),
        ("round(f)", "uses 'ROUND.f.', which is not supported. There are and, or, not"),
        ("passes()", "passes takes names of presets and changed thresholds, as in passes.'gopher'"),
        ("passes('c4', f)", "passes takes names of presets and changed thresholds"),
        ("passes('c4', f > 3)", "passes takes names of presets and changed thresholds"),
        ("passes('c4', too_few_sentences = '3')", "passes takes names of presets and changed thresholds"),
        ("passes('c5')", r"`passes` \(='c5'\) must be one of gopher, gopher_quality, .*c4"),
        (
            "passes('c4', too_few_sentence = 3)",
            "changes 'too_few_sentence', which is no rule of c4; there are lorem_ipsum, .* Did you mean 'too_few_sent",
        ),
        ("select 1", "uses 'SELECT 1', which is not supported"),
        ("f > (select 1)", "which is not supported"),
        ("case when ok then 1 end", "which is not supported"),
        ("cast(f as int)", "which is not supported"),
        ("f = 1; drop table x", "which is not supported"),
        ("f;;", "which is not supported"),
        ("f > 2E", "uses '2E', which is no number"),
        ("f || 'x'", "which is not supported"),
        ("sum(f)", "which is not supported"),
        ("*", "which is not supported"),
    ],
)
def test_what_is_not_an_expression_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing > 1", "uses 'missing', which is none of length.words, f, lang"),
        ("lang > 3", "`lang > 3` does not fit its columns"),
        ("lang + 1", "does not fit its columns"),
        ("f in ('a')", "does not fit its columns"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Expression(text).evaluate(ROWS)


def test_no_rows_give_no_values() -> None:
    assert len(Expression("f > 1").evaluate(ROWS.slice(0, 0))) == 0
