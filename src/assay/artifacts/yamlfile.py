"""YAML that people write, read safely: no objects, no surprises, no more than a recipe can be."""

import re
from pathlib import Path
from typing import Any

import yaml

from assay.errors import InvalidParameterError, shown

_MAX_YAML_CHARACTERS = 1_000_000
_MAX_YAML_NODES = 100_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """YAML without two surprises: a key that stands twice is an error, and 1e-3 is a number as in YAML 1.2."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As the base class, duplicate keys refused, also those that differ only in their quotes."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Puts between quotes what `_Loader` would take for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def dump(content: Any) -> str:
    """Plain content as YAML, keys in their order; `parse` gives it back."""
    text: str = yaml.dump(content, Dumper=_Dumper, allow_unicode=True, width=120, sort_keys=False)
    return text


def parse(text: str) -> Any:
    """The content of some YAML.

    Raises:
        YAMLError: it is not YAML, or more than a recipe can be: too long, too deep, or too large when aliases are
            followed ("billion laughs").
    """
    if len(text) > _MAX_YAML_CHARACTERS:
        raise yaml.YAMLError(f"it is longer than {_MAX_YAML_CHARACTERS:,} characters")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _num_nodes(node, {}) > _MAX_YAML_NODES:
            raise yaml.YAMLError(f"it stands for more than {_MAX_YAML_NODES:,} values, its aliases followed")
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    except (ValueError, OverflowError) as error:
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _num_nodes(node: Any, known: dict[int, float]) -> float:
    """How many values a node stands for, every alias counted in full; infinitely many where it is part of itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        children = node.value if not isinstance(node, yaml.ScalarNode) else ()
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.ScalarNode) and ("\0" in node.value or _SURROGATE.search(node.value)):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1} has a character that no text has")
        known[id(node)] = 1 + sum(_num_nodes(child, known) for child in children)
    return known[id(node)]


def problem(error: Exception) -> str:
    """What is wrong with YAML, and where, without the line itself: it may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1})"
    return " ".join(str(error).split())


def read_yaml(file: Path, missing: str) -> Any:
    """The content of a YAML file.

    Raises:
        InvalidParameterError: it is not there (the message is `missing`), cannot be read, or is not YAML.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidParameterError(missing) from None
    except OSError as error:
        raise InvalidParameterError(f"{shown(str(file))} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"{file} is not YAML: {problem(error)}") from None
