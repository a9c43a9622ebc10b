"""QuRating: ratings learnt from judgements which of two texts is the better one, by several criteria.

Paper: QuRating: Selecting High-Quality Data for Training Language Models, Wettig et al. 2024 (arXiv:2402.09739),
sections 2 and 3. Authors' code: princeton-nlp/QuRating at b5a1203 (read, not copied: it has no licence). A rating s is
trained by cross entropy of sigmoid(s_b - s_a) against the share of votes for b (the model of Bradley and Terry), on
pairs that are judged clearly, |share - 1/2| >= 0.25. Ratings are scaled to mean 0 and deviation 1 over the pool, and
documents are drawn with probability proportional to exp(rating / temperature), temperature 2:

    score: {qurating: {judgements: {read: judgements.jsonl, text: text_a}}}
    select: {quota: {by: source, within: {sample: {temperature: 2}}}}

What differs:
- The rating is linear in hashed n-grams of the whole document instead of the token-weighted mean over pieces of a
  language model of 1.3 billion parameters.
- Votes in both orders of a pair are averaged before unclear pairs are left out, whatever file they come from.
- Mean and deviation are those of 5,000 documents of the pool, drawn by hash of the id.
- The authors' documented command never passes the flag that adds noise, and so takes the top; here sampling is what the
  policy says.
- A model that orders fewer than `min_accuracy` of the held-out pairs as the judge did is refused.

Cost: docs/ratings.md. Memory: the text of the judgements, 5,000 documents, and 4 bytes a bucket and criterion. When not
to use: with fewer than some hundred judgements, or a criterion that words do not show (wrong facts, reasoning).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer, check_number
from assay.kernels.arrow import masked, utf8
from assay.kernels.linear import margins_of_texts
from assay.kernels.unicode import tables
from assay.kernels.words import MAX_ORDER
from assay.models.bradley_terry import agreement, fit_strengths
from assay.models.linear import MAX_BUCKETS, features
from assay.models.linear_fit import fit_pairs
from assay.scorers.base import Column, Scorer, State
from assay.scorers.holding import held, hold, joined
from assay.scorers.sampling import merge_samples, sampled, sketch_sample

CRITERIA = ("writing_style", "required_expertise", "facts_and_trivia", "educational_value")
_SAMPLE = 5_000  # documents of the pool
_MOST_NAMED = 3
_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, kw_only=True)
class QuRating(Scorer):
    """Ratings by criteria, learnt from pairwise judgements; mean 0 and deviation 1 over the pool.

    judgements: documents with the first text as `text` and the second as `text_b`; or, with ids of the pool in place of
        texts, the first id as `text` and the second as `id_b`. For each criterion a column of its name, the share of
        votes for the second text, from 0 to 1 and null where it was not judged; or the columns <criterion>_votes_a and
        <criterion>_votes_b.
    criteria: what was judged; the first is the score.
    min_margin: pairs whose share is nearer to 1/2 are not learnt from; 0.25 as published.
    min_votes: nor are judgements of fewer votes; published: 11 of 20 valid.
    min_accuracy: the least share of held-out pairs that ratings must order as the judge did.
    ngrams, num_buckets: longest n-gram, and hash buckets.
    """

    name: ClassVar[str] = "qurating"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    documents: ClassVar[tuple[str, ...]] = ("judgements",)

    judgements: Any = None
    criteria: tuple[str, ...] = CRITERIA
    min_margin: float = 0.25
    min_votes: int = 1
    min_accuracy: float = 0.6
    ngrams: int = 2
    num_buckets: int = 1 << 20

    def __post_init__(self) -> None:
        way_out = "Write {read: judgements.jsonl, text: text_a}."
        check(self.judgements is not None, "judgements", None, "documents with pairwise judgements", way_out)
        object.__setattr__(self, "criteria", check_names("criteria", self.criteria))
        check_number("min_margin", self.min_margin, "a number from 0 to 0.5", lambda x: 0 <= x <= 0.5)
        check_integer("min_votes", self.min_votes, 1)
        check_number("min_accuracy", self.min_accuracy, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        check_integer("ngrams", self.ngrams, 1, MAX_ORDER)
        check_integer("num_buckets", self.num_buckets, 2, MAX_BUCKETS)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """A rating per criterion."""
        return [
            Column(f"qurating.{name}", pa.float64(), True, f"rating by {name}, in deviations from the pool's mean")
            for name in self.criteria
        ]

    def document_columns(self, name: str) -> tuple[str, ...]:
        votes = [f"{criterion}_votes_{side}" for criterion in self.criteria for side in "ab"]
        return ("text_b", "id_b", *self.criteria, *votes)

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """The texts (or ids) of each pair, and the shares for the second [pairs, criteria], NaN = not judged."""
        has = batch.schema.names
        second = "text_b" if "text_b" in has else "id_b"
        way_out = "Name the first text by `text:`, and the second text_b, or id_b where these are ids of the pool."
        check(second in has, "judgements", has, "documents with a second text", way_out)
        is_whole = pc.and_(batch.column("text").is_valid(), batch.column(second).is_valid())
        whole = batch.filter(is_whole)
        shares = [self._shares(whole, criterion) for criterion in self.criteria]
        return {
            **hold("first", whole.column("text")),
            **hold("second", whole.column(second)),
            "shares": np.stack([share for share, _ in shares], axis=1),
            "too_few_votes": np.array([few for _, few in shares]),
            "rows": np.array([len(batch), len(batch) - len(whole)]),
            "by_id": np.array([second == "id_b"] * len(batch)),
        }

    def _shares(self, batch: pa.RecordBatch, criterion: str) -> tuple[np.ndarray, int]:
        """Share of votes for the second text [pairs], and how many judgements have too few."""
        names = [f"{criterion}_votes_a", f"{criterion}_votes_b"]
        if criterion in batch.schema.names:
            share = _numbers(batch, criterion)
            bad = ~np.isnan(share) & ~((share >= 0) & (share <= 1))
            check(not bad.any(), criterion, share[bad][:1].tolist(), "a share from 0 to 1")
            return share, 0
        missing = [name for name in names if name not in batch.schema.names]
        if missing:
            raise InvalidParameterError(
                f"`judgements` has no column {criterion!r}, nor {missing[0]!r}; it has "
                f"{', '.join(batch.schema.names)}. Name what it has by `criteria`."
            )
        a, b = (_numbers(batch, name) for name in names)
        for name, votes in zip(names, (a, b), strict=True):
            bad = (votes < 0) | np.isinf(votes)
            check(not bad.any(), name, votes[bad][:1].tolist(), "a number of votes, at least 0")
        is_few = ~np.isnan(a + b) & (a + b < self.min_votes)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = b / (a + b)
        share[is_few] = np.nan
        return share, int(is_few.sum())

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The models; where judgements name ids, what `finish` needs to train them.

        Raises:
            InvalidParameterError: nothing to learn from, or ratings that do not predict held-out judgements.
        """
        found = targets["judgements"]
        check(len(found["first.sizes"]) > 0, "judgements", 0, "of at least one pair")
        things = pa.chunked_array([held(found, "first"), held(found, "second")]).combine_chunks()
        pairs = {key: found[key] for key in ("shares", "rows", "too_few_votes")}
        return {**pairs, **hold("ids", things)} if found["by_id"].any() else self._models(things, pairs)

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """Documents to scale by, and those that judgements name."""
        sample = sketch_sample(batch, int(prepared["num_documents"][0]), _SAMPLE)
        if "ids.sizes" not in prepared:
            return sample
        is_named = pc.is_in(batch.column("id").cast(pa.large_string()), held(prepared, "ids"))
        named = batch.filter(pc.and_(is_named, batch.column("text").is_valid()))
        return {**sample, **hold("id", named.column("id")), **hold("named", named.column("text"))}

    def merge(self, a: State, b: State) -> State:
        """Documents are put one after the other, counts are added."""
        counts = {key: a[key] + b[key] for key in ("rows", "too_few_votes") if key in a}
        lists = [key for key in a if key not in counts and not key.startswith("sample.")]
        return counts | joined(a, b, lists) | merge_samples(a, b)

    def finish(self, prepared: State, pool: State) -> State:
        """Weights [buckets, criteria], and mean and deviation of each rating in the pool.

        Raises:
            InvalidParameterError: ids that the pool does not have; and as `prepare`.
        """
        models = prepared
        if "ids.sizes" in prepared:
            models = self._models(_texts_of(held(prepared, "ids"), pool), prepared)
        ratings = _ratings(sampled(pool, _SAMPLE).column("text"), models)
        deviation = ratings.std(axis=0)
        deviation[deviation < _LEAST_DEVIATION] = 1.0  # all documents alike
        return {**models, "mean": ratings.mean(axis=0), "deviation": deviation}

    def _models(self, things: pa.Array, pairs: State) -> State:
        """A model for each criterion, from the first texts of all pairs and then the second ones."""
        coded = things.dictionary_encode()
        order = pc.sort_indices(coded.dictionary).to_numpy()
        first, second = np.split(np.argsort(order)[coded.indices.to_numpy()], 2)
        pairs = {
            "low": np.minimum(first, second),
            "high": np.maximum(first, second),
            "is_turned": first > second,
            **pairs,
            "shares": np.where((first > second)[:, None], 1 - pairs["shares"], pairs["shares"]),
        }
        rows = features(coded.dictionary.take(pa.array(order)), ngrams=self.ngrams, num_buckets=self.num_buckets)
        weights: list[np.ndarray] = []
        report: dict[str, Any] = {}
        for k, criterion in enumerate(self.criteria):
            low, high, shares, counts = self._clear_pairs(pairs, k)
            if not len(shares):
                raise InvalidParameterError(
                    f"`judgements` has no clear judgement by {criterion!r}: {counts}. Lower `min_margin` or "
                    "`min_votes`, or leave it out of `criteria`."
                )
            model, figures = fit_pairs(rows, low, high, shares)
            self._check_accuracy(criterion, figures)
            strengths = fit_strengths(low, high, shares, len(order))
            weights.append(model.weights[:, 0])
            report[criterion] = {
                **counts,
                "learnt_from": figures["pairs"] - figures["held_out"],
                "held_out": figures["held_out"],
                "accuracy": figures["accuracy"],
                "log_loss": figures["log_loss"],
                "consistency": agreement(strengths, low, high, shares),
            }
        without_text = int(pairs["rows"][1])
        report = {"judgements": int(pairs["rows"][0]), "without_text": without_text, "criteria": report}
        arrays = {"weights": np.stack(weights, axis=1), "ngrams": np.array(self.ngrams)}
        return {**arrays, "report": np.array(json.dumps(report))}

    def _clear_pairs(self, pairs: State, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, int]]:
        """Each pair once, with the mean of its shares, where that is clear; and counts of what was left out."""
        is_judged = ~np.isnan(pairs["shares"][:, k])
        is_same = is_judged & (pairs["low"] == pairs["high"])
        rows = np.flatnonzero(is_judged & ~is_same)
        low, high, shares = pairs["low"][rows], pairs["high"][rows], pairs["shares"][rows, k]
        order = np.lexsort((shares, high, low))  # sums must not depend on the order of the file
        low, high, shares, is_turned = low[order], high[order], shares[order], pairs["is_turned"][rows][order]
        is_new = np.ones(len(low), np.bool_)
        is_new[1:] = (np.diff(low) != 0) | (np.diff(high) != 0)
        pair = np.cumsum(is_new) - 1
        number = np.bincount(pair, minlength=0) if len(pair) else np.empty(0, np.int64)
        mean = np.bincount(pair, shares) / number if len(pair) else np.empty(0)
        turned = np.bincount(pair, is_turned) if len(pair) else np.empty(0)
        in_both = (turned > 0) & (turned < number)
        means = [np.bincount(pair[side], shares[side], len(number)) for side in (~is_turned, is_turned)]
        with np.errstate(invalid="ignore", divide="ignore"):
            disagree = in_both & (((means[0] / (number - turned)) - 0.5) * ((means[1] / turned) - 0.5) < 0)
        is_clear = np.abs(mean - 0.5) >= self.min_margin
        counts = {
            "not_judged": int((~is_judged).sum() - pairs["too_few_votes"][k]),
            "too_few_votes": int(pairs["too_few_votes"][k]),
            "same_text": int(is_same.sum()),
            "pairs": len(number),
            "unclear": int((~is_clear).sum()),
            "in_both_orders": int(in_both.sum()),
            "orders_disagree": int(disagree.sum()),
        }
        return low[is_new][is_clear], high[is_new][is_clear], mean[is_clear], counts

    def _check_accuracy(self, criterion: str, figures: Mapping[str, Any]) -> None:
        accuracy = figures["accuracy"]
        if accuracy is None and self.min_accuracy > 0:
            raise InvalidParameterError(
                f"{figures['pairs']} judgements by {criterion!r} leave none to test ratings on. Give more, or set "
                "`min_accuracy` (=0) to go without."
            )
        if accuracy is not None and accuracy < self.min_accuracy:
            raise InvalidParameterError(
                f"Ratings by {criterion!r} order {accuracy:.2f} of {figures['held_out']} held-out pairs as the judge "
                f"did; `min_accuracy` is {self.min_accuracy}. Give more judgements, or leave it out of `criteria`."
            )

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Ratings per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "deviation" not in state:
            raise NotFittedError("QuRating has not been fitted; `assay.score(corpus, QuRating(...))` fits and scores.")
        ratings = (_ratings(batch.column("text"), state) - state["mean"]) / state["deviation"]
        is_valid = utf8(batch.column("text")).is_valid
        return [masked(column, is_valid) for column in ratings.T]

    def fit_summary(self, state: State) -> dict[str, Any]:
        """What was learnt from, and how well held-out pairs are ordered, by criterion.

        `consistency` is the share of judgements that strengths of their own for each text (Bradley-Terry, fitted to all
        of them) reproduce: judgements in circles bring it below 1.
        """
        report: dict[str, Any] = json.loads(str(state["report"]))
        return report


