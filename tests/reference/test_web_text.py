"""Text of real pages against what people marked as the article, and against the libraries called plainly."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest
import trafilatura
from resiliparse.extract.html2text import extract_plain_text

import assay
from assay.artifacts.workspace import Workspace
from tests.corpus.test_jsonl import rows


def f1(found: str, expected: str) -> float:
    """Of words, each counted as often as it stands there."""
    counts = [Counter(re.findall(r"\w+", text)) for text in (found, expected)]
    common = (counts[0] & counts[1]).total()
    return 2 * common / max(1, counts[0].total() + counts[1].total())


def plain(extract: str, page: str) -> str:
    if extract == "trafilatura":
        return trafilatura.extract(page) or ""
    return extract_plain_text(page, main_content=True, alt_texts=False, comments=False)


@pytest.mark.parametrize(("extract", "expected"), [("resiliparse", 0.9300), ("trafilatura", 0.9478)])
def test_articles_come_out_as_well_as_from_the_library_itself(
    shared: Path, workspace: Workspace, extract: str, expected: float
) -> None:
    folder = shared / "raw" / "html" / "article-extraction-benchmark"
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    corpus = assay.read(folder / "html", extract=extract, workspace=workspace)
    texts = {row["id"].removesuffix(".html.gz"): row["text"] for row in rows(corpus)}
    assert set(texts) == set(truth)
    ours = mean(f1(texts[name], page["articleBody"]) for name, page in truth.items())
    assert ours == pytest.approx(expected, abs=0.003)
    for name in sorted(truth)[::10]:
        page = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        assert texts[name] == plain(extract, page.decode())


# Of 270 strings that should stay and 270 that should go: how many stay.
@pytest.mark.parametrize(("extract", "kept", "left"), [("resiliparse", 254, 74), ("trafilatura", 254, 30)])
def test_strings_that_should_stay_do_and_others_go(
    shared: Path, workspace: Workspace, extract: str, kept: int, left: int
) -> None:
    folder = shared / "raw" / "html" / "trafilatura"
    marks = json.loads((folder / "evaldata.json").read_text(encoding="utf-8")).values()
    corpus = assay.read(folder, format="html", extract=extract, workspace=workspace)
    texts = {row["id"].removesuffix(".gz"): row["text"] for row in rows(corpus)}
    assert len(texts) == 90 and corpus.manifest.counts["failed"] == {}
    for kind, expected in (("with", kept), ("without", left)):
        assert sum(string in texts[mark["file"]] for mark in marks for string in mark[kind]) == pytest.approx(
            expected, abs=4
        )
