"""Rung 1 of the evidence ladder: a small transformer trained on exactly an arm's tokens, minutes on a GPU.

These are its parameters alone, which need no torch; `api.training` packs the tokens, `proxy.train` trains.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from assay.errors import InvalidParameterError, check, check_choice, check_integer
from assay.models.sizes import SIZES
from assay.models.tokenizer import MAX_VOCAB
from assay.models.torch_extra import require
from assay.proxy.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GPT:
    """A decoder (`models.gpt`) over the byte-level BPE that all arms share.

    size: its parameters but for the embedding, one of `models.sizes.SIZES`.
    vocab_size: ids of the tokenizer, which is trained once on a neutral sample of the pool.
    settings: what to change of how this size is trained, such as {"learning_rate": 0.01}; see `Settings`.

    Raises:
        MissingExtraError: torch is not installed.
    """

    name: ClassVar[str] = "gpt"
    version: ClassVar[int] = 1
    rung: ClassVar[int] = 1
    max_factor: ClassVar[int] = 4  # of the budget: how much the random arm is trained on at most, for its curve

    size: str = "1M"
    vocab_size: int = 8192
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("size", self.size, SIZES)
        check_integer("vocab_size", self.vocab_size, 257, MAX_VOCAB)
        is_named = isinstance(self.settings, Mapping) and all(isinstance(name, str) for name in self.settings)
        check(is_named, "settings", self.settings, "settings by name")
        try:
            _ = self.all_settings
        except InvalidParameterError as error:
            raise InvalidParameterError(f"settings: {error}") from None
        require("Proxy `gpt`")

    @property
    def all_settings(self) -> Settings:
        """How it is trained."""
        return Settings.of(self.size, **self.settings)

    def parameters(self) -> dict[str, Any]:
        """Name and parameters, as they go into fingerprint and manifest; with all settings, changed or not."""
        return {"name": self.name, **asdict(self), "settings": self.all_settings.parameters()}
