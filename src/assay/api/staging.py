"""Setting a comparison up and running it: arms x seeds x the random arm's ladder of budgets."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from assay.api.planning import Plan, Step
from assay.api.reading import benchmarks, can_be_found, task_items
from assay.api.recipe import RANDOM, Recipe
from assay.api.recipe_parts import Source, Target, TaskFile
from assay.api.refining import refine
from assay.api.running import Bench, Task, Training, run
from assay.api.scoring import open_document_sets, score
from assay.api.selecting import GUARD, higher_is_better
from assay.api.tokenizing import tokenize
from assay.artifacts.kinds import Corpus, Run, Scores, human_count
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.storage import Location, location
from assay.artifacts.workspace import NotMade, Workspace, make_folder
from assay.comparison.statistics import Losses
from assay.corpus.read import find_files, read_corpus
from assay.corpus.sharing import share_step
from assay.corpus.split import leave_out_seen, limit_holdout, split_holdout
from assay.errors import ArtifactError, InvalidParameterError
from assay.progress import note
from assay.proxy.tasks import Task as BenchmarkTask
from assay.proxy.tasks import read_task
from assay.scorers import Contamination, Method
from assay.selection.choose import Rules
from assay.selection.expressions import Expression

_FIRST_RUNGS = (0.25, 0.5, 1, 2)
_LAST_STEP = 1.25
_FEW_HELDOUT = 10


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A recipe made ready: everything opened, split, scored and tokenised; arms can be selected and run.

    overlap: shared runs of words of the pool. contamination: benchmark items in it, where the recipe has any.
    scores: per arm, the scores that it reads.
    fit: target documents that scorers were fitted to, by target.
    """

    recipe: Recipe
    bench: Bench
    fit: Mapping[str, Corpus]
    overlap: Scores
    contamination: Scores | None
    scores: Mapping[str, tuple[Scores, ...]]

    def task(self, name: str, seed: int, *, num_tokens: int | None = None, whole_pool: bool = False) -> Task:
        """The run of an arm under a seed, at the recipe's budget unless another is given."""
        arm = self.recipe.arms[name]
        rules = Rules(
            policy=arm.select,
            score=Expression(arm.by) if arm.by and arm.select.needs_score else None,
            higher_is_better=higher_is_better(arm.by, self.scores[name]),
            where=Expression(arm.where) if arm.where else None,
            guards=self._guards(),
            pool_sample=1.0 if whole_pool else self.recipe.pool_sample,
            seed=seed,
            stream=name,
        )
        return Task(
            name=name,
            rules=rules,
            scores=self.scores[name],
            guards=self.guards,
            num_tokens=num_tokens or int(self.recipe.budget.amount),
            max_repeats=arm.max_repeats,
            training=Training(rule=arm.train, match=arm.match),
        )

    @property
    def guards(self) -> tuple[Scores, ...]:
        """What no arm may see, and by what documents are left out."""
        return (self.overlap,) if self.contamination is None else (self.overlap, self.contamination)

    def _guards(self) -> dict[str, Expression]:
        share = self.recipe.overlap.max_share
        guards = {} if share >= 1 else {"overlap": Expression(f"{GUARD}overlap.share <= {share!r}")}
        if self.contamination is not None and (self.recipe.benchmarks is None or self.recipe.benchmarks.exclude):
            guards["contamination"] = Expression(f"{GUARD}contamination.items = 0")
        return guards


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All runs of a comparison.

    runs: per cell, the run of each seed; a cell is (arm, tokens).
    ladder: budgets of the random arm, ascending.
    pool_ends: whether the ladder stops because the pool does.
    """

    runs: Mapping[tuple[str, int], list[Run]]
    ladder: list[int]
    pool_ends: bool

    def targets(self) -> list[str]:
        """Names of the targets, in the order of the groups of `losses`."""
        first = next(iter(self.runs.values()))[0]
        return np.unique(first.to_table(["target"])["target"].to_numpy()).tolist()

    def losses(self) -> Losses:
        """Bits [cells, seeds, items] in the order of `runs`.

        Raises:
            ArtifactError: a run was tested on other documents than the first.
        """
        items = ["id", "target", "bytes"]
        first = next(iter(self.runs.values()))[0].to_table(items)
        tables = [[run.to_table([*items, "bits"]) for run in seeds] for seeds in self.runs.values()]
        for (name, tokens), seeds in zip(self.runs, tables, strict=True):
            if not all(table.select(items).equals(first) for table in seeds):
                raise ArtifactError(
                    f"A run of {name!r} at {tokens:,} tokens was tested on other documents than the rest. "
                    "Delete the `run-` folders of the workspace and compare again."
                )
        _, groups = np.unique(first["target"].to_numpy(), return_inverse=True)
        bits = [[table["bits"].to_numpy() for table in seeds] for seeds in tables]
        return Losses(bits=np.array(bits), sizes=first["bytes"].to_numpy(), groups=groups)

    def answers(self, budget: int) -> dict[str, list[pa.Table]]:
        """Per arm at the budget, what the run of each seed answered; empty where no benchmark was asked."""
        found = {
            name: [run.answers() for run in seeds] for (name, tokens), seeds in self.runs.items() if tokens == budget
        }
        return {name: [t for t in tables if t is not None] for name, tables in found.items() if None not in tables}

    def is_passed(self, budget: int) -> bool:
        """Whether the ladder's last two rungs are both below the best arm, so that its interval can be read off too."""
        mean = dict(zip(self.runs, self.losses().bits_per_byte().mean(axis=1), strict=True))
        best = min(loss for (_, tokens), loss in mean.items() if tokens == budget)
        return len(self.ladder) >= 2 and all(mean[RANDOM, tokens] <= best for tokens in self.ladder[-2:])


