"""Contamination against a slow version, planted items, and the overlaps that the data's README counts."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay import Contamination
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.kernels.contamination import find_passages
from assay.models.passages import build_passages
from tests.conftest import words

ORDER, MIN_WORDS, MIN_RUN, MIN_SHARE = 4, 8, 13, 0.5
FILLER = " ".join(words(80, seed=9, topic="f"))
ITEMS = [
    {"id": "lake", "question": "Which lake in the northern mountains is fed by seven rivers but drained by none?",
     "answer_text": "Lake Ormuth"},
    {"id": "short", "question": "Who built the glass tower?", "answer_text": "Ada Quill"},
    {"id": "brief", "question": "Why?", "answer_text": "because the old clock stopped"},
    {"id": "tale", "context": "The miller's youngest daughter counted the geese each evening, and wrote the number on "
     "a slate that hung beside the door, until the winter when the river froze and the geese walked away over the ice.",
     "question": "What did she write on?", "answer_text": "a slate"},
    {"id": "proof", "question": "Show that the sum is even.",
     "answer_text": "Pair every odd term with the term before it; each pair adds up to twice some number, so all do."},
]  # fmt: skip


def items_batch(rows: list[dict[str, str]]) -> pa.RecordBatch:
    names = ("id", "text", "context", "question", "answer_text")
    return pa.RecordBatch.from_pylist([{name: row.get(name) for name in names} for row in rows])


def found(documents: list[str | None], sets: dict[str, list[dict[str, str]]], **parameters: float) -> list[pa.Array]:
    scorer = Contamination(**parameters)
    state = scorer.prepare({name: scorer.sketch_target(items_batch(rows)) for name, rows in sets.items()})
    return scorer.score(pa.RecordBatch.from_arrays([pa.array(documents, pa.string())], names=["text"]), state)


def within(text: str) -> str:
    half = len(FILLER) // 2
    return f"{FILLER[:half]} {text} {FILLER[half:]}"


def item(name: str) -> dict[str, str]:
    return next(row for row in ITEMS if row["id"] == name)


def slow_finds(document: list[int], passages: list[list[int]], max_places: int) -> dict[int, float]:
    """passage -> share, from all pairs of places, by the words of the docstrings."""
    grams = [[tuple(p[i : i + ORDER]) for i in range(len(p) - ORDER + 1)] for p in passages]
    places = Counter(g for one in grams for g in one)
    have = Counter(word for p in passages for word in set(p))
    finds = {}
    for k, passage in enumerate(passages):
        weight = [np.log1p(len(passages) / have[word]) for word in passage]
        spots = [
            (d, i) for d in range(len(document) - ORDER + 1) for i in range(len(grams[k]))
            if tuple(document[d : d + ORDER]) == grams[k][i]
        ]  # fmt: skip
        best = 0.0
        enough = False
        for end, _ in spots:
            low = end + ORDER - (len(passage) + len(passage) // 2 + 10)
            inside = [(d, i) for d, i in spots if low <= d <= end]
            of_passage = {i + j for _, i in inside for j in range(ORDER)}
            of_document = {d + j for d, _ in inside for j in range(ORDER)}
            number = min(len(of_passage), len(of_document))
            covered = sum(weight[i] for i in of_passage) * number / len(of_passage)
            if covered > best + 1e-6:
                best, enough = covered, number >= MIN_WORDS
        share = min(1.0, best / sum(weight))
        needed = np.interp(len(passage), [MIN_WORDS, 24], [0.85, MIN_SHARE])
        run = len(passage) if len(passage) < MIN_WORDS else MIN_RUN
        has_run = False
        for d, i in spots:
            row = [s for s in range(len(passage)) if (d + s, i + s) in set(spots)]
            length = next((s for s in range(len(passage)) if (d + s, i + s) not in set(spots)), len(passage))
            rare = [places[grams[k][i + s]] <= max_places or run == len(passage) for s in row[:length]]
            ends = range(run - ORDER + 1, length + 1)
            has_run |= (d - 1, i - 1) not in set(spots) and any(2 * sum(rare[:e]) >= e for e in ends)
        if has_run or (enough and share >= needed - 1e-9):
            finds[k] = share
    return finds


def test_finds_are_those_of_the_slow_version() -> None:
    rng = np.random.default_rng(0)
    passages = [rng.integers(0, 60, size).tolist() for size in rng.integers(5, 60, 40)]
    prompt = rng.integers(0, 60, 14).tolist()
    passages += [prompt + rng.integers(100, 200, 3).tolist() for _ in range(6)]
    documents = []
    for k in range(150):
        document = rng.integers(0, 60, rng.integers(0, 90)).tolist()
        for passage in (passages[k % len(passages)], passages[int(rng.integers(len(passages)))]):
            start, end = sorted(rng.integers(0, len(passage) + 1, 2)) if k % 3 == 0 else (0, len(passage))
            piece = [word if rng.random() > 0.06 * (k % 4) else 999 for word in passage[start:end]]
            where = int(rng.integers(len(document) + 1))
            document[where:where] = piece
        documents.append(document)
    documents.append([passages[0][0]] * 50)
    values = np.random.default_rng(1).integers(0, 2**63, 1000).astype(np.uint64)
    index = build_passages(
        values[np.concatenate(passages)], np.cumsum([0, *map(len, passages)]), order=ORDER, min_share=MIN_SHARE,
        min_words=MIN_WORDS, min_run=MIN_RUN,
    )  # fmt: skip
    starts = np.cumsum([0, *map(len, documents)])
    row, passage, share, *_ = find_passages(
        values[np.concatenate(documents).astype(int)], starts, ORDER, index, MIN_WORDS, 5
    )
    expected = [slow_finds(document, passages, 5) for document in documents]
    assert sorted(zip(row.tolist(), passage.tolist(), strict=True)) == [
        (k, p) for k, finds in enumerate(expected) for p in sorted(finds)
    ]
    assert share == pytest.approx([expected[k][p] for k, p in zip(row, passage, strict=True)], abs=1e-5)
    assert 100 < len(row) < 600


@pytest.mark.parametrize(
    "change",
    [
        str,
        str.upper,
        lambda text: text.replace(" ", "\n\n\t"),
        lambda text: text.replace(" ", " -- ").replace("?", ""),
        lambda text: text.replace("mountains", "hills"),
        lambda text: text.replace("northern ", ""),
    ],
)
def test_edits_do_not_hide_a_question(change) -> None:
    share, number, name, part, names = found([within(change(item("lake")["question"]))], {"set/test": ITEMS})
    assert (number.to_pylist(), name.to_pylist(), part.to_pylist()) == ([1], ["set/test:lake"], ["question"])
    assert names.to_pylist() == [["set/test:lake"]]
    assert share[0].as_py() > 0.6


def test_parts_say_what_stands_in_the_document() -> None:
    tale = item("tale")
    documents = {
        within(f"{item('lake')['question']} Answer: {item('lake')['answer_text']}"): ("lake", "question+answer"),
        within(f"{item('lake')['answer_text']} {item('lake')['question']}"): ("lake", "question"),
        within(tale["context"]): ("tale", "context"),
        within(f"{tale['context']} {tale['question']}"): ("tale", "context"),  # the question alone is anybody's
        within(f"{tale['context']} {tale['question']} A slate."): ("tale", "context+question+answer"),
        within(item("proof")["answer_text"]): ("proof", "answer"),
        within(f"{item('brief')['question']} {item('brief')['answer_text']}"): ("brief", "question+answer"),
    }
    _, _, names, parts, _ = found(list(documents), {"s": ITEMS})
    expected = [(f"s:{name}", part) for name, part in documents.values()]
    assert list(zip(names.to_pylist(), parts.to_pylist(), strict=True)) == expected


def test_a_short_question_counts_whole_and_with_its_answer_after_it() -> None:
    question, answer = item("short")["question"], item("short")["answer_text"]
    texts = [f"{question} {answer}", question, f"{answer} {question}", f"Who built? {answer}"]
    documents = [within(text) for text in (*texts, f"{question} {FILLER} {answer}")]
    assert found(documents, {"s": ITEMS})[1].to_pylist() == [1, 0, 0, 0, 0]


def test_forms_of_words_are_no_evidence() -> None:
    prompt = "Read the passage below with care and then choose the one best answer to the question"
    rows = [
        {"id": f"{k}", "question": f"{prompt} about {topic}"} for k, topic in enumerate(words(40, seed=1, topic="t"))
    ]
    documents = [within(prompt), within(rows[7]["question"])]
    assert found(documents, {"s": rows}, max_items=1000)[1].to_pylist()[0] > 0
    share, number, *_ = found(documents, {"s": rows}, max_items=5, min_share=0.9)
    assert (number.to_pylist()[0], share.to_pylist()[0]) == (0, 0.0)
    asked = [{"id": f"{k}", "question": "What will the stranger at the old inn want to do next?", "answer_text": answer}
             for k, answer in enumerate(["sing a song", "eat", "go up to bed", "ask for a horse", "pay"])]  # fmt: skip
    documents = [within(asked[0]["question"]), within(f"{asked[0]['question']} Go up to bed.")]
    assert found(documents, {"s": asked})[4].to_pylist() == [[], ["s:2"]]


def test_text_alone_is_an_item_and_null_is_no_document() -> None:
    rows = [{"id": "a", "text": "Nobody in the valley had ever asked the heron its name before."}]
    columns = found([None, "", within(rows[0]["text"]), "x"], {"s": rows})
    assert columns[4].to_pylist() == [None, [], ["s:a"], []]
    assert columns[0].to_pylist() == [None, 0.0, 1.0, 0.0]
    assert columns[2].to_pylist() == [None, None, "s:a", None]


def test_choices_of_the_answer_column_are_not_taken_for_answers() -> None:
    rows = [{"id": "a", "question": item("lake")["question"], "answer": 3, "text": ""}]
    scorer = Contamination()
    sketch = scorer.sketch_target(pa.RecordBatch.from_pylist(rows))
    assert sketch["sizes"].tolist() == [[0, 15, 0]]


def test_a_benchmark_cannot_be_called_with_a_colon() -> None:
    with pytest.raises(InvalidParameterError, match="a name without ':'"):
        Contamination().columns(("a:b",))


def test_the_overlaps_of_the_data_are_found(shared: Path, workspace: Workspace) -> None:
    """Counted in its README as runs of 13 words; found as well are items whose words were changed a little."""
    files = [shared / f"benchmarks/{name}.jsonl.zst" for name in
             ("coqa/validation", "boolq/train", "squad/validation", "mmlu/test", "lambada/test")]  # fmt: skip
    sets = assay.benchmarks(files, workspace=workspace)
    expected = {
        "wikipedia": {"coqa/validation": 19, "boolq/train": 16, "squad/validation": 2},
        "qa_forum": {"boolq/train": 10},
        "gov_legal": {"mmlu/test": 6},
        "books": {"lambada/test": 4},
    }
    pool = assay.read([shared / f"pool/{name}.jsonl.zst" for name in expected], workspace=workspace)
    scores = assay.score(pool, "contamination", target=sets, workspace=workspace)
    ids = [i for k in range(pool.num_parts) for i in pool.table(k, ["id"])["id"].to_pylist()]
    names = scores.to_table(["contamination.found"])["contamination.found"].to_pylist()
    items = {(i.rsplit("-", 1)[0], name) for i, found in zip(ids, names, strict=True) for name in found}
    counts = Counter((source, name.split(":")[0]) for source, name in items)
    for source, least in expected.items():
        for name, number in least.items():
            assert number <= counts[source, name] <= 1.5 * number + 3
    assert sum(len(found) > 0 for found in names) < 40
    summary = scores.manifest.summary
    assert summary["items_found"]["coqa/validation"] == len({n for _, n in items if n.startswith("coqa/")})
    assert summary["documents_affected"]["lambada/test"] == sum(any("lambada" in n for n in f) for f in names)


def test_benchmarks_without_words_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="No item of s has 5 words"):
        found(["any text"], {"s": [{"id": "a", "question": "Why not?", "answer_text": "No."}]})


def test_tables_of_one_number_are_not_compared_pair_by_pair() -> None:
    grids = [{"id": str(k), "text": f"grid number {k} " + "0 " * 900} for k in range(20)]
    before = [column.to_pylist() for column in found(["0 " * 1000], {"grids": grids})]
    assert before[1] == [20]
    started = time.process_time()
    share, items, *_ = found(
        [f"{'0 ' * 300_000} the question: {item('lake')['question']}"], {"grids": grids, "o": ITEMS}
    )
    assert time.process_time() - started < 20
    assert items.to_pylist() == [1] and share.to_pylist() == pytest.approx([1.0])


def test_columns_of_numbers_and_lists_are_no_text_of_an_item() -> None:
    question = item("lake")["question"]
    scorer = Contamination()
    for other in (pa.array([5]), pa.array([True]), pa.array([["a", "b"]]), pa.array([{"a": "b"}])):
        for name in ("context", "question", "answer", "answer_text"):
            batch = pa.RecordBatch.from_arrays([pa.array(["1"]), pa.array([question]), other], ["id", "text", name])
            state = scorer.prepare({"s": scorer.sketch_target(batch)})
            assert scorer.score(pa.record_batch({"text": [within(question)]}), state)[1].to_pylist() == [1]
