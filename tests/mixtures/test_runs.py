"""Tables of runs as people write them, right and wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from assay.errors import InputError, InvalidParameterError
from assay.mixtures import runs as room
from assay.mixtures.runs import Runs, read_runs, write_runs

TABLE = """run,weight.web,weight.code,loss.sciq,loss.code,tokens,seconds
a,0.5,0.5,3.5,2.5,1000,9
b,1,0,3.0,4.0,1000,8
c,0.25,0.75,4.0,2.0,2000,7
"""


def written(folder: Path, text: str = TABLE, name: str = "runs.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in TABLE
    return written(folder, TABLE.replace(old, new))


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(room, "note", said.append)
    return said


def test_a_table_is_read_as_it_stands(tmp_path: Path, notes: list[str]) -> None:
    runs = read_runs(written(tmp_path))
    assert runs.sources == ("web", "code") and runs.metrics == ("sciq", "code") and runs.names == ("a", "b", "c")
    np.testing.assert_array_equal(runs.weights, [[0.5, 0.5], [1, 0], [0.25, 0.75]])
    np.testing.assert_array_equal(runs.losses, [[3.5, 2.5], [3.0, 4.0], [4.0, 2.0]])
    np.testing.assert_array_equal(runs.tokens, [1000, 1000, 2000])
    np.testing.assert_array_equal(runs.loss("code"), [2.5, 4.0, 2.0])
    np.testing.assert_array_equal(runs.loss(), [3.0, 3.5, 3.0])
    assert notes == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("tokens", [None, np.array([1e9, 2e9, 3e9 + 1])])
def test_what_is_written_is_read_back_exactly(tmp_path: Path, suffix: str, tokens: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), 3)
    weights /= weights.sum(axis=1, keepdims=True)
    losses = rng.normal(size=(3, 2))
    runs = Runs(
        sources=("web", 'a "quoted", one', "Ü"), weights=weights, metrics=("x", "y"), losses=losses,
        names=("1", "01", "a,b"), tokens=tokens,
    )  # fmt: skip
    write_runs(runs, tmp_path / f"runs{suffix}")
    back = read_runs(tmp_path / f"runs{suffix}")
    assert (back.sources, back.metrics, back.names) == (runs.sources, runs.metrics, runs.names)
    np.testing.assert_allclose(back.weights, weights, rtol=1e-15)
    np.testing.assert_array_equal(back.losses, losses)
    assert (back.tokens is None) == (tokens is None)
    if tokens is not None:
        np.testing.assert_array_equal(back.tokens, tokens)


def test_tables_are_joined_by_key_whatever_their_order_and_other_prefixes_are_asked_for(tmp_path: Path) -> None:
    first = written(tmp_path, "index,train_web,train_code\n7,.498,.499\n8,1.003,0\n", "mixtures.csv")
    pq.write_table(pa.table({"index": [8, 7], "metric/sciq": [2.0, 1.0]}), tmp_path / "losses.parquet")
    runs = read_runs([first, tmp_path / "losses.parquet"], key="index", weights="train_", losses="metric/")
    assert runs.names == ("7", "8") and runs.sources == ("web", "code")
    np.testing.assert_array_equal(runs.losses, [[1.0], [2.0]])
    np.testing.assert_allclose(runs.weights, [[0.498 / 0.997, 0.499 / 0.997], [1, 0]])  # rounded shares are made whole


def test_runs_without_names_are_called_by_their_row(tmp_path: Path) -> None:
    assert read_runs(written(tmp_path, "weight.a,weight.b,loss.x\n0,1,2\n1,0,3\n")).names == ("0", "1")


@pytest.mark.parametrize("names", [("1", "01"), ("1e5", "10e4"), ("7", "NA"), ("2024-01-01", "2024-01-02")])
def test_names_are_text_and_not_numbers(tmp_path: Path, names: tuple[str, str]) -> None:
    text = "run,weight.a,loss.x\n" + "".join(f"{name},1,2\n" for name in names)
    assert read_runs(written(tmp_path, text)).names == names


@pytest.mark.parametrize("letters", ["weight.é,loss.x\n1,2\n", "run,weight.a,loss.x\né1,1,2\n"])
def test_a_table_that_is_not_utf_8_is_refused(tmp_path: Path, letters: str) -> None:
    (tmp_path / "runs.csv").write_bytes(letters.encode("latin-1"))
    with pytest.raises(InputError, match="runs.csv .*UTF-?8"):
        read_runs(tmp_path / "runs.csv")


def test_the_value_that_is_no_number_is_named_and_not_the_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'loss.x' holds 'OOM' for run 'b'"):
        read_runs(written(tmp_path, "run,weight.a,loss.x\na,1,\nb,1,OOM\n"))


def test_weights_of_runs_made_in_python_are_mixtures(tmp_path: Path) -> None:
    runs = read_runs(written(tmp_path))
    for wrong in (100 * runs.weights, np.where(runs.weights == 1, np.nan, runs.weights), runs.weights * [2, -1]):
        with pytest.raises(InvalidParameterError, match=r"`weights`: row \d .* Divide each row by its sum"):
            replace(runs, weights=wrong)


def test_failed_runs_are_an_error_or_left_out_and_named(tmp_path: Path, notes: list[str]) -> None:
    path = changed(tmp_path, "3.0,4.0", "nan,")
    with pytest.raises(InputError, match=r"1 of 3 runs have a loss.*: b\. Run them again, or pass drop_failed"):
        read_runs(path)
    runs = read_runs(path, drop_failed=True)
    assert runs.names == ("a", "c") and len(runs.weights) == len(runs.losses) == len(runs.tokens) == 2  # type: ignore[arg-type]
    assert notes == ["1 of 3 runs have a loss that is missing or no number: b; they are left out"]
    with pytest.raises(InputError, match="None is left"):
        read_runs(written(tmp_path, "weight.a,loss.x\n1,inf\n"), drop_failed=True)


def test_what_runs_cannot_tell_is_said(tmp_path: Path, notes: list[str]) -> None:
    read_runs(written(tmp_path, "weight.a,weight.b,loss.x,loss.y\n1,0,5,1\n1,0,5,2\n"))
    assert "anything of b" in notes[0] and "lost the same by x" in notes[1] and len(notes) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.25,0.75", "0.25,0.65", "shares of run 'c' sum to 0.9, not to 1. Divide them"),
        ("0.25,0.75", "-0.25,1.25", "below 0 or no numbers, in runs c. Write 0"),
        ("0.25,0.75", ",1", "in runs c"),
        ("b,1,0", "b,many,0", "'weight.web' holds 'many' for run 'b'"),
        ("\nb,", "\na,", "two runs are called 'a'"),
        ("loss.", "loss_", "no column that begins with 'loss.'; it has run, weight.web, .* Pass losses="),
        ("weight.", "w.", "no column that begins with 'weight.'.* Pass weights="),
        ("loss.code", "loss.sciq", "two columns 'loss.sciq'"),
        ("2000", "0", "`tokens` must be above 0, and is not in runs c"),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_runs(changed(tmp_path, old, new))


def test_files_that_cannot_be_read_or_joined_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    losses = written(tmp_path, "run,loss.x\na,1\nb,2\n", "losses.csv")
    for given, message in [
        ([], "No table"),
        (tmp_path / "none.csv", "There is no table of runs at"),
        (written(tmp_path, "", "empty.csv"), "cannot be read"),
        (written(tmp_path, "run,weight.a\n", "bare.csv"), "has no runs"),
        (written(tmp_path, "{}", "runs.json"), "ends in .csv or .parquet"),
        (written(tmp_path, "no parquet", "bad.parquet"), "cannot be read"),
        ([path, losses], "Runs of runs.csv that are not in losses.csv: c"),
        ([losses, path], "Runs of runs.csv that are not in losses.csv: c"),
        ([path, path], "Both runs.csv and runs.csv have a column 'weight.web'"),
        ([path, written(tmp_path, "name,loss.x\na,1\n", "other.csv")], "no column 'run' of names"),
        (written(tmp_path, "run,weight.a,loss.x\nr,1,1\n,1,1\n", "nameless.csv"), "row 1 has no name in column 'run'"),
    ]:
        with pytest.raises(InputError, match=message):
            read_runs(given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no column 'idx'.*'index'"):
        read_runs(written(tmp_path, "index,weight.a,loss.x\n1,1,1\n", "i.csv"), key="idx")
    with pytest.raises(InputError, match="ends in"):
        write_runs(read_runs(path), tmp_path / "runs.txt")


def test_no_half_written_table_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_runs(written(tmp_path))

    def fails(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pyarrow.csv, "write_csv", fails)
    with pytest.raises(OSError, match="disk full"):
        write_runs(runs, tmp_path / "new.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]
