"""Lengths as Python counts them."""

import math
import re

import pyarrow as pa

from assay import Length

TEXTS = ["Hello, World!", "", "  ", "漢字かな交じり文、テスト。", "naïve café 🙂🙂", "a_b c1 --", "x" * 13]
RUN = re.compile(r"\w+|[^\w\s]+")


def test_counts_are_those_of_python() -> None:
    batch = pa.RecordBatch.from_pydict({"id": [str(k) for k in range(len(TEXTS))], "text": TEXTS})
    size, characters, words, tokens = (column.to_pylist() for column in Length().score(batch, {}))
    assert size == [len(text.encode()) for text in TEXTS]
    assert characters == [len(text) for text in TEXTS]
    assert words == [len(re.findall(r"\w+", text)) for text in TEXTS]
    ascii_only = [k for k, text in enumerate(TEXTS) if text.isascii()]
    assert [tokens[k] for k in ascii_only] == [
        sum(math.ceil(len(run) / 6) for run in RUN.findall(TEXTS[k])) for k in ascii_only
    ]
