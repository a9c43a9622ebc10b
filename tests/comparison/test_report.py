"""The report of a hostile corpus: nothing in it becomes markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import assay
from tests.conftest import make_prose, write_jsonl

ATTACK = "<script>alert('1')</script><img src=x onerror=alert(2)>&amp;\"'{{ 7 * 7 }}"


class Tags(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("hostile")
    rows = [
        {"id": f"{ATTACK}{k}", "text": f"{ATTACK} {d['text']}", "source": f"{ATTACK}{k % 3}"}
        for k, d in enumerate(make_prose(300, seed=1, topic="g"))
    ]
    write_jsonl(folder / "pool.jsonl", rows)
    write_jsonl(folder / "target.jsonl", make_prose(40, seed=2, topic="t"))
    recipe = {
        "pool": str(folder / "pool.jsonl"),
        "target": str(folder / "target.jsonl"),
        "budget": "8k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 2, "vocab_size": 400}},
        "arms": {"longest": {"score": "length.bytes", "select": {"top": {}}}},
    }
    assay.compare(recipe, workspace=folder / "workspace", out=folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_text_ids_and_sources_stay_text(report: str) -> None:
    page = Tags()
    page.feed(report)
    assert not page.tags & {"script", "img", "iframe", "object", "link", "a"}
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
    text = "".join(page.text)
    assert f"{ATTACK} " in text  # a document's beginning
    assert re.search(rf"{re.escape(ATTACK)}\d+ · {re.escape(ATTACK)}\d · ", text)  # its id and source


def test_every_section_is_there(report: str) -> None:
    for heading in (
        "Effects",
        "What the arms are worth in random tokens",
        "What the arms chose",
        "Scores and the cut",
        "Where every document went",
        "Documents around the cut",
        "What it cost",
        "How far to trust this",
        "Lineage",
    ):
        assert f"<h2>{heading}</h2>" in report
    assert report.count("<svg") == 4
