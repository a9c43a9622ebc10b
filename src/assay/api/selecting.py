"""`assay.select`: a policy, a score and a budget make a selection."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts
from assay.api.exchange import Exchange
from assay.api.isolating import SCORER_FAILED
from assay.api.scoring import score
from assay.artifacts.kinds import Corpus, Scores, Selection, Tokens, check_corpus
from assay.artifacts.storage import Location, clear_scratch
from assay.artifacts.workspace import Draft, Workspace, make_folder
from assay.corpus.engine import map_parts, map_step
from assay.errors import InvalidParameterError, check, check_choice, check_integer, did_you_mean
from assay.kernels.arrow import utf8
from assay.kernels.grouping import partition_of
from assay.kernels.hashing import hash_strings, mix64_array
from assay.mixtures.mixture import Mixture
from assay.progress import note
from assay.scorers import Length
from assay.selection.budget import Budget
from assay.selection.choose import (
    EARLIER,
    FAILED,
    REASONS,
    Cut,
    Judged,
    Rules,
    apply,
    drop_duplicates,
    find_cuts,
    first_of_each,
    gather,
    histogram,
    judge,
    rivals,
    totals,
)
from assay.selection.expressions import Expression
from assay.selection.policies import POLICIES, Policy, Quota, Unique

VERSION = 6
GUARD = "guard."  # before the columns of guards, which have seen held-out text: no score or `where` may read them
_KEEP_ROWS = 2_000_000
_KEEP_HASHES = 16_000_000  # 8 bytes each
_WORK = "work"
_RIVAL_WORDS = 3  # cluster, key, tie
_MAX_GROUPS = 10_000  # of which the manifest says what was taken of each
_MOVED = 0.001  # of the budget; what is less is not worth a word
_PARTITION_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """All that a selection depends on: what is chosen from, by which rules, and how costs are counted.

    scores: score columns that the rules may read. tokens: exact token counts; None = `length.tokens`.
    budget: what to take. max_repeats: how often one document may be taken.
    guards: the scores that only the rules' guards read, by names with `GUARD` before them.
    winners: to each part, which of its documents stand for their clusters, once that is known; see `first_of_each`.
    after: selections of earlier phases of a schedule, under the same rules but for the shares of groups: documents are
        read on where these stopped, and repeated only when their group has been read through.
    """

    corpus: Corpus
    scores: tuple[Scores, ...]
    tokens: Tokens | None
    rules: Rules
    budget: Budget
    max_repeats: int
    guards: tuple[Scores, ...] = ()
    winners: Exchange | None = None
    after: tuple[Selection, ...] = ()

    def rows(self, part: int) -> pa.Table:
        """The columns that the rules read, for one part."""
        columns: dict[str, pa.ChunkedArray] = {}
        sources: list[Corpus | Scores] = [self.corpus, *self.scores]
        for source in sources:
            names = sorted(self.rules.columns & set(source.column_names))
            columns |= dict(zip(names, source.table(part, names).columns, strict=True)) if names else {}
        for guard in self.guards:
            names = [name for name in guard.column_names if GUARD + name in self.rules.columns]
            table = guard.table(part, names)
            columns |= {GUARD + name: table[name] for name in names}
        return pa.table(columns or {"": pa.nulls(self.corpus.manifest.parts[part]["rows"])})

    def judge(self, part: int) -> Judged:
        """What the rules say about each document of one part."""
        judged = self._judge(part, self.rules)
        if self.winners is None:
            return judged
        winners = first_of_each(self.winners.receive(part))
        return judged._replace(reason=drop_duplicates(self.contest(part), winners).reason)

    def contest(self, part: int) -> Judged:
        """As `judge`, with other noise: by which a document stands for its cluster.

        By the same noise the luckiest of 25 copies would stand for them and then come before nearly all documents, so
        that what is repeated most would be chosen first.
        """
        return self._judge(part, replace(self.rules, stream=f"{self.rules.stream}/unique"))

    def _judge(self, part: int, rules: Rules) -> Judged:
        judged = judge(rules, self.rows(part), id_hashes(self.corpus, part), self.costs(part))
        rows = {row for scores in (*self.scores, *self.guards) for row in scores.failed_rows(part)}
        judged.reason[list(rows)] = REASONS.index(FAILED) + 1
        return judged

    def taken(self, part: int) -> np.ndarray:
        """How often earlier phases see each document of one part [documents], int32."""
        size = self.corpus.manifest.parts[part]["rows"]
        return sum((one.repeats(part) for one in self.after), np.zeros(size, np.int32))

    def costs(self, part: int) -> np.ndarray:
        """What each document of one part takes of the budget [documents]."""
        if self.budget.unit == "documents":
            return np.ones(self.corpus.manifest.parts[part]["rows"], np.int64)
        if self.budget.unit != "bytes" and self.tokens is not None:
            return np.diff(self.tokens.ids(part)[1])
        column = "length.bytes" if self.budget.unit == "bytes" else "length.tokens"
        lengths = next(s for s in self.scores if column in s.column_names)
        return lengths.table(part, [column])[column].fill_null(0).to_numpy()


def select(
    corpus: Corpus,
    policy: Policy | Mixture | str = "uniform",
    *,
    budget: str | Budget,
    scores: Scores | Sequence[Scores] = (),
    by: str | None = None,
    where: str | None = None,
    max_repeats: int = 1,
    seed: int = 0,
    tokens: Tokens | None = None,
    workspace: Workspace | str | Location | None = None,
) -> Selection:
    """Chooses documents until the budget is met, within one document.

    Args:
        policy: in which order documents are taken: a policy with its parameters, the name of one ("top"), or a mixture,
            which stands for `Quota.of(mixture)`: each source as it says, at random inside.
        budget: "2M tokens", "500k documents", "1.5 GB" or "10%" (of all tokens of the pool).
        scores: scores of this corpus, for `by` and `where`.
        by: the score to go by, as an expression ("dsir.per_ngram - 0.01 * length.words", "-quality"); default the first
            column of the first of `scores`. Columns of the corpus count as well.
        where: documents to choose from, as an expression ("length.words >= 50 and source = 'web'").
        max_repeats: how often one document may be taken when the pool is smaller than the budget.
        seed: seed of the noise, which is keyed by each document's id.
        tokens: exact token counts (`assay.tokenize`); default the estimate `length.tokens`.

    Raises:
        InvalidParameterError: unknown columns, or scores or tokens of another corpus.
        BudgetError: the budget is larger than what may be chosen from.
    """
    if isinstance(policy, str):
        check_choice("policy", policy, POLICIES)
        policy = POLICIES[policy]()
    policy = Quota.of(policy) if isinstance(policy, Mixture) else policy
    question = ask(
        corpus,
        policy,
        budget=Budget.parse(budget),
        scores=scores,
        by=by,
        where=where,
        max_repeats=max_repeats,
        seed=seed,
        tokens=tokens,
        workspace=workspace,
    )
    return choose(question, policy.name, Workspace(workspace))


def ask(
    corpus: Corpus,
    policy: Policy,
    *,
    budget: Budget,
    scores: Scores | Sequence[Scores],
    by: str | None,
    where: str | None,
    max_repeats: int,
    seed: int,
    tokens: Tokens | None,
    workspace: Workspace | str | Location | None,
) -> Question:
    """The question that the arguments of `select` put.

    Raises:
        InvalidParameterError: as `select`.
    """
    check_corpus(corpus)
    check_integer("max_repeats", max_repeats, 1)
    check_integer("seed", seed, 0)
    given = (scores,) if isinstance(scores, Scores) else tuple(scores)
    check(all(isinstance(s, Scores) for s in given), "scores", scores, "scores, as assay.score(...) makes")
    for made in (*given, *((tokens,) if tokens is not None else ())):
        made.require_made_from(corpus)
    check(isinstance(policy, Policy), "policy", policy, "a policy such as Top(), or the name of one")
    if by is None and policy.needs_score:
        if not given:
            raise InvalidParameterError(
                f"Policy {policy.name!r} goes by a score; pass scores=, or by= a corpus column."
            )
        by = given[0].column_names[0]
    rules = Rules(
        policy=policy,
        score=None if by is None or not policy.needs_score else Expression(by),
        higher_is_better=higher_is_better(by, given),
        where=None if where is None else Expression(where),
        seed=seed,
    )
    needs_length = budget.unit == "bytes" or (budget.unit in ("tokens", "share") and tokens is None)
    if needs_length and not any("length.bytes" in s.column_names for s in given):
        given = (*given, score(corpus, Length(), workspace=workspace))
    return Question(corpus=corpus, scores=given, tokens=tokens, rules=rules, budget=budget, max_repeats=max_repeats)


def choose(question: Question, name: str, workspace: Workspace) -> Selection:
    """`select` with everything spelled out; also what each arm and seed of a comparison is made by.

    Raises:
        InvalidParameterError: as `select`.
    """
    check_columns(question)
    draft = selection_draft(question, name, workspace)
    manifest = draft.finished() or draft.or_finished(partial(_make, question, draft))
    clear_scratch(draft.folder, _WORK)
    return Selection(draft.folder, manifest)


def selection_draft(question: Question, name: str, workspace: Workspace) -> Draft:
    """Where the answer to a question is or will be."""
    return workspace.open_draft("selection", name, VERSION, _parameters(question), _inputs(question))


def higher_is_better(by: str | None, scores: Sequence[Scores]) -> bool:
    """False for a column whose scorer says so (overlap); an expression or a corpus column is taken as it is."""
    return not any(by in made.lower_is_better for made in scores)


def id_hashes(corpus: Corpus, part: int) -> np.ndarray:
    """Hash of each id of one part [documents], uint64.

    Those of a corpus that is not too large are remembered, because every seed of every arm asks again.
    """
    return (_remembered if corpus.num_documents <= _KEEP_HASHES else _id_hashes)(corpus, part)


def _id_hashes(corpus: Corpus, part: int) -> np.ndarray:
    ids = [utf8(batch.column("id")) for batch in corpus.batches(part, ["id"])]
    return np.concatenate([hash_strings(column.data, column.offsets) for column in ids])


_remembered = lru_cache(maxsize=512)(_id_hashes)


def _make(question: Question, draft: Draft) -> Any:
    draft.start()
    sizes = [part["rows"] for part in question.corpus.manifest.parts]

    def each(what: str, work: Callable[[int], Any]) -> Iterator[Any]:
        return map_step(draft, f"{what} for {draft.name}", work, range(len(sizes)), sizes, "documents")

    keep = question.corpus.num_documents <= _KEEP_ROWS
    if question.rules.policy.unique_by is not None:
        question = replace(question, winners=_winners(question, draft.scratch / _WORK))
    judged: list[Judged | None] = []
    eligible: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    bins: dict[Any, tuple[float, int]] = {}
    pool_cost = 0.0
    for total, found, before, one in each("judge", partial(_first_look, question, keep)):
        judged.append(one)
        eligible.update(total["groups"])
        taken.update(before)
        pool_cost += total["all"]
        for bin, (cost, count) in found.items():
            known = bins.get(bin, (0.0, 0))
            bins[bin] = (known[0] + cost, known[1] + count)
    wanted = question.budget.amount * (pool_cost if question.budget.unit == "share" else 1)
    policy = question.rules.policy
    epochs = policy.epochs(eligible, question.max_repeats)
    room = {group: max(0.0, cost * epochs[group] - taken[group]) for group, cost in eligible.items() if cost > 0}
    budgets = policy.group_budgets(wanted, room)

    def passes(function: Any, prefixes: Mapping[str, tuple[int, ...]]) -> Iterator[Any]:
        if function is histogram and not any(prefixes.values()):
            yield bins
            return
        yield from each("find the cut", partial(_pass, question, judged, function, prefixes))

    cuts = find_cuts(
        {group: budget for group, budget in budgets.items() if budget > 0},
        eligible,
        dict.fromkeys(budgets, question.max_repeats) | epochs,
        question.rules.seed,
        partial(passes, histogram),
        partial(passes, gather),
        taken,
    )
    _say_what_moved(policy, draft.name, wanted, budgets)
    entries, figures, schema = build_parts(
        draft, partial(_select_part, question, judged, cuts), sizes, f"select {draft.name}", unit="documents"
    )
    dropped = sum((Counter(f["dropped"]) for f in figures), Counter())
    before = question.corpus.manifest.counts
    refined_away = before.get("dropped", {})
    failed = {SCORER_FAILED: dropped.pop(FAILED)} if dropped[FAILED] else {}
    return draft.finish(
        schema=schema,
        parts=entries,
        counts={
            "in": question.corpus.num_documents + sum(refined_away.values()) + sum(before["failed"].values()),
            "kept": sum(f["kept"] for f in figures),
            "dropped": refined_away | {reason: dropped[reason] for reason in REASONS if dropped[reason]},
            "failed": before["failed"] | failed,
        },
        summary={
            "chosen": sum(f["chosen"] for f in figures),
            "eligible": sum(eligible.values()),
            "pool": pool_cost,
        }
        | ({} if policy.group_by is None else _groups(question, figures, eligible)),
    )


def _groups(question: Question, figures: list[dict[str, Any]], eligible: Mapping[str, float]) -> dict[str, Any]:
    """For the manifest, what was taken of each group; nothing where there are more than `_MAX_GROUPS`.

    By group: `tokens` (or `bytes`, or documents `seen`), repeats included; `share` of all that was taken; `epochs`, how
    many times over what may be taken of it; `documents`, different ones.
    """
    if len(eligible) > _MAX_GROUPS:
        return {}
    unit = {"share": "tokens", "documents": "seen"}.get(question.budget.unit, question.budget.unit)
    chosen: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    for part in figures:
        chosen.update({group: cost for group, (cost, _) in part["groups"].items()})
        documents.update({group: number for group, (_, number) in part["groups"].items()})
    total = sum(chosen.values())
    found = {
        group: {
            unit: chosen[group],
            "share": chosen[group] / total if total else 0.0,
            "epochs": chosen[group] / eligible[group] if eligible[group] else 0.0,
            "documents": documents[group],
        }
        for group in sorted(eligible)
    }
    return {"groups": found}


def _say_what_moved(policy: Policy, name: str, wanted: float, budgets: Mapping[str, float]) -> None:
    """Tells where a limit of epochs keeps a group from what its share asks for."""
    quota = policy.within if isinstance(policy, Unique) else policy
    if not isinstance(quota, Quota) or quota.max_epochs is None or not isinstance(quota.shares, Mapping):
        return
    total = sum(quota.shares.values())
    short = {group: wanted * share / total - budgets[group] for group, share in quota.shares.items()}
    cut = [f"{group} {budgets[group] / wanted:.1%}" for group, cost in short.items() if cost > _MOVED * wanted]
    if cut:
        moved = sum(cost for cost in short.values() if cost > 0) / wanted
        some = ", ".join(cut[:10]) + (f" and {len(cut) - 10} more" if len(cut) > 10 else "")
        note(f"{name}: `max_epochs` moves {moved:.1%} of the budget to other groups; it leaves {some}")


def _winners(question: Question, work: Path) -> Exchange:
    """Brings together what each part has of a cluster, and tells the parts which of theirs stand for one."""
    make_folder(work)
    num_parts, num_documents = question.corpus.num_parts, question.corpus.num_documents
    num_partitions = 1 + num_documents * _RIVAL_WORDS * 8 // _PARTITION_BYTES
    sent = Exchange(work, "rivals", num_parts, num_partitions, _RIVAL_WORDS)
    winners = Exchange(work, "winners", num_partitions, num_parts, _RIVAL_WORDS)
    for _ in map_parts(partial(_send_rivals, question, sent), range(num_parts)):
        pass
    for _ in map_parts(partial(_send_winners, sent, winners), range(num_partitions)):
        pass
    return winners


def _send_rivals(question: Question, to: Exchange, part: int) -> None:
    if not to.has(part):
        found = rivals(question.contest(part))
        to.send(part, [(found, partition_of(mix64_array(found[:, 0].copy()), to.num_destinations))])


def _send_winners(sent: Exchange, to: Exchange, partition: int) -> None:
    if not to.has(partition):
        pieces = sent.receive_each(partition)
        together = np.concatenate(pieces)
        best = first_of_each(together)
        stands = (best[np.searchsorted(best[:, 0], together[:, 0])] == together).all(axis=1)
        parts = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        to.send(partition, [(together[stands], parts[stands])])


def _first_look(
    question: Question, keep: bool, part: int
) -> tuple[dict[str, Any], dict[Any, Any], dict[str, float], Judged | None]:
    judged = question.judge(part)
    bins = histogram(judged, dict.fromkeys(judged.groups, ()))
    taken = _by_group(judged, judged.cost * question.taken(part)) if question.after else {}
    return totals(judged), bins, taken, judged if keep else None


def _by_group(judged: Judged, values: np.ndarray) -> dict[str, float]:
    """Sums of values [documents] by group."""
    sums = np.bincount(judged.group, values, minlength=len(judged.groups))
    return dict(zip(judged.groups, sums.tolist(), strict=True))


def _pass(
    question: Question, judged: list[Judged | None], function: Any, prefixes: Mapping[str, tuple[int, ...]], part: int
) -> Any:
    return function(judged[part] or question.judge(part), prefixes)


def _select_part(
    question: Question, judged: list[Judged | None], cuts: Mapping[str, Cut], part: int
) -> tuple[pa.Table, dict[str, Any]]:
    one = judged[part] or question.judge(part)
    repeats, reason = apply(one, cuts)
    if question.after:
        before = question.taken(part)
        repeats = np.maximum(repeats - before, 0)  # a group that has no budget in this phase has no cut either
        reason[(before > 0) & (repeats == 0)] = REASONS.index(EARLIER) + 1
    names = pa.array(REASONS)
    indices = pa.array(reason.astype(np.int8) - 1, mask=reason == 0)
    table = pa.table({"repeats": repeats, "reason": pa.DictionaryArray.from_arrays(indices, names)})
    dropped = np.bincount(reason, minlength=len(REASONS) + 1)[1:]
    figures: dict[str, Any] = {
        "kept": int((repeats > 0).sum()),
        "dropped": dict(zip(REASONS, dropped.tolist(), strict=True)),
        "chosen": float((repeats * one.cost).sum()),
    }
    if question.rules.policy.group_by is not None and len(one.groups) <= _MAX_GROUPS:
        costs, documents = _by_group(one, repeats * one.cost), _by_group(one, repeats > 0)
        figures["groups"] = {group: (cost, int(documents[group])) for group, cost in costs.items()}
    return table, figures


def check_columns(question: Question) -> None:
    """Raises InvalidParameterError where the rules read a column that is not there, or is there twice."""
    distinct = {s.fingerprint: s for s in question.scores}.values()
    known = [*question.corpus.column_names, *(name for s in distinct for name in s.column_names)]
    rules = question.rules
    wanted = replace(rules, guards={}).columns
    reserved = sorted(name for name in {*known, *wanted} if name.startswith(GUARD)) if rules.guards else []
    if reserved:
        raise InvalidParameterError(
            f"{reserved[0]!r} is taken: names that begin with {GUARD!r} stand for what a document shares with test "
            "text and benchmarks, which no arm may see. Rename the column, or leave it out of `score` and `where`."
        )
    twice = sorted(wanted & {name for name, count in Counter(known).items() if count > 1})
    if twice:
        raise InvalidParameterError(
            f"{twice[0]!r} stands for two columns: of `scores` and the corpus, only one may have it. Leave one out."
        )
    for name in sorted(wanted - set(known)):
        raise InvalidParameterError(
            f"{name!r} is neither a column of the corpus nor a score. There are {', '.join(known)}. "
            f"{did_you_mean(name, known)}".rstrip()
        )


def _parameters(question: Question) -> dict[str, Any]:
    rules = question.rules
    return {
        "policy": rules.policy.parameters(),
        "by": rules.score and rules.score.text,
        "higher_is_better": rules.higher_is_better,
        "where": rules.where and rules.where.text,
        "guards": {reason: guard.text for reason, guard in rules.guards.items()},
        "budget": question.budget.amount,
        "unit": question.budget.unit,
        "max_repeats": question.max_repeats,
        "pool_sample": rules.pool_sample,
        "seed": rules.seed,
        "stream": rules.stream,
    } | ({"phase": len(question.after)} if question.after else {})


def _inputs(question: Question) -> dict[str, str]:
    inputs = {"corpus": question.corpus.fingerprint}
    used = set(question.rules.columns)
    if question.budget.unit != "documents" and (question.tokens is None or question.budget.unit == "bytes"):
        used |= {"length.bytes", "length.tokens"}
    for scores in question.scores:
        if used & set(scores.column_names):
            inputs[f"scores.{scores.name}.{scores.fingerprint}"] = scores.fingerprint
    if question.rules.guards:
        inputs |= {f"guard.{scores.name}": scores.fingerprint for scores in question.guards}
    if question.tokens is not None and question.budget.unit in ("tokens", "share"):
        inputs["tokens"] = question.tokens.fingerprint
    return inputs | {f"after.{number}": selection.fingerprint for number, selection in enumerate(question.after)}
