"""How well regressors rank mixtures by how many runs they have, on RegMix's tables; two tables in Markdown.

    python examples/mixture_regressors.py shared/data/papers/regmix [DRAWS]

Each regressor is fitted to some of the 512 runs at 1M parameters (several draws of them, the same for all; of all 512
several seeds), once for each of 13 losses, and ranks the mixtures of the test tables at 1M, 60M and 1B. Shown:
Spearman's correlation in hundredths, the mean over losses and draws, at 1B also the mean of the worst and of the best
draw, and seconds of one fit. `lightgbm, published` stops early on the test runs at 1M, as the notebook does. The second
table is of differences, with intervals by resampling the mixtures of a test table. Two minutes on one core.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from assay.mixtures.regression import REGRESSORS, Predictor, trees_until
from assay.mixtures.runs import Runs, read_runs
from assay.models.calibration import spearman

NUM_RUNS = (32, 64, 128, 256, 512)
SIZES = ("1m", "60m", "1B")
PUBLISHED = "lightgbm, published"
WEB = "pile_cc_val_loss"
RESAMPLES = 200


def table(folder: Path, name: str) -> Runs:
    """One of the published tables, such as train_*_1m.csv."""
    files = [folder / name.replace("*", kind) for kind in ("mixture", "pile_loss")]
    return read_runs(files, key="index", weights="train_the_pile_", losses="metric/the_pile_")


def fitted(name: str, train: Runs, test: Runs, rows: np.ndarray, seed: int) -> Iterator[Predictor]:
    """A predictor of each loss."""
    for k in range(len(train.metrics)):
        weights, losses = train.weights[rows], train.losses[rows, k]
        if name == PUBLISHED:  # it sees the losses that it is judged by
            yield trees_until(weights, losses, test.weights, test.losses[:, k], 42)
        else:
            yield REGRESSORS[name].fit(weights, losses, seed)


def correlations(foretold: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Spearman's, in hundredths, of columns [losses]; NaN where all that is foretold is the same."""
    found = [spearman(one, other) for one, other in zip(foretold.T, losses.T, strict=True)]
    return np.array([np.nan if one is None else 100 * one for one in found])


def interval(ours: list[np.ndarray], theirs: list[np.ndarray], losses: np.ndarray) -> str:
    """How much better ours rank than theirs [mixtures, losses], means over draws and losses, with a 95 % interval."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(RESAMPLES + 1):
        rows = rng.integers(len(losses), size=len(losses)) if k else np.arange(len(losses))
        a, b = (np.mean([correlations(one[rows], losses[rows]) for one in some]) for some in (ours, theirs))
        found.append(a - b)
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return f"{found[0]:+.2f} ({low:+.2f} to {high:+.2f})"


def main(folder: Path, num_draws: int) -> None:
    """Prints the tables."""
    train = table(folder, "train_*_1m.csv")
    tests = {size: table(folder, f"test_*_{size}.csv") for size in SIZES}
    web = train.metrics.index(WEB)
    foretold: dict[tuple[str, int, str], list[np.ndarray]] = {}
    print("| regressor | runs | 1M | 60M | 1B | 1B, by draw | Pile-CC at 1B | seconds a fit |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [*REGRESSORS, PUBLISHED]:
        for num in NUM_RUNS:
            least = REGRESSORS["lightgbm" if name == PUBLISHED else name].min_runs(len(train.sources))
            if num < least:
                print(f"| {name} | {num} | too few runs | | | | | |", flush=True)
                continue
            seconds = 0.0
            for draw in range(num_draws):
                rows = np.random.default_rng([11, num, draw]).permutation(len(train))[:num]
                started = time.process_time()
                predictors = list(fitted(name, train, tests["1m"], np.sort(rows), draw))
                seconds += (time.process_time() - started) / len(predictors) / num_draws
                for size, runs in tests.items():
                    columns = [predictor.predict(runs.weights) for predictor in predictors]
                    foretold.setdefault((name, num, size), []).append(np.column_stack(columns))
            found = {
                size: np.array([correlations(one, tests[size].losses) for one in foretold[name, num, size]])
                for size in SIZES
            }
            by_draw = found["1B"].mean(axis=1)
            cells = [f"{found[size].mean():.2f}" for size in SIZES]
            cells += [f"{by_draw.min():.2f} to {by_draw.max():.2f}", f"{found['1B'][:, web].mean():.2f}"]
            print(f"| {name} | {num} | {' | '.join(cells)} | {seconds:.2f} |", flush=True)
    print("\n| less lightgbm with 512 runs | 1M | 60M | 1B |\n|---|---|---|---|")
    for name, num in [("gp", 64), ("gp", 128), ("gp", 256), ("gp", 512), ("power", 512)]:
        cells = [
            interval(foretold[name, num, size], foretold["lightgbm", 512, size], tests[size].losses) for size in SIZES
        ]
        print(f"| {name}, {num} runs | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
