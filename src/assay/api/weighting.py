"""`assay.weigh`: weights for scores, learnt from proxies that were trained on what such weights choose.

After Meta-rater (Zhuang et al. 2025, arXiv:2504.14194) and InstructMining (Cao et al. 2023, arXiv:2307.06290); see
`mixtures.weights` for the two ways to read the runs. What differs: proxies are rung 0 of the ladder (n-gram models), 64
of them instead of 256 transformers; and the runs are tested on a part of the target that the comparison which follows
does not test on, since weights that were fitted to its test would win it unfairly.

Cost: as so many runs of `compare`, a few seconds each; runs that are done are found again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from assay.api.planning import Plan
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.recipe_parts import Target
from assay.api.running import Bench, Task
from assay.api.selecting import Question
from assay.api.staging import Stage, do_tasks, open_targets, plan_stage
from assay.artifacts.kinds import Run
from assay.artifacts.workspace import Workspace
from assay.corpus.engine import map_parts, map_step
from assay.errors import InvalidParameterError, check, check_integer
from assay.mixtures.weights import Fit, best_weights, draw_weights, linear_rule
from assay.progress import note
from assay.scorers import SCORERS
from assay.selection.expressions import Expression
from assay.selection.policies import Top

_ALL = "all"  # the arm that reads every term
_MAX_DRAWS = 10_000
_DIGITS = 6  # of the numbers in an expression


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What `weigh` found.

    terms: expressions over score columns, each scaled to mean 0 and deviation 1 over the pool before it is weighted.
    weights: of each term, as Meta-rater finds them: at least 0, sum 1. by: the weighted sum as an expression.
    rule_weights, rule: the same as InstructMining finds them; below 0 where less of a term is better.
    agreement: by "weights" and "rule", the rank correlation of each run's loss with that foretold from all others.
    runs: of each run, its `weights` and `bits_per_byte`, and the mean of each scaled term over what it read (`means`).
    random: bits per byte of a random choice.
    """

    terms: tuple[str, ...]
    weights: tuple[float, ...]
    by: str
    rule_weights: tuple[float, ...]
    rule: str
    agreement: Mapping[str, float | None]
    runs: Sequence[Mapping[str, Any]] = field(repr=False)
    random: float

    def table(self) -> Table:
        """Terms with their weights, for people."""
        grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for name in ("term", "weight", "rule", "alone, bits per byte"):
            grid.add_column(name, justify="left" if name == "term" else "right")
        alone = {int(np.argmax(run["weights"])): run["bits_per_byte"] for run in self.runs if max(run["weights"]) == 1}
        for k, term in enumerate(self.terms):
            found = f"{alone[k]:.4f}" if k in alone else ""
            grid.add_row(term, f"{self.weights[k]:.3f}", f"{self.rule_weights[k]:+.4f}", found)
        grid.add_row("random", "", "", f"{self.random:.4f}")
        foretold = {name: "none" if value is None else f"{value:.2f}" for name, value in self.agreement.items()}
        grid.caption = (
            f"Rank correlation of the {len(self.runs)} losses with those foretold from all other runs: "
            f"weights {foretold['weights']}, rule {foretold['rule']}."
        )
        return grid

    def save(self, path: str | Path) -> None:
        """Writes everything as YAML."""
        plain = {
            "by": self.by,
            "rule": self.rule,
            "terms": dict(zip(self.terms, self.weights, strict=True)),
            "rule_terms": dict(zip(self.terms, self.rule_weights, strict=True)),
            "agreement": dict(self.agreement),
            "random": self.random,
            "runs": [dict(run) for run in self.runs],
        }
        Path(path).write_text(
            yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1_000_000), encoding="utf-8"
        )


