"""Skill-It: what to read next, by how far behind each skill is and which text teaches it.

Paper: Skill-it! A Data-Driven Skills Framework for Understanding and Training Language Models, Chen et al. 2023
(arXiv:2307.14430), section 3; the authors' code is HazyResearch/skill-it at 807b3bf. A graph A says how much text of
source i teaches what figure j measures. From the losses L of the last evaluations,

    p_i = prior_i * exp(step_size * sum over the window of sum_j A_ij L_j), scaled to sum 1,

anew from the prior each time, not from the p before; the first p takes every L_j as 1.

Two graphs can be learnt from short runs:

- `graph_of_runs`, the paper's linear approximation: one run for each source. A_ij is how much i improves j, as a share
  of what the best source does: 1 for the source that teaches j best, 0 for one that does no good.
- `graph_of_pairs`, the paper's brute force: a run for each pair besides. An edge stands where half i and half j end
  with a lower loss on j than j alone does in as many steps. Off the diagonal A_ij is how much lower, as a share of what
  j alone gains; the authors' code writes 0.5 for every edge of its synthetic skills.

What differs: no source goes above `at_most`. The paper's rule has no such limit and reads a source that has run out
again and again, the more the less that helps, since a loss that stays high asks for more. The window counts
evaluations, one a step, as the authors' code does and not the paper; exponents are scaled by nothing, so give losses
of one unit (bits per byte) and see that step_size fits. The same training by equal weights (stratified sampling) is
always run beside and reported.

Cost: sources + 1 short runs for the linear graph, sources squared for pairs; then two trainings, evaluated every step.

When not to use: without looking at the stratified losses. Graphs that are learnt from short runs are often wrong, and
then the mixture loses to equal weights (Aioli, Chen et al. 2024, arXiv:2411.05735). With n-gram models all text of a
language teaches all other text of it a little: graphs by runs are dense, and p stays near the prior.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.mixtures.online import Step, within

STEP_SIZE = 0.5  # the paper's for LEGO; .1 addition, .2 Natural Instructions, .8 Spanish questions
WINDOW = 3


class SkillIt(NamedTuple):
    """What a training by a skill graph did, and the same training by equal weights.

    weights: mean over steps of what was read [sources], sum 1. path: weights of each step [steps, sources].
    losses: after each step [steps, figures]. stratified: the same of the training by equal weights [steps, figures].
    """

    weights: np.ndarray
    path: np.ndarray
    losses: np.ndarray
    stratified: np.ndarray

    @property
    def saved(self) -> float:
        """Mean loss at the end that was saved against equal weights; below 0 the graph did harm."""
        return float(self.stratified[-1].mean() - self.losses[-1].mean())


def skillit(
    train: Callable[[], Step],
    graph: np.ndarray,
    *,
    steps: int = 6,
    step_size: float = STEP_SIZE,
    window: int = WINDOW,
    prior: np.ndarray | None = None,
    at_most: np.ndarray | None = None,
) -> SkillIt:
    """Trains by the graph, and by equal weights beside.

    Args:
        train: begins a new training; its steps read by weights [sources] and give losses [figures]. Called twice.
        graph: how much each source teaches each figure [sources, figures], at least 0.
        steps: of as much text each. window: how many of the last evaluations count. step_size: of the exponent.
        prior: weights [sources]; default equal ones.
        at_most: largest weight of each source, in both trainings [sources]; default no limit.

    Raises:
        InvalidParameterError: a bad parameter, or losses that are no numbers.
    """
    base = _checked(graph, prior, step_size)
    check_integer("steps", steps, 1, 1_000_000)
    check_integer("window", window, 1)
    step = train()
    path, losses = np.empty((steps, len(graph))), np.empty((steps, graph.shape[1]))
    for t in range(steps):
        seen = losses[max(0, t - window) : t] if t else np.ones((1, graph.shape[1]))
        path[t] = within(update(graph, seen, prior=base, step_size=step_size), at_most)
        losses[t] = _measured(step, path[t], graph.shape[1])
    step, even = train(), within(np.full(len(graph), 1 / len(graph)), at_most)
    stratified = np.array([_measured(step, even, graph.shape[1]) for _ in range(steps)])
    return SkillIt(path.mean(axis=0), path, losses, stratified)


def update(
    graph: np.ndarray, losses: np.ndarray, *, prior: np.ndarray | None = None, step_size: float = STEP_SIZE
) -> np.ndarray:
    """Weights for the next step [sources], sum 1.

    Args:
        graph: [sources, figures], at least 0. losses: of the evaluations inside the window [evaluations, figures].
        prior: weights [sources]; default equal ones.

    Raises:
        InvalidParameterError: a graph or losses of another shape, or below 0, or no numbers.

    Source: arXiv:2307.14430, section 3.3.

    >>> update(np.eye(2), np.log([[2.0, 1.0], [3.0, 2.0]]), step_size=1.0).round(4).tolist()
    [0.75, 0.25]
    """
    base = _checked(graph, prior, step_size)
    check(losses.ndim == 2 and losses.shape[1] == graph.shape[1], "losses", losses.shape, "evaluations x figures")
    with np.errstate(divide="ignore"):
        exponent = np.log(base) + step_size * (graph @ losses.sum(axis=0))
    raised: np.ndarray = np.exp(exponent - exponent.max())
    return raised / raised.sum()


def graph_of_runs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How much each source teaches each figure, from one run for each source [sources, figures], 0 to 1.

    Args:
        before: losses where all runs start [figures]. after: at the end of the run of each source [sources, figures].

    Returns:
        improvement as a share of the best source's; a column of zeros for a figure that no run improved.

    Raises:
        InvalidParameterError: shapes that do not fit, or losses that are no numbers.
    """
    _check_losses("before", before, after.shape[1:])
    _check_losses("after", after, after.shape)
    gained = np.maximum(before - after, 0)
    best = gained.max(axis=0)
    return np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)


