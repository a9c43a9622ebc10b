"""examples/evidence.py: what it plants, how it measures, and that docs/evidence.md holds what it would write."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import make_prose, write_jsonl

ROOT = Path(__file__).parents[1]
TEXT = "".join(f"{' '.join(f'word{(7 * k + j) % 997}' for j in range(12))}.\n" for k in range(300))


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("evidence", ROOT / "examples" / "evidence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    yield module


def test_pieces_lose_nothing(evidence: ModuleType) -> None:
    for text in (TEXT, "", "one line", "x" * 20_000, f"{'y' * 9000}\n{TEXT}"):
        pieces = list(evidence.pieces({"id": "a", "text": text, "source": "s"}))
        assert "".join(piece["text"] for piece in pieces) == text
        assert len({piece["id"] for piece in pieces}) == len(pieces)
        for piece in pieces:
            assert len(piece["text"]) <= evidence.PIECE or piece["text"].strip().count("\n") == 0


def test_copies_are_as_many_and_as_much_changed_as_the_page_says(evidence: ModuleType) -> None:
    originals = [{"id": str(k), "text": TEXT[k:], "source": "clean: x"} for k in range(400)]
    made = list(evidence.copies(originals))
    assert made == list(evidence.copies(originals))
    assert 0.2 < len({row["id"].split("#")[0] for row in made}) / 400 < 0.3
    words = TEXT.split(" ")
    for kind, least, most in (("2 % of words", 0.96, 0.995), ("6 % of words", 0.9, 0.96)):
        changed = evidence.edited(TEXT, kind, np.random.default_rng(0)).split(" ")
        assert least < np.mean([a == b for a, b in zip(words, changed, strict=True)]) < most
    same = {kind: evidence.edited(TEXT, kind, np.random.default_rng(0)) for kind in evidence.EDITS}
    assert same["the same"] == TEXT
    assert same["case and space"].lower().split() == TEXT.split()
    assert TEXT in same["in a page"]
    assert TEXT.startswith(same["first half"])
    assert 2 * len(same["first half"]) - len(TEXT) in (0, 1)


def test_a_table_says_which_arm_is_better_than_which_baseline(
    evidence: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [row | {"source": "clean: t", "edit": "c4"} for row in make_prose(400, seed=1, topic="t")]
    noise = [row | {"source": "noise", "edit": "none"} for row in make_prose(400, seed=2, topic="n")]
    pool = str(write_jsonl(tmp_path / "pool.jsonl", good + noise))
    target = str(write_jsonl(tmp_path / "target.jsonl", make_prose(60, seed=3, topic="t")))
    monkeypatch.setattr(evidence, "BUDGET", 4000)
    arms = {"as it is": {"where": "edit = 'none'"}, "good": {"where": "source like 'clean: %'"}}
    monkeypatch.setattr(evidence, "ARMS", {"noisy": arms, "lines": arms})
    cases = (("noisy", "random", "as it is", "worse"), ("lines", "as it is", "random", "better"))
    for name, baseline, other, verdict in cases:
        rows = [line.split(" | ") for line in evidence.table(name, pool, "t", target).splitlines()[4:]]
        by_arm = {row[0].removeprefix("| "): row for row in rows}
        assert (by_arm["as it is"][2], by_arm["good"][2]) == ("0%", "100%")
        assert by_arm["good"][4] == "**better**"
        assert by_arm[baseline][3] == ""
        assert by_arm[other][4] == f"**{verdict}**"


def test_the_page_holds_every_arm_with_the_verdict_that_its_interval_bears_out(evidence: ModuleType) -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for pool, arms in evidence.ARMS.items():
        section = page.split(f"<!-- {pool} -->")[1].split(f"<!-- end of {pool} -->")[0]
        for target in ("news", "passages"):
            table = section.split(f"**{pool}, {target}**")[1].split("\n**")[0]
            rows = {row.split(" | ")[0][2:]: row for row in table.splitlines() if row.startswith("| ")}
            assert set(rows) == {"arm", "random", *arms}
            for name, row in rows.items():
                found = re.search(r"\| [+-][\d.]+ \(([+-][\d.]+) to ([+-][\d.]+)\) \| (\S+)", row)
                if found is None:
                    assert name in ("arm", "random", "as it is")
                    continue
                low, high = float(found[1]), float(found[2])
                allowed = {"**better**"} if low > 0 else {"**worse**"} if high < 0 else {"no"}
                rounded = {"no", "**better**", "**worse**"} if 0 in (low, high) else set()
                assert found[3] in allowed | rounded


def test_what_the_page_says_it_found_stands_in_its_tables() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    findings = page.split("## Findings")[1].split("## Twenty")[0]
    rows = [line for line in findings.splitlines() if line.startswith("| ")][1:]
    effects = [(row.split(" | ")[0][2:], effect) for row in rows for effect in re.findall(r"[+-][\d.]+ \([^)]*\)", row)]
    assert len(effects) > 20
    for pool, effect in effects:
        assert effect in page.split(f"<!-- {pool} -->")[1].split(f"<!-- end of {pool} -->")[0]