def weigh(
    recipe: Recipe,
    terms: Sequence[str],
    *,
    num_draws: int = 64,
    seed: int = 0,
    workspace: Workspace | str | None = None,
) -> Weights:
    """Learns which weighted sum of scores to choose by, for the recipe's pool, target, budget and proxy.

    Each draw of weights takes the documents with the highest weighted sum, as many as the budget allows, of the sample
    of the pool that one seed sees; a proxy is trained on them, and tested on half of the target documents that scorers
    would be fitted to. Scorers are fitted to the other half here. The recipe's arms are not looked at; its scorers'
    parameters are.

    Args:
        terms: expressions over columns of scores or of the pool, higher = better ("dsir.per_ngram", "-repeats.lines"),
            or names of scorers, whose first column is meant. Documents for which one is null are not chosen.
        num_draws: proxies to train. The first take equal weights and each term alone.

    Raises:
        InvalidParameterError: fewer than two terms, none that varies over the pool, or bad parameters.
        BudgetError: the budget is larger than the sample of the pool.
    """
    check(isinstance(recipe, Recipe), "recipe", recipe, "a recipe", "Recipe.load(path) reads one.")
    ok = isinstance(terms, Sequence) and not isinstance(terms, str) and len(set(terms)) == len(terms) >= 2
    check(ok, "terms", terms, "a list of at least two different expressions")
    terms = tuple(_score_of(recipe, term) if term in SCORERS else term for term in terms)
    for term in terms:
        Expression(term)
    check_integer("num_draws", num_draws, max(8, len(terms) + 1), _MAX_DRAWS)
    check_integer("seed", seed, 0)
    space = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    to_fit, _ = open_targets(recipe, space)
    targets = {name: Target(read=corpus, holdout=0.5) for name, corpus in to_fit.items()}
    total = " + ".join(f"({term})" for term in terms)
    arm = Arm(by=total, select=Top(), others=recipe.scorers)
    plan = Plan(space)
    stage = plan_stage(plan, replace(recipe, targets=targets, arms={RANDOM: Arm(), _ALL: arm}, write=None))
    done = plan.add("weigh", lambda looked_at: _weigh(stage(looked_at), terms, num_draws, seed))
    plan.run()
    return done.result()


def _score_of(recipe: Recipe, name: str) -> str:
    """The first column of a scorer, so that higher is better."""
    scorer = next((scorer for scorer in recipe.scorers if scorer.name == name), None) or SCORERS[name]()
    column = scorer.columns(tuple(recipe.targets))[0]
    return f"-{column.name}" if column.higher_is_better is False else column.name


def _weigh(stage: Stage, terms: tuple[str, ...], num_draws: int, seed: int) -> Weights:
    centres, scales = _spread(stage, terms)
    weights = draw_weights(num_draws, len(terms), seed)
    arms = {f"draw-{k}": _arm(stage, terms, row / scales) for k, row in enumerate(weights)}
    recipe = replace(stage.recipe, arms={RANDOM: stage.recipe.arms[RANDOM]} | arms)
    scores = {name: () if name == RANDOM else stage.scores[_ALL] for name in recipe.arms}
    staged = replace(stage, recipe=recipe, scores=scores)
    tasks = [staged.task(name, seed) for name in recipe.arms]
    random, *found = map(_bits_per_byte, do_tasks(stage.bench, tasks, f"train {num_draws} weightings"))
    what, ones = "read what was chosen", [1] * num_draws
    means = np.array(list(map_step(None, what, partial(_means, stage.bench, terms), tasks[1:], ones, "runs")))
    means = (means - centres) / scales
    losses = np.array(found)
    by_weights, by_rule = best_weights(weights, losses, seed), linear_rule(means, losses)
    return Weights(
        terms=terms,
        weights=_rounded(by_weights),
        by=_expression(terms, by_weights.weights / scales),
        rule_weights=_rounded(by_rule),
        rule=_expression(terms, by_rule.weights / scales),
        agreement={"weights": by_weights.leave_one_out, "rule": by_rule.leave_one_out},
        runs=[
            {"weights": w.tolist(), "bits_per_byte": loss, "means": mean.tolist()}
            for w, loss, mean in zip(weights, found, means, strict=True)
        ],
        random=random,
    )


def _arm(stage: Stage, terms: tuple[str, ...], factors: np.ndarray) -> Arm:
    return replace(stage.recipe.arms[_ALL], by=_expression(terms, factors))


