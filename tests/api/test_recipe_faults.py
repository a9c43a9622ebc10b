"""A recipe with every field wrong in turn: an error that names the field, and the nearest right name; no traceback."""

import copy
import datetime
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.api.recipe import Recipe, _tasks
from assay.api.recipe_parts import Benchmarks, Calibration, OverlapGuard, Target, Write
from assay.errors import InvalidParameterError
from assay.proxy import GPT, PROXIES
from assay.refiners import REFINERS
from assay.scorers import SCORERS
from assay.selection.policies import POLICIES

BASE: dict[str, Any] = {
    "pool": {"read": "pool.jsonl"},
    "target": {"law": {"read": "law.jsonl"}},
    "budget": "2M tokens",
    "arms": {"mine": {"score": "q", "select": "top"}},
}
# What no field takes: most of YAML's types, and numbers and texts out of all range.
WRONG = [
    -1, 10**30, -0.5, 1e308, float("nan"), float("inf"), "", " ", "x" * 100_000, "\x1b[31m", "no such thing", True, [],
    [[]], [None], {}, {"no such": 1}, {"read": {"read": 1}}, {1: 2}, datetime.date(2020, 1, 1), b"bytes", {"a", "b"},
    int("f" * 10_000, 16),
]  # fmt: skip


def places() -> dict[str, tuple[list[str], Any]]:
    """Every field of every dataclass that a recipe is read into, by name: its path, and the fields beside it."""
    found: dict[str, tuple[list[str], Any]] = {}

    def add(kind: Any, *path: str) -> None:
        assert is_dataclass(kind)
        for field in fields(kind):
            found[".".join((*path, field.name))] = ([*path, field.name], kind)

    for name in ("pool", "target", "budget", "arms", "seeds", "pool_sample", "proxy", "overlap", "write", "benchmarks",
                 "calibration"):  # fmt: skip
        found[name] = ([name], Recipe)
    add(Target, "target", "law")
    add(Benchmarks, "benchmarks")
    add(OverlapGuard, "overlap")
    add(Write, "write")
    add(Calibration, "calibration")
    for name in ("score", "select", "where", "max_repeats"):
        found[f"arms.mine.{name}"] = (["arms", "mine", name], None)
    for kind, table in (("score", SCORERS), ("select", POLICIES)):
        for name, method in table.items():
            add(method, "arms", "mine", kind, name)
    for name, method in PROXIES.items():
        if name != GPT.name or find_spec("torch") is not None:
            add(method, "proxy", name)
    for name, method in REFINERS.items():
        add(method, "pool", "refine", name)
    return found


PLACES = places()
# What these scorers cannot do without.
BESIDE: dict[str, dict[str, Any]] = {
    "classifier": {"labels": "labels.jsonl", "positive": "good"},
    "concepts": {"concepts": "phrases.jsonl"},
    "dataman": {"labels": "labels.jsonl"},
    "distil": {"of": "length"},
    "qurating": {"judgements": "judgements.jsonl"},
}


def changed(path: list[str], value: Any) -> dict[str, Any]:
    """The recipe with a value in some place, and what must stand beside it."""
    content = copy.deepcopy(BASE)
    if path[0] == "benchmarks" and len(path) > 1:
        content["benchmarks"] = {"read": "b.jsonl"}
    if "contamination" in path:
        content["benchmarks"] = "b.jsonl"
    if path[0] == "write" and len(path) > 1:
        content["write"] = {"to": "chosen"}
    inner = content
    for name in path[:-1]:
        if not isinstance(inner.get(name), dict) or (name in ("score", "select") and len(path) > 4):
            inner[name] = {}
        inner = inner[name]
    inner.update(BESIDE.get(path[-2], {}) if path[2:3] == ["score"] and len(path) > 3 else {})
    inner[path[-1]] = value
    return content


def problem(content: Any, tmp_path: Path) -> str | None:
    """What is said of a recipe that is refused; anything but an InvalidParameterError fails the test."""
    try:
        Recipe.from_dict(content, tmp_path)
    except InvalidParameterError as error:
        return str(error)
    return None


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_value_is_told_by_the_name_of_its_field(place: str, tmp_path: Path) -> None:
    path, _ = PLACES[place]
    refused = 0
    for value in WRONG:
        said = problem(changed(path, value), tmp_path)
        if said is not None:
            refused += 1
            assert len(said) < 2500
            assert path[-1] in said, said
    assert refused >= 8


