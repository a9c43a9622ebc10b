"""Scorers as the contracts try them: those that do not work as they are get parameters, and documents to learn from."""

from dataclasses import dataclass, field

import pyarrow as pa

from assay.scorers import SCORERS, Scorer


@dataclass(frozen=True, kw_only=True)
class Example:
    """A scorer, and the rows of each of its document sets."""

    scorer: Scorer
    documents: dict[str, pa.RecordBatch] = field(default_factory=dict)


# By what to call them in tests; a scorer that stands here is tried as here, any other as it is.
GIVEN: dict[str, Example] = {}

EXAMPLES = {
    name: Example(scorer=kind())
    for name, kind in SCORERS.items()
    if issubclass(kind, Scorer) and name not in {example.scorer.name for example in GIVEN.values()}
} | GIVEN
