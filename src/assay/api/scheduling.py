"""`assay.mix.schedule`: a selection for each phase of a schedule; each phase reads on where the last one stopped.

Documents of a source stand in one order for all phases. A phase takes the next ones, so no document is repeated before
its source has been read through, in whatever phase that is. Each phase meets its share and the weights of its mixture
within one document a source; for the whole that is one document a source and phase.

Cost: a pass of `select` a phase, and its selection on disk.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rich.table import Table
from rich.text import Text

from assay.api.reading import write
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.selecting import Question, ask, check_columns, choose
from assay.api.staging import prepare
from assay.artifacts.kinds import Corpus, Export, Scores, Selection, Tokens, human_count
from assay.artifacts.storage import Location, location
from assay.artifacts.workspace import Workspace
from assay.corpus.engine import map_parts
from assay.errors import ArtifactError, InvalidParameterError, check, check_choice
from assay.mixtures.mixture import new_grid
from assay.mixtures.schedule import Schedule
from assay.selection.budget import Budget
from assay.selection.choose import totals
from assay.selection.policies import Policy, Quota

_RANDOM = "schedule"  # what the random arm is called when it is to follow one


def schedule(
    corpus: Corpus,
    schedule: Schedule,
    *,
    budget: str | Budget,
    within: Policy | None = None,
    scores: Scores | Sequence[Scores] = (),
    by: str | None = None,
    where: str | None = None,
    max_repeats: int = 1,
    seed: int = 0,
    tokens: Tokens | None = None,
    workspace: Workspace | str | Location | None = None,
) -> list[Selection]:
    """Chooses the documents of each phase of a schedule.

    Args:
        budget: of all phases together. within: the policy that orders documents inside each source; default at random.
        scores, by, where, seed, tokens: as in `select`.
        max_repeats: how often one document may be seen, all phases together, where a mixture says nothing of epochs.

    Returns:
        a selection for each phase, in order. Its manifest says in `summary.groups` what it takes of each source.

    Raises:
        InvalidParameterError: unknown columns, or a source with a weight that the corpus does not have.
        BudgetError: a phase asks for more than is left of its sources.
    """
    check_schedule(schedule)
    question = ask(
        corpus,
        Quota.of(schedule.phases[0].mixture, within),
        budget=Budget.parse(budget),
        scores=scores,
        by=by,
        where=where,
        max_repeats=max_repeats,
        seed=seed,
        tokens=tokens,
        workspace=workspace,
    )
    return _phases(question, schedule, within, Workspace(workspace))


def schedule_arm(recipe: Recipe, name: str, schedule: Schedule, workspace: Workspace) -> tuple[Corpus, list[Selection]]:
    """The pool, and what an arm takes from all of it in the phases of a schedule, at the recipe's budget.

    Inside each source documents are chosen as the arm does: by its score, policy and conditions, without what shares
    text with targets or benchmarks.

    Raises:
        InvalidParameterError: no such arm, or one that has shares for groups of its own.
        BudgetError: as `schedule`.
    """
    check_schedule(schedule)
    check_choice("arm", name, recipe.arms)
    arm = recipe.arms[name]
    check(arm.select.group_by is None, "arm", name, "one without shares of its own", "The schedule has them.")
    others = recipe.scorers if name == RANDOM else arm.others  # the schedule may go by a column of theirs
    mixed = replace(arm, select=Quota.of(schedule.phases[0].mixture, arm.select), others=others)
    name = _RANDOM if name == RANDOM else name  # which takes no settings
    stage = prepare(replace(recipe, arms={RANDOM: Arm(), name: mixed}, write=None), workspace, arms=[name])
    question = stage.task(name, 0, whole_pool=True).question(stage.bench)
    return stage.bench.pool, _phases(question, schedule, arm.select, stage.bench.workspace)


def check_schedule(schedule: object) -> None:
    """Raises InvalidParameterError unless it is a schedule."""
    check(isinstance(schedule, Schedule), "schedule", schedule, "a schedule", "Schedule.load(path) reads one.")


def _phases(question: Question, schedule: Schedule, within: Policy | None, workspace: Workspace) -> list[Selection]:
    """A selection for each phase, under the question's rules but for the shares of sources."""
    found: list[Selection] = []
    for phase in schedule.phases:
        asked = replace(
            question,
            rules=replace(question.rules, policy=Quota.of(phase.mixture, within)),
            budget=replace(question.budget, amount=question.budget.amount * phase.share),
            after=tuple(found),
        )
        try:
            found.append(choose(asked, phase.name, workspace))
        except InvalidParameterError as error:
            raise type(error)(f"Phase {phase.name!r}: {error}") from None
    return found


def available(
    corpus: Corpus,
    by: str = "source",
    *,
    scores: Scores | Sequence[Scores] = (),
    where: str | None = None,
    tokens: Tokens | None = None,
    workspace: Workspace | str | Location | None = None,
) -> dict[str, float]:
    """Tokens of each source that may be taken, seen once; what mixtures and schedules are planned with.

    Args:
        by: a column of the corpus, or of `scores`. where, tokens: as in `select`.

    Raises:
        InvalidParameterError: unknown columns.
    """
    question = ask(
        corpus,
        Quota(by=by),
        budget=Budget.parse("100%"),
        scores=scores,
        by=None,
        where=where,
        max_repeats=1,
        seed=0,
        tokens=tokens,
        workspace=workspace,
    )
    check_columns(question)
    found: Counter[str] = Counter()
    for one in map_parts(partial(_by_source, question), range(corpus.num_parts)):
        found.update(one)
    return dict(sorted(found.items()))


def _by_source(question: Question, part: int) -> Counter[str]:
    return totals(question.judge(part))["groups"]


def phase_table(selections: Sequence[Selection]) -> Table:
    """What each phase takes of each source, and how often the source has been read by then, for people."""
    phases = [one.manifest.summary.get("groups", {}) for one in selections]
    headings = [f"{one.name} {what}" for one in selections for what in ("taken", "share", "epochs in all")]
    grid = new_grid(selections[0].manifest.parameters["policy"]["by"], *headings)
    for source in dict.fromkeys(source for groups in phases for source in groups):
        cells, epochs = [], 0.0
        for groups in phases:
            taken = groups[source]
            epochs += taken["epochs"]
            amount = next(taken[unit] for unit in ("tokens", "bytes", "seen") if unit in taken)
            cells += [human_count(amount), f"{taken['share']:.4f}", f"{epochs:.2f}"]
        grid.add_row(Text(source), *cells)
    if not phases[0]:
        grid.caption = "Too many values of it to tell what is taken of each."
    return grid


def write_phases(
    corpus: Corpus, selections: Sequence[Selection], to: str | Location, *, format: str = "parquet"
) -> list[Export]:
    """Writes each phase into a folder of its own, `00-main`, `01-upsampled` ..., for a trainer to read one by one.

    Args:
        selections: as `schedule` gives them. to: folder; in it, what this function wrote before is replaced.
        format: as in `write`.

    Raises:
        ArtifactError: the folder holds something that is no phase of these.
        InvalidParameterError: a selection is one of another corpus.
    """
    place = location(to)
    names = [f"{number:02d}-{one.name}" for number, one in enumerate(selections)]
    there = [path.name for path in place.iterdir()] if place.exists() else []
    if foreign := sorted(name for name in there if name not in names and not name.startswith(".")):
        raise ArtifactError(
            f"{place} holds {foreign[0]!r}, which is no phase of this schedule ({', '.join(names)}). "
            "Empty the folder, or choose another."
        )
    return [write(corpus, one, place / name, format=format) for one, name in zip(selections, names, strict=True)]