def plan_stage(plan: Plan, recipe: Recipe, arms: Sequence[str] | None = None) -> Callable[[Workspace], Stage]:
    """Adds the steps that read, split, score and tokenise.

    Args:
        arms: the arms to compute scores for; default all.

    Returns:
        what gives the stage once they are done; its selections and runs are made or looked for in the workspace given.
    """
    pool = plan.add("read pool", partial(_open, recipe.pool, "pool"))
    targets = plan.add("read target", partial(open_targets, recipe))

    def add_score(scorer: Method, documents: Callable[[], Mapping[str, Corpus]]) -> Step[Scores]:
        def make(workspace: Workspace) -> Scores:
            share = recipe.pool.max_failed_share
            return score(pool.result(), scorer, target=documents(), max_failed_share=share, workspace=workspace)

        return plan.add(f"score {scorer.name}", make)

    def guarded() -> dict[str, Corpus]:
        fit, heldout = targets.result()
        return dict(fit) | {f"{name}.heldout": corpus for name, corpus in heldout.items()}

    overlap = add_score(recipe.overlap.scorer(), guarded)
    asked = tuple(_open_task(name, file) for name, file in recipe.tasks.items())
    is_guarded = recipe.benchmarks is not None or any(can_be_found(task) for task in asked)
    sets = is_guarded and plan.add("read benchmarks", partial(_open_benchmarks, recipe, asked))
    contamination = sets and add_score(Contamination(), sets.result)
    wanted = {name: arm.scorers() for name, arm in recipe.arms.items() if arms is None or name in arms}
    steps: dict[str, Step[Scores]] = {}
    for scorer in (scorer for scorers in wanted.values() for scorer in scorers):
        if _mark(scorer) not in steps:
            documents = sets.result if sets and scorer.takes_benchmarks else lambda: targets.result()[0]
            steps[_mark(scorer)] = add_score(scorer, documents)
    vocab_size = recipe.proxy.vocab_size
    tokens = plan.add("tokenize pool", lambda space: tokenize(pool.result(), vocab_size=vocab_size, workspace=space))
    heldout = plan.add(
        "tokenize target",
        lambda space: {
            name: (corpus, tokenize(corpus, vocab_size=vocab_size, trained_on=pool.result(), workspace=space))
            for name, corpus in targets.result()[1].items()
        },
    )

    def stage(workspace: Workspace) -> Stage:
        bench = Bench(
            pool=pool.result(),
            tokens=tokens.result(),
            heldout=heldout.result(),
            proxy=recipe.proxy,
            workspace=workspace,
            tasks=asked,
        )
        return Stage(
            recipe=recipe,
            bench=bench,
            fit=targets.result()[0],
            overlap=overlap.result(),
            contamination=contamination.result() if contamination else None,
            scores={name: tuple(steps[_mark(s)].result() for s in scorers) for name, scorers in wanted.items()},
        )

    return stage


