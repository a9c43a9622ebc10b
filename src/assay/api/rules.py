"""What training-time rules want to know of the documents that an arm is trained on."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from assay.artifacts.kinds import Corpus, Scores, Selection, Tokens
from assay.models.tokenizer import BPE
from assay.proxy.rules.metadata import MeCo
from assay.proxy.rules.phases import Facts, metadata_rule, score_column
from assay.proxy.rules_base import Rule
from assay.proxy.stream import Taken, documents_taken
from assay.selection.expressions import Expression


def facts_of(
    rule: Rule | None,
    selection: Selection,
    corpus: Corpus,
    scores: Sequence[Scores],
    tokens: Tokens,
    num_tokens: int,
    bpe: BPE,
) -> Facts:
    """The columns that a rule goes by, of each document in the order of `training_stream`.

    Raises:
        SchemaError: neither the corpus nor the scores have such a column.
    """
    by, meco = score_column(rule), metadata_rule(rule)
    if by is None and meco is None:
        return Facts()
    taken = list(documents_taken(selection, tokens, num_tokens))
    if sum(int(some.sizes[-1] == 0) for some in taken[-1:]):  # the stream leaves out what was cut to nothing
        taken[-1] = taken[-1]._replace(rows=taken[-1].rows[:-1], sizes=taken[-1].sizes[:-1])
    values = None if by is None else np.concatenate([_values(by, some, corpus, scores) for some in taken])
    prefixes = None if meco is None else _prefixes(meco, taken, corpus, bpe)
    return Facts(values, prefixes)


def _values(by: str, taken: Taken, corpus: Corpus, scores: Sequence[Scores]) -> np.ndarray:
    """A score of some documents [documents] float64; NaN where there is none."""
    expression = Expression(by)
    columns: dict[str, pa.ChunkedArray] = {}
    sources: list[Corpus | Scores] = [corpus, *scores]
    for source in sources:
        names = sorted(expression.columns & set(source.column_names))
        if names:
            columns |= dict(zip(names, source.table(taken.part, names).columns, strict=True))
    corpus.require(sorted(expression.columns - set(columns)))
    found = expression.evaluate(pa.table(columns)).cast(pa.float64(), safe=False)
    values: np.ndarray = found.to_numpy(zero_copy_only=False)
    return values[taken.rows]


def _prefixes(meco: MeCo, taken: Sequence[Taken], corpus: Corpus, bpe: BPE) -> tuple[np.ndarray, np.ndarray]:
    """Ids of what stands before each document [tokens], and where each one's start [documents + 1]."""
    corpus.require([meco.by])
    texts = []
    for some in taken:
        column = corpus.table(some.part, [meco.by])[meco.by].take(pa.array(some.rows))
        texts += meco.prefixes(column.to_pylist())
    return bpe.encode(pa.array(texts, pa.large_string()))
