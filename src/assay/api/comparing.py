"""`assay.compare`: a recipe in, evidence out: comparison.json, report.html and the training set that won."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.api.costing import steps_behind
from assay.api.describing import core_seconds, describe_arm, overlapping_documents
from assay.api.planning import Plan, Step
from assay.api.recipe import RANDOM, Arm, Recipe
from assay.api.recipe_parts import BEST, Write
from assay.api.rungs import compare_rungs, on_other_rungs, trust
from assay.api.staging import Evidence, Stage, gather_evidence, plan_stage, prepare
from assay.artifacts.comparison import Comparison
from assay.artifacts.kinds import Corpus, Export, Selection
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path, location
from assay.artifacts.workspace import Draft, Workspace
from assay.comparison.benchmarks import benchmarks
from assay.comparison.report import render
from assay.comparison.result import evaluate, headline, winner
from assay.comparison.statistics import NUM_REPLICATES
from assay.corpus.sharing import share_one
from assay.corpus.write import check_place, write_selection
from assay.errors import ArtifactError, InvalidParameterError, check_choice
from assay.progress import note, step
from assay.proxy.rules import rules_of

VERSION = 4
JSON, REPORT = "comparison.json", "report.html"


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    workspace: Workspace | str | Location | None = None,
    out: str | Location | None = None,
) -> Comparison:
    """Compares ways to choose training data at the same budget of tokens, and says which is better and how surely.

    Args:
        recipe: a YAML file, or the same as a mapping (in which `pool` and `target` may be open corpora).
        workspace: where artifacts are kept; default `.assay` here. What is there already is not computed again.
        out: folder to put comparison.json and report.html into; default the recipe file's folder, else nowhere.

    Raises:
        AssayError: the recipe, the data or the disk; the message says what to do.
    """
    space = Workspace(workspace)
    if isinstance(recipe, str | Path):
        out = Path(recipe).parent if out is None else out
        recipe = Recipe.load(recipe)
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_dict(recipe)
    started = time.perf_counter()
    if out is not None:
        _make_folder(location(out))  # before the work, which would be in vain
    if recipe.write is not None:
        check_choice("write.arm", recipe.write.arm, [BEST, *recipe.arms])  # with `mix` it may mean an arm of a search
        check_place(location(recipe.write.to))
    plan = Plan(space)
    stage = plan_stage(plan, recipe)
    evidence = plan.add("train and test", lambda looked_at: gather_evidence(stage(looked_at)))

    def conclude(workspace: Workspace) -> Comparison:
        comparison = _conclude(stage(workspace), evidence.result(), workspace, started)
        if out is not None:
            _put_into(location(out), comparison)
        return comparison

    comparison = plan.add("compare and report", conclude)
    if recipe.write is not None:
        _plan_write(plan, stage, recipe.write, lambda: comparison.result().best)
    plan.run()
    return comparison.result()


def chosen(recipe: Recipe, name: str, workspace: Workspace) -> tuple[Corpus, Selection]:
    """The pool and what one arm takes from all of it; the same selection that `compare` reports and writes."""
    stage = prepare(recipe, workspace, arms=[name])
    return stage.bench.pool, stage.task(name, 0, whole_pool=True).selection(stage.bench)


def write_arm(
    recipe: Recipe,
    workspace: Workspace,
    arm: str | None = None,
    to: str | Location | None = None,
    format: str | None = None,
) -> Export:
    """Writes what an arm takes from the whole pool; what is not given is taken from the recipe's `write`.

    The arm "best" compares first, unless that was done.

    Raises:
        InvalidParameterError: neither the arguments nor the recipe say which arm or where to.
    """
    planned = recipe.write
    name = arm or (planned.arm if planned else None)
    folder = str(to) if to is not None else (planned.to if planned else None)
    if name is None or folder is None:
        raise InvalidParameterError(
            "The recipe has no `write`; give --arm and --to, or add write: {arm: best, to: chosen/}."
        )
    check_choice("arm", name, [BEST, *recipe.arms])
    write = Write(arm=name, to=folder, format=format or (planned.format if planned else "parquet"))
    check_place(location(write.to))  # before the work, which would be in vain
    best = compare(replace(recipe, write=None), workspace=workspace).best if name == BEST else None
    plan = Plan(workspace)
    stage = plan_stage(plan, recipe, arms=None if name == BEST else [name])
    export = _plan_write(plan, stage, write, lambda: best)
    plan.run()
    return export.result()


def _conclude(stage: Stage, evidence: Evidence, workspace: Workspace, started: float) -> Comparison:
    """The comparison artifact, from runs that are all done."""
    inputs = {
        f"run.{name}.{tokens}.{seed}": run.fingerprint
        for (name, tokens), seeds in evidence.runs.items()
        for seed, run in enumerate(seeds)
    }
    # Made from the pool and all target text, of which runs see a part.
    inputs |= {f"guard.{scores.name}": scores.fingerprint for scores in stage.guards}
    parameters = _parameters(stage.recipe)
    others = on_other_rungs(parameters, inputs, VERSION, workspace)
    inputs |= {
        f"rung.{k}": mark for k, mark in enumerate(others)
    }  # so that a report tells of rungs that were run later
    draft = workspace.open_draft("comparison", stage.bench.pool.name, VERSION, parameters, inputs)
    if draft.finished() is None:
        draft.start()
        # One process does it: what it took is in comparison.json, so the bytes of two would differ.
        share_one(lambda: _report(stage, evidence, draft, list(others.values()), started), draft.folder / MANIFEST)
    return Comparison(draft.folder)


def _report(stage: Stage, evidence: Evidence, draft: Draft, others: list[Comparison], started: float) -> None:
    with step("compare and report", len(stage.recipe.arms), "arms") as advance:
        content, shown = _content(stage, evidence, draft, others, started, advance)
        _save(draft, content, render(content, shown))
    files = [{"file": n, "rows": 0, "bytes": (draft.folder / n).stat().st_size} for n in (JSON, REPORT)]
    draft.finish(schema={}, parts=files)


def _content(
    stage: Stage, evidence: Evidence, draft: Draft, others: list[Comparison], started: float, advance: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """comparison.json, and what only the report shows of each arm."""
    recipe, budget = stage.recipe, int(stage.recipe.budget.amount)
    found = evaluate(evidence.losses(), list(evidence.runs), list(recipe.arms), evidence.ladder, budget, RANDOM)
    selections: dict[str, Selection] = {}
    shown: dict[str, Any] = {}
    arms = []
    for result in found["arms"]:
        name = result["name"]
        facts, shown[name], selections[name] = describe_arm(stage, name)
        arm = recipe.arms[name]
        summaries = {s.name: s.manifest.summary for s in stage.scores[name] if s.manifest.summary}
        times = result.get("multiplier")
        saved = round((times["estimate"] - 1) * budget) if times else None
        arms.append(
            {
                **result,
                "description": _describe(arm),
                "by": arm.by,
                "tokens_saved": saved,
                "score_summaries": summaries,
                **facts,
            }
        )
        advance(1)
    pool = stage.bench.pool
    heldout = {name: corpus for name, (corpus, _) in stage.bench.heldout.items()}
    tested = Counter(stage.bench.test.items["target"].to_pylist())
    rungs = compare_rungs(others, recipe.proxy, arms)
    content = {
        "schema_version": 2,
        "fingerprint": draft.fingerprint,
        "headline": headline(arms, budget, RANDOM),
        "best": winner(arms),
        "budget_tokens": budget,
        "seeds": recipe.seeds,
        "pool_sample": recipe.pool_sample,
        "replicates": NUM_REPLICATES,
        "num_runs": len(evidence.runs) * recipe.seeds,
        "pool": {
            "documents": pool.num_documents,
            "bytes": pool.num_bytes,
            "tokens": stage.bench.tokens.manifest.summary["tokens"],
            "set_aside": pool.manifest.counts["failed"],
            "fingerprint": pool.fingerprint,
        },
        "targets": {
            name: {
                "fit_documents": stage.fit[name].num_documents,
                "heldout_documents": tested[name],
                "heldout_bytes": corpus.num_bytes,
                "seen_documents": corpus.manifest.counts.get("seen", 0),
            }
            for name, corpus in heldout.items()
        },
        "heldout_documents": tested.total(),
        "proxy": {**recipe.proxy.parameters(), "rung": recipe.proxy.rung},
        "agreement": trust(recipe.proxy, rungs),
        "rungs": rungs,
        "benchmarks": benchmarks(answers, RANDOM) if (answers := evidence.answers(budget)) else [],
        "arms": arms,
        "random_curve": found["random_curve"],
        "pool_ends": evidence.pool_ends,
        "overlap": {
            "words": recipe.overlap.words,
            "max_share": recipe.overlap.max_share,
            "excluded": recipe.overlap.max_share < 1,
            "documents": overlapping_documents(stage),
        },
        "contamination": stage.contamination and stage.contamination.manifest.summary,
        "lineage": _lineage(stage, draft),
        "cost": {
            "wall_seconds": time.perf_counter() - started,
            **core_seconds(stage, evidence, selections),
            "steps": _steps(stage, draft, selections),
        },
    }
    return content, shown


def _steps(stage: Stage, draft: Draft, selections: Mapping[str, Selection]) -> list[dict[str, Any]]:
    behind = [*draft.inputs.values(), *(selection.fingerprint for selection in selections.values())]
    workspace = stage.bench.workspace
    return steps_behind(behind, workspace, workspace.found)


def _plan_write(
    plan: Plan, stage: Callable[[Workspace], Stage], write: Write, best: Callable[[], str | None]
) -> Step[Export]:
    """Adds the step that writes an arm; `best` tells, once it is known, which one "best" is."""
    to = location(write.to)

    def make(workspace: Workspace) -> Export:
        ready, name = stage(workspace), best() if write.arm == BEST else write.arm
        if name is None:
            note("no arm was shown to be better than random, so the random choice is written")
            name = RANDOM
        selection = ready.task(name, 0, whole_pool=True).selection(ready.bench)
        return write_selection(ready.bench.pool, selection, to, write.format)

    return plan.add(f"write {to.name}", make, is_always_done=True)


def _put_into(out: Location, comparison: Comparison) -> None:
    for name in (JSON, REPORT):
        with atomic_path(out / name) as path:
            path.write_bytes((comparison.folder / name).read_bytes())


def _make_folder(out: Location) -> None:
    if isinstance(out, RemotePath):
        out.require_writable()
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{JSON} and {REPORT} cannot be put into {out}: {error.strerror}. Choose another folder."
        ) from None


def _save(draft: Draft, content: dict[str, Any], html: str) -> None:
    with atomic_path(draft.folder / JSON) as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with atomic_path(draft.folder / REPORT) as path:
        path.write_text(html, encoding="utf-8")


def _describe(arm: Arm) -> str:
    """ "top by dsir.log_weight where length.words >= 50"."""
    parts = [arm.select.name if arm.select.unique_by is None else f"unique by {arm.select.unique_by}"]
    if arm.by is not None and arm.select.needs_score:
        parts.append(f"by {arm.by}")
    if arm.where is not None:
        parts.append(f"where {arm.where}")
    if arm.max_repeats > 1:
        parts.append(f"up to {arm.max_repeats} times each")
    if arm.train is not None:
        parts.append(f"trained with {', '.join(rule.name for rule in rules_of(arm.train))} at equal {arm.match}")
    return " ".join(parts)


def _parameters(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON, without the places where things lie."""
    return {
        "budget": recipe.budget.amount,
        "seeds": recipe.seeds,
        "pool_sample": recipe.pool_sample,
        "proxy": recipe.proxy.parameters(),
        "overlap": {**recipe.overlap.scorer().parameters(), "max_share": recipe.overlap.max_share},
        "arms": {
            name: {
                "scorer": arm.scorer and {"name": arm.scorer.name, **arm.scorer.question()},
                "by": arm.by,
                "select": arm.select.parameters(),
                "where": arm.where,
                "max_repeats": arm.max_repeats,
                **({} if arm.train is None else {"train": arm.train.parameters(), "match": arm.match}),
            }
            for name, arm in recipe.arms.items()
        },
    }


def _lineage(stage: Stage, draft: Draft) -> dict[str, Any]:
    """What everything was made from: fingerprints, parameters, versions."""
    bench = stage.bench
    artifacts: dict[str, Any] = {"pool": bench.pool, "tokens": bench.tokens} | {s.name: s for s in stage.guards}
    for name in bench.heldout:
        artifacts[f"target.{name}.fit"] = stage.fit[name]
        artifacts[f"target.{name}.heldout"] = bench.heldout[name][0]
    for arm, scores in stage.scores.items():
        artifacts |= {f"arm.{arm}.{s.name}": s for s in scores}
    return {
        "recipe": draft.parameters,
        "artifacts": {
            label: {
                "fingerprint": a.fingerprint,
                "parameters": a.manifest.parameters,
                "version": a.manifest.version,
                "inputs": a.manifest.inputs,
            }
            for label, a in artifacts.items()
        },
        "runs": {label: mark for label, mark in draft.inputs.items() if label.startswith("run.")},
        "versions": bench.pool.manifest.versions,
    }