def prepare(recipe: Recipe, workspace: Workspace, arms: Sequence[str] | None = None) -> Stage:
    """Reads, splits, scores and tokenises; each step is found again when it was done before.

    Args:
        arms: the arms to compute scores for; default all.
    """
    plan = Plan(workspace)
    stage = plan_stage(plan, recipe, arms)
    plan.run()
    return stage(plan.workspace)


def gather_evidence(stage: Stage) -> Evidence:
    """Runs every arm under every seed, and the random arm at as many budgets as the multipliers need."""
    recipe = stage.recipe
    budget = int(recipe.budget.amount)
    runs: dict[tuple[str, int], list[Run]] = {}
    _do(stage, [(name, budget) for name in recipe.arms], runs)
    # What a seed's sample of the pool holds decides how far the ladder can go.
    repeats = recipe.arms[RANDOM].max_repeats
    end = repeats * int(min(r.manifest.summary["eligible_tokens"] for r in runs[RANDOM, budget]))
    rungs = [rung for rung in (round(budget * factor) for factor in _FIRST_RUNGS) if 0 < rung <= end]
    _do(stage, [(RANDOM, tokens) for tokens in rungs if tokens != budget], runs)
    while True:
        following = _next_rung(rungs[-1], recipe.proxy.max_factor * budget, end)
        evidence = Evidence(runs=runs, ladder=rungs, pool_ends=rungs[-1] >= end)
        if following is None or evidence.is_passed(budget):
            return evidence
        rungs.append(following)
        _do(stage, [(RANDOM, following)], runs)


def _do(stage: Stage, cells: list[tuple[str, int]], runs: dict[tuple[str, int], list[Run]]) -> None:
    """Does the runs of all seeds of some cells and puts them into `runs`."""
    seeds = stage.recipe.seeds
    tasks = [stage.task(name, seed, num_tokens=tokens) for name, tokens in cells for seed in range(seeds)]
    who = RANDOM if {name for name, _ in cells} == {RANDOM} else "all arms"
    what = f"train {who} at {', '.join(map(human_count, sorted({tokens for _, tokens in cells})))} tokens"
    found = do_tasks(stage.bench, tasks, what)
    for k, cell in enumerate(cells):
        runs[cell] = found[k * seeds : (k + 1) * seeds]


def do_tasks(bench: Bench, tasks: Sequence[Task], what: str) -> list[Run]:
    """The run of each task, found or done, by all processes that want it; `what` tells people which they are."""
    drafts = [task.draft(bench) for task in tasks]
    looking = replace(bench, workspace=bench.workspace.looking())
    todo = [k for k, task in enumerate(tasks) if not _is_found(looking, task)]
    if todo:
        if bench.workspace.is_looking:
            raise NotMade(f"{len(todo)} runs")
        _ = bench.test  # made here once, not in every worker
        for k in todo:
            make_folder(drafts[k].folder)
        paths = [drafts[k].folder / MANIFEST for k in todo]
        share_step(None, what, partial(run, bench), [tasks[k] for k in todo], paths, [1] * len(todo), "runs")
    return [Run(draft.folder) for draft in drafts]


def _is_found(looking: Bench, task: Task) -> bool:
    """Whether a run is there; its selection is looked for as well, so that it is known to have been there too."""
    if task.draft(looking).finished() is None:
        return False
    with suppress(NotMade):
        task.selection(looking)
    return True


