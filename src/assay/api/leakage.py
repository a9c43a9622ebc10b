"""`assay.leakage`: whether a model has read a benchmark, by what it thinks of its items with the options reordered."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.auditing import lm_of
from assay.artifacts.kinds import Corpus
from assay.artifacts.model import Model
from assay.comparison.leakage import (
    Finding,
    end_gaps,
    first_chances,
    gap_p_values,
    is_first_best,
    judge_first,
    judge_gaps,
)
from assay.errors import InputError, check, check_integer, check_number
from assay.models.lm import LM, document_sums

MAX_ORDERS = 24  # all orders of four options
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TEXTS = 2048  # judged at a time


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What the options' order says of a benchmark.

    items: a row an item judged: `id`, `orders` (how many were tried), `is_first_best` (rule a), `gap` (how far the
        likeliest order is from the next, see `comparison.leakage.end_gaps`), `p_value` and `is_outlier` (rule b; null
        with fewer than six orders), `likeliest` (the published letters in that order, as "CADB").
    first: rule a, over the benchmark. outlier: rule b, at `level`.
    skew: 0 where scores spread as far above their median as below. Well above 0, rule b flags too many.
    skipped: items that could not be judged, by reason.
    """

    items: pa.Table
    first: Finding
    outlier: Finding
    level: float
    skew: float
    skipped: dict[str, int]

    def __str__(self) -> str:
        rules = {"published order is the likeliest": self.first, "likeliest order is an outlier": self.outlier}
        lines = [
            f"{name}: {found.flagged:,} of {found.num_items:,} items, {found.share.estimate:.1%} where chance gives "
            f"{found.expected:.1%} (p = {found.p_value:.2g}); excess {found.excess.estimate:+.1%}, 95 % interval "
            f"{found.excess.low:+.1%} to {found.excess.high:+.1%}"
            for name, found in rules.items()
            if found.num_items
        ]
        skipped = ", ".join(f"{number:,} {reason}" for reason, number in self.skipped.items())
        return "\n".join([*lines, *([f"not judged: {skipped}"] if skipped else [])])


def leakage(
    items: Corpus | Sequence[Mapping[str, Any]],
    model: LM | Model | str | Path,
    *,
    max_orders: int = MAX_ORDERS,
    level: float = 0.05,
    seed: int = 0,
) -> Leakage:
    """Judges every multiple-choice item under reorderings of its options; see docs/leakage.md.

    An item reads "question", then a line "A. option" for each. All orders are tried, or `max_orders` drawn by the hash
    of the id, the published one among them; orders that read the same count once.

    Args:
        items: with `question` and `choices` (a list), or a `context` before the question; `id` where there is one. A
            corpus, as `assay.read` opens a benchmark, or mappings.
        model: a language model, what `assay.train` returned, or a folder (`models.neural_lm.load_lm`).
        max_orders: of an item, 2 to 720. level: p-value up to which rule b flags an item. seed: of the orders drawn.

    Raises:
        InputError: nothing to judge: no item has a question and two different options.
        InvalidParameterError: a bad parameter, or no such model.
    Cost: `max_orders` passes over an item's text.
    """
    check_integer("max_orders", max_orders, 2, math.factorial(6))
    check_number("level", level, "a share above 0 and below 1", lambda x: 0 < x < 1)
    check_integer("seed", seed, 0)
    lm = lm_of("model", model)
    rows: list[dict[str, Any]] = []
    scores: list[np.ndarray] = []
    skipped: Counter[str] = Counter()
    waiting: list[_Item] = []
    for number, given in enumerate(_given(items)):
        item = _item(given, str(number), max_orders, seed)
        if isinstance(item, str):
            skipped[item] += 1
            continue
        waiting.append(item)
        if sum(len(one.orders) for one in waiting) >= _TEXTS:
            scores += _scores(lm, waiting)
            rows += [one.row() for one in waiting]
            waiting = []
    scores += _scores(lm, waiting) if waiting else []
    rows += [one.row() for one in waiting]
    if not rows:
        found = ", ".join(f"{n:,} {reason}" for reason, n in skipped.items()) or "there are none"
        raise InputError(f"None of the `items` can be judged: {found}. They need a `question` and a list of `choices`.")
    return _found(rows, scores, level, dict(skipped))


@dataclass(frozen=True)
class _Item:
    """An item, and the orders of its options [orders, options], the published one first."""

    id: str
    stem: str
    options: list[str]
    orders: list[tuple[int, ...]]

    def texts(self) -> list[str]:
        return [
            "\n".join([self.stem, *(f"{_LETTERS[k]}. {self.options[place]}" for k, place in enumerate(order))])
            for order in self.orders
        ]

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "orders": self.orders}


