"""`assay.leakage`: orders, planted memorisation by an n-gram model, what cannot be judged, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.errors import InputError, InvalidParameterError
from assay.models.lm import NGramLM
from assay.models.tokenizer import BPE
from tests.conftest import words


def make_items(number: int, seed: int, num_options: int = 4) -> list[dict[str, Any]]:
    stream = iter(words(number * (8 + 4 * num_options), seed, vocabulary=500))

    def take(count: int) -> str:
        return " ".join(next(stream) for _ in range(count))

    return [
        {"id": f"{seed}-{k}", "question": take(8), "choices": [take(4) for _ in range(num_options)]}
        for k in range(number)
    ]


def as_text(item: dict[str, Any]) -> str:
    return "\n".join([item["question"], *(f"{'ABCDEF'[k]}. {text}" for k, text in enumerate(item["choices"]))])


def model_of(texts: list[str]) -> NGramLM:
    column = pa.array(texts, pa.large_string())
    return NGramLM.train(BPE.train(texts, 600), column, 4)


def test_items_that_a_model_has_read_are_known_and_others_are_not() -> None:
    read, unread, other = make_items(120, 1), make_items(120, 2), make_items(120, 3)
    model = model_of([as_text(item) for item in (*read, *other)])
    known = assay.leakage(read, model)
    assert known.first.share.estimate > 0.75 and known.first.p_value < 1e-9
    fresh = assay.leakage(unread, model)
    assert fresh.first.p_value > 0.01 and fresh.first.excess.low <= 0
    mixed = assay.leakage(read[:60] + unread[:60], model)
    assert mixed.first.excess.low < 0.5 < mixed.first.excess.high + 0.05
    is_best = mixed.items["is_first_best"].to_numpy()
    assert is_best[:60].mean() > 0.75 > 0.2 > is_best[60:].mean()
    assert "published order is the likeliest" in str(mixed) and f"{mixed.first.flagged} of 120" in str(mixed)


def test_the_order_that_was_read_is_found_where_it_is_not_the_published_one() -> None:
    read = make_items(100, 4)
    model = model_of([as_text(item) for item in (*read, *make_items(100, 5))])
    turned = [{**item, "choices": [item["choices"][k] for k in (2, 0, 3, 1)]} for item in read]
    found = assay.leakage(turned, model)
    assert found.first.p_value > 0.01
    likeliest = found.items["likeliest"].to_pylist()
    assert np.mean([letters == "BDAC" for letters in likeliest]) > 0.7  # the published letters, as the model read them


def test_a_corpus_of_items_gives_what_its_mappings_give(tmp_path: Path) -> None:
    items = [*make_items(20, 6), {"id": "none", "question": "no options", "choices": None}]
    (tmp_path / "items.jsonl").write_text("\n".join(json.dumps({**item, "text": item["question"]}) for item in items))
    corpus = assay.read(str(tmp_path / "items.jsonl"), workspace=tmp_path / "w")
    model = model_of([as_text(item) for item in items[:10]])
    given, read = assay.leakage(items, model), assay.leakage(corpus, model)
    assert read.items.equals(given.items) and read.first == given.first
    assert read.skipped == given.skipped == {"without a list of choices": 1}
    assert "not judged: 1 without a list of choices" in str(read)


def test_orders_are_all_up_to_four_options_and_drawn_above() -> None:
    items = [*make_items(3, 7, 2), *make_items(3, 8, 3), *make_items(3, 9, 4)]
    five = {"id": "5", "question": "q", "choices": ["a", "b", "c", "d", "e"]}
    same = {"id": "same", "question": "q", "choices": ["a", "a", "b"]}
    model = model_of([as_text(item) for item in items])
    found = assay.leakage([*items, five, same], model)
    assert found.items["orders"].to_pylist() == [2] * 3 + [6] * 3 + [24] * 3 + [24, 3]
    again = assay.leakage([five], model)  # what is drawn depends on the item alone
    assert again.items["likeliest"][0] == found.items["likeliest"][9]
    fewer = assay.leakage(items[6:], model, max_orders=10)
    assert fewer.items["orders"].to_pylist() == [10] * 3
    assert found.items["p_value"].null_count == 4  # two orders, or three, are too few to have an outlier


def test_what_cannot_be_judged_is_refused() -> None:
    model = model_of(["some text to read", "and some more"])
    with pytest.raises(InputError, match="None of the `items` can be judged: 2 without 2 to 26 options"):
        assay.leakage([{"question": "q", "choices": ["a", "a"]}, {"question": "q", "choices": ["a"]}], model)
    with pytest.raises(InputError, match="there are none"):
        assay.leakage([], model)
    with pytest.raises(InvalidParameterError, match="`items` "):
        assay.leakage(["a question"], model)  # type: ignore[list-item]
    for bad in ({"max_orders": 1}, {"level": 0.0}, {"seed": -1}):
        with pytest.raises(InvalidParameterError, match=f"`{next(iter(bad))}` "):
            assay.leakage(make_items(2, 1), model, **bad)  # type: ignore[arg-type]
