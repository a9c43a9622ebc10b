"""MATES: documents by what they do for the model as it stands, in stages.

Paper: MATES: Model-Aware Data Selection for Efficient Pretraining with Data Influence Models, Yu et al. 2024
(arXiv:2406.06046).

What differs: the arm has one stage, for a model that has read a sample of the pool; `stages` below has them all, with
transformers, from Python. References are the target's documents that nothing is tested on; the authors' are test items
of LAMBADA. The influence model is linear over words and their pairs, not BERT, and the model a softmax over words
unless a folder is given. Every stage begins and ends with a learning rate of 0, and draws from the whole pool.

Cost: 1 s to fit, then 60 MB/s and core; with a transformer, 1,000 probes of a second or more each (docs/influence.md).

When not to use: where the rank correlation of foretold and measured influence (`spearman` in `assay show`) is near 0,
since the choice is then random; where one choice is to serve several models.
"""

from typing import Any, NamedTuple

from assay.api.scoring import score
from assay.api.selecting import select
from assay.api.tokenizing import tokenize
from assay.api.training import train
from assay.artifacts.kinds import Corpus, Selection
from assay.artifacts.model import Model
from assay.artifacts.workspace import Workspace
from assay.errors import check_integer
from assay.models.calibration import spearman
from assay.proxy.gpt import GPT
from assay.recipes.layout import Layout, against_random
from assay.scorers import Influence
from assay.selection.budget import Budget
from assay.selection.policies import Sample

_TEMPERATURE = 0.5


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """Sampled by influence, temperature 0.5."""
    select = {"sample": {"temperature": _TEMPERATURE}}
    return against_random(pool, target, budget, {"mates": {"score": {"influence": {}}, "select": select}})


class Stage(NamedTuple):
    """What a stage trained on, and what came of it.

    spearman: of foretold and measured influence; persistence: rank correlation of this stage's influences with those of
    the stage before, how little the model's wants have changed; None where there is none.
    """

    selection: Selection
    model: Model
    spearman: float | None = None
    persistence: float | None = None


def stages(
    pool: Corpus,
    target: Corpus,
    budget: str,
    *,
    num_stages: int = 5,
    influence: Influence | None = None,
    proxy: GPT | None = None,
    seed: int = 0,
    workspace: Workspace | None = None,
) -> list[Stage]:
    """Trains on a random choice, then again and again on what the model has most use for; all is found again.

    Args:
        target: what influence is measured on; keep what you test on apart.
        budget: tokens of all stages together, equally many each, as "2M tokens".
        influence: how it is measured; its `model` is set stage by stage.

    Raises:
        InvalidParameterError: a bad parameter, a budget that is not in tokens. MissingExtraError: torch is not there.
    """
    check_integer("num_stages", num_stages, 2, 1000)
    proxy, space, asked = proxy or GPT(), workspace or Workspace(), influence or Influence()
    share = f"{int(Budget.parse(budget).amount / num_stages)} tokens"
    tokens = tokenize(pool, vocab_size=proxy.vocab_size, workspace=space)
    given: dict[str, Any] = {"budget": share, "tokens": tokens, "workspace": space}
    chosen = select(pool, "uniform", seed=seed, **given)
    found = [Stage(chosen, train(pool, chosen, proxy=proxy, seed=seed, workspace=space))]
    before = None
    for number in range(1, num_stages):
        by = type(asked)(**{**asked.parameters(), "model": str(found[-1].model.path), "seed": seed + number})
        scores = score(pool, by, target=target, workspace=space)
        values = scores.to_table()["influence.value"].fill_null(0).to_numpy()
        chosen = select(pool, Sample(temperature=_TEMPERATURE), scores=scores, seed=seed + number, **given)
        model = train(pool, chosen, proxy=proxy, seed=seed + number, start=found[-1].model, workspace=space)
        persistence = None if before is None else spearman(before, values)
        found.append(Stage(chosen, model, scores.manifest.summary["spearman"], persistence))
        before = values
    return found
