"""A mixture: how much of what is read comes from each source, as a file that people and `select` read.

Weights are met as far as the text goes round: a source that would have to be read more than `max_epochs` times gives
what is too much to the others. Four epochs are nearly as good as fresh text, and by about sixteen there is little left
to learn from more of them: Muennighoff et al. 2023, Scaling Data-Constrained Language Models (arXiv:2305.16264).
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from assay.artifacts.kinds import human_count
from assay.artifacts.yamlfile import dump, read_yaml
from assay.errors import BudgetError, InvalidParameterError, check, check_number, check_text, did_you_mean
from assay.kernels.filling import fill

MAX_EPOCHS = 4.0
_ROUNDING = 1e-6  # by which weights may miss a sum of 1, and are then scaled
_EXACT = 1e-12  # what misses it by less stays as it is: the same weights, saved and loaded again, are the same
_SCALE = "Correct them, or have them scaled: Mixture.scaled({...}), Mixture.load(path, scale=True)."
_KEYS = ("by", "weights", "max_epochs")
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A weight for each source, or for each value of another column.

    weights: from source to its share of what is read, at least 0, sum 1.
    by: the column whose values they are of: of the corpus ("source"), or of scores ("clusters.cluster").
    max_epochs: how many times over a source may be read, with repeats (2.5 = half of its text three times, the rest
        twice): one number, one for some of the sources (4 for the others), or None: once, and weights that cannot be
        met so are an error.

    Raises:
        InvalidParameterError: no weights, one that is negative or no number, or weights that do not sum to 1.
    """

    weights: Mapping[str, float]
    by: str = "source"
    max_epochs: float | Mapping[str, float] | None = MAX_EPOCHS

    def __post_init__(self) -> None:
        check_text("by", self.by)
        weights = check_weights("weights", self.weights)
        total = fsum(weights.values())
        check(abs(total - 1) <= _ROUNDING, "weights", round(total, 9), "numbers that sum to 1", _SCALE)
        if abs(total - 1) > _EXACT:
            weights = {name: weight / total for name, weight in weights.items()}
        object.__setattr__(self, "weights", weights)
        if isinstance(self.max_epochs, Mapping):
            caps = {str(name): cap for name, cap in self.max_epochs.items()}
            for name, cap in caps.items():
                check(name in weights, "max_epochs", name, _one_of(weights), did_you_mean(name, weights))
                check_number(f"max_epochs.{name}", cap, "a number above 0", lambda x: x > 0)
            object.__setattr__(self, "max_epochs", {name: float(caps.get(name, MAX_EPOCHS)) for name in weights})
        elif self.max_epochs is not None:
            check_number("max_epochs", self.max_epochs, "a number above 0", lambda x: x > 0)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self.weights)

    @classmethod
    def scaled(cls, weights: Mapping[str, float], **fields: Any) -> "Mixture":
        """The mixture in which sources stand to each other as these numbers do.

        Raises:
            InvalidParameterError: none is above 0, one is negative or no number, or bad `fields`.

        >>> Mixture.scaled({"web": 3, "books": 1}).weights
        {'web': 0.75, 'books': 0.25}
        """
        numbers = check_weights("weights", weights)
        total = fsum(numbers.values())
        return cls(weights={name: weight / total for name, weight in numbers.items()}, **fields)

    @classmethod
    def proportional(cls, available: Mapping[str, float], temperature: float = 1.0, **fields: Any) -> "Mixture":
        """Weights that grow with size^(1 / temperature).

        Temperature 1 is as large as they are, infinity all alike, below 1 the large ones gain. This is the convention
        of T5 (Raffel et al. 2020, arXiv:1910.10683, section 3.5.2) and of multilingual models (Arivazhagan et al. 2019,
        arXiv:1907.05019, with 5; XLM-R writes the exponent 1 / temperature as alpha = 0.3).

        Args:
            available: size of each source, as in tokens. fields: the mixture's other fields.

        Raises:
            InvalidParameterError: a temperature that is not above 0, or a size that is negative.

        >>> round(Mixture.proportional({"en": 900, "sw": 100}, temperature=2).weights["en"], 6)
        0.75
        """
        is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
        check(is_number and temperature > 0, "temperature", temperature, "a number above 0")
        sizes = check_weights("available", available)
        logs = {name: float(np.log(size)) for name, size in sizes.items() if size > 0}
        most = max(logs.values())  # so that no power overflows
        powers = {name: float(np.exp((logs[name] - most) / temperature)) if name in logs else 0.0 for name in sizes}
        return cls.scaled(powers, **fields)

    @classmethod
    def uniform(cls, sources: Iterable[str], **fields: Any) -> "Mixture":
        """The same weight for each source."""
        return cls.scaled(dict.fromkeys(sources, 1.0), **fields)

    def blended(self, other: "Mixture", share: float) -> "Mixture":
        """A mixture of two: (1 - share) of this one, `share` of the other.

        A source of both takes the larger of its two limits of epochs.

        Raises:
            InvalidParameterError: the share is not from 0 to 1, or the two go by different columns.
        """
        check_number("share", share, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        check(isinstance(other, Mixture), "other", other, "a mixture")
        check(self.by == other.by, "by", other.by, f"the column of the other mixture, {self.by!r}")
        names = dict.fromkeys([*self.weights, *other.weights])
        weights = {n: (1 - share) * self.weights.get(n, 0) + share * other.weights.get(n, 0) for n in names}
        caps = {n: max(self.epochs_of(n), other.epochs_of(n)) for n in names}
        is_strict = self.max_epochs is None and other.max_epochs is None
        return Mixture(weights=weights, by=self.by, max_epochs=None if is_strict else caps)

    def epochs_of(self, source: str) -> float:
        """How many times over a source may be read; 0 for one that it does not name."""
        if source not in self.weights:
            return 0.0
        if isinstance(self.max_epochs, Mapping):
            return float(self.max_epochs[source])
        return 1.0 if self.max_epochs is None else float(self.max_epochs)

    def plan(
        self, available: Mapping[str, float], tokens: float, read: Mapping[str, float] | None = None
    ) -> "MixturePlan":
        """What the mixture takes of each source for a budget, limits of epochs kept.

        Args:
            available: tokens of each source, seen once. tokens: the budget.
            read: what has been read of each source before, in an earlier phase; its limit counts that in.

        Raises:
            InvalidParameterError: a source with a weight is not among `available`.
            BudgetError: with these limits all sources together hold less than the budget; without limits, one does.
        """
        check_number("tokens", tokens, "a number above 0", lambda x: x > 0)
        sizes = check_weights("available", available)
        for name, weight in self.weights.items():
            if weight > 0 and not sizes.get(name):
                raise InvalidParameterError(
                    f"Source {name!r} has a weight of {weight:.4g} and no tokens; there are {_listed(sizes)}. "
                    "Give it none, or read the corpus with it."
                )
        before = read or {}
        weights, have = np.array(list(self.weights.values())), np.array([sizes.get(n, 0.0) for n in self.weights])
        room = np.array([max(0.0, self.epochs_of(n) * sizes.get(n, 0.0) - before.get(n, 0.0)) for n in self.weights])
        wanted = tokens * weights
        is_short = wanted * (1 - _ROUNDING) > room
        if self.max_epochs is None and is_short.any():
            name = self.sources[int(np.argmax(is_short))]
            epochs = (tokens * self.weights[name] + before.get(name, 0.0)) / sizes[name]
            raise BudgetError(
                f"Source {name!r} is to give {tokens * self.weights[name]:,.0f} tokens and has "
                f"{sizes[name] - before.get(name, 0.0):,.0f} left: that would be {epochs:.2f} epochs. Lower its weight "
                "or the budget, or set `max_epochs`: what is too much then goes to the others."
            )
        given = fill(tokens, weights, room) if is_short.any() else wanted
        if given.sum() < tokens * (1 - _ROUNDING):
            raise BudgetError(
                f"The budget is {tokens:,.0f} tokens, but within `max_epochs` the mixture's sources have only "
                f"{given.sum():,.0f} to give. Lower the budget, raise `max_epochs`, or give other sources a weight."
            )
        plan = {"wanted": wanted, "tokens": given, "available": have}
        return MixturePlan(mixture=self, **{key: _by_name(self.weights, found) for key, found in plan.items()})

    def within(
        self,
        available: Mapping[str, float],
        tokens: float,
        max_epochs: float | Mapping[str, float] | None = None,
    ) -> "Mixture":
        """The mixture that can be had: what exceeds a source's limit of epochs goes to the others in proportion.

        Args:
            available: tokens of each source, seen once. tokens: the budget. max_epochs: instead of its own.

        Raises:
            InvalidParameterError, BudgetError: as `plan`.
        """
        limits = self.max_epochs if max_epochs is None else max_epochs
        own = Mixture(weights=self.weights, by=self.by, max_epochs=limits)
        return Mixture.scaled(own.plan(available, tokens).tokens, by=self.by, max_epochs=limits)

    def table(self) -> Table:
        """Sources with their weights, the largest first, for people."""
        grid = new_grid(self.by, "weight", "max epochs")
        for name in sorted(self.weights, key=lambda n: -self.weights[n]):
            grid.add_row(Text(name), f"{self.weights[name]:.4f}", f"{self.epochs_of(name):g}")
        return grid

    def to_dict(self) -> dict[str, Any]:
        """The layout of the YAML file."""
        return {key: getattr(self, key) for key in _KEYS}

    @classmethod
    def from_dict(cls, content: Any, where: str = "mixture", scale: bool = False) -> "Mixture":
        """Reads a mapping in the layout of the YAML file.

        Raises:
            InvalidParameterError: as `load`; the message starts with `where`.
        """
        check_keys(where, content, _KEYS)
        check("weights" in content, f"{where}.weights", None, "given, as in {web: 0.7, books: 0.3}")
        try:
            return cls.scaled(**content) if scale else cls(**content)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{where}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Writes a YAML file, or JSON where it is called .json, for `load` and for recipes."""
        write_yaml(self.to_dict(), path)

    @classmethod
    def load(cls, path: str | Path, scale: bool = False) -> "Mixture":
        """Reads what `save` wrote, or a YAML or JSON file of the same layout.

        Args:
            scale: have weights scaled that do not sum to 1.

        Raises:
            InvalidParameterError: no such file, not YAML, an unknown key, or weights that are none.
        """
        file = Path(path)
        return cls.from_dict(read_yaml(file, f"There is no mixture {file}."), str(file), scale)


@dataclass(frozen=True, kw_only=True)
class MixturePlan:
    """What a mixture takes of each source, in tokens; see `Mixture.plan`.

    wanted: by its weights. tokens: with its limits of epochs. available: what there is, seen once.
    """

    mixture: Mixture
    wanted: Mapping[str, float]
    tokens: Mapping[str, float]
    available: Mapping[str, float]

    @property
    def moved(self) -> float:
        """Share of the budget that limits of epochs give to other sources."""
        short = sum(max(0.0, self.wanted[name] - self.tokens[name]) for name in self.tokens)
        return short / sum(self.wanted.values())

    def epochs(self, source: str) -> float:
        """How many times over a source is read."""
        return self.tokens[source] / self.available[source] if self.tokens[source] else 0.0

    def table(self) -> Table:
        """Sources with what there is, what is wanted and what they give, for people."""
        grid = new_grid(self.mixture.by, "weight", "available", "wanted", "tokens", "share", "epochs")
        total = sum(self.tokens.values())
        for name in sorted(self.tokens, key=lambda n: -self.mixture.weights[n]):
            sizes = (self.available[name], self.wanted[name], self.tokens[name])
            last = (f"{self.tokens[name] / total:.4f}", f"{self.epochs(name):.2f}")
            grid.add_row(Text(name), f"{self.mixture.weights[name]:.4f}", *map(human_count, map(round, sizes)), *last)
        if self.moved > 0:
            grid.caption = f"Limits of epochs move {self.moved:.1%} of the budget to other sources."
        return grid


def check_weights(name: str, weights: object) -> dict[str, float]:
    """Numbers by source, names as text.

    Raises:
        InvalidParameterError: no mapping, empty, a name that is no text, a number below 0 or none above it.
    """
    check(isinstance(weights, Mapping), name, weights, "a mapping such as {web: 0.7, books: 0.3}")
    assert isinstance(weights, Mapping)
    for source, weight in weights.items():
        # YAML reads `no:` as False and `2020:` as a number; only the second can be meant in one way.
        is_clear = isinstance(source, str) or type(source) is int
        check(is_clear, name, source, "given by names that are text", "Put the name between quotes.")
        plain = weight.item() if isinstance(weight, np.number) else weight
        check_number(f"{name}.{source}", plain, "a number of at least 0", lambda w: w >= 0)
    check(any(weight > 0 for weight in weights.values()), name, dict(weights), "numbers of which one is above 0")
    check(sum(weights.values()) <= sys.float_info.max, name, dict(weights), "numbers with a finite sum")
    return {str(source): float(weight) for source, weight in weights.items()}


def check_keys(where: str, content: object, known: tuple[str, ...]) -> None:
    """Raises InvalidParameterError unless the content of a file is a mapping with known keys."""
    check(isinstance(content, Mapping), where, content, "a mapping of keys to values")
    assert isinstance(content, Mapping)
    for key in content:
        if key not in known:
            hint = did_you_mean(key, known)
            raise InvalidParameterError(f"`{where}` has no {key!r}; it takes {', '.join(known)}. {hint}".rstrip())


def write_yaml(content: Any, path: str | Path) -> None:
    """Writes plain content as YAML, or as JSON where the file is called so."""
    is_json = Path(path).suffix == ".json"
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n" if is_json else dump(content)
    Path(path).write_text(text, encoding="utf-8")


def _by_name(names: Iterable[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def new_grid(first: str, *others: str) -> Table:
    """An empty table: names in the first column, numbers in the others."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column(first)
    for name in others:
        grid.add_column(name, justify="right")
    return grid


def _one_of(names: Iterable[str]) -> str:
    return f"given for sources that have a weight: {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    """The first ten names, for a message."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(map(repr, ordered[:_SHOWN])) + more
