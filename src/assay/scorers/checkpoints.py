"""What a model finds easy when: losses of documents at checkpoints, of folders or of n-grams that read more and more.

Without folders, the checkpoints are n-gram models that have read 1/16, 1/8, 1/4, 1/2 and all of a bounded sample of the
pool. They are cross-fitted: the sample is cut into two halves by the hash of the id, a ladder of models is trained on
each, and every document of the pool is judged by the ladder of the half that it would not be in. So a loss falls
because of what other documents teach, and never because a model has met the document itself.

State: all models of both ladders, twice the n-grams of the sample; 60 MB for 4,000 documents of 2,000 bytes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_text
from assay.models.lm import NGramLM
from assay.models.ngram import Queries, train
from assay.models.tokenizer import BPE
from assay.scorers.base import State
from assay.scorers.ngrams import half_of, judged_by, learn_tokenizer, mean, model_of
from assay.scorers.sampling import sampled

RUNGS = (4, 3, 2, 1, 0)  # a model reads 2^-k of its half
MIN_CHECKPOINTS = 2
_PREFIX = "ladder."
_SALT = 0xD1B54A32D192ED03


def checked_models(models: Any, at_least: int = MIN_CHECKPOINTS) -> str | tuple[str, ...] | None:
    """`models` as a method keeps it: None, the folder of all checkpoints, or the folder of each in their order.

    Raises:
        InvalidParameterError: it is none of these, or there are too few.
    """
    if models is None:
        return None
    if isinstance(models, str):
        check_text("models", models)
        return models
    ok = isinstance(models, list | tuple) and all(isinstance(path, str) and path for path in models)
    check(ok, "models", models, "a folder of checkpoints, or a list of folders, the earliest first")
    check(len(set(models)) == len(models), "models", models, "different folders")
    check(len(models) >= at_least, "models", models, f"at least {at_least} folders")
    return tuple(models)


def folders(models: str | tuple[str, ...], at_least: int = MIN_CHECKPOINTS) -> tuple[str, ...]:
    """The folder of each checkpoint, earliest first: of one folder those in it, by the numbers in their names.

    Args:
        at_least: how many are needed; where one is, a folder that is a model stands for itself, and order is nothing.

    Raises:
        InvalidParameterError: there is no such folder, it has too few checkpoints in it, or their names do not say
            which is earlier.
    """
    if not isinstance(models, str):
        return models
    place = Path(models).expanduser()
    check(place.is_dir(), "models", models, "a folder that is there, of checkpoints, or a list of them")
    if at_least == 1 and (place / "config.json").exists():
        return (str(place),)
    found = sorted((str(path.parent) for path in place.glob("*/config.json")), key=_numbers)
    way_out = "A checkpoint is a folder with config.json, weights and tokenizer."
    check(len(found) >= at_least, "models", models, f"a folder with at least {at_least} checkpoints", way_out)
    kinds = sorted({re.sub(r"\d+", "#", Path(path).name) for path in found})
    rule = f"a folder of checkpoints whose names differ in numbers alone, not {' and '.join(kinds)}"
    way_out = "Give a list of their folders, the earliest first."
    check(at_least == 1 or len(kinds) == 1, "models", models, rule, way_out)
    return tuple(found)


def _numbers(path: str) -> tuple[list[int], str]:
    """The numbers in a name, so that step-500 comes before step-1000, and the name."""
    name = Path(path).name
    return [int(number) for number in re.findall(r"\d+", name)], name


def model_paths(models: str | tuple[str, ...] | None) -> dict[str, str]:
    """The paths that `models` means, by name, as `Method.paths` gives them."""
    if models is None:
        return {}
    return {"models": models} if isinstance(models, str) else {f"models.{k}": path for k, path in enumerate(models)}


class Ladder(NamedTuple):
    """N-gram models that have read more and more, `models[half]` from the least on, of one tokenizer."""

    bpe: BPE
    models: tuple[tuple[NGramLM, ...], tuple[NGramLM, ...]]

    @classmethod
    def fit(cls, pool: State, sample: int, order: int, vocab_size: int, rungs: Sequence[int] = RUNGS) -> "Ladder":
        """Both ladders, from all contributions to a sample; `rungs` are some of RUNGS.

        Raises:
            InvalidParameterError: no documents with text, or too few for two halves.
        """
        rows = sampled(pool, sample)
        bpe, half = learn_tokenizer(rows.column("text"), vocab_size), half_of(rows.column("id"), _SALT)
        encoded = [bpe.encode(rows.column("text").filter(pa.array(half == k))) for k in (0, 1)]
        if not all(len(ids) for ids, _ in encoded):
            raise InvalidParameterError(
                f"The pool has {len(rows)} documents to learn from, which do not make two halves with text, one for "
                "judging the other. Give a larger pool, or `models`."
            )
        first, second = (tuple(_trained(bpe, order, *tokens, rung) for rung in rungs) for tokens in encoded)
        return cls(bpe, (first, second))

    def losses(self, batch: pa.RecordBatch) -> np.ndarray:
        """Mean loss of each document's tokens at each rung [documents, rungs], nats; NaN for one without tokens."""
        ids, starts = self.bpe.encode(batch.column("text"))
        found = np.full((len(batch), len(self.models[0])), np.nan)
        half, lengths = half_of(batch.column("id"), _SALT), np.diff(starts)
        for k in (0, 1):
            own = half != k
            own_ids, own_starts = ids[np.repeat(own, lengths)], np.cumsum([0, *lengths[own]])
            model = self.models[k][0].model
            queries = Queries.of(own_ids, own_starts, vocab_size=model.vocab_size, order=model.order)
            for rung, lm in enumerate(self.models[k]):
                found[own, rung] = mean(-lm.model.log_probabilities(queries), own_starts)
        return found

    def state(self) -> State:
        """All models as plain arrays."""
        return {
            f"{_PREFIX}{half}.{rung}.{key}": array
            for half, lms in enumerate(self.models)
            for rung, lm in enumerate(lms)
            for key, array in lm.state().items()
        }

    @classmethod
    def of_state(cls, scorer: str, state: Mapping[str, np.ndarray]) -> "Ladder":
        """The ladders that `state` was of.

        Raises:
            NotFittedError: it was of none; `scorer` is the class that says so.
        """
        if f"{_PREFIX}0.0.tokenizer" not in state:
            raise NotFittedError(f"{scorer} has not been fitted; `assay.score(corpus, {scorer}())` fits and scores.")
        parts: tuple[dict[int, State], dict[int, State]] = ({}, {})
        for key, array in state.items():
            if key.startswith(_PREFIX):
                half, rung, name = key.removeprefix(_PREFIX).split(".", 2)
                parts[int(half)].setdefault(int(rung), {})[name] = array
        first, second = (tuple(NGramLM.of_state(own[rung]) for rung in sorted(own)) for own in parts)
        return cls(first[0].bpe, (first, second))