def _expression(terms: tuple[str, ...], factors: np.ndarray) -> str:
    """The weighted sum; terms of weight 0 stay, so that the same documents can be chosen from."""
    return " + ".join(f"{float(f):.{_DIGITS}g} * ({term})" for term, f in zip(terms, factors, strict=True))


def _rounded(fit: Fit) -> tuple[float, ...]:
    return tuple(float(f"{weight:.{_DIGITS}g}") for weight in fit.weights)


def _bits_per_byte(run: Run) -> float:
    """Mean over targets of the loss on each."""
    table = run.to_table(["target", "bits", "bytes"])
    names, which = np.unique(table["target"].to_numpy(zero_copy_only=False), return_inverse=True)
    bits, sizes = (np.bincount(which, table[column].to_numpy()) for column in ("bits", "bytes"))
    return float(np.mean(bits / sizes)) if len(names) else float("nan")


def _spread(stage: Stage, terms: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each term over the pool [terms]; 1 for one that does not vary, which then moves nobody.

    Raises:
        InvalidParameterError: no term varies.
    """
    question = stage.task(_ALL, 0, whole_pool=True).question(stage.bench)
    parts = map_parts(partial(_moments, question, terms), range(stage.bench.pool.num_parts))
    counts, means, squares = reduce(_joined, parts)
    deviations = np.sqrt(squares / np.maximum(counts, 1))
    varies = deviations > 1e-12 * np.abs(means)
    constant = [term for term, moves in zip(terms, varies, strict=True) if not moves]
    if len(constant) == len(terms):
        raise InvalidParameterError(f"Every term is the same for all documents: {', '.join(terms)}. Give others.")
    for term in constant:
        note(f"{term} is the same for all documents that have it, so its weight moves nobody")
    return means, np.where(varies, deviations, 1.0)


Moments = tuple[np.ndarray, np.ndarray, np.ndarray]


def _moments(question: Question, terms: tuple[str, ...], part: int) -> Moments:
    """Number, mean and sum of squared deviations of each term in a part [terms].

    Raises:
        InvalidParameterError: a term is no number, or infinite.
    """
    values = _values(question, terms, part)
    for term, found in zip(terms, values, strict=True):
        if np.isinf(found).any():
            raise InvalidParameterError(
                f"Term {term!r} is infinite for a document, so it cannot be weighed. For a logarithm or quotient add "
                "something, as in ln(length.words + 1)."
            )
    is_there = ~np.isnan(values)
    counts = is_there.sum(axis=1)
    means = np.where(is_there, values, 0).sum(axis=1) / np.maximum(counts, 1)
    squares = (np.where(is_there, values - means[:, None], 0) ** 2).sum(axis=1)
    return counts, means, squares


def _joined(a: Moments, b: Moments) -> Moments:
    """Moments of two parts as of one (Chan, Golub and LeVeque 1979)."""
    counts = a[0] + b[0]
    gap, share = b[1] - a[1], b[0] / np.maximum(counts, 1)
    return counts, a[1] + gap * share, a[2] + b[2] + gap**2 * a[0] * share


def _means(bench: Bench, terms: tuple[str, ...], task: Task) -> np.ndarray:
    """Mean of each term over what a run reads, as often as it reads it [terms]."""
    question, selection = task.question(bench), task.selection(bench)
    sums, total = np.zeros(len(terms)), 0
    for part in range(selection.num_parts):
        repeats = selection.repeats(part)
        sums += np.nan_to_num(_values(question, terms, part)[:, repeats > 0]) @ repeats[repeats > 0]
        total += int(repeats.sum())
    return sums / max(1, total)


def _values(question: Question, terms: tuple[str, ...], part: int) -> np.ndarray:
    """Terms of the documents of one part [terms, documents], NaN = none."""
    rows = question.rows(part)
    found = [Expression(term).evaluate(rows) for term in terms]
    for term, column in zip(terms, found, strict=True):
        is_number = (
            pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
        )
        check(is_number, "terms", term, f"numbers, and is of type {column.type}")
    return np.array([column.cast("float64").to_numpy(zero_copy_only=False) for column in found], np.float64)
