"""The noun at the end: a finished comparison, opened for reading."""

import json
from functools import cached_property
from typing import Any, ClassVar

from assay.artifacts.kinds import Artifact


class Comparison(Artifact):
    """Effects, intervals, verdicts and costs; `content` is comparison.json, `report` the path of report.html."""

    kind: ClassVar[str] = "comparison"

    @cached_property
    def content(self) -> dict[str, Any]:
        """comparison.json; its schema is in docs/comparison.md."""
        return json.loads((self.folder / "comparison.json").read_text(encoding="utf-8"))

    @property
    def report(self) -> str:
        """Path of report.html."""
        return str(self.folder / "report.html")

    @property
    def headline(self) -> str:
        """The verdict in a sentence or two."""
        return self.content["headline"]

    @property
    def best(self) -> str | None:
        """The arm with the lowest loss among those shown to be better than random, or None."""
        return self.content["best"]

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Results by arm: bits_per_byte, effect, verdict, p_best, multiplier, selection, composition, funnel."""
        return {arm["name"]: arm for arm in self.content["arms"]}

    def facts(self) -> dict[str, str]:
        return {"verdict": self.headline}