def _given(items: Corpus | Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    if isinstance(items, Corpus):
        names = ["id", *(name for name in ("context", "question", "choices") if name in items.column_names)]
        for part in range(items.num_parts):
            for batch in items.batches(part, names):
                yield from batch.to_pylist()
        return
    for item in items:
        check(isinstance(item, Mapping), "items", item, "a corpus, or mappings with `question` and `choices`")
        yield item


def _item(given: Mapping[str, Any], number: str, max_orders: int, seed: int) -> "_Item | str":
    """The item, or why it cannot be judged."""
    options = given.get("choices")
    if isinstance(options, str):  # a corpus has lists as JSON
        try:
            options = json.loads(options)
        except ValueError:
            options = None
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        return "without a list of choices"
    stem = "\n".join(text for text in (given.get("context"), given.get("question")) if text)
    if not stem:
        return "without a question"
    if not 1 < len(set(options)) <= len(options) <= len(_LETTERS):
        return f"without 2 to {len(_LETTERS)} options that differ"
    name = str(given.get("id", number))
    return _Item(name, stem, options, _orders(options, max_orders, f"{seed}/{name}"))


def _orders(options: list[str], max_orders: int, key: str) -> list[tuple[int, ...]]:
    """The published order and others that read differently: all, or as many as make `max_orders`, drawn by `key`."""
    published = tuple(range(len(options)))
    if math.factorial(len(options)) <= max(max_orders, MAX_ORDERS):
        candidates: Iterator[tuple[int, ...]] = permutations(published)
    else:
        candidates = _drawn(len(options), key)
    found: dict[tuple[str, ...], tuple[int, ...]] = {tuple(options): published}
    limit = 100 * max_orders  # options that repeat have fewer orders than their number says
    for order in islice(candidates, limit):
        found.setdefault(tuple(options[k] for k in order), order)
    orders = list(found.values())
    if len(orders) > max_orders:
        rng = np.random.default_rng(list(f"{key}/some".encode()))
        orders = [orders[0], *(orders[k] for k in 1 + rng.permutation(len(orders) - 1)[: max_orders - 1])]
    return orders


def _drawn(number: int, key: str) -> Iterator[tuple[int, ...]]:
    rng = np.random.default_rng(list(key.encode()))
    while True:
        yield tuple(rng.permutation(number).tolist())


def _scores(lm: LM, items: list[_Item]) -> list[np.ndarray]:
    """Of each item the log probability of each order's tokens, from the first one on in which orders differ, nats."""
    texts = [item.texts() for item in items]
    ids, starts = lm.encode(pa.array([text for own in texts for text in own], pa.large_string()))
    values = lm.log_probabilities(ids, starts).astype(np.float64)
    first = 0
    for own in texts:  # what all orders begin with has the same probability, and rounding of its own
        rows = [ids[starts[k] : starts[k + 1]] for k in range(first, first + len(own))]
        shared = _common(rows)
        for k in range(first, first + len(own)):
            values[starts[k] : starts[k] + shared] = 0
        first += len(own)
    sums = document_sums(values, starts)
    return np.split(sums, np.cumsum([len(own) for own in texts])[:-1])


def _common(rows: list[np.ndarray]) -> int:
    """How many tokens all rows begin with."""
    size = min(map(len, rows))
    block = np.stack([row[:size] for row in rows])
    differs = (block != block[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else size


def _found(rows: list[dict[str, Any]], scores: list[np.ndarray], level: float, skipped: dict[str, int]) -> Leakage:
    num_orders = np.array([len(own) for own in scores])
    is_best = is_first_best(scores)
    gaps, units = end_gaps(scores)
    p_values = gap_p_values(gaps, num_orders)
    is_known = ~np.isnan(p_values)
    table = pa.table(
        {
            "id": pa.array([row["id"] for row in rows], pa.string()),
            "orders": pa.array(num_orders, pa.int32()),
            "is_first_best": pa.array(is_best),
            "gap": pa.array(gaps[:, 0], mask=~is_known),
            "p_value": pa.array(p_values, mask=~is_known),
            "is_outlier": pa.array(p_values <= level, mask=~is_known),
            "likeliest": pa.array(
                [
                    "".join(_LETTERS[k] for k in row["orders"][int(own.argmax())])
                    for row, own in zip(rows, scores, strict=True)
                ]
            ),
        }
    )
    skew = (units[:, 0] - units[:, 1])[is_known] / units.sum(axis=1)[is_known]
    return Leakage(
        items=table,
        first=judge_first(is_best, first_chances(scores)),
        outlier=judge_gaps(gaps, p_values, level),
        level=level,
        skew=float(skew.mean()) if len(skew) else math.nan,
        skipped=skipped,
    )
