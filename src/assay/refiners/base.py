"""What a refiner is: parameters checked when built, documents changed one by one."""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

import pyarrow as pa


class Refiner(ABC):
    """A method that changes text. Concrete refiners are frozen, keyword-only dataclasses.

    name: what recipes call it, and what is put behind the ids of what it made.
    version: to be raised whenever the same parameters would give other text.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @abstractmethod
    def refine(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The new texts and how many edits made each [documents], int64; an empty text means that nothing is left.

        Row-wise: other rows change nothing.
        """

    def parameters(self) -> dict[str, Any]:
        """Its parameters, as they go into the fingerprint and the manifest."""
        return asdict(self)  # type: ignore[call-overload]
