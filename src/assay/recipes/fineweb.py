"""FineWeb: language, rules and MinHash for web text, one after the other.

Paper: The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale, Penedo et al. 2024
(arXiv:2406.17557), sections 3.2 to 3.6.

What differs: near duplicates are looked for in the whole pool, before anything is left out, and candidates are
checked by their true similarity. The language model is another one. Each stage is an arm, so that you see what it
adds.

Cost: language 30 MB/s, rules 34 MB/s, MinHash 150 MB/s, each a pass and a core. Needs pip install 'assay[language]'.

When not to use: on text that is no web page: what is clean loses by it. What the rules are worth depends on the noise
there is (docs/evidence.md).
"""

from typing import Any

from assay.recipes.layout import Layout, against_random

_LANGUAGE = "language.code = 'en' and language.confidence > 0.65"
_RULES = "passes('gopher', 'c4', 'fineweb')"


def recipe(pool: Any, target: Any, budget: str) -> Layout:
    """English; then rules; then one of each cluster of near duplicates."""
    arms = {
        "english": {"where": _LANGUAGE},
        "english-rules": {"where": f"{_LANGUAGE} and {_RULES}"},
        "fineweb": {"where": f"{_LANGUAGE} and {_RULES} and minhash.representative"},
    }
    return against_random(pool, target, budget, arms)
