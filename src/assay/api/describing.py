"""What the arms chose, for people: composition, funnel, score distributions, documents around the cut, costs."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.dropped import funnels, sources
from assay.api.selecting import Question, id_hashes
from assay.api.staging import Evidence, Stage
from assay.artifacts.kinds import Corpus, Scores, Selection
from assay.corpus.engine import map_parts
from assay.selection.noise import keyed_hashes, uniforms

NUM_EXAMPLES = 10
_NUM_BINS = 48
_MAX_SCORES = 200_000
_EXCERPT_CHARACTERS = 600


def describe_arm(stage: Stage, name: str) -> tuple[dict[str, Any], dict[str, Any], Selection]:
    """What an arm takes from the whole pool under seed 0.

    Returns:
        facts for comparison.json (funnel, composition, cut); what only the report shows (histogram, examples); and the
        selection itself.
    """
    task = stage.task(name, 0, whole_pool=True)
    selection = task.selection(stage.bench)
    question = task.question(stage.bench)
    looks = list(map_parts(partial(_look, question, selection), range(selection.num_parts)))
    axis = _edges([look["scores"] for look in looks])
    pool, chosen = Counter[str](), Counter[str]()
    for look in looks:
        pool.update(look["pool"])
        chosen.update(look["chosen"])
    kept = [example for look in looks for example in look["kept"]]
    dropped = [example for look in looks for example in look["dropped"]]
    near_kept = sorted(kept, key=lambda e: e["key"])[:NUM_EXAMPLES]
    near_dropped = sorted(dropped, key=lambda e: -e["key"])[:NUM_EXAMPLES]
    worst = min if question.rules.higher_is_better else max
    cut = worst((score for look in looks for score in look["extremes"]), default=None)
    facts = {
        "selection": selection.fingerprint,
        "documents": selection.manifest.counts["kept"],
        "tokens": int(selection.manifest.summary["chosen"]),
        "funnel": {key: selection.manifest.counts[key] for key in ("in", "kept", "dropped", "failed")}
        | funnels(stage.bench.pool, selection, tuple(s for scores in stage.scores.values() for s in scores)),
        "composition": {"pool": dict(pool), "chosen": dict(chosen)},
        "worst_chosen_score": cut,
    }
    shown = {
        "histogram": _histogram([look["scores"] for look in looks], [look["taken"] for look in looks], axis),
        "kept": _with_text(stage.bench.pool, near_kept),
        "dropped": _with_text(stage.bench.pool, near_dropped),
    }
    return facts, shown, selection


def core_seconds(stage: Stage, evidence: Evidence, selections: Mapping[str, Selection]) -> dict[str, Any]:
    """Core seconds: what every arm shares, and what choosing and training cost each arm."""
    budget = int(stage.recipe.budget.amount)
    arms = {
        name: {
            "scoring": sum(s.manifest.cost["core_seconds"] for s in stage.scores[name]),
            "selecting": selections[name].manifest.cost["core_seconds"],
            "training": float(np.mean([r.manifest.cost["core_seconds"] for r in evidence.runs[name, budget]])),
        }
        for name in stage.recipe.arms
    }
    shared = {
        "reading": stage.bench.pool.manifest.cost["core_seconds"],
        "guards": sum(scores.manifest.cost["core_seconds"] for scores in stage.guards),
        "tokenizing": stage.bench.tokens.manifest.cost["core_seconds"],
        "all_runs": float(sum(r.manifest.cost["core_seconds"] for seeds in evidence.runs.values() for r in seeds)),
    }
    return {"shared": shared, "arms": arms}


def overlapping_documents(stage: Stage) -> dict[str, int]:
    """Documents of the pool that share a run of words with each target and held-out set, and with any."""
    counts: Counter[str] = Counter()
    for found in map_parts(partial(_overlapping, stage.overlap), range(stage.overlap.num_parts)):
        counts.update(found)
    return dict(counts)


def _overlapping(overlap: Scores, part: int) -> dict[str, int]:
    table = overlap.table(part)
    return {
        name.removeprefix("overlap.ngrams").removeprefix(".") or "any": int(
            np.count_nonzero(table[name].fill_null(0).to_numpy())
        )
        for name in overlap.column_names
        if name != "overlap.share"
    }


def _look(question: Question, selection: Selection, part: int) -> dict[str, Any]:
    """One part: tokens by source, a sample of scores, and the documents nearest the cut on both sides."""
    pool, rules = question.corpus, question.rules
    judged = question.judge(part)
    repeats = selection.repeats(part)
    origins = sources(pool, part)
    scores = np.full(len(repeats), np.nan)
    if rules.score is not None:
        values = rules.score.evaluate(question.rows(part))
        scores = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    kept = np.flatnonzero(repeats > 0)
    dropped = np.flatnonzero(selection.is_dropped_for(part, "over_budget"))
    nearest_kept = kept[np.argsort(judged.key[kept], kind="stable")[:NUM_EXAMPLES]]
    nearest_dropped = dropped[np.argsort(~judged.key[dropped], kind="stable")[:NUM_EXAMPLES]]
    chosen_scores = scores[repeats > 0]
    finite = chosen_scores[np.isfinite(chosen_scores)]
    drawn = uniforms(keyed_hashes(id_hashes(pool, part), 0, "histogram")) < _MAX_SCORES / pool.num_documents
    return {
        "pool": _by_source(origins, judged.cost),
        "chosen": _by_source(origins, judged.cost * repeats),
        "scores": scores[drawn],
        "taken": repeats[drawn] > 0,
        "extremes": [float(finite.min()), float(finite.max())] if len(finite) else [],
        "kept": [_example(part, row, judged.key, scores, origins) for row in nearest_kept],
        "dropped": [_example(part, row, judged.key, scores, origins) for row in nearest_dropped],
    }


def _by_source(origins: pa.Array, tokens: np.ndarray) -> dict[str, float]:
    table = pa.table({"source": origins, "tokens": tokens}).group_by("source").aggregate([("tokens", "sum")])
    return {row["source"]: row["tokens_sum"] for row in table.to_pylist() if row["tokens_sum"]}


def _example(part: int, row: int, keys: np.ndarray, scores: np.ndarray, origins: pa.Array) -> dict[str, Any]:
    score = float(scores[row])
    return {
        "part": part,
        "row": int(row),
        "key": int(keys[row]),
        "score": None if np.isnan(score) else score,
        "source": origins[int(row)].as_py(),
    }


def _with_text(pool: Corpus, examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The examples with id and the beginning of the text."""
    wanted: dict[int, dict[int, dict[str, Any]]] = {}
    for example in examples:
        wanted.setdefault(example["part"], {})[example["row"]] = example
    for part, rows in wanted.items():
        first = 0
        for batch in pool.batches(part):
            for row in [r for r in rows if first <= r < first + len(batch)]:
                text = batch.column("text")[row - first].as_py()
                rows[row]["id"] = batch.column("id")[row - first].as_py()
                rows[row]["text"] = text[:_EXCERPT_CHARACTERS]
                rows[row]["characters"] = len(text)
            first += len(batch)
    return examples


