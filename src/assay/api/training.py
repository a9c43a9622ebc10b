"""`assay.train`: a transformer from a corpus, trained as the proxies of a comparison are."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.api.rules import facts_of
from assay.api.selecting import select
from assay.api.tokenizing import tokenize, tokenizer_of
from assay.artifacts.kinds import Corpus, Scores, Selection, Tokens, check_corpus
from assay.artifacts.manifest import MANIFEST, Manifest
from assay.artifacts.model import CURVE, FILES, Model, model_folder
from assay.artifacts.storage import Location, atomic_path, clear_scratch, scratch_for
from assay.artifacts.workspace import Draft, Workspace, make_folder
from assay.corpus.sharing import share_one
from assay.errors import BudgetError, StoppedError, check
from assay.models.tokenizer import BPE
from assay.models.torch_extra import require
from assay.packing.sequences import pack
from assay.proxy.gpt import GPT
from assay.proxy.rules.phases import Facts, make_phases, selection_tokens
from assay.proxy.rules_base import Rule
from assay.proxy.stream import Stream, training_stream
from assay.selection.budget import Budget

if TYPE_CHECKING:
    from assay.models.gpt import GPT as Network
    from assay.proxy.train import Limits, Outcome

VERSION = 1
TRAINING, _DONE = "training", "done"  # where a network's training is kept until it is done


def train(
    corpus: Corpus,
    selection: Selection | None = None,
    *,
    proxy: GPT | None = None,
    budget: str | Budget | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    scores: Sequence[Scores] = (),
    start: Model | None = None,
    seconds: float | None = None,
    workspace: Workspace | str | Location | None = None,
) -> Model:
    """Trains a transformer, or finds it trained; what was interrupted goes on where it stopped.

    Args:
        selection: which documents of the corpus, and how often each; default a random choice of the budget.
        proxy: size and settings; default `GPT()`, the 1M model.
        budget: tokens to train on, "2M tokens" or "10%", of the selection or else of the corpus; default all.
        seed: of the random choice, the first weights and the order.
        rule: what changes the order, the weights of losses or those of the model; see docs/training-rules.md.
        scores: of this corpus, whose columns the rule may go by.
        start: a model to go on training, whose size and tokenizer are taken; `proxy` gives the settings.
        seconds: when to stop for now; the same call goes on from there.

    Raises:
        MissingExtraError: torch is not installed.
        InvalidParameterError: a selection of another corpus, or one with fewer tokens than the budget.
        StoppedError: `seconds` are over, or memory is; the message says how far it came.
    """
    check_corpus(corpus)
    space, proxy = Workspace(workspace), proxy or GPT()
    tokens = tokenize(corpus, vocab_size=proxy.vocab_size, trained_on=start or corpus, workspace=space)
    wanted = None if budget is None else Budget.parse(budget)
    if wanted is not None and wanted.unit == "tokens":
        wanted = Budget(selection_tokens(rule, int(wanted.amount)), "tokens")  # fewer where a rule reads them again
    if selection is None:
        whole = Budget(1.0, "share")
        selection = select(corpus, "uniform", budget=wanted or whole, tokens=tokens, seed=seed, workspace=space)
        wanted = wanted if wanted is not None and wanted.unit == "tokens" else None
    selection.require_made_from(corpus)
    num_tokens = _num_tokens(selection, tokens, wanted)
    inputs = {"corpus": corpus.fingerprint, "selection": selection.fingerprint, "tokens": tokens.fingerprint}
    inputs |= {} if start is None else {"start": start.fingerprint}
    inputs |= {f"scores.{one.name}": one.fingerprint for one in scores}
    parameters = {"proxy": proxy.parameters(), "tokens": num_tokens, "seed": seed, "rule": rule and rule.parameters()}
    draft = space.open_draft("model", f"{proxy.name}{proxy.size}", VERSION, parameters, inputs)
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        bpe = tokenizer_of(tokens, space)
        stream = training_stream(selection, tokens, num_tokens)
        facts = facts_of(rule, selection, corpus, scores, tokens, num_tokens, bpe)
        make = partial(_train_model, draft, proxy, stream, bpe, seed, rule, facts, start, seconds)
        share_one(make, draft.folder / MANIFEST)
        manifest = Manifest.load(draft.folder)
    return Model(draft.folder, manifest)


def _num_tokens(selection: Selection, tokens: Tokens, wanted: Budget | None) -> int:
    """Different tokens to train on: those of the selection, or as many of them as are wanted."""
    there = 0
    for part in range(tokens.num_parts):
        there += int((selection.repeats(part) * np.diff(tokens.ids(part)[1])).sum())
    check(there > 0, "selection", selection.name, "documents with text")
    if wanted is None:
        return there
    check(wanted.unit in ("tokens", "share"), "budget", str(wanted), "in tokens, or a share, of a selection")
    least = int(wanted.amount) if wanted.unit == "tokens" else max(1, round(wanted.amount * there))
    if least > 1.01 * there:
        raise BudgetError(f"`budget` (={wanted}) is more than the {there:,} tokens of selection {selection.name!r}.")
    return min(there, least)


def _train_model(
    draft: Draft,
    proxy: GPT,
    stream: Stream,
    bpe: BPE,
    seed: int,
    rule: Rule | None,
    facts: Facts,
    start: Model | None,
    seconds: float | None,
) -> None:
    """Trains, and writes weights, tokenizer, curve and manifest."""
    require("Training a transformer")
    from assay.models.gpt import save
    from assay.proxy.train import DONE, Limits

    kept = scratch_for(draft.folder) / TRAINING
    network, outcome = train_network(
        proxy,
        stream,
        bpe.vocab_size,
        seed=seed,
        folder=kept,
        start=None if start is None else start.path,
        rule=rule,
        facts=facts,
        limits=Limits(seconds=seconds),
    )
    if outcome.stopped != DONE:
        raise StoppedError(
            f"Training stopped after {len(outcome.losses):,} of {outcome.num_steps:,} steps: its limit of "
            f"{outcome.stopped} was met. The same call goes on from there."
        )
    save(network, kept / _DONE, bpe.to_json())
    make_folder(model_folder(draft.folder))
    for name in FILES:
        with atomic_path(model_folder(draft.folder) / name) as path:
            shutil.copyfile(kept / _DONE / name, path)
    steps = pa.table({"loss": outcome.losses, "rate": outcome.rates, "norm": outcome.norms, "tokens": outcome.tokens})
    with atomic_path(draft.folder / CURVE) as path:
        pq.write_table(steps, path, compression="zstd", write_page_checksum=True)
    draft.finish(
        schema={field.name: str(field.type) for field in steps.schema},
        parts=[{"file": CURVE, "rows": len(steps), "bytes": (draft.folder / CURVE).stat().st_size}],
        summary={
            "parameters": sum(weights.numel() for weights in network.parameters()),
            "tokens": len(stream.tokens),
            "forward_tokens": outcome.forward_tokens,
            "loss": float(np.mean(outcome.losses[-max(1, len(outcome.losses) // 20) :])),
        },
    )
    clear_scratch(draft.folder, TRAINING)


def train_network(
    proxy: GPT,
    stream: Stream,
    vocab_size: int,
    *,
    seed: int,
    folder: Path | None,
    start: Path | None = None,
    rule: Rule | None = None,
    facts: Facts | None = None,
    match: str = "tokens",
    limits: "Limits | None" = None,
) -> "tuple[Network, Outcome]":
    """Packs documents and trains a network of the proxy's size on them.

    Args:
        vocab_size: ids of the tokenizer. seed: of the first weights, of what shares a sequence and of their order.
        folder: where an interrupted training goes on from. start: a model to go on training, in place of a new one.
        rule, facts, match: as of `proxy.rules.phases.make_phases`.

    Raises:
        MissingExtraError: torch is not installed.
    """
    require("Training a transformer")
    import torch

    from assay.models.gpt import GPT as Network
    from assay.models.gpt import GPTConfig, load
    from assay.proxy.train import reads_in_parts, train

    settings = proxy.all_settings
    length = settings.sequence_length
    twice = partial(reads_in_parts, settings=settings)
    phases = make_phases(
        rule, stream, pack, length=length, end_id=vocab_size, seed=seed, facts=facts, match=match, reads_twice=twice
    )
    config = GPTConfig.of(proxy.size, vocab_size + 1, context=length)
    network = Network(config, seed) if start is None else load(start, "cpu")
    if settings.precision is not None:
        network.precision = getattr(torch, settings.precision)
    outcome = train(network, phases, settings, seed=seed, folder=folder, rule=rule, limits=limits)
    return network, outcome


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch use one core in this thread: many small models are trained side by side, a core each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
