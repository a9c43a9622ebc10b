"""Funnels by source and language, and examples of what was left out."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import assay
from assay.api.dropped import funnels, show_dropped
from assay.api.showing import describe
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError
from tests.conftest import make_prose, write_jsonl

ROWS = [
    *({"id": f"short-{k}", "text": f"too short {k}", "source": "chat", "lang": "en"} for k in range(6)),
    *({"id": f"long-{k}", "text": " ".join(f"word{k}x{n}" for n in range(60)), "source": "web"} for k in range(4)),
    {"id": "good", "text": "the of and " + " ".join(f"word{n}" for n in range(60)), "source": "web", "lang": "de"},
]


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> assay.Corpus:
    return assay.read(write_jsonl(tmp_path / "pool.jsonl", ROWS), workspace=workspace)


@pytest.fixture
def selection(corpus: assay.Corpus, workspace: Workspace) -> assay.Selection:
    scores = assay.score(corpus, "heuristics", workspace=workspace)
    where = "passes('gopher_quality')"
    return assay.select(corpus, budget="1 documents", scores=scores, where=where, workspace=workspace)


def shown(workspace: Workspace, **arguments: object) -> str:
    screen = StringIO()
    Console(width=200, file=screen).print(show_dropped(workspace, **arguments))  # type: ignore[arg-type]
    return screen.getvalue()


def test_every_document_is_in_the_funnel_of_its_source_and_language(
    corpus: assay.Corpus, selection: assay.Selection
) -> None:
    found = funnels(corpus, selection, ())
    few, stop = "gopher.too_few_words", "gopher.too_few_stop_words"
    assert found["by_source"] == {"chat": {few: 6}, "web": {stop: 4, "kept": 1}}
    assert found["by_language"] == {"de": {"kept": 1}, "en": {few: 6}, "unknown": {stop: 4}}


def test_language_scores_are_believed_before_a_column(
    corpus: assay.Corpus, selection: assay.Selection, workspace: Workspace
) -> None:
    scores = assay.score(corpus, "language", workspace=workspace)
    codes = set(scores.to_table(["language.code"])["language.code"].to_pylist())
    assert set(funnels(corpus, selection, (scores,))["by_language"]) == codes


def test_a_selection_shows_its_funnel_by_source_and_language(
    workspace: Workspace, selection: assay.Selection, corpus: assay.Corpus
) -> None:
    screen = StringIO()
    Console(width=120, file=screen).print(describe(selection))
    lines = [" ".join(line.split()) for line in screen.getvalue().splitlines()]
    assert "chat 6 0 fails the rule gopher.too_few_words: 6" in lines
    assert "web 5 1 fails the rule gopher.too_few_stop_words: 4" in lines
    assert "de 1 1" in lines


def test_examples_come_with_what_their_reason_is_about(workspace: Workspace, selection: assay.Selection) -> None:
    text = shown(workspace, reason="gopher.too_few_words", number=3)
    assert "fails the rule gopher.too_few_words: 6 documents" in text
    assert text.count("(chat, gopher.word_count = 3)") == 3 and "too short" in text and "long-" not in text
    assert text == shown(workspace, reason="gopher.too_few_words", number=3)
    everything = shown(workspace, which="uniform")
    assert everything.count("gopher.stop_words = 0") == 4 and everything.count("(chat, ") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reason": "gopher.too_few_word"}, "Nothing was dropped for .* Did you mean 'gopher.too_few_words'"),
        ({"which": "dsir"}, "No selection in .* matches 'dsir'. There: uniform"),
    ],
)
def test_what_cannot_be_shown_is_explained(
    workspace: Workspace, selection: assay.Selection, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        shown(workspace, **arguments)
    with pytest.raises(InvalidParameterError, match=r"`number` \(=0\)"):
        shown(workspace, number=0)


def test_benchmark_items_in_the_pool_are_left_out_of_every_arm(tmp_path: Path, workspace: Workspace) -> None:
    question = "Which of the seven rivers of the old kingdom was said to freeze twice in a winter, and why did it?"
    items = [{"id": f"q{k}", "text": f"{question} {k}", "question": question, "answer_text": "the Lenne"} for k in (1,)]
    (tmp_path / "quiz").mkdir()
    write_jsonl(tmp_path / "quiz" / "test.jsonl", items)
    pool = make_prose(200, seed=1, topic="g")
    pool[7]["text"] += f" {question.upper()} The Lenne."
    recipe = {
        "pool": str(write_jsonl(tmp_path / "pool.jsonl", pool)),
        "target": str(write_jsonl(tmp_path / "target.jsonl", make_prose(20, seed=2, topic="g"))),
        "benchmarks": str(tmp_path / "quiz" / "*.jsonl"),
        "budget": "1k tokens",
        "seeds": 2,
        "proxy": {"ngram": {"order": 2, "vocab_size": 500}},
        "arms": {"long": {"score": "length.words"}, "und": {"where": "language.confidence >= 0"}},
    }
    result = assay.compare(recipe, workspace=workspace)
    assert result.content["contamination"]["items_found"] == {"quiz/test": 1}
    assert [arm["funnel"]["dropped"]["contamination"] for arm in result.arms.values()] == [1, 1, 1]
    assert len({frozenset(arm["funnel"]["by_language"]) for arm in result.arms.values()}) == 1
    counted = recipe | {"benchmarks": {"read": recipe["benchmarks"], "exclude": False}}
    result = assay.compare(counted | {"arms": {"clean": {"where": "contamination.items = 0"}}}, workspace=workspace)
    assert result.content["contamination"]["items_found"] == {"quiz/test": 1}
    assert [arm["funnel"]["dropped"].get("contamination") for arm in result.arms.values()] == [None, None]
    assert result.arms["clean"]["funnel"]["dropped"]["where"] == 1
    peeping = recipe | {"arms": {"peep": {"where": "guard.contamination.items > 0"}}}
    with pytest.raises(InvalidParameterError, match="'guard.contamination.items' is taken"):
        assay.compare(peeping, workspace=workspace)
