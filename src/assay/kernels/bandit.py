"""Which clusters to draw documents from, when what these are worth is only seen once they are drawn.

UCB1: Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed bandit problem" (Machine Learning
47), theorem 1: with rewards between 0 and 1, `exploration` 1 and one draw at a time, what n draws miss against the best
arm all along is at most 8 sum ln n / gap + (1 + pi^2 / 3) sum gap over the other arms.
"""

import numpy as np


def draw_by_bound(
    rewards: np.ndarray, arms: np.ndarray, exploration: float, num_draws: int, threshold: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws from arms until enough of what was drawn is worth keeping, or nothing is left.

    Every arm is drawn from once; then, each time, from the one with the largest mean reward + exploration *
    sqrt(2 ln(draws of all) / own draws). An arm gives its documents in the order in which they stand.

    Args:
        rewards: of each document [documents], finite. arms: of each document, 0 to arms - 1 [documents].
        num_draws: documents of an arm at a time. threshold: above which a document is kept. most: kept, at most.

    Returns:
        the documents kept, in order, and how many were drawn of each arm [arms].
    """
    num_arms = int(arms.max(initial=-1)) + 1
    order = np.argsort(arms, kind="stable")
    ends = np.cumsum(np.bincount(arms, minlength=num_arms))
    starts = np.concatenate(([0], ends[:-1]))
    drawn, sums = np.zeros(num_arms, np.int64), np.zeros(num_arms)
    bounds = np.where(ends > starts, np.inf, -np.inf)
    kept: list[int] = []
    while len(kept) < most and (bounds > -np.inf).any():
        arm = int(bounds.argmax())
        first = starts[arm] + drawn[arm]
        taken = order[first : min(first + num_draws, ends[arm])]
        kept.extend(taken[rewards[taken] > threshold].tolist())
        drawn[arm] += len(taken)
        sums[arm] += rewards[taken].sum()
        is_open = starts + drawn < ends
        tried = np.maximum(drawn, 1)
        ucb = sums / tried + exploration * np.sqrt(2 * np.log(drawn.sum()) / tried)
        bounds = np.where(is_open, np.where(drawn > 0, ucb, np.inf), -np.inf)
    return np.array(kept[:most], np.int64), drawn
