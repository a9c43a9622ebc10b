"""The noun that says which seed sets are good: a finished verification, opened for reading."""

import json
from functools import cached_property
from typing import Any, ClassVar

from assay.artifacts.kinds import Artifact

VERIFICATION = "verification.json"


class Verification(Artifact):
    """Gain of each candidate with its interval, and the verdict; `content` is verification.json."""

    kind: ClassVar[str] = "verification"

    @cached_property
    def content(self) -> dict[str, Any]:
        """verification.json; its schema is in docs/seeds.md."""
        return json.loads((self.folder / VERIFICATION).read_text(encoding="utf-8"))

    @property
    def accepted(self) -> list[str]:
        """Names of the candidates that are accepted."""
        return [c["name"] for c in self.content["candidates"] if c["verdict"] == "accepted"]

    @property
    def headline(self) -> str:
        """The verdicts in a sentence."""
        return self.content["headline"]

    def facts(self) -> dict[str, str]:
        return {"verdict": self.headline}
