"""The bandit over clusters: its regret against the bound of the paper, and what it draws."""

import numpy as np

from assay.kernels.bandit import draw_by_bound


def test_regret_on_planted_arms_stays_below_the_bound() -> None:
    """Auer et al. 2002, theorem 1: at most 8 sum ln n / gap + (1 + pi^2 / 3) sum gap, on average."""
    means, num_draws = np.array([0.8, 0.6, 0.5, 0.3]), 2000
    gaps = means[0] - means[1:]
    regrets = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        arms = np.repeat(np.arange(4), num_draws)  # none runs out
        rewards = (rng.random(len(arms)) < means[arms]).astype(float)
        order = draw_by_bound(rewards, arms, 1.0, 1, num_draws)
        regrets.append(np.sum(means[0] - means[arms[order]]))
    bound = 8 * np.log(num_draws) * np.sum(1 / gaps) + (1 + np.pi**2 / 3) * gaps.sum()
    assert 0 < np.mean(regrets) < bound
    assert np.mean(regrets) < 0.5 * num_draws * gaps.mean() * 3 / 4  # half of what drawing evenly misses


def test_everything_is_drawn_once_where_nothing_is_held_back() -> None:
    rng = np.random.default_rng(0)
    rewards, arms = rng.random(57), rng.integers(0, 5, 57)
    order = draw_by_bound(rewards, arms, 1.0, 3, 57)
    assert sorted(order) == list(range(57))
    assert draw_by_bound(rewards, arms, 1.0, 3, 10).tolist() == order[:10].tolist()


def test_each_arm_is_tried_before_any_is_preferred_and_gives_its_documents_as_they_stand() -> None:
    arms = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    order = draw_by_bound(np.where(arms == 1, 9.0, 0.0), arms, 0.0, 1, 9)
    assert order[:3].tolist() == [0, 1, 2] and order[3:5].tolist() == [4, 7]


def test_without_a_bonus_the_best_mean_is_drawn_and_with_one_all_are() -> None:
    rng = np.random.default_rng(1)
    arms = np.repeat(np.arange(3), 200)
    rewards = np.array([1.0, 0.9, 0.0])[arms] + 0.01 * rng.standard_normal(600)
    counts = [np.bincount(arms[draw_by_bound(rewards, arms, e, 1, 150)], minlength=3) for e in (0.0, 0.3, 30.0)]
    assert counts[0].tolist() == [148, 1, 1]
    assert counts[1][1] > 20 > counts[1][2] and counts[2].min() > 40


def test_no_documents_are_no_trouble() -> None:
    assert len(draw_by_bound(np.empty(0), np.empty(0, np.int64), 1.0, 1, 5)) == 0
