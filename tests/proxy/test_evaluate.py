"""Likelihoods, choices and bits per byte against sums by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError, InvalidParameterError
from assay.models.lm import NGramLM
from assay.models.tokenizer import BPE
from assay.proxy import evaluate as module
from assay.proxy.evaluate import SCHEMA, choices_made, evaluate, held_out, log_likelihoods, summary
from assay.proxy.tasks import Item, Task

LONG = 1 << 20


class Bytes:
    """A model whose tokens are bytes: each is as likely as a table says of it and of the byte before."""

    vocab_size, end_id = 257, 256

    def __init__(self, context: int = LONG, drops: str = ""):
        self.context, self._drops = context, drops
        self.num_documents = 0
        self.longest = 0
        table = np.random.default_rng(0).random((257, 256)) + 0.01
        self.table = np.log(table / table.sum(1, keepdims=True))

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        found = [
            text.encode().replace(self._drops.encode(), b"") if self._drops else text.encode()
            for text in texts.to_pylist()
        ]
        starts = np.cumsum([0, *map(len, found)])
        return np.frombuffer(b"".join(found), np.uint8).astype(np.int32), starts

    def log_probabilities(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        before = np.concatenate(([256], ids[:-1]))
        before[starts[:-1][np.diff(starts) > 0]] = 256
        self.num_documents += len(starts) - 1
        self.longest = max(self.longest, int(np.diff(starts).max(initial=0)))
        return self.table[before, ids].astype(np.float32)

    def by_hand(self, context: str, continuation: str) -> float:
        text = (context + continuation).encode()
        first = len(context.rstrip().encode())
        return float(sum(self.table[text[k - 1] if k else 256, text[k]] for k in range(first, len(text))))


def choice(id: str, question: str, choices: list[str], answer: int = 0) -> Item:
    return Item(id=id, question=question, choices=choices, answer=answer)


def test_likelihoods_are_sums_over_the_continuation() -> None:
    lm = Bytes()
    pairs = [("The", " end"), ("", "größer"), ("Spaces  ", "here"), ("The", " end"), ("ü", "ü")]
    found = log_likelihoods(lm, pairs)
    np.testing.assert_allclose(found.nats, [lm.by_hand(*pair) for pair in pairs], atol=1e-4)
    assert lm.num_documents == 4, "equal pairs are asked once"
    assert not found.is_truncated.any() and found.is_greedy is None


def test_what_follows_the_tokens_of_the_context_is_the_continuation() -> None:
    bpe = BPE.train(["abc abc abc abc xyz"] * 20, 300)
    lm = NGramLM.train(bpe, pa.array(["abc xyz", "abd xyz"]), 3)
    ids, starts = lm.encode(pa.array(["ab", "abc"]))
    assert len(ids[starts[1] :]) == 1, "the whole is one token, which the context is not"
    expected = lm.log_probabilities(ids[starts[1] :], np.array([0, 1]))[0]
    assert log_likelihoods(lm, [("ab", "c")]).nats[0] == pytest.approx(expected, abs=1e-4)


def test_a_long_context_is_cut_from_the_left_and_counted() -> None:
    lm = Bytes(context=10)
    items = (choice("short", "xy", ["a", "b"]), choice("long", "0123456789", ["a", "b"]))
    table = evaluate(lm, [Task("t", items, "plain")])
    assert table.column("is_truncated").to_pylist() == [False, True] and lm.longest == 10
    expected = [lm.by_hand("3456789", answer) for answer in (" a", " b")]
    np.testing.assert_allclose(table.column("log_likelihoods")[1].as_py(), expected, atol=1e-4)
    assert summary(table).to_pylist()[0]["truncated"] == 1
    # A continuation is never cut: what is longer than the context by itself is given whole.
    found = log_likelihoods(lm, [("some context", " and a long continuation")])
    assert found.is_truncated.all() and lm.longest == len(" and a long continuation")


def test_an_ngram_model_reads_any_length() -> None:
    bpe = BPE.train(["one two three four five six seven"] * 5, 300)
    lm = NGramLM.train(bpe, pa.array(["one two three four five six seven"] * 3), 3)
    found = log_likelihoods(lm, [("one two three four five", " six seven")])
    ids, starts = lm.encode(pa.array(["one two three four five", "one two three four five six seven"]))
    whole = lm.log_probabilities(ids[starts[1] :], np.array([0, starts[2] - starts[1]]))
    assert not found.is_truncated.any()
    assert found.nats[0] == pytest.approx(whole[starts[1] :].sum(), abs=1e-4)


def test_rows_by_hand() -> None:
    lm = Bytes()
    item = choice("x", "Which", ["a long answer", "short", "größe"], 2)
    cloze = Item(id="y", question="Which", answer="größe")
    first, second = evaluate(lm, [Task("t", (item,), "plain"), Task("u", (cloze,), "plain")]).to_pylist()
    nats = np.array([lm.by_hand("Which", " " + answer) for answer in item.answers])
    np.testing.assert_allclose(first["log_likelihoods"], nats, atol=1e-4)
    assert first["predicted"] == nats.argmax() == 1 and first["correct"] == 0.0
    assert first["predicted_norm"] == (nats / [13, 5, 5]).argmax()
    assert first["correct_norm"] == (first["predicted_norm"] == 2)
    for row in (first, second):
        assert row["gold_bits"] == pytest.approx(-nats[2] / np.log(2), abs=1e-3)
        assert row["gold_bytes"] == len(" größe".encode())
    assert [second[name] for name in ("correct", "correct_norm", "gold", "predicted")] == [None] * 4
    table = evaluate(lm, [])
    assert table.schema == SCHEMA and len(table) == 0


@pytest.mark.parametrize(
    ("nats", "num_chars", "gold", "expected"),
    [
        ([-1.0, -2.0], [4, 4], 0, (0, 0, 1.0, 1.0)),
        ([-1.0, -1.0], [4, 4], 0, (0, 0, 0.5, 0.5)),
        ([-1.0, -1.0], [4, 4], 1, (0, 0, 0.5, 0.5)),
        ([-2.0, -3.0, -2.0], [1, 3, 2], 1, (0, 1, 0.0, 0.5)),
        ([-3.0, -3.0, -3.0], [1, 1, 2], 2, (0, 2, 1 / 3, 1.0)),
    ],
)
def test_equal_answers_share_the_credit(nats: Any, num_chars: list[int], gold: int, expected: Any) -> None:
    made = choices_made(np.array(nats), num_chars, gold)
    assert (made["predicted"], made["predicted_norm"], made["correct"], made["correct_norm"]) == expected


def test_a_model_that_has_read_the_answers_knows_them_and_one_that_has_not_guesses() -> None:
    colours = ["red", "blue", "green", "white", "black", "brown"]
    facts = [(f"thing{k}", colours[k % 6], colours[(k + 1 + k // 6) % 6]) for k in range(48)]
    facts = [fact for fact in facts if fact[1] != fact[2]]
    text = [f"Question: {thing}\nAnswer: {right}" for thing, right, _ in facts]
    bpe = BPE.train([*text, " ".join(colours)] * 3, 600)
    items = tuple(
        choice(thing, thing, [right, wrong] if k % 2 else [wrong, right], 1 - k % 2)
        for k, (thing, right, wrong) in enumerate(facts)
    )
    knows = summary(evaluate(NGramLM.train(bpe, pa.array(text), 6), [Task("t", items)])).to_pylist()[0]
    others = [line.replace(right, "brown") for line, (_, right, _) in zip(text, facts, strict=True)]
    guesses = summary(evaluate(NGramLM.train(bpe, pa.array(others), 6), [Task("t", items)])).to_pylist()[0]
    assert knows["accuracy"] == 1.0 and knows["items"] == len(items)
    assert 0.3 < guesses["accuracy"] < 0.7
    assert knows["bits_per_byte"] < guesses["bits_per_byte"] / 2


def test_answers_do_not_depend_on_what_is_asked_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = Bytes()
    items = tuple(choice(f"i{k}", f"question {k}", [f"a{k}", "b" * (k + 1)]) for k in range(20))
    whole = evaluate(lm, [Task("t", items, "plain")])
    monkeypatch.setattr(module, "_BATCH_CHARS", 50)
    assert evaluate(lm, [Task("t", items, "plain")]).equals(whole)
    assert evaluate(lm, [Task("t", items[5:8], "plain")]).equals(whole.slice(5, 3))


def test_an_answer_without_a_token_is_told() -> None:
    with pytest.raises(InputError, match="The continuation ' zz' has no token in this model's vocabulary"):
        log_likelihoods(Bytes(drops=" zz"), [("some", " zz")])


def test_summary_has_means_over_items() -> None:
    rows = [
        {"task": "b", "correct": 1.0, "correct_norm": 0.0, "gold_bits": 8.0, "gold_bytes": 4, "is_truncated": True},
        {"task": "a", "correct": None, "correct_norm": None, "gold_bits": 9.0, "gold_bytes": 3, "is_truncated": False},
        {"task": "b", "correct": 0.5, "correct_norm": 1.0, "gold_bits": 8.0, "gold_bytes": 8, "is_truncated": False},
    ]
    names = ["task", "items", "accuracy", "accuracy_norm", "bits_per_byte", "truncated"]
    found = summary(pa.Table.from_pylist(rows, SCHEMA)).to_pylist()
    assert [tuple(row[name] for name in names) for row in found] == [
        ("b", 2, 0.75, 0.5, 1.5, 1),
        ("a", 1, None, None, 3.0, 0),
    ]


def test_bits_per_byte_of_held_out_text_is_an_independent_sum() -> None:
    bpe = BPE.train(["the cat sees the dog and größer"] * 5, 320)
    lm = NGramLM.train(bpe, pa.array(["the cat sees the dog", "the dog sees größer"]), 3)
    texts = ["the cat sees größer", None, "", "dog dog the"]
    rows = held_out(lm, ["a", "b", "c", "d"], pa.array(texts)).to_pylist()
    for row, text in zip(rows, texts, strict=True):
        if not text:
            assert (row["bits"], row["bytes"], row["bits_per_byte"]) == (0, 0, None)
            continue
        ids, _ = bpe.encode(pa.array([text]))
        bits = sum(-np.log2(lm.model.distribution(ids[:k])[ids[k]]) for k in range(len(ids)))
        assert row["bits"] == pytest.approx(bits, rel=1e-4) and row["bytes"] == len(text.encode())
        assert row["bits_per_byte"] == pytest.approx(bits / len(text.encode()), rel=1e-4)
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]


def test_tasks_of_one_name_are_refused() -> None:
    """Their answers would be one task's."""
    one, other = (Task("arc/test", (choice("1", "q", ["a", "b"]),), form) for form in ("default", "plain"))
    with pytest.raises(InvalidParameterError, match="`tasks` .*must be tasks of different names"):
        evaluate(Bytes(), [one, other])
