"""The rooms form a ladder: imports only go down, siblings never meet, one room knows the engine."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "assay"
LADDER = [
    ["cli", "__init__"],
    ["cli_mix", "cli_models"],
    ["explorer", "recipes", "demo", "options", "mix"],
    ["api"],
    ["corpus", "scorers", "mixtures", "selection", "refiners", "packing", "proxy", "comparison"],
    ["models"],
    ["artifacts"],
    ["kernels"],
    ["progress", "memory"],
    ["errors", "terminal"],
]
FLOOR = {room: floor for floor, rooms in enumerate(LADDER) for room in rooms}
ENGINE = {"daft", "ray"}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module or ""}
            if node.module == "assay":
                found |= {f"assay.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down_the_ladder(path: Path) -> None:
    here = room_of(path)
    assert here in FLOOR, f"{here} is not a room of the ladder"
    for module in imported_modules(path):
        if module.startswith("assay."):
            there = module.split(".")[1]
            if there != here:
                assert FLOOR[there] > FLOOR[here], f"{path} imports {module}: {there} is not below {here}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_only_the_corpus_room_knows_the_engine(path: Path) -> None:
    engines = {module.split(".")[0] for module in imported_modules(path)} & ENGINE
    assert not engines or room_of(path) == "corpus", f"{path} imports {engines}"


def test_no_room_or_file_is_called_utils() -> None:
    names = {path.stem for path in SOURCE.rglob("*") if path.is_dir() or path.suffix == ".py"}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_no_folder_shares_its_name_with_a_public_verb() -> None:
    import assay

    folders = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    verbs = {name for name in assay.__all__ if name.islower()}
    assert not folders & verbs


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > 600} == {}
