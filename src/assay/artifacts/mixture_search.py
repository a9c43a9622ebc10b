"""The noun that a search over mixtures leaves: what was tried, what it lost, and what was found."""

import json
from functools import cached_property
from typing import Any, ClassVar

from assay.artifacts.kinds import Artifact

SEARCH = "search.json"
RUNS = "runs.csv"


class MixtureSearch(Artifact):
    """A finished search; `content` is search.json (docs/mixture-search.md), `runs.csv` holds every mixture tried."""

    kind: ClassVar[str] = "mixture_search"

    @cached_property
    def content(self) -> dict[str, Any]:
        """search.json."""
        return json.loads((self.folder / SEARCH).read_text(encoding="utf-8"))

    @property
    def weights(self) -> dict[str, dict[str, float]]:
        """Per target searched for, the share of each source in the mixture that was found."""
        return {found["target"]: found["weights"] for found in self.content["found"]}

    def facts(self) -> dict[str, str]:
        return {
            f"for {target}": ", ".join(f"{name} {share:.2f}" for name, share in _largest(weights))
            for target, weights in self.weights.items()
        }


def _largest(weights: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(weights.items(), key=lambda item: -item[1])[:3]
