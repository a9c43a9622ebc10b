"""The adapter where lm-evaluation-harness is missing; what it gives is checked in tests/reference/test_lm_eval.py."""

import sys

import pyarrow as pa
import pytest

from assay.errors import MissingExtraError
from assay.models.lm import NGramLM
from assay.models.tokenizer import BPE
from assay.proxy.harness import harness_model, run_harness


def test_without_lm_eval_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    bpe = BPE.train(["some words"], 300)
    lm = NGramLM.train(bpe, pa.array(["some words"]), 2)
    with pytest.raises(MissingExtraError, match=r"need lm_eval, .* pip install 'assay\[harness\]'"):
        run_harness(lm, ["arc_easy"])
    with pytest.raises(MissingExtraError, match="pip install"):
        harness_model(lm)
