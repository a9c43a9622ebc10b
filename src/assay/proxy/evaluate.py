"""What a language model knows: benchmark items answered by likelihood, and bits per byte of held-out text.

The log-likelihood of a continuation is the sum over its tokens, given the context before them. Both are encoded
together, as in lm-evaluation-harness: spaces at the context's end count as the continuation's, and the continuation is
what follows the tokens that the context has by itself. Where the two share a token, it is scored with the continuation
(the harness would cut at the context's number of tokens). The context stands after END, as documents do in training:
the harness does so with `add_bos_token=True`.

What does not fit the model's context is cut from the left and counted (`is_truncated`); a continuation is never cut.
Answers that the model finds equally likely share the credit, where the harness takes the first: a benchmark whose right
answer stands first, as BLiMP here, would else be won by a model that knows nothing.

Cost: one pass over context and continuation for every answer.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InputError
from assay.kernels.arrow import utf8
from assay.kernels.ragged import take_runs
from assay.models.lm import LM, GreedyLM, NGramLM, document_sums
from assay.proxy.tasks import Question, Task, check_names

_BATCH_CHARS = 1 << 22  # of contexts and continuations at a time
_DECIMALS = 4  # of a log-likelihood: noise in the sums of float32 is below, and equal answers are to be equal

SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("id", pa.string()),
        ("correct", pa.float64()),
        ("correct_norm", pa.float64()),
        ("gold", pa.int32()),
        ("predicted", pa.int32()),
        ("predicted_norm", pa.int32()),
        ("gold_bits", pa.float64()),
        ("gold_bytes", pa.int64()),
        ("is_truncated", pa.bool_()),
        ("log_likelihoods", pa.list_(pa.float64())),
    ]
)
"""A row an item.

correct: 1 where the right choice is the likeliest, 1/k where k are, else 0; of a cloze item whether greedy decoding
    gives its answer, null where the model cannot tell. correct_norm: the same by likelihood per character of the
    choice; null for a cloze item. gold: number of the right choice; null for a cloze item, as are the two below.
predicted, predicted_norm: the choice taken, the first of equals.
gold_bits: of the right answer with what joins it to the context, which has `gold_bytes` bytes. is_truncated: whether
    any context was cut. log_likelihoods: of all answers, natural logarithm.
