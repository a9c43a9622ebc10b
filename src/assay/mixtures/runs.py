"""Tables of runs: the mixture that each was trained on, and what it lost. What every search over mixtures reads.

In CSV or Parquet, as anybody's trainer can write them, a row is a run. Columns:

- `run` (optional): its name; without the column runs are called by their row, from 0.
- `weight.<source>`: the share of that source in what the run read. Rows sum to 1, within 0.01 for rounding.
- `loss.<metric>`: what it lost, lower is better; empty or NaN = the run failed.
- `tokens` (optional): how many it read.

Other prefixes by argument; other columns are not looked at. Columns may lie in several files that share the column of
names. RegMix's tables, as published:

    files = ["train_mixture_1m.csv", "train_pile_loss_1m.csv"]
    read_runs(files, key="index", weights="train_the_pile_", losses="metric/the_pile_")
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from assay.artifacts.storage import Location, atomic_path, location, open_bytes, read_parquet
from assay.errors import InputError, InvalidParameterError, check, check_text, did_you_mean
from assay.progress import note

KEY = "run"
WEIGHTS = "weight."
LOSSES = "loss."
_TOKENS = "tokens"
_TOLERANCE = 0.01  # of a row's sum: RegMix's, rounded to 0.001 a source, are 0.996 to 1.003
_SUFFIXES = (".csv", ".parquet")
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs of one trainer, at one size, on mixtures of the same sources.

    sources: names of the sources. weights: share of each in what a run read [runs, sources] float64, rows sum to 1.
    metrics: names of what was measured; lower is better. losses: [runs, metrics] float64, finite.
    names: of the runs [runs]. tokens: what each run read [runs] float64, or None where nobody says.
    """

    sources: tuple[str, ...]
    weights: np.ndarray
    metrics: tuple[str, ...]
    losses: np.ndarray
    names: tuple[str, ...]
    tokens: np.ndarray | None = None

    def __post_init__(self) -> None:
        num = len(self.names)
        check(num > 0, "runs", num, "at least one")
        check(self.weights.shape == (num, len(self.sources)), "weights", self.weights.shape, "runs x sources")
        check(self.losses.shape == (num, len(self.metrics)), "losses", self.losses.shape, "runs x metrics")
        check_shares(self.weights)
        for k, name in enumerate(self.names):
            if not np.isfinite(self.losses[k]).all():
                raise InvalidParameterError(
                    f"Run {name!r} has a loss that is no number. Leave it out, or run it again."
                )

    def __len__(self) -> int:
        return len(self.names)

    def loss(self, metric: str | None = None) -> np.ndarray:
        """Losses by one metric, or their mean over all [runs]."""
        check(bool(self.metrics), "runs", "without losses", "a table that has some", "Train on each, and add its loss.")
        if metric is None:
            return self.losses.mean(axis=1)
        check(metric in self.metrics, "metric", metric, f"one of {', '.join(self.metrics)}")
        return self.losses[:, self.metrics.index(metric)]


def check_shares(weights: np.ndarray) -> None:
    """Asks that rows [runs, sources] are mixtures: regressors and laws go wrong in silence on percents or tokens."""
    bad = np.flatnonzero(~((weights >= 0).all(axis=1) & (np.abs(weights.sum(axis=1) - 1) <= _TOLERANCE)))
    if len(bad):
        row = weights[bad[0]]
        raise InvalidParameterError(
            f"`weights`: row {bad[0]} ({_listed([f'{share:g}' for share in row])}) must be shares of at least 0 that"
            f" sum to 1, and sums to {row.sum():g}. Divide each row by its sum."
        )


