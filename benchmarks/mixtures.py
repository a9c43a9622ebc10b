"""Rows about mixtures."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from assay.mixtures.gaussian import fit_gaussian
from assay.mixtures.runs import Runs, read_runs
from assay.models.calibration import spearman
from benchmarks.data import PeerMissing

_REGMIX = Path(__file__).parents[2] / "shared" / "data" / "papers" / "regmix"
_RUNS = 5


def regmix_fit(folder: Path) -> dict[str, Any]:
    """A regressor for each of the 13 losses of RegMix's 512 runs, one core; and the rank correlations they reach at 1B.

    Ours is `gp`, which `choose` takes for these runs, without the choosing (that fits all regressors five times: 3 s a
    loss). The peer is LightGBM with the settings of the published notebook, stopped early on the test runs at 1M.
    """
    if not _REGMIX.is_dir():
        raise PeerMissing("RegMix's tables are not in this checkout")
    import lightgbm
    from threadpoolctl import threadpool_limits  # scikit-learn's

    train, held, large = (_table(name) for name in ("train_*_1m.csv", "test_*_1m.csv", "test_*_1B.csv"))

    def ours() -> list[Any]:
        return [fit_gaussian(train.weights, losses) for losses in train.losses.T]

    def theirs() -> list[Any]:
        settings = {"metric": ["l1", "l2"], "learning_rate": 0.01, "seed": 42, "num_threads": 1, "verbosity": -1}
        found = []
        for losses, judged in zip(train.losses.T, held.losses.T, strict=True):
            runs = lightgbm.Dataset(train.weights, losses)
            watched = lightgbm.Dataset(held.weights, judged, reference=runs)
            stop = lightgbm.early_stopping(3, verbose=False)
            found.append(lightgbm.train(settings, runs, 1000, valid_sets=[watched], callbacks=[stop]))
        return found

    with threadpool_limits(1):
        reached = [_correlation(predictors, large) for predictors in (ours(), theirs())]
        mine, peer = _alternate(ours, theirs)
    unit = f"s, 13 losses of 512 runs, one core; rank correlation at 1B {reached[0]:.4f} and {reached[1]:.4f}"
    return {"ours": mine, "peer": peer, "unit": unit, "ratio": peer / mine, "peer_name": "LightGBM as in RegMix"}


def _table(name: str) -> Runs:
    files = [_REGMIX / name.replace("*", kind) for kind in ("mixture", "pile_loss")]
    return read_runs(files, key="index", weights="train_the_pile_", losses="metric/the_pile_")


def _correlation(predictors: list[Any], runs: Runs) -> float:
    """Mean over losses of the rank correlation with what is foretold."""
    pairs = zip(predictors, runs.losses.T, strict=True)
    return float(np.mean([spearman(one.predict(runs.weights), losses) or np.nan for one, losses in pairs]))


def _alternate(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of this process's CPU time of each, in turn: with one thread, other processes do not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_RUNS):
        for function, times in zip((ours, theirs), seconds, strict=True):
            started = time.process_time()
            function()
            times.append(time.process_time() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
