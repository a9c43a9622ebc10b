"""`where` and `score` expressions: SQL over score and corpus columns, one truth value or number per document.

Parsed by sqlglot, computed by pyarrow. A dotted name is one column (`length.words`). Nulls follow SQL: a comparison
with null is null, and a row is kept only where the whole is true. So does what is divided by zero: it is null. Whole
numbers are computed with 64 bits and a sign, all others as float64, however a column stores them; what does not fit is
an error. Text beside a date is read as one.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from assay.errors import InvalidParameterError, check, check_choice, did_you_mean
from assay.selection.presets import PRESETS

_REASON = "reason"
_EXAMPLE = "Write it as in SQL, for example: length.words >= 50 and source = 'web'."

_BINARY: dict[type[exp.Expression], Callable[[Any, Any], Any]] = {
    exp.And: pc.and_kleene,
    exp.Or: pc.or_kleene,
    exp.EQ: pc.equal,
    exp.NEQ: pc.not_equal,
    exp.GT: pc.greater,
    exp.GTE: pc.greater_equal,
    exp.LT: pc.less,
    exp.LTE: pc.less_equal,
    exp.Add: pc.add_checked,
    exp.Sub: pc.subtract_checked,
    exp.Mul: pc.multiply_checked,
}
# What else a node may carry; anything not listed would change its meaning without our noticing.
_OPTIONS = {
    "this",
    "expression",
    "expressions",
    "low",
    "high",
    "is_string",
    "negate",
    "ignore_nulls",
    "table",
    "db",
    "catalog",
}
_FUNCTIONS: dict[type[exp.Expression], Callable[..., Any]] = {
    exp.Abs: pc.abs_checked,
    exp.Ln: pc.ln,
    exp.Sqrt: pc.sqrt,
    exp.Lower: pc.utf8_lower,
    exp.Length: pc.utf8_length,
    exp.Coalesce: pc.coalesce,
    exp.Greatest: pc.max_element_wise,
    exp.Least: pc.min_element_wise,
}


class Expression:
    """A parsed expression.

    >>> rows = pa.table({"length.words": [10, 200, None], "lang": ["en", "en", "de"]})
    >>> Expression("length.words >= 50 and lang = 'en'").evaluate(rows).to_pylist()
    [False, True, False]
    """

    def __init__(self, text: str):
        """Parses `text`.

        Raises:
            InvalidParameterError: it is not an expression, or uses what is not supported.
        """
        check(isinstance(text, str), "expression", text, "text", _EXAMPLE)
        self.text = text
        try:
            self._tree: Any = sqlglot.parse_one(text, dialect="duckdb").transform(self._spell_out)
            self._compile(self._tree, None)
        except SqlglotError as error:
            raise InvalidParameterError(
                f"`{text}` cannot be read as an expression: {_problem(error)}. {_EXAMPLE}"
            ) from None
        except RecursionError:
            raise InvalidParameterError(
                f"`{text[:80]} ...` has too many terms. Put a list of values as: column in ('a', 'b'); or put the "
                "outcome into a column of the corpus."
            ) from None

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns it reads."""
        return frozenset(_name(column) for column in self._tree.find_all(exp.Column))

    def evaluate(self, rows: pa.Table) -> pa.Array:
        """One value per row.

        Raises:
            InvalidParameterError: a column is missing from `rows`, or types do not fit.
        """
        return self._evaluate(self._tree, rows)

    def conditions(self, rows: pa.Table) -> Iterator[tuple[str | None, pa.Array]]:
        """What is joined by `and`, one after the other: the rule's reason (None where it is no rule), value per row."""
        for node in self._tree.flatten() if isinstance(self._tree, exp.And) else [self._tree]:
            inner = node.unnest()
            rules = inner.flatten() if isinstance(inner, exp.And) and _REASON in inner.meta else [node]
            for rule in rules:
                yield rule.meta.get(_REASON), self._evaluate(rule, rows)

    def _evaluate(self, node: Any, rows: pa.Table) -> pa.Array:
        try:
            value = self._compile(node, rows)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise InvalidParameterError(
                f"`{self.text}` does not fit its columns: {str(error).splitlines()[0]}"
            ) from None
        if isinstance(value, pa.Scalar):
            value = pa.repeat(value, len(rows))
        return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value

    def _spell_out(self, node: Any) -> Any:
        """`passes('gopher', too_few_words = 30)` as the comparisons that it stands for, each with its reason."""
        if not (isinstance(node, exp.Anonymous) and node.name.lower() == "passes"):
            return node
        names = [a.name for a in node.expressions if isinstance(a, exp.Literal) and a.is_string]
        changes = {_name(a.this): a.expression for a in node.expressions if _is_change(a)}
        if not names or len(names) + len(changes) < len(node.expressions):
            raise InvalidParameterError(
                f"`{self.text}`: passes takes names of presets and changed thresholds, as in "
                "passes('gopher', 'c4', too_few_words = 30)."
            )
        for name in names:
            check_choice("passes", name, PRESETS)
        rules = [rule for name in names for rule in PRESETS[name]]
        for name in changes:
            known = [rule.name for rule in rules] + [rule.reason for rule in rules]
            if name not in known:
                raise InvalidParameterError(
                    f"`{self.text}` changes {name!r}, which is no rule of {', '.join(names)}; there are "
                    f"{', '.join(dict.fromkeys(rule.name for rule in rules))}. {did_you_mean(name, known)}".rstrip()
                )
        tests = []
        for rule in dict.fromkeys(rules):
            limit = changes.get(rule.reason, changes.get(rule.name, exp.Literal.number(rule.threshold)))
            column = exp.column(*reversed(rule.column.split(".")))
            test = (
                exp.GTE(this=column, expression=limit) if rule.sign == ">=" else exp.LTE(this=column, expression=limit)
            )
            test.meta[_REASON] = rule.reason
            tests.append(test)
        whole = exp.and_(*tests, copy=False, wrap=False)
        whole.meta[_REASON] = None
        return exp.Paren(this=whole)

    def _compile(self, node: Any, rows: pa.Table | None) -> Any:
        """The value of a node over `rows`; with None, only checks that every node is known."""
        children = {
            key: [self._compile(c, rows) for c in value if c] if isinstance(value, list) else self._compile(value, rows)
            for key, value in node.args.items()
            if not isinstance(node, exp.Column | exp.Literal) and _holds_nodes(value)
        }
        if rows is None:
            self._require_known(node)
            return None
        return self._value(node, children, rows)

    def _require_known(self, node: exp.Expression) -> None:
        simple = (exp.Column, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Not, exp.Neg, exp.Div, exp.Mod)
        others = (exp.In, exp.Between, exp.Is, exp.Like)
        listed: list[Any] = node.args.get("expressions", []) if isinstance(node, exp.In) else [node.expression]
        if isinstance(node, exp.In | exp.Like) and not (listed and all(_is_value(v) for v in listed)):
            raise InvalidParameterError(
                f"`{self.text}` uses {node.sql()!r}; to the right of in and like there must be values, not columns."
            )
        if isinstance(node, exp.Like) and not listed[0].is_string:
            raise InvalidParameterError(f"`{self.text}` uses {node.sql()!r}; like wants text such as 'http%'.")
        if isinstance(node, exp.Literal) and not node.is_string and not _is_number(node.name):
            raise InvalidParameterError(f"`{self.text}` uses {node.name!r}, which is no number.")
        unknown = {key for key, value in node.args.items() if value} - _OPTIONS
        if unknown or type(node) not in {*_BINARY, *_FUNCTIONS, *simple, *others}:
            raise InvalidParameterError(
                f"`{self.text}` uses {node.sql()!r}, which is not supported. There are and, or, not, =, <>, <, <=, >, "
                ">=, in, between, like, is null, + - * / %, abs, ln, sqrt, lower, length, coalesce, greatest, least, "
                "passes."
            )

    def _value(self, node: exp.Expression, child: dict[str, Any], rows: pa.Table) -> Any:
        this: Any = child.get("this")
        other: Any = child.get("expression")
        match node:
            case exp.Column():
                return self._column(_name(node), rows)
            case exp.Literal():
                return pa.scalar(node.name if node.is_string else _number(node.name))
            case exp.Boolean():
                return pa.scalar(bool(node.this))
            case exp.Null():
                return pa.scalar(None)
            case exp.Paren():
                return this
            case exp.Not():
                return pc.invert(this)
            case exp.Neg():
                return pc.negate_checked(this)
            case exp.Div():
                divisor = pc.cast(_not_zero(other), pa.float64(), safe=False)
                return pc.divide(pc.cast(this, pa.float64(), safe=False), divisor)
            case exp.Mod():
                times = pc.divide(this, _not_zero(other))
                times = times if pa.types.is_integer(times.type) else pc.trunc(times)
                return pc.subtract(this, pc.multiply(other, times))
            case exp.In():
                return _is_in(this, [v.as_py() for v in child["expressions"]])
            case exp.Between():
                low = pc.greater_equal(*_alike(this, child["low"]))
                return pc.and_kleene(low, pc.less_equal(*_alike(this, child["high"])))
            case exp.Is():
                is_null = isinstance(node.expression, exp.Null)
                return pc.is_null(this) if is_null else pc.fill_null(pc.equal(this, other), False)
            case exp.Like():
                found = pc.match_like(this, other.as_py())
                return pc.invert(found) if node.args.get("negate") else found
            case _ if type(node) in _FUNCTIONS:
                return _FUNCTIONS[type(node)](this, *child.get("expressions", []))
        return _BINARY[type(node)](*_alike(this, other))

    def _column(self, name: str, rows: pa.Table) -> Any:
        if name not in rows.column_names:
            raise InvalidParameterError(
                f"`{self.text}` uses {name!r}, which is none of {', '.join(rows.column_names)}."
            )
        return _plain(rows[name])


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, exp.Expression) or (
        isinstance(value, list) and any(isinstance(v, exp.Expression) for v in value)
    )


