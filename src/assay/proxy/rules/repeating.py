"""Fewer documents, read more often: a smaller selection for several epochs at the same number of tokens.

Whether that pays is open: it speeds up continued pretraining (Guo et al. 2024, "Efficient Continual Pre-training by
Mitigating the Stability Gap", arXiv:2406.14833); up to four epochs are nearly as good as new text (Muennighoff et al.
2023, "Scaling Data-Constrained Language Models", arXiv:2305.16264, section 5), more are not. The order of every epoch
is drawn anew.

Cost: none. When not to use: where there is good text enough.
"""

from dataclasses import dataclass
from typing import ClassVar

from assay.errors import check_integer
from assay.proxy.rules_base import Hooks, Rule


@dataclass(frozen=True, kw_only=True)
class Epochs(Rule):
    """A selection of budget / times tokens, read `times` times; 1 = plain training."""

    name: ClassVar[str] = "epochs"
    changes: ClassVar[str] = "repeats"

    times: int = 4

    def __post_init__(self) -> None:
        check_integer("times", self.times, 1)

    def start(self) -> Hooks:
        return Hooks()
