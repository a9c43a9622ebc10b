"""Every error that Assay raises on purpose.

    AssayError
    ├── InvalidParameterError (ValueError)              a parameter breaks its rule
    │   └── BudgetError                                 a budget is larger than what may be chosen from
    ├── SchemaError (ValueError)                        a column is missing or has the wrong type
    ├── InputError (ValueError)                         files that cannot be read, or too many bad rows in them
    ├── NotFittedError (ValueError, AttributeError)     score() before fit()
    ├── ArtifactError (RuntimeError)                    half-written or foreign folder, disk full, not writable
    ├── ClusterError (RuntimeError)                     a cluster that cannot be reached, or cannot do a part
    ├── StorageError (RuntimeError)                     an object store that refuses or cannot be reached
    ├── StoppedError (RuntimeError)                     training that met a limit of time or memory
    └── MissingExtraError (ImportError)                 an optional dependency, with the pip line

A message names the thing, the rule, the value and the way out: "`num_buckets` (=0) must be an integer ≥ 1."
"""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

_MAX_SHOWN = 200  # characters
_SECRET = re.compile("token$|secret|passw|credential|api_?key|access_?key|auth", re.I)


class AssayError(Exception):
    """Base of all errors that Assay raises on purpose; its text is meant for users."""


class InvalidParameterError(AssayError, ValueError):
    """A parameter breaks its rule."""


class BudgetError(InvalidParameterError):
    """A budget is larger than what may be chosen from."""


class SchemaError(AssayError, ValueError):
    """A column is missing or has the wrong type."""


class InputError(AssayError, ValueError):
    """Input files that are missing, unreadable, or hold more bad rows than allowed."""


class NotFittedError(AssayError, ValueError, AttributeError):
    """A scorer or model was used before it was fitted."""


class ArtifactError(AssayError, RuntimeError):
    """An artifact that is half-written, foreign or cannot be written."""


class ClusterError(AssayError, RuntimeError):
    """A cluster that cannot be reached, has other packages, or on which a part kills every worker."""


class StorageError(AssayError, RuntimeError):
    """An object store that refuses, cannot be reached, or does not do what was asked.

    No OSError: where those are taken for damaged files, a connection that breaks must not be.
    """


class StoppedError(AssayError, RuntimeError):
    """Training that met its limit of time or memory; the same call goes on from there."""


class MissingExtraError(AssayError, ImportError):
    """An optional dependency is not installed."""


def check(ok: bool, name: str, value: object, rule: str, way_out: str = "") -> None:
    """Raises InvalidParameterError "`name` (=value) must be rule. way_out" unless `ok`."""
    if not ok:
        raise InvalidParameterError(f"`{name}` (={shown(value)}) must be {rule}.{' ' + way_out if way_out else ''}")


def shown(value: object) -> str:
    """A value as an error shows it: in short, and without what its name says to be a secret."""
    try:
        text = repr(_without_secrets(value))
    except (ValueError, RecursionError):  # Python writes no integer of over 4,300 digits
        return f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _without_secrets(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: "***" if _SECRET.search(str(k)) else _without_secrets(v) for k, v in value.items()}
    return [_without_secrets(v) for v in value] if isinstance(value, list) else value


def check_text(name: str, value: object) -> None:
    """Raises InvalidParameterError unless `value` is text that says something."""
    check(isinstance(value, str) and value.strip() != "", name, value, "text", "Put it between quotes.")


def check_integer(name: str, value: object, at_least: int, at_most: int | None = None) -> None:
    """Raises InvalidParameterError unless `value` is an integer inside the closed range."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if at_most is None:
        check(is_integer and value >= at_least, name, value, f"an integer ≥ {at_least}")  # type: ignore[operator]
    else:
        ok = is_integer and at_least <= value <= at_most  # type: ignore[operator]
        check(ok, name, value, f"an integer from {at_least} to {at_most}")


def check_number(name: str, value: object, rule: str, ok: Any) -> None:
    """Raises InvalidParameterError unless `value` is a finite number for which `ok(value)` holds."""
    # An integer may be larger than any float.
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    check(is_number and ok(value), name, value, rule)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raises InvalidParameterError, naming the choices and the nearest one, unless `value` is one of them."""
    known = list(choices)
    check(value in known, name, value, f"one of {', '.join(known)}", did_you_mean(value, known))


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """ "Did you mean 'dsir'?" when one of `choices` is close to `value`, else an empty string."""
    close = difflib.get_close_matches(value if isinstance(value, str) else shown(value), list(choices), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""
