"""Scorers as the contracts try them: those that do not work as they are get parameters, and documents to learn from."""

from dataclasses import dataclass, field

import pyarrow as pa

from assay.scorers import (
    DSIR,
    EL2N,
    SCORERS,
    Classifier,
    Concepts,
    DataMan,
    Distil,
    LongRange,
    QuRating,
    RareTokens,
    Scorer,
)
from tests.ratings import judgement_rows, label_rows


@dataclass(frozen=True, kw_only=True)
class Example:
    """A scorer, and the rows of each of its document sets."""

    scorer: Scorer
    documents: dict[str, pa.RecordBatch] = field(default_factory=dict)


# By what to call them in tests; a scorer that stands here is tried as here, any other as it is.
GIVEN: dict[str, Example] = {
    "classifier": Example(scorer=Classifier(num_buckets=1 << 12)),
    "classifier of documents": Example(
        scorer=Classifier(positives="good.jsonl", negatives="bad.jsonl", num_buckets=1 << 12),
        documents={
            name: pa.RecordBatch.from_pylist(label_rows(30, seed))
            for seed, name in enumerate(("positives", "negatives"))
        },
    ),
    "classifier of labels": Example(
        scorer=Classifier(labels="labels.jsonl", column="domain", kind="multiclass", num_buckets=1 << 12),
        documents={"labels": pa.RecordBatch.from_pylist(label_rows(60))},
    ),
    "classifier of notes": Example(
        scorer=Classifier(labels="labels.jsonl", column="clarity", kind="ordinal", num_buckets=1 << 12),
        documents={"labels": pa.RecordBatch.from_pylist(label_rows(60))},
    ),
    "concepts": Example(
        scorer=Concepts(concepts="phrases.jsonl", limit=3),
        documents={
            "concepts": pa.RecordBatch.from_pylist(
                [{"id": f"{k}", "text": text} for k, text in enumerate(["a1", "a2 a1", "straße", "w3 w1 w1", "one"])]
            )
        },
    ),
    "dataman": Example(
        scorer=DataMan(labels={"read": "labels.jsonl"}, criteria=("clarity", "overall_score"), num_buckets=1 << 12),
        documents={"labels": pa.RecordBatch.from_pylist(label_rows(60))},
    ),
    "distil": Example(scorer=Distil(of=DSIR(), floor=0.0, num_buckets=1 << 12)),
    "distil of numbers": Example(
        scorer=Distil(labels="labels.jsonl", column="clarity", floor=0.0, num_buckets=1 << 12),
        documents={"labels": pa.RecordBatch.from_pylist(label_rows(60))},
    ),
    "long_range": Example(scorer=LongRange(short=16, vocab_size=512)),
    "rare_tokens": Example(scorer=RareTokens(vocab_size=512)),
    "el2n": Example(scorer=EL2N(column="id", runs=2, num_buckets=1 << 10)),  # each document of a class of its own
    "qurating": Example(
        scorer=QuRating(judgements={"read": "pairs.jsonl", "text": "a"}, criteria=("style",), num_buckets=1 << 12),
        documents={"judgements": pa.RecordBatch.from_pylist(judgement_rows(80))},
    ),
}

EXAMPLES = {
    name: Example(scorer=kind())
    for name, kind in SCORERS.items()
    if issubclass(kind, Scorer) and name not in {example.scorer.name for example in GIVEN.values()}
} | GIVEN