def check_names(name: str, value: Any) -> tuple[str, ...]:
    """Distinct names, from a list or tuple of them.

    Raises:
        InvalidParameterError: anything else, or none.
    """
    is_list = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(v, str) and v for v in value)
    check(is_list and len(set(value)) == len(value), name, value, "a list of different names")
    return tuple(value)


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A column as floats, NaN where it is null.

    Raises:
        InvalidParameterError: it holds a NaN, or text that is no number.
    """
    try:
        column = batch.column(name).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidParameterError(f"Column {name!r} holds something else than numbers: {error}") from None
    values = column.to_numpy(zero_copy_only=False)
    check(int(np.isnan(values).sum()) == column.null_count, name, "NaN", "a number, or null where there is none")
    return values.astype(np.float64)


def _ratings(texts: pa.Array, models: State) -> np.ndarray:
    """Ratings [documents, criteria], not yet scaled."""
    text = utf8(texts)
    weights = models["weights"]
    bias = np.zeros(weights.shape[1])
    return margins_of_texts(text.data, text.offsets, int(models["ngrams"]), weights, bias, tables())


def _texts_of(ids: pa.Array, pool: State) -> pa.Array:
    """The text of each id [ids].

    Raises:
        InvalidParameterError: an id that no document with text has.
    """
    places = pc.index_in(ids, held(pool, "id"))
    if places.null_count:
        missing = ids.filter(places.is_null()).unique()
        named = ", ".join(repr(id) for id in missing[:_MOST_NAMED].to_pylist())
        raise InvalidParameterError(
            f"`judgements` names {len(missing)} ids that no document with text in the pool has, such as {named}. "
            "Give their texts instead: text and text_b."
        )
    return held(pool, "named").take(places)
