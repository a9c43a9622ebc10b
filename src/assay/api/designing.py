"""`design`: a table of runs to do, for people with a trainer of their own.

The table is that of `read_runs` without losses: train a model on each row, add a column `loss.<metric>` (or a second
file with the columns `run` and `loss.<metric>`), and read it back.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from assay.api.reading import read
from assay.api.scheduling import available
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.artifacts.yamlfile import read_yaml
from assay.errors import check, check_choice, check_number, check_text
from assay.mixtures.design import dirichlet, space_filling
from assay.mixtures.mixture import check_weights
from assay.mixtures.runs import Runs, write_runs
from assay.progress import note
from assay.selection.budget import Budget

# What each scheme draws, as `mixtures.design` says.
SCHEMES = {
    "spread": "RegMix's draws, those taken that lie farthest from each other; best with up to about 100 runs",
    "regmix": "RegMix's draws as they come",
    "even": "the whole simplex, whatever there is of each source; for two to six sources",
}


def design(
    sources: Mapping[str, float] | Iterable[str],
    num: int,
    *,
    scheme: str = "spread",
    budget: str | Budget | None = None,
    max_epochs: float = 4.0,
    corners: bool = False,
    seed: int = 0,
    out: str | Location | None = None,
) -> Runs:
    """Mixtures to train on, as runs that have no losses yet.

    Args:
        sources: tokens that there are of each (`assay.mix.available`), or only names, which then count alike. One
            without a token is left out, with a note.
        num: of runs. About four for each source; `runs_needed` tells more once there are 32.
        scheme: one of `SCHEMES`.
        budget: tokens of the model that the mixture is for. With it no source is given more than `max_epochs` of what
            there is of it; without, no more than 15 times its share ("even": no limit).
        corners: begin with the prior and each source as far alone as it may be; not with "regmix".
        out: .csv or .parquet to write the table to.

    Raises:
        InvalidParameterError: bad parameters, or sources that cannot fill the budget.
        InputError: `out` that ends neither in .csv nor in .parquet.
    """
    check_choice("scheme", scheme, SCHEMES)
    names, available = _sources(sources)
    prior = available / available.sum()
    check(not (corners and scheme == "regmix"), "corners", corners, "False with scheme='regmix'", "Use 'spread'.")
    caps = None
    if budget is not None:
        wanted = Budget.parse(budget)
        check(wanted.unit == "tokens", "budget", str(wanted), "in tokens")
        check(isinstance(sources, Mapping), "budget", str(wanted), "given with tokens of each source, not names alone")
        check_number("max_epochs", max_epochs, "a number above 0", lambda e: e > 0)
        caps = max_epochs * available / wanted.amount
    if scheme == "regmix":
        weights = dirichlet(prior, num, seed, at_most=caps)
    else:
        around = prior if scheme == "spread" else None
        weights = space_filling(num, len(names), seed, prior=around, at_most=caps, corners=corners)
    width = len(str(num - 1))
    runs = Runs(
        sources=names,
        weights=weights,
        metrics=(),
        losses=np.empty((num, 0)),
        names=tuple(f"run-{k:0{width}}" for k in range(num)),
    )
    if out is not None:
        write_runs(runs, out)
    return runs


def tokens_by_source(given: Sequence[str], by: str, workspace: Workspace) -> dict[str, float]:
    """Tokens of each source: as a YAML or JSON file says, a mapping of names to numbers, or counted in documents.

    Args:
        given: one .yaml, .yml or .json file, or files, folders or globs of documents. by: their column of sources.

    Raises:
        InputError, InvalidParameterError: no such file, no such column, or no mapping of names to numbers.
    """
    if len(given) > 1 or not given[0].endswith((".yaml", ".yml", ".json")):
        return available(read(list(given), workspace=workspace), by, workspace=workspace)
    content = read_yaml(Path(given[0]), f"There is no file {given[0]}. Give one of tokens by source, or documents.")
    check(isinstance(content, Mapping), given[0], content, "a mapping such as {web: 3e9, books: 2e8}")
    return check_weights(given[0], content)


def _sources(sources: Mapping[str, float] | Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and tokens [sources]."""
    check(not isinstance(sources, str), "sources", sources, "tokens by name, or a list of names")
    names = tuple(sources)
    for name in names:
        check_text("sources", name)
    check(len(set(names)) == len(names) >= 2, "sources", list(names), "at least two different names")
    if not isinstance(sources, Mapping):
        return names, np.ones(len(names))
    sizes = check_weights("sources", sources)
    if empty := [name for name, tokens in sizes.items() if not tokens]:
        note(f"left out, since there is no token of them: {', '.join(empty)}")
    names = tuple(name for name in names if sizes[name])
    check(len(names) >= 2, "sources", dict(sources), "at least two sources with tokens")
    return names, np.array([sizes[name] for name in names])