def losses_at(scorer: str, models: str | tuple[str, ...] | None, batch: pa.RecordBatch, state: State) -> np.ndarray:
    """Mean loss of each document's tokens at each checkpoint [documents, checkpoints], nats; NaN without tokens.

    Raises:
        NotFittedError: neither `models` nor a fitted state.
        InvalidParameterError: models that cannot be loaded, or with different tokenizers.
    """
    if models is None:
        return Ladder.of_state(scorer, state).losses(batch)
    found = folders(models)
    losses, first = [], None
    for path in found:
        judged = judged_by(model_of(path), batch)
        first = judged if first is None else first
        if not np.array_equal(judged.ids, first.ids):
            raise InvalidParameterError(
                f"`models` ({found[0]} and {path}) must have the same tokenizer; they cut a document into other "
                "tokens, and losses for each token cannot be compared. Give checkpoints of one run."
            )
        losses.append(judged.losses())
    return np.stack(losses, axis=1)


def _trained(bpe: BPE, order: int, ids: np.ndarray, starts: np.ndarray, rung: int) -> NGramLM:
    """The model of the first tokens; a document that these end in is not told its end."""
    size = max(1, len(ids) >> rung)
    cut = np.concatenate((starts[starts < size], [size]))
    has_end = np.isin(cut[1:], starts)
    return NGramLM(bpe, train(ids[:size], cut, vocab_size=bpe.vocab_size, order=order, has_end=has_end))
