"""Dataclasses from what YAML holds: unknown and missing keys and wrong values are errors that say where."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from assay.errors import InvalidParameterError, check, check_choice, did_you_mean


def named(where: str, content: Any, table: Mapping[str, Any]) -> Any:
    """An object of `table` from "name" or {name: {parameters}}."""
    if isinstance(content, str):
        content = {content: {}}
    values = mapping(where, content)
    check(len(values) == 1, where, dict(values), f"one of {', '.join(table)}, with its parameters")
    name, parameters = next(iter(values.items()))
    check_choice(where, name, table)
    return build(table[name], parameters if parameters is not None else {}, f"{where}.{name}")


def build(kind: type[Any], content: Any, where: str) -> Any:
    """A dataclass from a mapping; unknown and missing keys are errors that name them."""
    values = mapping(where, content)
    known = {f.name: f for f in fields(kind)}
    check_keys(where, values, set(known))
    missing = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING and n not in values]
    check(not missing, f"{where}.{missing[0] if missing else ''}", None, "given")
    try:
        return kind(**values)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{where}: {error}") from None


def mapping(where: str, content: Any) -> Mapping[str, Any]:
    """The content, which must be a mapping."""
    check(isinstance(content, Mapping), where, content, "a mapping of keys to values")
    return content


def check_keys(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    """Raises InvalidParameterError where a key is not known."""
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known)
            takes = ", ".join(sorted(known)) or "no parameters"
            raise InvalidParameterError(f"`{where}` has no {key!r}; it takes {takes}. {hint}".rstrip())