def _edges(scores: list[np.ndarray]) -> tuple[np.ndarray, float] | None:
    """Bin edges over the middle 99 % of the scores, and the scale of the axis they are evenly spaced on.

    The axis is symmetric-logarithmic, sign(x) log(1 + |x| / scale), because log weights spread over decades.
    """
    values = np.concatenate(scores)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    scale = float(np.median(np.abs(values))) or 1.0
    low, high = (np.sign(v) * np.log1p(abs(v) / scale) for v in np.quantile(values, [0.005, 0.995]))
    steps = np.linspace(low, high if high > low else low + 1, _NUM_BINS + 1)
    return np.sign(steps) * np.expm1(np.abs(steps)) * scale, scale


def _histogram(
    scores: list[np.ndarray], taken: list[np.ndarray], axis: tuple[np.ndarray, float] | None
) -> dict[str, Any] | None:
    if axis is None:
        return None
    edges, scale = axis
    values, chosen = np.concatenate(scores), np.concatenate(taken)
    inside = np.isfinite(values)
    clipped = np.clip(values, edges[0], edges[-1])
    return {
        "edges": edges.tolist(),
        "scale": scale,
        "pool": np.histogram(clipped[inside], edges)[0].tolist(),
        "chosen": np.histogram(clipped[inside & chosen], edges)[0].tolist(),
    }
