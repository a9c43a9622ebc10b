"""Benchmark items to what a language model is asked: a context, and the continuations of which one is right.

An item is a line of JSON: `id`, `question`, where there is one `context`, `choices` with `answer` as the number of the
right one, or `choices` null with `answer` as text (a cloze item, whose full answer may stand in `answer_text`). How it
is put to the model is a *form*. Forms bear the names of benchmark folders, and follow the tasks of
lm-evaluation-harness (EleutherAI, 0.4.13) wherever a choice is answered by its text and not by its letter: `FORMS`
says what differs. A benchmark without a form of its own is asked in the form `default`.

Examples that stand before a question (shots) are drawn for each item by seed and by the item's id, from another file or
from the other items, so that an item is asked the same whichever others are asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from string import ascii_uppercase
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from assay.artifacts.storage import Location, location, open_bytes
from assay.errors import InputError, InvalidParameterError, check, check_choice, check_integer

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_BLANK = "_"


class Item(msgspec.Struct, frozen=True):
    """A line of a benchmark; fields that no form reads are left out.

    answer: number of the right choice from 0, or the answer as text. answer_text: what a cloze item's answer is in
        full, as the worked solution of a sum.
    """

    id: str | int
    answer: int | str
    question: str = ""
    context: str = ""
    choices: list[str] | None = None
    answer_text: str = ""
    title: str = ""
    tests: list[str] = []

    @property
    def gold(self) -> int:
        """Number of the right answer among `answers`."""
        return self.answer if isinstance(self.answer, int) else 0

    @property
    def answers(self) -> list[str]:
        """All choices, or the one answer of a cloze item."""
        return [self.answer_text or str(self.answer)] if self.choices is None else self.choices


class Question(NamedTuple):
    """An item as a model is asked it.

    contexts, continuations: one of each for every answer [answers]. num_chars: of each answer, without what joins it to
        the context [answers]. gold: number of the right one. is_cloze: the right answer is the only one.
    """

    id: str
    contexts: list[str]
    continuations: list[str]
    num_chars: list[int]
    gold: int
    is_cloze: bool


class Form(NamedTuple):
    """How items are put to a model.

    prompt: the context, up to where the answer starts. delimiter: what stands between the two, left out where the
        context is empty. answers: what is compared. fills_blank: an answer is put into the question's blank, and what
        is compared is how well the rest of the sentence follows (Trinh and Le 2018, partial scoring).
    fits: whether an item can be put so. needs: what an item lacks that does not fit.
    """

    prompt: Callable[[Item], str]
    delimiter: str = " "
    answers: Callable[[Item], Sequence[str]] = lambda item: item.answers
    fills_blank: bool = False
    fits: Callable[[Item], bool] = lambda item: True
    needs: str = ""


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _default(item: Item) -> str:
    question = item.question.strip()
    return _lines(item.context.lstrip(), f"Question: {question}\nAnswer:" if question else "")


def _plain(item: Item) -> str:
    return _lines(item.context, item.question)


def _letters(item: Item) -> str:
    choices = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, item.answers, strict=False)]
    return _lines(item.context, item.question.strip(), *choices, "Answer:")


def _copa(item: Item) -> str:
    premise, _, relation = item.question.rpartition(" (")
    return f"{premise.strip()[:-1]} {'because' if relation == 'cause)' else 'therefore'}"


def _squad(item: Item) -> str:
    title = f"Title: {item.title.replace('_', ' ')}\n\n" if item.title else ""
    return f"{title}Background: {item.context}\n\nQuestion: {item.question}\n\nAnswer:"


def _mbpp(item: Item) -> str:
    start = f"You are an expert Python programmer, and here is your task: {item.question}"
    tests = "\n".join(item.tests)
    return f"{start} Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"


def _has_letters(item: Item) -> bool:
    return item.choices is not None and len(item.choices) <= len(ascii_uppercase)


def _is_copa(item: Item) -> bool:
    return item.choices is not None and item.question.endswith((" (cause)", " (effect)"))


def _has_blank(item: Item) -> bool:
    return item.choices is not None and item.question.partition(_BLANK)[2].strip() != ""


def _uncapitalised(item: Item) -> list[str]:
    return [choice[:1].lower() + choice[1:] for choice in item.answers]


FORMS: dict[str, Form] = {
    # "Question: ...\nAnswer:" below the context, as in ARC, PIQA, SciQ, BoolQ, GSM8K and MMLU's continuation task
    "default": Form(_default),
    # context and question as they stand
    "plain": Form(_plain),
    # choices listed, answered by a letter: the usual form of MMLU, at which small models guess
    "letters": Form(
        _letters,
        answers=lambda item: ascii_uppercase[: len(item.answers)],
        fits=_has_letters,
        needs=f"at most {len(ascii_uppercase)} choices",
    ),
    "blimp": Form(_plain),
    # one space before the answer, where the harness has two
    "copa": Form(
        _copa, answers=_uncapitalised, fits=_is_copa, needs='a question with " (cause)" or " (effect)" at its end'
    ),
    "coqa": Form(lambda item: f"{item.context}\nQ: {item.question} A:"),  # as its context has the turns before
    "hellaswag": Form(_plain),
    "humaneval": Form(_plain, delimiter=""),  # likelihood of the solution; the harness runs what the model writes
    "lambada": Form(_plain),
    "mbpp": Form(_mbpp, delimiter=""),  # as humaneval
    "openbookqa": Form(_plain),
    "pubmedqa": Form(lambda item: f"Abstract: {item.context}\nQuestion: {item.question}\nAnswer:"),
    "social_iqa": Form(lambda item: f"Q: {item.context} {item.question}\nA:"),
    "squad": Form(_squad),  # likelihood of the answer; the harness generates
    "winogrande": Form(
        lambda item: item.question, fills_blank=True, fits=_has_blank, needs="choices and a blank (_) before other text"
    ),
}


@dataclass(frozen=True)
class Task:
    """Items of one benchmark, and how they are asked.

    name: of the table's rows, as "arc_easy/test". form: a name in `FORMS`. examples: what shots are drawn from; None =
        the other items. num_shots: how many stand before each question. seed: of the draw.

    Raises:
        InvalidParameterError: an unknown form, one that these items do not fit, or too few examples.
    """

    name: str
    items: tuple[Item, ...]
    form: str = "default"
    examples: tuple[Item, ...] | None = None
    num_shots: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)
        check_integer("num_shots", self.num_shots, 0)
        check_integer("seed", self.seed, 0)
        form = FORMS[self.form]
        for item in (*self.items, *(self.examples or ())):
            if not form.fits(item):
                raise InvalidParameterError(
                    f"`form` (={self.form!r}) of {self.name} needs {form.needs}, which item {item.id!r} has not. "
                    "Give another form, such as 'default'."
                )

    @property
    def mark(self) -> str:
        """16 hexadecimal digits that stand for the items and the examples."""
        return blake2b(msgspec.json.encode((self.items, self.examples)), digest_size=8).hexdigest()

    def questions(self) -> list[Question]:
        """What the model is asked, in the order of the items.

        Raises:
            InvalidParameterError: fewer different examples than shots.
        """
        asked = [_ask(item, FORMS[self.form]) for item in self.items]
        if not self.num_shots:
            return asked
        pool = asked if self.examples is None else [_ask(item, FORMS[self.form]) for item in self.examples]
        shots = {_prompt(question): _shot(question) for question in pool}
        return [self._with_shots(question, shots, list(shots)) for question in asked]

    def _with_shots(self, question: Question, shots: dict[str, str], prompts: list[str]) -> Question:
        """A question below some of `shots` (by their `prompts`), of which none is the question itself."""
        own = _prompt(question)
        num_others = len(shots) - (own in shots)
        if num_others < self.num_shots:
            raise InvalidParameterError(
                f"`num_shots` (={self.num_shots}) of {self.name} must be at most {num_others}, the different examples "
                f"beside item {question.id!r}. Lower it, or give a file of more examples."
            )
        rng = np.random.default_rng([self.seed, _hash(question.id)])
        drawn = dict[str, None]()
        while len(drawn) < self.num_shots:
            prompt = prompts[int(rng.integers(len(prompts)))]
            if prompt != own:
                drawn[prompt] = None
        before = "".join(f"{shots[prompt]}\n\n" for prompt in drawn)
        return question._replace(contexts=[before + context for context in question.contexts])


def check_names(tasks: Sequence[Task]) -> None:
    """Raises InvalidParameterError unless every task has a name of its own, which its answers go by."""
    names = [task.name for task in tasks]
    way_out = "Of a file give `dataclasses.replace(read_task(file), name=...)`; a recipe names its tasks."
    check(len(set(names)) == len(names), "tasks", names, "tasks of different names", way_out)


def read_task(
    file: str | Location,
    *,
    form: str | None = None,
    examples: str | Location | None = None,
    num_shots: int = 0,
    seed: int = 0,
    max_items: int | None = None,
) -> Task:
    """The task in a file of JSON lines (plain, .gz or .zst), named after its folder and itself.

    Args:
        form: a name in `FORMS`; default that of the folder, as arc_easy, or "default".
        examples: a file to draw shots from, such as the benchmark's training items; default the other items.
        max_items: how many items are asked, drawn by hash of their ids; default all. Shots may be any.

    Raises:
        InputError: a file that is missing or empty, or an item that is malformed, with its line.
        InvalidParameterError: an unknown form, or items that do not fit it.
    """
    path = location(file)
    folder = path.absolute().parent.name
    items = read_items(path)
    pool = read_items(location(examples)) if examples is not None else items
    if max_items is not None:
        check_integer("max_items", max_items, 1)
        chosen = sorted(range(len(items)), key=lambda k: _hash(str(items[k].id)))
        items = tuple(items[k] for k in sorted(chosen[:max_items]))
    chosen_form = form if form is not None else folder if folder in FORMS else "default"
    return Task(f"{folder}/{path.name.split('.')[0]}", items, chosen_form, pool if num_shots else None, num_shots, seed)


def read_items(path: Location) -> tuple[Item, ...]:
    """The items of a file of JSON lines.

    Raises:
        InputError: as `read_task`.
    """
    try:
        with open_bytes(path) as raw, pa.input_stream(raw, _COMPRESSIONS.get(path.suffix)) as stream:
            lines = stream.read().split(b"\n")
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there.") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    seen: dict[str, int] = {}
    items = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"{path}, line {number} is no benchmark item: {error}.") from error
        problem = _problem(item) or (f"the id {item.id!r} of line {seen[str(item.id)]}" if str(item.id) in seen else "")
        if problem:
            raise InputError(f"{path}, line {number}: item {item.id!r} has {problem}. Mend the line or take it out.")
        seen[str(item.id)] = number
        items.append(item)
    if not items:
        raise InputError(f"{path} has no items.")
    return tuple(items)


_decoder = msgspec.json.Decoder(Item)


def _problem(item: Item) -> str:
    """What is wrong with an item by itself; empty where nothing is."""
    if item.choices is None:
        if not isinstance(item.answer, str) or not item.answer.strip():
            return "no choices and, as `answer`, no text"
        return "" if (item.context + item.question).strip() else "neither context nor question"
    if len(item.choices) < 2:
        return f"{len(item.choices)} choices, where at least 2 are needed"
    for k, choice in enumerate(item.choices):
        if not choice.strip():
            return f"a choice {k} without text"
    if not isinstance(item.answer, int) or not 0 <= item.answer < len(item.choices):
        return f"as `answer` {item.answer!r}, where the number of a choice (0 to {len(item.choices) - 1}) is needed"
    return ""


def _hash(id: str) -> int:
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "little")


def _ask(item: Item, form: Form) -> Question:
    """An item without shots."""
    answers = list(form.answers(item))
    prompt = form.prompt(item)
    if form.fills_blank:
        before, _, after = prompt.partition(_BLANK)
        contexts = [before + answer for answer in answers]
        answers = [after.strip()] * len(answers)
    else:
        contexts = [prompt] * len(answers)
    continuations = [
        (form.delimiter if context else "") + answer for context, answer in zip(contexts, answers, strict=True)
    ]
    num_chars = [len(answer) for answer in answers]
    return Question(str(item.id), contexts, continuations, num_chars, item.gold, item.choices is None)


def _shot(question: Question) -> str:
    return question.contexts[question.gold] + question.continuations[question.gold]


def _prompt(question: Question) -> str:
    """What tells a question from others, whatever its right answer: the prompt, or the answers where it is empty."""
    contexts = set(question.contexts)
    return contexts.pop() if len(contexts) == 1 and question.contexts[0] else repr((question[1], question[2]))