def _name(column: exp.Column) -> str:
    return ".".join(part.name for part in column.parts)


def _number(text: str) -> int | float:
    try:
        return int(text) if int(text) < 2**63 else float(text)
    except ValueError:
        return float(text)


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type that every function has a kernel for."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False)
    return column.cast(pa.string()) if pa.types.is_string_view(kind) else column


def _is_change(node: Any) -> bool:
    """Whether it is `rule = number`."""
    if not (isinstance(node, exp.EQ) and isinstance(node.this, exp.Column)):
        return False
    value = node.expression.this if isinstance(node.expression, exp.Neg) else node.expression
    return isinstance(value, exp.Literal) and not value.is_string


def _is_value(node: Any) -> bool:
    return isinstance(node.this if isinstance(node, exp.Neg) else node, exp.Literal | exp.Boolean | exp.Null)


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands, a text beside a date or time read as one: date >= '2020-01-31'."""
    if pa.types.is_temporal(a.type) and pa.types.is_string(b.type):
        return a, b.cast(a.type)
    if pa.types.is_temporal(b.type) and pa.types.is_string(a.type):
        return a.cast(b.type), b
    return a, b


def _not_zero(divisor: Any) -> Any:
    return pc.if_else(pc.equal(divisor, 0), None, divisor)


def _is_in(this: Any, values: list[Any]) -> Any:
    """SQL's `in`: where a value is not found but null is listed, it is not known whether it is there."""
    given = pa.array([v for v in values if v is not None])
    if pa.types.is_integer(this.type) and pa.types.is_floating(given.type):
        this = this.cast(pa.float64(), safe=False)
    if len(given) and pa.types.is_string(given.type) != (_is_text(this.type) or pa.types.is_temporal(this.type)):
        raise pa.ArrowInvalid(f"{this.type} cannot be among values of type {given.type}")
    found = pc.is_in(this, given.cast(this.type))
    if len(given) < len(values):
        found = pc.if_else(found, True, pa.scalar(None, pa.bool_()))
    return pc.if_else(pc.is_valid(this), found, None)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _problem(error: SqlglotError) -> str:
    """What sqlglot has to say, in a few words."""
    if not isinstance(error, sqlglot.ParseError):
        return "a quote or a comment is not closed"
    problem = error.errors[0]["description"] if error.errors else str(error)
    return "an operand is missing" if "<class" in problem else problem  # it names its own classes
