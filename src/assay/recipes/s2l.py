"""S2L: equally much of every way in which a small model's losses fall.

Paper: SmallToLarge (S2L): Scalable Data Selection for Fine-tuning Large Language Models by Summarizing Training
Trajectories of Small Models, Yang et al. 2024 (arXiv:2403.07384).

What differs: without `--checkpoints` the small model is n-grams that have read a sixteenth, an eighth ... all of a
sample of the pool; with a folder of checkpoints of a small transformer it is the paper's. Each cluster gets as many
tokens, where the paper counts examples. `learnable` is no arm of the paper: the documents
whose losses fall most, which goes by the same checkpoints and asks whether a balance is needed.

Cost: without checkpoints 10 s, then 1.5 MB/s and core for both arms; with them, each reads the pool once.

When not to use: for pretraining on a noisy pool, since every kind of noise is a cluster and gets the same share, and
what falls most is what the pool has little of: on one of 13 domains both arms were worse than random. The paper
balances clean examples of one kind for fine-tuning.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random


def recipe(pool: Any, target: Any, budget: str, *, checkpoints: str | None = None) -> Layout:
    """Equal shares of 100 clusters; and what can be learnt."""
    models = {} if checkpoints is None else {"models": checkpoints}
    arms = {
        "s2l": {"select": {"quota": {"by": "trajectories.cluster", "shares": "equal"}}},
        "learnable": {"score": {"learnability": models}, "select": "top"},
    }
    scorers = {"scorers": {"trajectories": models}} if models else {}
    return against_random(pool, target, budget, arms, **scorers)
