"""How a proxy is trained, by size: one file of numbers, settings.yaml, where their sources stand."""

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from assay.errors import InvalidParameterError, check_choice, check_integer, check_number, did_you_mean

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training run goes by.

    learning_rate: the peak of AdamW's. matrix_rate: the peak of Muon's, for matrices; None: they have AdamW's too.
    batch_tokens: positions of one optimiser step, as many whole sequences as fit best.
    min_steps: the batch shrinks until a run has about this many steps, to one sequence at least.
    sequence_length: positions of a sequence.
    warmup: share of the steps in which the rate rises. decay: share of them in which it falls to zero, at the end.
    precision: of matrix products, "float32" or "bfloat16"; None: bfloat16 on a GPU, else float32.
    weight_decay: of matrices; embeddings and norms have none. clip: the largest norm of a gradient.
    """

    learning_rate: float
    batch_tokens: int
    beta2: float
    matrix_rate: float | None = None
    precision: str | None = None
    beta1: float = 0.9
    min_steps: int = 300
    sequence_length: int = 512
    warmup: float = 0.05
    decay: float = 0.2
    weight_decay: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip"):
            check_number(name, getattr(self, name), "a number above 0", lambda x: x > 0)
        if self.matrix_rate is not None:
            check_number("matrix_rate", self.matrix_rate, "a number above 0", lambda x: x > 0)
        if self.precision is not None:
            check_choice("precision", self.precision, PRECISIONS)
        for name in ("batch_tokens", "min_steps", "sequence_length"):
            check_integer(name, getattr(self, name), 1)
        for name in ("beta1", "beta2"):
            check_number(name, getattr(self, name), "a number from 0 to below 1", lambda x: 0 <= x < 1)
        for name in ("warmup", "decay"):
            check_number(name, getattr(self, name), "a share from 0 to 1", lambda x: 0 <= x <= 1)
        check_number("warmup", self.warmup, "at most 1 - decay", lambda x: x + self.decay <= 1)
        check_number("weight_decay", self.weight_decay, "a number ≥ 0", lambda x: x >= 0)

    @classmethod
    def of(cls, size: str, **changes: Any) -> "Settings":
        """Those of a size of settings.yaml; `changes` replace single ones.

        Raises:
            InvalidParameterError: an unknown size or setting, or a value that breaks its rule.
        """
        check_choice("size", size, _by_size())
        known = [field.name for field in fields(cls)]
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, known)
                raise InvalidParameterError(f"{name!r} is no setting of training: there are {', '.join(known)}. {hint}")
        return cls(**{**_by_size()[size], **changes})

    def parameters(self) -> dict[str, Any]:
        """All of them, as they go into fingerprint and manifest."""
        return asdict(self)


@cache
def _by_size() -> dict[str, dict[str, Any]]:
    text = Path(__file__).with_name("settings.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return content