def read_runs(
    paths: str | Location | Sequence[str | Location],
    *,
    key: str = KEY,
    weights: str = WEIGHTS,
    losses: str = LOSSES,
    drop_failed: bool = False,
) -> Runs:
    """Runs of a table, or of several whose rows are joined by `key`.

    Args:
        paths: .csv or .parquet. key: the column of names. weights, losses: how columns of shares and of losses begin;
            what follows is the source or the metric.
        drop_failed: leave runs without a finite loss out, and say how many; otherwise they are an error.

    Returns:
        runs in the order of the first file, with rows of weights that sum to 1.

    Raises:
        InputError: files that cannot be read or joined, columns that are missing, twice there or hold no numbers,
            two runs of one name, shares below 0 or that do not sum to 1, failed runs.
    """
    check_text("weights", weights)
    check_text("losses", losses)
    files = [location(path) for path in ([paths] if isinstance(paths, str | Location) else paths)]
    if not files:
        raise InputError("No table of runs was given. Give a .csv or .parquet file.")
    table, names = _joined([_table(file, key) for file in files], files, key)
    where = ", ".join(file.name for file in files)
    sources, shares = _columns(table, weights, "weights", where, names)
    metrics, lost = _columns(table, losses, "losses", where, names)
    shares, tokens = _normal(shares, names, where), _tokens(table, names, where)
    kept = _finished(lost, names, where, drop_failed)
    runs = Runs(
        sources=sources,
        weights=shares[kept],
        metrics=metrics,
        losses=lost[kept],
        names=tuple(names[k] for k in kept),
        tokens=None if tokens is None else tokens[kept],
    )
    _warn(runs)
    return runs


def write_runs(runs: Runs, path: str | Location) -> None:
    """Writes the table that `read_runs` reads; numbers come back as they were.

    Raises:
        InputError: a name that ends neither in .csv nor in .parquet.
    """
    path = location(path)
    _check_suffix(path)
    columns: dict[str, pa.Array] = {KEY: pa.array(runs.names, pa.string())}
    columns |= {f"{WEIGHTS}{name}": pa.array(runs.weights[:, k]) for k, name in enumerate(runs.sources)}
    columns |= {f"{LOSSES}{name}": pa.array(runs.losses[:, k]) for k, name in enumerate(runs.metrics)}
    if runs.tokens is not None:
        columns[_TOKENS] = pa.array(runs.tokens)
    table = pa.table(columns)
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            pq.write_table(table, temporary)


def _check_suffix(path: Location) -> None:
    if path.suffix not in _SUFFIXES:
        raise InputError(f"A table of runs (={path}) must be a file whose name ends in {' or '.join(_SUFFIXES)}.")


def _table(path: Location, key: str) -> pa.Table:
    _check_suffix(path)
    if isinstance(path, Path) and not path.is_file():
        raise InputError(f"There is no table of runs at {path}.")
    try:
        if path.suffix == ".parquet":
            table = read_parquet(path, None)
        else:
            with open_bytes(path) as stream:
                # Names are text: as numbers 01 and 1 would be one run.
                options = pyarrow.csv.ConvertOptions(column_types={key: pa.string()})
                table = pyarrow.csv.read_csv(stream, convert_options=options)
        columns = table.column_names
    except UnicodeDecodeError:
        raise InputError(f"{path} names columns in letters that are not UTF-8. Save it as UTF-8.") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {' '.join(str(error).split())[:200]}") from None
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise InputError(f"{path} has two columns {twice[0]!r}. Rename one.")
    if not len(table):
        raise InputError(f"{path} has no runs.")
    return table


def _joined(tables: list[pa.Table], files: list[Location], key: str) -> tuple[pa.Table, list[str]]:
    """Columns of all tables, rows in the order of the first, and the names of runs."""
    names = [_names(table, file, key, len(tables) > 1) for table, file in zip(tables, files, strict=True)]
    found = tables[0]
    for table, file, theirs in zip(tables[1:], files[1:], names[1:], strict=True):
        for one, other, here, there in ((names[0], theirs, files[0], file), (theirs, names[0], file, files[0])):
            alone = [name for name in one if name not in set(other)]
            if alone:
                raise InputError(
                    f"Runs of {here.name} that are not in {there.name}: {_listed(alone)}. Join needs both."
                )
        places = {name: k for k, name in enumerate(theirs)}
        table = table.take([places[name] for name in names[0]])
        for name in table.column_names:
            if name != key and name in found.column_names:
                raise InputError(
                    f"Both {files[0].name} and {file.name} have a column {name!r}. Rename or leave out one."
                )
            if name != key:
                found = found.append_column(name, table.column(name))
    return found, names[0]


