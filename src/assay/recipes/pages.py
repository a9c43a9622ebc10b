"""Recipes for people: the list of them, and each one's page over the YAML that it amounts to."""

import inspect
import re
import textwrap
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from assay.api.recipe import Recipe
from assay.errors import InvalidParameterError, check_choice
from assay.recipes import RECIPES
from assay.recipes.layout import OPTIONS, Layout

EXAMPLE = {"pool": "pool/*.jsonl.zst", "target": {"read": "target.jsonl", "holdout": 0.3}, "budget": "2M tokens"}
_AUTHORS = re.compile(r",\s+([^,]+?\s+\d{4})\s+\(")
_LEARNS = (
    "`assay recipe run` first learns what arms go by and puts it into the recipe that it leaves; below stands what "
    "learning starts from."
)
SECTIONS = ("Paper", "What differs", "Cost", "When not to use")


class _Dumper(yaml.SafeDumper):
    """Safe, and without anchors where a value stands twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Double quotes round what has single ones in it."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "'" in text else None)


_Dumper.add_representer(str, _text)


class Page(NamedTuple):
    """What a module's docstring says. title: "DSIR"; summary: one line; sections: text by heading, in order."""

    title: str
    summary: str
    sections: Mapping[str, str]


def module(name: str) -> ModuleType:
    """The recipe of this name.

    Raises:
        InvalidParameterError: there is none.
    """
    check_choice("recipe", name, RECIPES)
    return RECIPES[name]


def page(name: str) -> Page:
    """The page of a recipe.

    Raises:
        InvalidParameterError: there is no such recipe.
    """
    first, *others = inspect.cleandoc(module(name).__doc__ or "").split("\n\n")
    title, summary = first.split(": ", 1)
    return Page(title, summary, dict(other.split(": ", 1) for other in others))


def options(name: str) -> dict[str, bool]:
    """What a recipe takes beside pool, target and budget, and whether it cannot do without."""
    taken = inspect.signature(module(name).recipe).parameters.values()
    return {p.name: p.default is p.empty for p in taken if p.name not in EXAMPLE}


def layout(name: str, pool: Any, target: Any, budget: str, given: Mapping[str, Any] | None = None) -> Layout:
    """The comparison that a recipe stands for.

    Args:
        given: its options by name; None means not given.

    Raises:
        InvalidParameterError: no such recipe, an option that it does not take, or one that it cannot do without.
    """
    known, values = options(name), {k: v for k, v in (given or {}).items() if v is not None}
    for option in values:
        if option not in known:
            takes = ", ".join(f"--{k}" for k in known) or "no such option"
            raise InvalidParameterError(f"Recipe {name!r} takes no --{option}; it takes {takes}.")
    for option, is_needed in known.items():
        if is_needed and option not in values:
            example, meaning = OPTIONS[option]
            raise InvalidParameterError(f"Recipe {name!r} needs {meaning}. Give it with --{option} {example}.")
    content: Layout = module(name).recipe(pool, target, budget, **values)
    return content


def example(name: str) -> Layout:
    """The comparison with paths to be filled in."""
    needed = {option: OPTIONS[option][0] for option, is_needed in options(name).items() if is_needed}
    return layout(name, EXAMPLE["pool"], EXAMPLE["target"], str(EXAMPLE["budget"]), needed)


def needs(name: str) -> list[str]:
    """What the method goes by: "target", and the options that it cannot do without."""
    arms = Recipe.from_dict(example(name)).arms.values()
    by_target = any(scorer.needs_target for arm in arms for scorer in arm.scorers())
    return [*(["target"] if by_target else []), *(k for k, is_needed in options(name).items() if is_needed)]


def listing() -> Table:
    """All recipes: name, what it is, what it goes by."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("recipe", no_wrap=True)
    grid.add_column("what it is", overflow="fold")
    grid.add_column("paper", overflow="fold")
    grid.add_column("goes by", overflow="fold")
    for name in RECIPES:
        about = page(name)
        grid.add_row(name, about.summary, authors(name), ", ".join(needs(name)) or "–")
    return grid


def authors(name: str) -> str:
    """ "Xie et al. 2023": who wrote the first paper of a recipe's page, and when."""
    found = _AUTHORS.search(page(name).sections["Paper"])
    assert found is not None, f"the page of {name} says no authors and year"
    return " ".join(found[1].split())


def yaml_of(content: Layout) -> str:
    """The YAML of a comparison; no line is broken."""
    return yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=float("inf")
    )


def with_page(name: str, content: Layout, width: int = 100, *, is_learnt: bool = False) -> str:
    """The YAML of a comparison under the recipe's page, which stands there as a comment.

    Args:
        is_learnt: whether the arms go by what they are to go by already, where that has to be learnt.
    """
    about = page(name)
    blocks = [f"{about.title}: {about.summary}", *(f"{heading}: {text}" for heading, text in about.sections.items())]
    taken = {k: is_needed for k, is_needed in options(name).items() if k in OPTIONS}
    blocks += [f"{'Needs' if taken[k] else 'Option'} --{k} {OPTIONS[k][0]}: {OPTIONS[k][1]}." for k in taken]
    blocks += [_LEARNS] if hasattr(module(name), "learn") and not is_learnt else []
    comment = "\n\n".join("\n".join(_filled(block, width - 2)) for block in blocks)
    return textwrap.indent(comment, "# ", lambda _: True).replace("# \n", "#\n") + "\n\n" + yaml_of(content)


def _filled(block: str, width: int) -> list[str]:
    """A paragraph, or the items of a list, each filled to `width`."""
    items = block.replace("\n- ", "\n\n- ").split("\n\n")
    return [
        line
        for item in items
        for line in textwrap.wrap(
            " ".join(item.split()), width, subsequent_indent="  " * item.startswith("- "), break_long_words=False
        )
    ]
