"""One arm, one seed, one budget: select, train a proxy on exactly these tokens, test it on held-out text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.api.evaluating import task_mark
from assay.api.rules import facts_of
from assay.api.selecting import Question, choose, selection_draft
from assay.api.tokenizing import tokenizer_of
from assay.api.training import TRAINING, one_thread, train_network
from assay.artifacts.kinds import ANSWERS, Corpus, Run, Scores, Selection, Tokens
from assay.artifacts.manifest import atomic_path
from assay.artifacts.storage import Location, clear_scratch, scratch_for
from assay.artifacts.workspace import Draft, Workspace
from assay.errors import BudgetError, InvalidParameterError
from assay.models.lm import NGramLM
from assay.models.ngram import Queries
from assay.models.tokenizer import BPE
from assay.models.torch_extra import require
from assay.proxy import NGram, Proxy
from assay.proxy.evaluate import evaluate
from assay.proxy.rules.phases import score_column, selection_tokens
from assay.proxy.rules_base import Rule
from assay.proxy.stream import document_bits, training_stream
from assay.proxy.tasks import Task as BenchmarkTask
from assay.selection.budget import Budget
from assay.selection.choose import Rules
from assay.selection.expressions import Expression

_ITEMS = "part-00000.parquet"
_ITEM_SCHEMA = pa.schema([("id", pa.string()), ("target", pa.string()), ("bytes", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs of a comparison share: the same pool, ruler, test text and proxy.

    heldout: per target, the documents to test on and their token ids. tasks: benchmark items to ask every proxy.
    """

    pool: Corpus
    tokens: Tokens
    heldout: Mapping[str, tuple[Corpus, Tokens]]
    proxy: Proxy
    workspace: Workspace
    tasks: tuple[BenchmarkTask, ...] = ()

    @cached_property
    def test(self) -> "Test":
        """The held-out documents that have text, made ready once for all runs.

        Raises:
            InvalidParameterError: fewer than two of a target's held-out documents have text.
        """
        ids = [tokens.ids(part) for _, tokens in self.heldout.values() for part in range(tokens.num_parts)]
        items = [
            {"id": batch.column("id"), "target": [name] * len(batch), "bytes": pc.binary_length(batch.column("text"))}
            for name, (corpus, _) in self.heldout.items()
            for part in range(corpus.num_parts)
            for batch in corpus.batches(part)
        ]
        table = pa.concat_tables([pa.table(columns, schema=_ITEM_SCHEMA) for columns in items])
        table = table.append_column("tokens", pa.array(np.concatenate([np.diff(starts) for _, starts in ids])))
        table = table.filter(pc.greater(table["bytes"], 0))
        for name in self.heldout:
            count = pc.sum(pc.equal(table["target"], name), min_count=0).as_py()
            if count < 2:
                raise InvalidParameterError(
                    f"{count} of the held-out documents of {name!r} have text; at least 2 are needed to test on. "
                    "Change `holdout`, or give more documents."
                )
        starts = np.concatenate(([0], np.cumsum(table["tokens"].to_numpy())))
        tokens = np.concatenate([tokens for tokens, _ in ids])
        proxy = self.proxy
        queries = proxy.queries(tokens, starts, self.vocab_size) if isinstance(proxy, NGram) else None
        return Test(table, tokens, starts, queries)

    @cached_property
    def task_marks(self) -> dict[str, str]:
        """What stands for each task and its items in fingerprints."""
        return {f"task.{task.name}": task_mark(task) for task in self.tasks}

    @cached_property
    def bpe(self) -> BPE:
        """The tokenizer."""
        return tokenizer_of(self.tokens, self.workspace)

    @property
    def vocab_size(self) -> int:
        """Ids that the tokenizer really has."""
        return int(self.tokens.manifest.summary["vocab_size"])


