"""CoLoR-Filter: documents that a model finds easier after it has read the target.

Paper: CoLoR-Filter: Conditional Loss Reduction Filtering for Targeted Language Model Pre-training, Brandfonbrener et
al. 2024 (arXiv:2406.10670), section 3. Authors' code: davidbrandfonbrener/color-filter-olmo at 7d26c7c. The score is
the mean over tokens of the loss under a *prior* model, trained on text of any kind, minus that under a *conditional*
one, the prior trained further on the target.

What differs:
- Without models, both are n-grams: the prior is that of a sample of the pool, and the conditional gives a word `share`
  of its probability under n-grams of the target and the rest of that under the prior. The prior is cross-fitted
  (`scorers.ngrams`): it would find the documents that it has read easy, and they alone would have little to gain.
- A document is judged whole; the paper's are sequences of 512 tokens.
- The k best are chosen by a policy (`top`), so the paper's tau is pool over budget.

Several targets are read as one.

Cost: n-grams: 3 seconds to fit, once, then 4 MB/s and core. Neural models: both read the pool; see
docs/language-models.md. When not to use: with two models that were trained on other data: then the difference tells
these data apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, check, check_number
from assay.kernels.arrow import from_utf8, masked, utf8
from assay.models.lm import NGramLM
from assay.scorers.base import Column, Scorer, State
from assay.scorers.ngrams import (
    DIGITS,
    Halves,
    Judged,
    check_model,
    check_ngrams,
    judged_by,
    mean,
    model_of,
    sketch_pool,
)
from assay.scorers.sampling import merge_samples, sampled, shortened, sketch_sample, thinned

_MAX_TARGETS = 20_000
_MAX_BYTES = 20_000  # of each target document


@dataclass(frozen=True, kw_only=True)
class LossDifference(Scorer):
    """Mean loss of a document's tokens under a prior model, minus that under a conditional one.

    prior, conditional: folders with models, as `Perplexity.model`, that share a tokenizer; None = n-grams of the pool,
        and these with those of the target.
    share: of the target's n-grams in the conditional model.
    sample: documents of the pool that the prior is counted in. order: longest n-gram. vocab_size: of their tokens.
    """

    name: ClassVar[str] = "loss_difference"
    version: ClassVar[int] = 1
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("prior", "conditional")

    prior: str | None = None
    conditional: str | None = None
    share: float = 0.25
    sample: int = 5000
    order: int = 2
    vocab_size: int = 8192

    def __post_init__(self) -> None:
        check_model("prior", self.prior)
        check_model("conditional", self.conditional)
        way_out = "The score is a difference of the two."
        rule = "given together with `prior`, or left out with it"
        check((self.prior is None) == (self.conditional is None), "conditional", self.conditional, rule, way_out)
        check_number("share", self.share, "a share above 0 and below 1", lambda share: 0 < share < 1)
        check_ngrams(self.sample, self.order, self.vocab_size)

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        """Only where n-grams take the place of models."""
        return self.prior is None

    @property
    def reads_pool(self) -> bool:  # type: ignore[override]
        """Only where n-grams take the place of models."""
        return self.prior is None

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`loss_difference.gain` (the score), `loss_difference.prior` and `loss_difference.conditional`."""
        return [
            Column("loss_difference.gain", pa.float64(), True, "prior minus conditional loss, nats for each token"),
            Column("loss_difference.prior", pa.float64(), None, "loss under the prior model, nats for each token"),
            Column("loss_difference.conditional", pa.float64(), None, "loss under the conditional model"),
        ]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Target documents of least hash, and the start of each."""
        return thinned(shortened(sketch_sample(batch, 0, _MAX_TARGETS), _MAX_BYTES), _MAX_TARGETS)

    def merge(self, a: State, b: State) -> State:
        """The documents of both, those of least hash."""
        return thinned(merge_samples(a, b), max(2 * self.sample, _MAX_TARGETS)) if a else {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """`text` of all targets [bytes] and `text_bytes` [texts].

        Raises:
            InvalidParameterError: a target has no text.
        """
        for name, state in targets.items():
            if not state["sample.text_bytes"].sum():
                raise InvalidParameterError(f"Target {name!r} has no text; the conditional model needs some to read.")
        texts = [utf8(sampled(state, _MAX_TARGETS).column("text")) for state in targets.values()]
        if not texts:
            return {}
        return {
            "text": np.concatenate([text.data[text.offsets[0] : text.offsets[-1]] for text in texts]),
            "text_bytes": np.concatenate([np.diff(text.offsets) for text in texts]),
        }

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        return sketch_pool(batch, prepared, self.sample)

    def finish(self, prepared: State, pool: State) -> State:
        """The models of the pool's halves and that of the target; nothing where there are models from folders.

        Raises:
            InvalidParameterError: too few documents with text.
        """
        if self.prior is not None:
            return {}
        halves = Halves.fit(pool, self.sample, self.order, self.vocab_size)
        texts = from_utf8(prepared["text"], np.concatenate(([0], np.cumsum(prepared["text_bytes"]))))
        target = NGramLM.train(halves.lms[0].bpe, texts, self.order)
        return halves.state() | {f"target.{key}": array for key, array in target.state().items()}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`vocab_size` and `ngrams` of the models that were fitted."""
        return Halves.of_state("LossDifference", state).figures() if self.prior is None else {}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Differences and losses per row, to four digits.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
            InvalidParameterError: the models' tokenizers differ.
        """
        prior, conditional = self._by_ngrams(batch, state) if self.prior is None else self._by_models(batch)
        # The mean of differences, not the difference of means: that of two equal models is 0 to the last digit.
        gain = mean(conditional.log_probabilities - prior.log_probabilities, prior.starts)
        is_valid = utf8(batch.column("text")).is_valid
        figures = (gain, prior.losses(), conditional.losses())
        return [masked(np.round(values, DIGITS), is_valid) for values in figures]

    def _by_ngrams(self, batch: pa.RecordBatch, state: State) -> tuple[Judged, Judged]:
        prior = Halves.of_state("LossDifference", state).judged(batch)
        read = {key.removeprefix("target."): array for key, array in state.items() if key.startswith("target.")}
        target = NGramLM.of_state(read).log_probabilities(prior.ids, prior.starts)
        mixed = np.logaddexp(np.log1p(-self.share) + prior.log_probabilities, np.log(self.share) + target)
        return prior, prior._replace(log_probabilities=mixed)

    def _by_models(self, batch: pa.RecordBatch) -> tuple[Judged, Judged]:
        assert self.prior is not None and self.conditional is not None
        prior, conditional = (judged_by(model_of(path), batch) for path in (self.prior, self.conditional))
        if not np.array_equal(prior.ids, conditional.ids):
            raise InvalidParameterError(
                f"`prior` (={self.prior}) and `conditional` (={self.conditional}) must have the same tokenizer; they "
                "cut a document into other tokens. The conditional model is the prior, trained further."
            )
        return prior, conditional
