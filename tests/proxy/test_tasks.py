"""Items, forms and shots: what a model is asked, to the letter."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assay.errors import InputError, InvalidParameterError
from assay.proxy.tasks import FORMS, Item, Question, Task, read_items, read_task

CHOICE = {"id": "a", "question": "What is red?", "choices": ["a rose", "Snow"], "answer": 0}
CLOZE = {"id": "b", "context": "She opened the", "choices": None, "answer": "door"}


def write(path: Path, *items: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)
    path.write_text(text, encoding="utf-8")
    return path


def asked(form: str, **fields: Any) -> Question:
    return Task("t", (Item(**fields),), form).questions()[0]


def test_forms_by_hand() -> None:
    question = {"id": "1", "question": "What is red? ", "choices": ["a rose", "Snow"], "answer": 0}
    seen: dict[str, tuple[list[str], list[str]]] = {}

    def check(form: str, prompt: str | list[str], continuations: list[str], **fields: Any) -> None:
        found = asked(form, **fields)
        contexts = prompt if isinstance(prompt, list) else [prompt] * len(continuations)
        assert (found.contexts, found.continuations) == (contexts, continuations), form
        seen[form] = (found.contexts, found.continuations)

    both = [" a rose", " Snow"]
    check("default", "Question: What is red?\nAnswer:", both, **question)
    check("default", "Roses.\nQuestion: What is red?\nAnswer:", both, **question, context="Roses.")
    check("default", "She opened the", [" door"], **CLOZE)
    check("plain", "She opened the", [" door"], **CLOZE)
    check("letters", "What is red?\nA. a rose\nB. Snow\nAnswer:", [" A", " B"], **question)
    check("blimp", "", ["He ran.", "He run."], id="1", choices=["He ran.", "He run."], answer=0)
    copa = {"id": "1", "choices": ["It rained.", "Ice melts."], "answer": 1}
    check("copa", "I got wet because", [" it rained.", " ice melts."], question="I got wet. (cause)", **copa)
    check("copa", "I got wet therefore", [" it rained.", " ice melts."], question="I got wet. (effect)", **copa)
    coqa = {"id": "1", "context": "A story.\nQ: who? A: Ann", "question": "where?", "answer": "home"}
    check("coqa", "A story.\nQ: who? A: Ann\nQ: where? A:", [" home"], **coqa)
    tango = {"id": "1", "question": "Tango: They", "choices": ["dance.", "sit."], "answer": 0}
    check("hellaswag", "Tango: They", [" dance.", " sit."], **tango)
    check("humaneval", "def f():\n", ["    return 1\n"], id="1", question="def f():\n", answer="    return 1\n")
    check("lambada", "She opened the", [" door"], **CLOZE)
    check(
        "mbpp",
        "You are an expert Python programmer, and here is your task: Add. Your code should pass these tests:\n\n"
        "assert f(1)\nassert f(2)\n[BEGIN]\n",
        ["def f(): 1"],
        **{"id": "1", "question": "Add.", "answer": "def f(): 1", "tests": ["assert f(1)", "assert f(2)"]},
    )
    check("openbookqa", "What is red? ", both, **question)
    why = {"id": "1", "context": "Ann left.", "question": "Why?", "choices": ["tired", "ill"], "answer": 0}
    check("pubmedqa", "Abstract: Ann left.\nQuestion: Why?\nAnswer:", [" tired", " ill"], **why)
    check("social_iqa", "Q: Ann left. Why?\nA:", [" tired", " ill"], **why)
    squad = {"id": "1", "title": "Super_Bowl_50", "context": "Text.", "question": "Who?", "answer": "Ann"}
    check("squad", "Title: Super Bowl 50\n\nBackground: Text.\n\nQuestion: Who?\n\nAnswer:", [" Ann"], **squad)
    blank = {"id": "1", "question": "Sarah beat Maria so _ was sad.", "choices": ["Sarah", "Maria"], "answer": 1}
    before = "Sarah beat Maria so "
    check("winogrande", [before + "Sarah", before + "Maria"], [" was sad."] * 2, **blank)
    assert seen.keys() == FORMS.keys(), "every form is here"


def test_a_cloze_item_is_answered_in_full() -> None:
    found = asked("default", id="1", question="2 + 2?", answer="4", answer_text="2 + 2 = 4\n#### 4")
    assert found.continuations == [" 2 + 2 = 4\n#### 4"] and found.is_cloze and found.gold == 0


def test_forms_go_by_the_name_of_the_folder(tmp_path: Path) -> None:
    item = {"id": "1", "question": "a _ b", "choices": ["x", "y"], "answer": 0}
    assert read_task(write(tmp_path / "winogrande/test.jsonl", item)).form == "winogrande"
    task = read_task(write(tmp_path / "mine/test.v2.jsonl", item))
    assert (task.name, task.form) == ("mine/test", "default")
    assert read_task(write(tmp_path / "winogrande/b.jsonl", item), form="plain").form == "plain"


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_files_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    lines = b"".join(
        json.dumps(item | {"note": "\u2028"}, ensure_ascii=False).encode() + b"\n" for item in (CHOICE, CLOZE)
    )
    path = tmp_path / f"items{suffix}"
    path.write_bytes(gzip.compress(lines) if suffix.endswith("gz") else lines)
    if suffix.endswith("zst"):
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(lines)
    assert [item.id for item in read_items(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2 is no benchmark item: Input data was truncated"),
        ('"text"', "line 2 is no benchmark item: Expected `object`, got `str`"),
        ({"id": "x", "question": "?"}, "line 2 is no benchmark item: .*required field `answer`"),
        ({**CHOICE, "id": "x", "choices": "ab"}, r"line 2 is no benchmark item: Expected `array \| null`.*choices"),
        ({**CHOICE, "id": "x", "answer": None}, r"line 2 is no benchmark item: Expected `int \| str`.*answer"),
        ({**CHOICE, "id": "x", "answer": True}, r"line 2 is no benchmark item: Expected `int \| str`.*answer"),
        (
            {**CHOICE, "id": "x", "answer": 2},
            r"line 2: item 'x' has as `answer` 2, where the number of a choice \(0 to 1",
        ),
        ({**CHOICE, "id": "x", "answer": -1}, "line 2: item 'x' has as `answer` -1"),
        ({**CHOICE, "id": "x", "answer": "a rose"}, "line 2: item 'x' has as `answer` 'a rose'"),
        ({**CHOICE, "id": "x", "choices": ["one"]}, "line 2: item 'x' has 1 choices, where at least 2"),
        ({**CHOICE, "id": "x", "choices": ["one", "  "]}, "line 2: item 'x' has a choice 1 without text"),
        ({**CLOZE, "id": "x", "answer": 3}, "line 2: item 'x' has no choices and, as `answer`, no text"),
        ({**CLOZE, "id": "x", "answer": " "}, "line 2: item 'x' has no choices and, as `answer`, no text"),
        ({**CLOZE, "id": "x", "context": ""}, "line 2: item 'x' has neither context nor question"),
        (CHOICE, "line 2: item 'a' has the id 'a' of line 1"),
    ],
)
def test_malformed_items_are_refused_with_their_line(tmp_path: Path, line: Any, problem: str) -> None:
    with pytest.raises(InputError, match=rf"items\.jsonl, {problem}"):
        read_items(write(tmp_path / "items.jsonl", CHOICE, line))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        read_items(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="has no items"):
        read_items(write(tmp_path / "empty.jsonl", ""))
    (tmp_path / "bad.jsonl.zst").write_bytes(b"not zstd")
    with pytest.raises(InputError, match="cannot be read"):
        read_items(tmp_path / "bad.jsonl.zst")


def test_items_that_do_not_fit_a_form_are_refused() -> None:
    for form, needs in (("winogrande", "a blank"), ("copa", "a question with"), ("letters", "at most 26 choices")):
        with pytest.raises(InvalidParameterError, match=rf"`form` \(='{form}'\) of t needs .*{needs}.*item 'b'"):
            Task("t", (Item(**CLOZE),), form)
    with pytest.raises(InvalidParameterError, match="`form` .* must be one of .* Did you mean 'plain'"):
        Task("t", (Item(**CLOZE),), "plane")


def numbered(num: int) -> tuple[Item, ...]:
    return tuple(
        Item(id=f"i{k}", question=f"number {k}?", choices=[f"it is {k}", "it is not"], answer=0) for k in range(num)
    )


def test_shots_are_answered_examples_before_the_question() -> None:
    task = Task("t", numbered(1), examples=numbered(3)[1:], num_shots=1)
    context = task.questions()[0].contexts[1]
    possible = [f"Question: number {k}?\nAnswer: it is {k}\n\nQuestion: number 0?\nAnswer:" for k in (1, 2)]
    assert context in possible
    blank = (Item(id="1", question="a _ b", choices=["x", "y"], answer=1),)
    others = (Item(id="2", question="c _ d", choices=["x", "y"], answer=1),) * 2
    more = (Item(id="3", question="e _ f", choices=["x", "y"], answer=0),)
    contexts = Task("t", blank, "winogrande", (*others, *more), 2).questions()[0].contexts
    shots = {"c y d\n\ne x f\n\n", "e x f\n\nc y d\n\n"}
    assert {context[:-3] for context in contexts} <= shots and [c[-3:] for c in contexts] == ["a x", "a y"]


def test_shots_never_hold_the_item_itself_and_depend_on_nothing_but_seed_and_id() -> None:
    items = numbered(12)
    questions = Task("t", items, num_shots=5, seed=1).questions()
    for k, question in enumerate(questions):
        shots = question.contexts[0].split("\n\n")
        assert len(shots) == 6 and len(set(shots)) == 6
        assert not any(shot.startswith(f"Question: number {k}?") for shot in shots[:5])
    again = Task("t", items[3:5], examples=items, num_shots=5, seed=1).questions()
    assert again == questions[3:5]
    assert Task("t", items, num_shots=5, seed=2).questions() != questions
    # The same question under another id is the item too.
    twin = Item(id="twin", question="number 0?", choices=["it is 0", "other"], answer=0)
    contexts = Task("t", (twin,), examples=items, num_shots=11).questions()[0].contexts
    assert contexts[0].count("number 0?") == 1


def test_too_few_examples_are_told() -> None:
    with pytest.raises(InvalidParameterError, match=r"`num_shots` \(=3\) of t must be at most 2, .* item 'i0'"):
        Task("t", numbered(3), num_shots=3).questions()


def test_fewer_items_are_drawn_by_their_ids(tmp_path: Path) -> None:
    items = [{"id": f"i{k}", "question": f"q{k}", "choices": ["a", "b"], "answer": 0} for k in range(50)]
    some = read_task(write(tmp_path / "a/x.jsonl", *items), max_items=10)
    other = read_task(write(tmp_path / "b/x.jsonl", *items[::-1]), max_items=10)
    assert len(some.items) == 10 and {item.id for item in some.items} == {item.id for item in other.items}
    more = read_task(tmp_path / "a/x.jsonl", max_items=20)
    assert {item.id for item in some.items} < {item.id for item in more.items}
    shots = read_task(tmp_path / "a/x.jsonl", max_items=1, num_shots=40)
    assert shots.questions()[0].contexts[0].count("Question:") == 41


def test_all_shared_benchmarks_can_be_asked(shared: Path) -> None:
    files = [path for path in sorted(shared.glob("benchmarks/*/*.zst")) if path.stat().st_size < 700_000]
    assert len(files) > 15
    for path in files:
        task = read_task(path, max_items=20, num_shots=2)
        for question in task.questions():
            assert all(context or task.form == "blimp" for context in question.contexts)
            assert all(answer.strip() for answer in question.continuations)