class Test(NamedTuple):
    """Held-out documents: `id`, `target`, `bytes`, `tokens` [documents]; all their tokens; where each starts.

    queries: the same made ready for n-gram models.
    """

    items: pa.Table
    tokens: np.ndarray
    starts: np.ndarray
    queries: Queries | None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How an arm is trained, where not plainly: by which rule, and what then is as in plain training.

    match: "tokens" or "compute"; see `proxy.rules.phases`.
    """

    rule: Rule | None = None
    match: str = "tokens"

    def parameters(self) -> dict[str, Any]:
        """As they go into fingerprint and manifest."""
        return {"rule": self.rule and self.rule.parameters(), "match": self.match}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run to do: an arm's rules under one seed, at one budget of tokens."""

    name: str
    rules: Rules
    scores: tuple[Scores, ...]
    guards: tuple[Scores, ...]
    num_tokens: int
    max_repeats: int
    training: Training = field(default_factory=Training)

    @property
    def num_chosen(self) -> int:
        """Different tokens to train on: fewer than are read where rules read them again."""
        return selection_tokens(self.training.rule, self.num_tokens)

    def question(self, bench: Bench) -> Question:
        """What is asked of the pool."""
        return Question(
            corpus=bench.pool,
            scores=self.scores,
            tokens=bench.tokens,
            rules=self.rules,
            budget=Budget(self.num_chosen, "tokens"),
            max_repeats=self.max_repeats,
            guards=self.guards,
        )

    def selection(self, bench: Bench) -> Selection:
        """What the arm chooses under this seed.

        Raises:
            BudgetError: what may be chosen from holds fewer tokens than the budget.
            InvalidParameterError: unknown columns.
        """
        try:
            return choose(self.question(bench), self.name, bench.workspace)
        except InvalidParameterError as error:
            share = self.rules.pool_sample
            is_short = isinstance(error, BudgetError) and share < 1
            hint = f" Each seed sees {100 * share:.3g}% of the pool, which `pool_sample` sets." if is_short else ""
            raise type(error)(f"Arm {self.name!r}, seed {self.rules.seed}: {error}{hint}") from None

    def draft(self, bench: Bench) -> Draft:
        """Where the run is or will be; known before anything is selected."""
        selection = selection_draft(self.question(bench), self.name, bench.workspace)
        inputs = {"selection": selection.fingerprint, "tokens": bench.tokens.fingerprint}
        inputs |= {f"heldout.{name}": tokens.fingerprint for name, (_, tokens) in bench.heldout.items()}
        inputs |= bench.task_marks
        parameters: dict[str, Any] = {"proxy": bench.proxy.parameters(), "tokens": self.num_tokens}
        if self.training.rule is not None:
            parameters["training"] = self.training.parameters()
            read = Expression(score_column(self.training.rule) or "true").columns
            inputs |= {f"rule.{s.name}": s.fingerprint for s in self.scores if read & set(s.column_names)}
        return bench.workspace.open_draft("run", self.name, bench.proxy.version, parameters, inputs)


def run(bench: Bench, task: Task) -> Run:
    """Trains and tests one proxy, or finds it done.

    Raises:
        InvalidParameterError: what may be chosen from holds fewer tokens than the budget.
    """
    draft = task.draft(bench)
    manifest = draft.finished()
    if manifest is None:
        selection = task.selection(bench)
        draft.start()
        tested = _train_and_test(bench, task, selection, draft.folder)
        bits = document_bits(tested.log_probabilities, bench.test.starts)
        items = bench.test.items.append_column("bits", pa.array(bits))
        for file, table in ((ANSWERS, tested.answers), (_ITEMS, items)):
            if table is not None:
                with atomic_path(draft.folder / file) as path:
                    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
        manifest = draft.finish(
            schema={field.name: str(field.type) for field in items.schema},
            parts=[{"file": _ITEMS, "rows": len(items), "bytes": (draft.folder / _ITEMS).stat().st_size}],
            summary={
                "tokens": task.num_tokens,
                **tested.figures,
                "bits_per_byte": float(np.sum(items["bits"]) / np.sum(items["bytes"])),
                "eligible_tokens": selection.manifest.summary["eligible"],
            },
        )
    return Run(draft.folder, manifest)


class _Tested(NamedTuple):
    """What a trained proxy says.

    log_probabilities: natural logs of those of the held-out tokens [tokens]. answers: a row per item of the tasks.
    figures: about its training.
    """

    log_probabilities: np.ndarray
    answers: pa.Table | None
    figures: dict[str, Any]


def _train_and_test(bench: Bench, task: Task, selection: Selection, folder: Location) -> _Tested:
    """Trains a proxy on what a task chooses, and asks it.

    Args:
        folder: of the run; an interrupted training goes on from what is kept there.
    """
    stream = training_stream(selection, bench.tokens, task.num_chosen)
    figures: dict[str, Any] = {"documents": len(stream.starts) - 1}
    if isinstance(bench.proxy, NGram):
        assert bench.test.queries is not None
        found = bench.proxy.log_probabilities(stream, bench.test.queries)
        lm = NGramLM(bench.bpe, bench.proxy.model(stream, bench.vocab_size)) if bench.tasks else None
        return _Tested(found, lm and evaluate(lm, bench.tasks), figures)
    require("Proxy `gpt`")
    from assay.models.neural_lm import of_network

    rule, seed = task.training.rule, task.rules.seed
    facts = facts_of(rule, selection, bench.pool, task.scores, bench.tokens, task.num_chosen, bench.bpe)
    with one_thread():
        network, outcome = train_network(
            bench.proxy,
            stream,
            bench.vocab_size,
            seed=seed,
            folder=scratch_for(folder) / TRAINING,
            rule=rule,
            facts=facts,
            match=task.training.match,
        )
        model = of_network(network, bench.bpe)
        found = model.log_probabilities(bench.test.tokens, bench.test.starts)
        answers = evaluate(model, bench.tasks) if bench.tasks else None
    clear_scratch(folder, TRAINING)
    figures |= {"steps": outcome.num_steps, "loss": float(outcome.losses[-1]), "forward_tokens": outcome.forward_tokens}
    return _Tested(found, answers, figures)
