"""Which clusters to draw documents from, when what these are worth is only seen once they are drawn.

UCB1: Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed bandit problem" (Machine Learning
47), theorem 1: with rewards between 0 and 1, `exploration` 1 and one draw at a time, what n draws miss against the best
arm all along is at most 8 sum ln n / gap + (1 + pi^2 / 3) sum gap over the other arms.
"""

import numpy as np


def draw_by_bound(rewards: np.ndarray, arms: np.ndarray, exploration: float, num_draws: int, most: int) -> np.ndarray:
    """The order in which documents are drawn from arms.

    Every arm is drawn from once; then, each time, from the one with the largest mean reward + exploration *
    sqrt(2 ln(draws of all) / own draws) that has something left. An arm gives its documents as they stand.

    Args:
        rewards: of each document [documents], finite. arms: of each document, from 0 [documents].
        num_draws: documents of an arm at a time. most: how many are drawn, at most.

    Returns:
        documents in order [at most `most`] int64.
    """
    num_arms = int(arms.max(initial=-1)) + 1
    by_arm = np.argsort(arms, kind="stable")
    ends = np.cumsum(np.bincount(arms, minlength=num_arms))
    starts = np.concatenate(([0], ends[:-1]))
    drawn, sums = np.zeros(num_arms, np.int64), np.zeros(num_arms)
    order: list[int] = []
    while len(order) < min(most, len(rewards)):
        tried = np.maximum(drawn, 1)
        bounds = sums / tried + exploration * np.sqrt(2 * np.log(max(1, drawn.sum())) / tried)
        bounds[drawn == 0] = np.inf
        bounds[starts + drawn == ends] = -np.inf
        arm = int(bounds.argmax())
        first = starts[arm] + drawn[arm]
        taken = by_arm[first : min(first + num_draws, ends[arm])]
        order.extend(taken.tolist())
        drawn[arm] += len(taken)
        sums[arm] += rewards[taken].sum()
    return np.array(order[:most], np.int64)
