"""`doremi`, `learn_skills` and `skillit`: weights that change while a model trains, on rung 0.

An n-gram model knows no order: after each step it is what it has read of every source so far. So a whole training is a
row of models. At 300k tokens each takes half a second; mixtures that need not wait for one another cost far less, since
they share the counting. What differs from the papers stands in `mixtures.doremi` and `mixtures.skillit`.
"""

from collections.abc import Sequence

import numpy as np

from assay.api.simulated import Simulated, bits_of, columns_of, limits_of, own_metric, weights_of
from assay.errors import check, check_choice, check_integer, check_number
from assay.mixtures import doremi as game
from assay.mixtures import skillit as skills
from assay.mixtures.doremi import DoReMi
from assay.mixtures.mixture import MAX_EPOCHS
from assay.mixtures.online import Reader, Step
from assay.mixtures.skillit import SkillIt

GRAPHS = ("runs", "pairs")


def doremi(
    simulation: Simulated,
    *,
    tokens: float,
    steps: int = 100,
    reference: np.ndarray | None = None,
    step_size: float = game.STEP_SIZE,
    smoothing: float = game.SMOOTHING,
    max_epochs: float | None = MAX_EPOCHS,
) -> DoReMi:
    """Weights by DoReMi: a reference model, then a proxy of the same tokens whose weights follow its excess losses.

    Args:
        simulation: with a metric "source:<name>" for every source.
        tokens: of each of the two trainings. steps: of the proxy's, of as many tokens each.
        reference: weights of the reference model [sources]; default in proportion to what there is of each source.
        step_size, smoothing: as of `mixtures.doremi`.
        max_epochs: how often the text of a source may be read; None = no limit.

    Raises:
        InvalidParameterError: a source without held-out text of its own, or a bad parameter.
    """
    check_number("tokens", tokens, "a number of at least 1", lambda x: x >= 1)
    check_integer("steps", steps, 1, 1_000_000)
    base = weights_of(simulation, reference)
    numbers = np.full(len(simulation.metrics), -1)
    for k, source in enumerate(simulation.sources):
        numbers[own_metric(simulation, source)] = k
    groups, num = numbers[simulation.groups], len(simulation.sources)
    told = bits_of(simulation, base[None] * tokens)[0]

    def excess(read: np.ndarray) -> np.ndarray:
        return game.excess_losses(bits_of(simulation, read)[0], told, groups, simulation.sizes, num)[None]

    step = Reader(excess, num, tokens / steps)
    limits = limits_of(simulation, tokens, max_epochs)
    return game.doremi(step, num, steps=steps, step_size=step_size, smoothing=smoothing, at_most=limits)


def learn_skills(
    simulation: Simulated,
    *,
    tokens: float,
    by: str = "runs",
    metrics: Sequence[str] | None = None,
) -> np.ndarray:
    """The graph of which source teaches what, from short runs that go on from one by equal weights [sources, metrics].

    Args:
        tokens: of the run that all go on from, and of each run. by: "runs", one for each source, or "pairs", where the
            metrics are the sources' own and an edge says that a source is worth reading *instead* of half of another.
        metrics: the columns; default all targets, by pairs the sources' own.

    Raises:
        InvalidParameterError: an unknown metric, other metrics by pairs, or a bad parameter.
    """
    check_number("tokens", tokens, "a number of at least 1", lambda x: x >= 1)
    check_choice("by", by, GRAPHS)
    one, num = np.eye(len(simulation.sources)), len(simulation.sources)
    before = one.mean(axis=0) * tokens
    if by == "runs":
        columns = columns_of(simulation, metrics)
        found = _losses(simulation, np.concatenate((before[None], before + one * tokens)), columns)
        return skills.graph_of_runs(found[0], found[1:])
    check(metrics is None, "metrics", metrics, "left out", "By pairs they are the sources' own.")
    columns = [own_metric(simulation, source) for source in simulation.sources]
    pairs = ((one[:, None] + one[None]) / 2).reshape(-1, num)
    found = _losses(simulation, before + np.concatenate((np.zeros((1, num)), pairs)) * tokens, columns)
    tested = found[1:].reshape(num, num, num)[:, np.arange(num), np.arange(num)]  # on j after half i, half j
    return skills.graph_of_pairs(found[0], tested.diagonal(), tested)


def skillit(
    simulation: Simulated,
    *,
    tokens: float,
    steps: int = 10,
    graph: np.ndarray | None = None,
    metrics: Sequence[str] | None = None,
    prior: np.ndarray | None = None,
    step_size: float = skills.STEP_SIZE,
    window: int = skills.WINDOW,
    max_epochs: float | None = MAX_EPOCHS,
) -> SkillIt:
    """A training by a skill graph, and one by equal weights beside it.

    Args:
        tokens: of the whole training. steps: after each of which it is tested and goes on by other weights.
        graph: [sources, metrics]; default learnt by `learn_skills` with runs as long as a step.
        metrics: what is to be learnt; default all targets.
        prior, step_size, window: as of `mixtures.skillit`.
        max_epochs: how often the text of a source may be read; None = no limit.

    Raises:
        InvalidParameterError: a graph of another shape, an unknown metric, or a bad parameter.
    """
    check_number("tokens", tokens, "a number of at least 1", lambda x: x >= 1)
    check_integer("steps", steps, 1, 1_000_000)
    columns, num = columns_of(simulation, metrics), len(simulation.sources)
    if graph is None:
        graph = learn_skills(simulation, tokens=tokens / steps, metrics=metrics)
    graph = np.asarray(graph, np.float64)
    check(graph.shape == (num, len(columns)), "graph", graph.shape, f"{num} sources x {len(columns)} metrics")

    def train() -> Step:
        return Reader(lambda read: _losses(simulation, read, columns), num, tokens / steps)

    return skills.skillit(
        train,
        graph,
        steps=steps,
        step_size=step_size,
        window=window,
        prior=prior,
        at_most=limits_of(simulation, tokens, max_epochs),
    )


def _losses(simulation: Simulated, tokens: np.ndarray, columns: list[int]) -> np.ndarray:
    """Bits per byte by metric [mixtures, columns]."""
    bits = bits_of(simulation, tokens)
    inside = [simulation.groups == k for k in columns]
    return np.stack([bits[:, i].sum(axis=1) / simulation.sizes[i].sum() for i in inside], axis=1)
