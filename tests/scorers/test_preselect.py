"""PreSelect: predictive strength by hand, tables of losses, the ladder as default, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import assay
from assay import PreSelect
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError, InputError, InvalidParameterError
from assay.scorers.preselect import predictive_strength, read_losses, reliability
from tests.conftest import make_documents, make_prose

MODELS = ("weak", "middling", "strong")


@pytest.mark.parametrize(
    ("losses", "strength"),
    [
        ([3, 2, 1], 1),
        ([1, 2, 3], 0),
        ([1, 1, 1], 1 / 2),
        ([2, 3, 1], 2 / 3),
        ([2, 2, 1], 2.5 / 3),
    ],
)
def test_strength_by_hand(losses: list[int], strength: float) -> None:
    assert predictive_strength(np.array([losses], float), np.arange(3))[0] == pytest.approx(strength)


def test_strength_is_that_of_all_pairs_and_pairs_of_equal_ability_do_not_count() -> None:
    rng = np.random.default_rng(0)
    losses, ability = rng.normal(size=(40, 7)).round(1), np.array([2, 0, 1, 1, 5, 5, 0])
    for row, found in zip(losses, predictive_strength(losses, ability), strict=True):
        votes = [
            1.0 if row[i] < row[j] else 0.5 if row[i] == row[j] else 0.0
            for i in range(7)
            for j in range(7)
            if ability[i] > ability[j]
        ]
        assert found == pytest.approx(sum(votes) / len(votes))


def test_strength_does_not_change_under_rising_maps_of_the_losses() -> None:
    losses = np.random.default_rng(1).uniform(1, 9, (50, 6))
    expected = predictive_strength(losses, np.arange(6))
    for rising in (np.log, np.exp, lambda x: 3 * x + 1):
        np.testing.assert_array_equal(predictive_strength(rising(losses), np.arange(6)), expected)


def test_two_models_give_zero_or_one_and_equal_ones_are_refused() -> None:
    losses = np.random.default_rng(2).normal(size=(30, 2))
    assert set(predictive_strength(losses, np.array([0, 1]))) == {0.0, 1.0}
    with pytest.raises(InvalidParameterError, match="`ability` .*at least two values"):
        predictive_strength(losses, np.array([1, 1]))


def test_reliability_is_high_where_documents_differ_and_near_zero_for_noise() -> None:
    rng = np.random.default_rng(3)
    slopes, ability = rng.uniform(-1, 1, 400), np.arange(24)
    noise = rng.normal(size=(400, 24))
    assert reliability(noise - 0.5 * slopes[:, None] * ability, ability) > 0.8
    assert abs(reliability(noise, ability)) < 0.25
    assert np.isnan(reliability(noise[:, :3], ability[:3]))


def planted(number: int, seed: int) -> tuple[list[dict[str, str]], np.ndarray]:
    """Documents of two kinds and losses of three models, of which better ones do better on the first kind only."""
    rng = np.random.default_rng(seed)
    kinds = {topic: make_prose(number, seed=seed, topic=topic, length=60) for topic in "ab"}
    slope = np.repeat([1.0, -1.0], number)
    losses = 3 - slope[:, None] * np.arange(3) + 0.6 * rng.normal(size=(2 * number, 3))
    return kinds["a"] + kinds["b"], losses


def write(folder: Path, rows: list[dict[str, str]], losses: np.ndarray, kind: str) -> str:
    table = pa.table({"id": [d["id"] for d in rows]} | dict(zip(MODELS, losses.T, strict=True)))
    path = folder / f"losses{kind}"
    if kind == ".parquet":
        pq.write_table(table, path)
    elif kind == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".jsonl"])
def test_what_a_table_says_of_some_documents_is_learnt_and_carried_to_others(
    kind: str, tmp_path: Path, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    known, losses = planted(60, seed=1)
    others, _ = planted(30, seed=2)
    pool = make_corpus([*known, *others])
    scorer = PreSelect(losses=write(tmp_path, known, losses, kind))
    scores = assay.score(pool, scorer, workspace=workspace)
    table = scores.to_table()["preselect.probability"].to_numpy()[len(known) :]
    assert (table[:30, None] > table[None, 30:]).mean() > 0.98
    summary = scores.manifest.summary
    assert summary["judged"] == 120 and summary["examples"] == 12
    assert summary["agreement"] > 0.5 and summary["reliability"] is None  # of three models no two halves can be made
    assert "heldout_bits_per_byte" not in summary


def test_a_table_that_is_mostly_about_other_pools_is_no_hindrance(
    tmp_path: Path, make_corpus: Callable[..., Corpus], workspace: Workspace
) -> None:
    known, losses = planted(60, seed=1)
    others = [{"id": f"elsewhere-{k}"} for k in range(100_000)]
    every = np.concatenate([losses, np.random.default_rng(0).normal(size=(len(others), 3))])
    scorer = PreSelect(losses=write(tmp_path, [*known, *others], every, ".parquet"))
    assert assay.score(make_corpus(known), scorer, workspace=workspace).manifest.summary["judged"] == 120


def test_models_are_named_from_weak_to_strong(tmp_path: Path) -> None:
    rows, losses = planted(3, seed=1)
    path = write(tmp_path, rows, losses, ".parquet")
    ids, in_order = read_losses(path, ())
    assert ids.to_pylist() == [d["id"] for d in rows]
    np.testing.assert_array_equal(in_order, losses)
    np.testing.assert_array_equal(read_losses(path, ("strong", "weak"))[1], losses[:, [2, 0]])


def test_the_ladder_finds_documents_of_the_target(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    kinds = {topic: make_prose(60, topic=topic, length=60) for topic in "ab"}
    pool = make_corpus(kinds["a"] + kinds["b"])
    target = make_corpus(make_prose(20, seed=7, topic="a", length=60), "target")
    scores = assay.score(pool, "preselect", target=target, workspace=workspace)
    found = scores.to_table()["preselect.probability"].to_numpy()
    assert (found[:60, None] > found[None, 60:]).mean() > 0.98
    summary = scores.manifest.summary
    assert summary["judged"] == 80 and summary["reliability"] > 0.8
    assert list(summary["heldout_bits_per_byte"]) == ["1", "4", "16", "64"]


def test_the_ladder_needs_a_target_and_a_table_does_not() -> None:
    assert PreSelect().needs_target and not PreSelect(losses="losses.csv").needs_target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("id"), "has no column 'id'; it has weak, middling, strong"),
        (lambda t: t.drop_columns("strong"), "has no column 'strong'"),
        (lambda t: t.set_column(1, "weak", pa.array([float("nan")] * len(t))), "the loss of 'weak' on document .* nan"),
        (lambda t: t.set_column(1, "weak", pa.nulls(len(t), pa.float64())), "the loss of 'weak' on document"),
        (lambda t: t.set_column(1, "weak", pa.array(["low"] * len(t))), "column 'weak' does not hold numbers"),
        (lambda t: pa.concat_tables([t, t]), "documents more than once"),
        (lambda t: t.set_column(1, "weak", pa.array([[1.0]] * len(t))), "column 'weak' does not hold numbers"),
        (lambda t: t.set_column(0, "id", pa.array([[1.0]] * len(t))), "column 'id' holds no ids, but list"),
        (lambda t: t.set_column(0, "id", pa.nulls(len(t), pa.string())), "documents have no id"),
    ],
)
def test_tables_that_say_nothing_are_refused(
    change: Callable[[pa.Table], pa.Table], message: str, tmp_path: Path, make_corpus: Callable[..., Corpus]
) -> None:
    rows, losses = planted(30, seed=1)
    path = write(tmp_path, rows, losses, ".parquet")
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(InputError, match=message):
        assay.score(make_corpus(rows), PreSelect(losses=path, models=MODELS), workspace=tmp_path / "w")


def test_other_things_that_cannot_be_are_refused(tmp_path: Path, make_corpus: Callable[..., Corpus]) -> None:
    rows, losses = planted(30, seed=1)
    pool, path = make_corpus(rows), write(tmp_path, rows, losses, ".csv")

    def run(**parameters: object) -> None:
        assay.score(pool, PreSelect(**parameters), workspace=tmp_path / "w")

    with pytest.raises(InvalidParameterError, match="`losses` .*must be a file"):
        run(losses=str(tmp_path / "nowhere.csv"))
    with pytest.raises(InputError, match=r"ends in \.parquet, \.csv, \.jsonl"):
        run(losses=str(tmp_path / "pool.jsonl")[:-1] if (tmp_path / "pool.json").write_text("{}") else "")
    with pytest.raises(InputError, match="two models are the least"):
        run(losses=path, models=("weak",))
    others = write(tmp_path, [{"id": f"other-{k}"} for k in range(60)], losses, ".parquet")
    with pytest.raises(InvalidParameterError, match="names no document of this pool"):
        run(losses=others)
    few = write(tmp_path, rows[:5], losses[:5], ".jsonl")
    with pytest.raises(InvalidParameterError, match="5 documents with text to learn from and needs at least 12"):
        run(losses=few)
    flat = write(tmp_path, rows, np.zeros_like(losses), ".jsonl")
    with pytest.raises(InvalidParameterError, match="No document is of more predictive strength"):
        run(losses=flat)
    with pytest.raises(InvalidParameterError, match="compares with a target"):
        run()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"top": 0}, "`top`"),
        ({"top": 0.6}, "`top`"),
        ({"sample": 3}, "`sample`"),
        ({"draws": 0}, "`draws`"),
        ({"models": "weak"}, "`models`"),
        ({"models": ("weak", "strong")}, "`models` .*left out without `losses`"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=message):
        PreSelect(**parameters)


def test_a_target_without_text_is_refused() -> None:
    scorer = PreSelect()
    rows = pa.RecordBatch.from_pydict({"id": ["a", "b"], "text": pa.array(["", None])})
    with pytest.raises(InvalidParameterError, match="Target 't' has no text"):
        scorer.prepare({"t": scorer.sketch_target(rows)})


def test_of_a_long_target_a_bounded_part_is_read_whatever_its_order() -> None:
    scorer = PreSelect()
    documents = make_documents(50, length=4000)
    rows = pa.RecordBatch.from_pydict({key: [d[key] for d in documents] for key in ("id", "text")})
    halves = [scorer.sketch_target(part) for part in (rows.slice(20), rows.slice(0, 20))]
    found, expected = scorer.prepare({"t": scorer.merge(*halves)}), scorer.prepare({"t": scorer.sketch_target(rows)})
    assert found["text_bytes"].max() == 4000
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])