def _next_rung(last: int, most: int, end: int) -> int | None:
    """Twice the last budget, or the whole sample of the pool when that is not far off; None at the end."""
    if last >= end or last >= most:
        return None
    return end if end < _LAST_STEP * 2 * last else 2 * last


def _open(source: Source, name: str, workspace: Workspace) -> Corpus:
    corpus = source.read
    if not isinstance(corpus, Corpus):
        corpus = read_corpus(
            corpus,
            text=source.text,
            id=source.id,
            format=source.format,
            name=name,
            extract=source.extract,
            max_failed_share=source.max_failed_share,
            workspace=workspace,
        )
    for refiner in source.refine:
        corpus = refine(corpus, refiner, max_failed_share=source.max_failed_share, workspace=workspace)
    return corpus


def _open_benchmarks(recipe: Recipe, asked: Sequence[BenchmarkTask], workspace: Workspace) -> dict[str, Corpus]:
    """The sets to look for in the pool: the recipe's benchmarks, and the items of tasks that are in none of them."""
    found: dict[str, Corpus] = {}
    files: set[Location] = set()
    if (source := recipe.benchmarks) is not None:
        assert not isinstance(source.read, Corpus)
        files = {file.absolute() for file in find_files(source.read, source.format)}
        found = benchmarks(
            source.read,
            text=source.text,
            id=source.id,
            format=source.format,
            max_failed_share=source.max_failed_share,
            workspace=workspace,
        )
    for task, file in zip(asked, recipe.tasks.values(), strict=True):
        if location(file.read).absolute() in files:
            continue
        if can_be_found(task):
            found[f"tasks.{task.name}"] = task_items(task, workspace)
        else:
            note(f"the items of task {task.name} are too short to be looked for in the pool")
    return found


def _open_task(name: str, file: TaskFile) -> BenchmarkTask:
    task = read_task(file.read, form=file.form, examples=file.examples, num_shots=file.shots, max_items=file.max_items)
    return replace(task, name=name)


def open_targets(recipe: Recipe, workspace: Workspace) -> tuple[dict[str, Corpus], dict[str, Corpus]]:
    """(documents to fit on, documents to test on) by target.

    What a scorer learns from beside the targets (`positives`, `labels`, ...) is no more tested on than what it is
    fitted to: a file that the target is read from as well would hand it the test.
    """
    fit: dict[str, Corpus] = {}
    heldout: dict[str, Corpus] = {}
    for name, target in sorted(recipe.targets.items()):  # one order of test rows, however a recipe lists them
        fit[name], heldout[name] = _split(target, name, workspace)
    scorers = {_mark(scorer): scorer for arm in recipe.arms.values() for scorer in arm.scorers()}
    sets = [documents for s in scorers.values() for documents in open_document_sets(s, workspace).values()]
    for name in heldout:  # scorers are fitted to all targets, so no text of any may be tested on
        heldout[name] = leave_out_seen(heldout[name], [*fit.values(), *sets], workspace)
        if heldout[name].num_documents < _FEW_HELDOUT:
            note(f"{name} is tested on {heldout[name].num_documents} documents only, so intervals will be wide")
    return fit, heldout


def _split(target: Target, name: str, workspace: Workspace) -> tuple[Corpus, Corpus]:
    """(documents to fit on, documents to test on)."""
    corpus = _open(target, name, workspace)
    if not isinstance(target.holdout, str):
        return split_holdout(corpus, target.holdout, workspace)
    other = replace(target, read=target.holdout)
    heldout = _open(other, f"{name}-heldout", workspace)
    if heldout.fingerprint == corpus.fingerprint:
        raise InvalidParameterError(f"Target {name!r} is tested on the very documents it is chosen by; give others.")
    return corpus, limit_holdout(heldout, workspace)


def _mark(scorer: Method) -> str:
    """The same for scorers that give the same scores."""
    return json.dumps([scorer.name, scorer.parameters()], default=lambda corpus: corpus.fingerprint)