@pytest.mark.parametrize("place", PLACES)
def test_a_misspelt_field_is_told_with_the_nearest_right_one(place: str, tmp_path: Path) -> None:
    path, _ = PLACES[place]
    for misspelt in (path[-1] + "x", path[-1][:-1] + path[-1][-1] * 2, path[-1][0] + path[-1]):
        content = changed([*path[:-1], misspelt], 1)
        said = problem(content, tmp_path)
        assert said is not None
        assert f"has no {misspelt!r}; it takes " in said and f"Did you mean {path[-1]!r}?" in said, said


@pytest.mark.parametrize("name", ["pool", "target", "budget", "arms"])
def test_a_missing_or_empty_field_is_told(name: str, tmp_path: Path) -> None:
    said = problem({key: value for key, value in BASE.items() if key != name}, tmp_path)
    assert said is not None and f"`{name}` (=None) must be given" in said
    said = problem(BASE | {name: None}, tmp_path)
    assert said is not None and name in said


@pytest.mark.parametrize("place", ["target.law.read", "benchmarks.read", "write.to"])
def test_a_missing_inner_field_is_told(place: str, tmp_path: Path) -> None:
    path, _ = PLACES[place]
    content = changed(path, 1)
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    inner["format"] = "parquet"
    said = problem(content, tmp_path)
    assert said is not None and f"{path[-1]}` (=None) must be given" in said, said


@pytest.mark.parametrize("table", [SCORERS, POLICIES, PROXIES, REFINERS])
def test_a_misspelt_method_is_told_with_the_nearest_right_one(table: Any, tmp_path: Path) -> None:
    path = {
        id(SCORERS): ["arms", "mine", "score"],
        id(POLICIES): ["arms", "mine", "select"],
        id(PROXIES): ["proxy"],
        id(REFINERS): ["pool", "refine"],
    }[id(table)]
    for name in table:
        said = problem(changed(path, {name + "x": {}}), tmp_path)
        assert said is not None and f"Did you mean {name!r}?" in said and path[-1] in said, said


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)
NAMES = st.sampled_from(sorted({name for path, _ in PLACES.values() for name in path})) | st.text(max_size=4)
TREES = st.recursive(SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(NAMES, t, max_size=4), max_leaves=12)


@settings(max_examples=150)
@given(place=st.sampled_from(sorted(PLACES)), value=TREES)
def test_any_value_anywhere_gives_a_recipe_or_a_sentence(place: str, value: Any) -> None:
    problem(changed(PLACES[place][0], value), Path("/somewhere"))


@settings(max_examples=200)
@given(TREES)
def test_any_content_gives_a_recipe_or_a_sentence(content: Any) -> None:
    problem(content, Path("/somewhere"))


def load(tmp_path: Path, key: str, value: str) -> str | None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(BASE))
    try:
        Recipe.load(tmp_path / "r.yaml", {key: value})
    except InvalidParameterError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seeds", "many", "`seeds` (='many') must be an integer from 2 to 1000"),
        ("sed", "5", "has no 'sed'; it takes"),
        ("arms.mine.select.top.no", "5", "`arms.mine.select.top` has no 'no'"),
        ("arms.mine.scor", "dsir", "Did you mean 'score'?"),
        ("pool.read", "[", "`--set` (pool.read=[) is not YAML"),
        ("", "5", "has no ''"),
        (".", "5", "has no ''"),
        ("seeds.x.y", "5", "`seeds`"),
        ("arms", "5", "`arms` (=5) must be a mapping"),
        ("budget", "0xffffffffffffffffffffffffffffffffff", "budget"),
    ],
)
def test_a_wrong_set_is_told(tmp_path: Path, key: str, value: str, said: str) -> None:
    found = load(tmp_path, key, value)
    assert found is not None and said in found, found


@settings(max_examples=100)
@given(key=st.lists(NAMES, max_size=4).map(".".join), value=st.text(max_size=12))
def test_any_set_gives_a_recipe_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, key: str, value: str) -> None:
    load(tmp_path_factory.getbasetemp(), key, value)


@settings(max_examples=300)
@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_as_a_recipe_file_gives_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidParameterError):
        Recipe.load(path)


def test_benchmark_files_of_one_name_are_refused() -> None:
    """Only the last would be asked."""
    with pytest.raises(InvalidParameterError, match="`tasks` .*files of different names, not two 'arc/test'"):
        _tasks(["a/arc/test.jsonl", "b/arc/test.jsonl"], None)
    assert [*_tasks({"one": "a/arc/test.jsonl", "two": "b/arc/test.jsonl"}, None)] == ["one", "two"]