def graph_of_pairs(before: np.ndarray, alone: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which skill is a prerequisite of which, from runs of one and of two skills [skills, skills]; 1 on the diagonal.

    Args:
        before: losses where all runs start [skills]. alone: on each skill at the end of a run on it alone [skills].
        pairs: on skill j at the end of a run, as long, on half i and half j [skills i, skills j]; the diagonal is not
            looked at.

    Returns:
        how much lower than alone, as a share of what alone gains; at most 1, and 1 where alone gains nothing.

    Raises:
        InvalidParameterError: shapes that do not fit, or losses that are no numbers.
    """
    num = len(before)
    for name, values, shape in (("before", before, (num,)), ("alone", alone, (num,)), ("pairs", pairs, (num, num))):
        _check_losses(name, values, shape)
    gained = np.broadcast_to(np.maximum(before - alone, 0), (num, num))
    more = np.maximum(alone - pairs, 0)
    shares = np.divide(more, gained, out=np.ones((num, num)), where=gained > 0)
    graph = np.where(more > 0, np.minimum(shares, 1.0), 0.0)
    np.fill_diagonal(graph, 1.0)
    return graph


def _checked(graph: np.ndarray, prior: np.ndarray | None, step_size: float) -> np.ndarray:
    """The prior, when graph, prior and step size may be used."""
    check(graph.ndim == 2 and graph.size > 0, "graph", graph.shape, "sources x figures")
    check(bool(np.isfinite(graph).all() and (graph >= 0).all()), "graph", graph.tolist(), "numbers of at least 0")
    check_number("step_size", step_size, "a number above 0", lambda x: x > 0)
    if prior is None:
        return np.full(len(graph), 1 / len(graph))
    prior = np.asarray(prior, np.float64)
    check(prior.shape == (len(graph),), "prior", prior.shape, f"a weight for each of {len(graph)} sources")
    ok = np.isfinite(prior).all() and (prior >= 0).all() and prior.sum() > 0
    check(bool(ok), "prior", prior.tolist(), "weights of at least 0, one above it")
    return prior / prior.sum()


def _measured(step: Step, weights: np.ndarray, num_figures: int) -> np.ndarray:
    found = np.asarray(step(weights), np.float64)
    if found.shape != (num_figures,) or not np.isfinite(found).all():
        raise InvalidParameterError(
            f"A step gave {found.tolist()} as losses. Give {num_figures} numbers, one for each column of `graph`."
        )
    return found


def _check_losses(name: str, losses: np.ndarray, shape: tuple[int, ...]) -> None:
    check(losses.shape == shape and len(shape) > 0, name, losses.shape, f"losses of shape {shape}")
    check(bool(np.isfinite(losses).all()), name, losses.tolist(), "numbers")