"""


_SUMMARY = pa.schema(
    [
        ("task", pa.string()),
        ("items", pa.int64()),
        ("accuracy", pa.float64()),
        ("accuracy_norm", pa.float64()),
        ("bits_per_byte", pa.float64()),
        ("truncated", pa.int64()),
    ]
)


class Likelihoods(NamedTuple):
    """Of some continuations given their contexts.

    nats: log-likelihood [pairs] float64, to four decimals. is_truncated: whether the context was cut [pairs].
    is_greedy: whether greedy decoding gives the continuation [pairs]; None where the model cannot tell.
    """

    nats: np.ndarray
    is_truncated: np.ndarray
    is_greedy: np.ndarray | None


def evaluate(lm: LM, tasks: Sequence[Task]) -> pa.Table:
    """Every item of every task, in order, as `SCHEMA` says.

    Raises:
        InvalidParameterError: too few examples to draw shots from, or two tasks of one name.
        InputError: an answer without a token in this model's vocabulary.
    """
    check_names(tasks)
    asked = [(task.name, question) for task in tasks for question in task.questions()]
    pairs = [pair for _, question in asked for pair in zip(question.contexts, question.continuations, strict=True)]
    found = log_likelihoods(lm, pairs)
    rows, first = [], 0
    for name, question in asked:
        here = slice(first, first + len(question.contexts))
        rows.append({"task": name, "id": question.id, **_answered(question, found, here)})
        first = here.stop
    return pa.Table.from_pylist(rows, SCHEMA)


def _answered(question: Question, found: Likelihoods, here: slice) -> dict[str, Any]:
    """The row of an item, but for its name."""
    nats = found.nats[here]
    row = {
        "gold_bits": -nats[question.gold] / np.log(2),
        "gold_bytes": len(question.continuations[question.gold].encode()),
        "is_truncated": bool(found.is_truncated[here].any()),
        "log_likelihoods": nats,
    }
    if question.is_cloze:
        return row | {"correct": None if found.is_greedy is None else float(found.is_greedy[here][0])}
    return row | choices_made(nats, question.num_chars, question.gold)


def choices_made(nats: np.ndarray, num_chars: Sequence[int], gold: int) -> dict[str, float | int]:
    """What a model chooses by log-likelihood and by that per character, and what credit it gets; see `SCHEMA`.

    >>> choices_made(np.array([-2.0, -2.0, -9.0]), [1, 2, 20], gold=2)
    {'gold': 2, 'predicted': 0, 'predicted_norm': 2, 'correct': 0.0, 'correct_norm': 1.0}
    """
    per_char = nats / np.array(num_chars)
    best, best_norm = nats == nats.max(), per_char == per_char.max()
    return {
        "gold": gold,
        "predicted": int(best.argmax()),
        "predicted_norm": int(best_norm.argmax()),
        "correct": float(best[gold] / best.sum()),
        "correct_norm": float(best_norm[gold] / best_norm.sum()),
    }


def summary(table: pa.Table) -> pa.Table:
    """Means over the items of each task, in order of appearance.

    Returns:
        `task`, `items`, `accuracy`, `accuracy_norm` (both null where no item has one), `bits_per_byte` (mean over items
        of bits over bytes of the right answer), `truncated` (items).
    """
    rows = []
    for name in dict.fromkeys(table.column("task").to_pylist()):
        items = table.filter(pc.equal(table.column("task"), name))
        per_byte = pc.divide(items.column("gold_bits"), pc.cast(items.column("gold_bytes"), "float64"))
        rows.append(
            {
                "task": name,
                "items": len(items),
                "accuracy": pc.mean(items.column("correct")).as_py(),
                "accuracy_norm": pc.mean(items.column("correct_norm")).as_py(),
                "bits_per_byte": pc.mean(per_byte).as_py(),
                "truncated": pc.sum(items.column("is_truncated")).as_py(),
            }
        )
    return pa.Table.from_pylist(rows, _SUMMARY)


def held_out(lm: LM, ids: Sequence[str], texts: pa.Array) -> pa.Table:
    """Loss of each document, its end mark left out.

    Returns:
        `id`, `bits` float64, `bytes` int64 (UTF-8), `bits_per_byte` float64, null where there is no text.
    """
    data = utf8(texts)
    num_bytes = np.diff(data.offsets)
    tokens, starts = lm.encode(texts)
    bits = np.round(-document_sums(lm.log_probabilities(tokens, starts), starts), _DECIMALS) / np.log(2)
    has_text = num_bytes > 0
    per_byte = bits / np.maximum(num_bytes, 1)
    return pa.table(
        {"id": pa.array(ids, pa.string()), "bits": bits, "bytes": num_bytes}
        | {"bits_per_byte": pa.array(per_byte, mask=~has_text)}
    )


def log_likelihoods(lm: LM, pairs: Sequence[tuple[str, str]]) -> Likelihoods:
    """The likelihood of each continuation given its context; equal pairs are asked once.

    Args:
        pairs: context, which may be empty, and continuation.

    Raises:
        InputError: a continuation without a token.
    """
    distinct = list(dict.fromkeys(pairs))
    parts = [_batch(lm, batch) for batch in _batches(distinct)]
    place = {pair: k for k, pair in enumerate(distinct)}
    order = np.array([place[pair] for pair in pairs], np.int64)
    nats, is_truncated, is_greedy = (
        np.concatenate([part[k] for part in parts] or [np.empty(0)])[order] for k in range(3)
    )
    return Likelihoods(nats, is_truncated.astype(np.bool_), is_greedy if isinstance(lm, GreedyLM) else None)


def _batches(pairs: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Pairs of about `_BATCH_CHARS` characters at a time."""
    batch: list[tuple[str, str]] = []
    num_chars = 0
    for context, continuation in pairs:
        batch.append((context, continuation))
        num_chars += len(context) + len(continuation)
        if num_chars >= _BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _batch(lm: LM, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `log_likelihoods` gives; whether they are greedy is False where the model cannot tell."""
    ids, starts, num_context = _encode(lm, pairs)
    sizes = np.diff(starts)
    num_answer = sizes - num_context
    without = np.flatnonzero(num_answer < 1)
    if len(without):
        raise InputError(f"The continuation {pairs[without[0]][1]!r} has no token in this model's vocabulary.")
    # An n-gram model reads any length: its context says how far it looks back, and no more.
    kept = sizes if isinstance(lm, NGramLM) else np.minimum(sizes, np.maximum(lm.context, num_answer))
    if (kept < sizes).any():
        shorter = np.empty(kept.sum(), ids.dtype)
        take_runs(ids, starts[1:] - kept, kept, shorter)
        ids, starts = shorter, np.concatenate(([0], np.cumsum(kept)))
    is_answer = np.arange(len(ids)) >= np.repeat(starts[1:] - num_answer, kept)
    if isinstance(lm, GreedyLM):
        log_probabilities, is_best = lm.judge(ids, starts, is_answer)
    else:
        log_probabilities, is_best = lm.log_probabilities(ids, starts), np.zeros(len(ids), np.bool_)
    nats = np.round(document_sums(np.where(is_answer, log_probabilities, 0), starts), _DECIMALS)
    return nats, kept < sizes, document_sums(is_answer & ~is_best, starts) == 0


def _encode(lm: LM, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of contexts with continuations [tokens], where each pair starts [pairs + 1], and how many are context's."""
    contexts = [context.rstrip() for context, _ in pairs]
    distinct = {context: k for k, context in enumerate(dict.fromkeys(contexts))}
    context_ids, context_starts = lm.encode(pa.array(distinct, pa.large_string()))
    ids, starts = lm.encode(pa.array([context + continuation for context, continuation in pairs], pa.large_string()))
    num_context = np.empty(len(pairs), np.int64)
    for k, context in enumerate(contexts):
        first, last = context_starts[distinct[context] : distinct[context] + 2]
        own, whole = context_ids[first:last], ids[starts[k] : starts[k + 1]]
        length = min(len(own), len(whole))
        differ = np.flatnonzero(own[:length] != whole[:length])
        num_context[k] = differ[0] if len(differ) else length
    return ids, starts, num_context
