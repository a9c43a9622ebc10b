"""INGENIOUS: documents that stand for all others, by facility location.

Paper: INGENIOUS: Using Informative Data Subsets for Efficient Pre-Training of Language Models, Renduchintala et al.
2023 (arXiv:2305.06677).

What differs: vectors are of hashed words, not hidden states of the model that is trained, and the subset is drawn
once. `facility-location` takes what was chosen first in every group; `ingenious` draws by the weights 1 + g + g^2 / 2
of the gains, as the paper does.

Cost: vectors once (docs/embeddings.md), then 0.7 s per 4,096 documents.

When not to use: when the pool is noisy: what is odd and rare is taken as soon as what is good.
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_GAIN = "facility_location.gain"


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """The greedy order, and a sample by the gains."""
    score: dict[str, Any] = {"facility_location": {}}
    arms = {
        "ingenious": {
            "score": {**score, "by": f"ln(1 + {_GAIN} + {_GAIN} * {_GAIN} / 2)"},
            "select": {"sample": {}},
        },
        "facility-location": {"score": score, "select": "top"},
    }
    return against_random(pool, target, budget, arms)