def _names(table: pa.Table, file: Location, key: str, is_needed: bool) -> list[str]:
    if key not in table.column_names:
        if is_needed or key != KEY:
            way_out = did_you_mean(key, table.column_names) or f"It has {_listed(table.column_names)}."
            raise InputError(f"{file} has no column {key!r} of names of runs. {way_out} Pass key=...")
        return [str(k) for k in range(len(table))]
    values = table.column(key).to_pylist()
    names = ["" if value is None else str(value) for value in values]
    if "" in names:
        raise InputError(f"{file}: row {names.index('')} has no name in column {key!r}.")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{file}: two runs are called {twice[0]!r}. Names must differ, such as by their seed.")
    return names


def _columns(
    table: pa.Table, prefix: str, what: str, where: str, names: list[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names after the prefix, and values [runs, columns] float64; NaN where there is none."""
    found = [name for name in table.column_names if name.startswith(prefix) and name != prefix]
    if not found:
        raise InputError(
            f"{where} has no column that begins with {prefix!r}; it has {_listed(table.column_names)}. "
            f"Pass {what}=... with what such columns begin with."
        )
    values = np.column_stack([_numbers(table, name, where, names) for name in found])
    return tuple(name.removeprefix(prefix) for name in found), values


def _numbers(table: pa.Table, name: str, where: str, names: list[str]) -> np.ndarray:
    try:
        return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException:
        for run, value in zip(names, table.column(name).to_pylist(), strict=True):
            try:
                float(value or "nan")  # what is empty is no number either, and is spoken of elsewhere
            except (TypeError, ValueError):
                raise InputError(f"{where}: column {name!r} holds {value!r} for run {run!r}, no number.") from None
        raise InputError(f"{where}: column {name!r} holds {table.schema.field(name).type}, no numbers.") from None


def _normal(shares: np.ndarray, names: list[str], where: str) -> np.ndarray:
    """Rows of shares that sum to 1."""
    bad = np.flatnonzero(~(np.isfinite(shares) & (shares >= 0)).all(axis=1))
    if len(bad):
        listed = _listed([names[k] for k in bad])
        raise InputError(
            f"{where}: shares that are missing, below 0 or no numbers, in runs {listed}. Write 0 for none."
        )
    sums = shares.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > _TOLERANCE:
        raise InputError(
            f"{where}: the shares of run {names[worst]!r} sum to {sums[worst]:.4g}, not to 1. Divide them by "
            "their sum, or add the column of the source that is missing."
        )
    return shares / sums[:, None]


def _tokens(table: pa.Table, names: list[str], where: str) -> np.ndarray | None:
    if _TOKENS not in table.column_names:
        return None
    tokens = _numbers(table, _TOKENS, where, names)
    bad = np.flatnonzero(~(tokens > 0) | ~np.isfinite(tokens))
    if len(bad):
        listed = _listed([names[k] for k in bad])
        raise InputError(f"{where}: `tokens` must be above 0, and is not in runs {listed}. Leave the column out.")
    return tokens


def _finished(lost: np.ndarray, names: list[str], where: str, drop_failed: bool) -> np.ndarray:
    """Rows of runs that have all losses."""
    is_finite = np.isfinite(lost).all(axis=1)
    failed = [names[k] for k in np.flatnonzero(~is_finite)]
    if failed:
        what = f"{len(failed)} of {len(names)} runs have a loss that is missing or no number: {_listed(failed)}"
        if not drop_failed:
            raise InputError(f"{where}: {what}. Run them again, or pass drop_failed=True to leave them out.")
        if len(failed) == len(names):
            raise InputError(f"{where}: {what}. None is left.")
        note(f"{what}; they are left out")
    return np.flatnonzero(is_finite)


def _warn(runs: Runs) -> None:
    never = [name for name, most in zip(runs.sources, runs.weights.max(axis=0), strict=True) if most == 0]
    if never:
        note(f"no run read anything of {_listed(never)}: of such sources these runs cannot say what they are worth")
    same = [name for name, spread in zip(runs.metrics, np.ptp(runs.losses, axis=0), strict=True) if spread == 0]
    if same and len(runs) > 1:
        note(f"all runs lost the same by {_listed(same)}: such metrics cannot tell mixtures apart")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
