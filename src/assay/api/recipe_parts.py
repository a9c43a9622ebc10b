"""What a recipe is made of, beside its arms: sources, benchmarks, calibration, guard, what to write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay.api.building import build, mapping
from assay.artifacts.kinds import Corpus
from assay.artifacts.yamlfile import dump, read_yaml
from assay.corpus.write import FORMATS
from assay.errors import check, check_choice, check_integer, check_number, check_text
from assay.mixtures.regression import REGRESSORS
from assay.proxy.tasks import FORMS
from assay.refiners import Refiner
from assay.scorers import Heuristics, Overlap
from assay.selection.budget import Budget
from assay.selection.expressions import Expression
from assay.selection.presets import PRESETS, changed

BEST = "best"
MIX_METHODS = ("regmix", "climb")
_RULES = list(dict.fromkeys(rule for rules in PRESETS.values() for rule in rules))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where documents are read from; the arguments of `assay.read`. From Python, `read` may be an open corpus.

    refine: what changes the text before anything else looks at it, one refiner after the other.
    """

    read: str | list[str] | Corpus
    text: str = "text"
    id: str | None = None
    format: str | None = None
    extract: str | None = None
    max_failed_share: float = 0.0
    refine: tuple[Refiner, ...] = ()

    def __post_init__(self) -> None:
        for name in ("text", "id", "format", "extract"):
            if getattr(self, name) is not None or name == "text":
                check_text(name, getattr(self, name))
        check_number("max_failed_share", self.max_failed_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)


@dataclass(frozen=True, kw_only=True)
class Target(Source):
    """Target documents. holdout: the share of them to test on, or a file of other documents to test on."""

    holdout: float | str = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.holdout, str):
            check_number("holdout", self.holdout, "a share above 0 and below 1, or a path", lambda x: 0 < x < 1)


@dataclass(frozen=True, kw_only=True)
class Benchmarks(Source):
    """Question sets to look for in the pool. exclude: leave documents with one of their items out of every arm."""

    exclude: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(isinstance(self.exclude, bool), "exclude", self.exclude, "true or false")


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """Benchmark items that every proxy is asked.

    read: a file of JSON lines, see docs/benchmarks.md. form: how an item is put; default as its folder is called.
    examples: a file to draw shots from; default the other items. shots: examples before each question.
    max_items: how many are asked, drawn by their ids; default all.
    """

    read: str
    form: str | None = None
    examples: str | None = None
    shots: int = 0
    max_items: int | None = None

    def __post_init__(self) -> None:
        check_text("read", self.read)
        if self.form is not None:
            check_choice("form", self.form, FORMS)
        if self.examples is not None:
            check_text("examples", self.examples)
        check_integer("shots", self.shots, 0)
        if self.max_items is not None:
            check_integer("max_items", self.max_items, 1)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The rules' stop words and thresholds for one language; see `assay.calibrate`. Prints as a table.

    stop_words: what `Heuristics` counts. thresholds: by rule, as in "gopher.words_too_long"; other rules keep theirs.
    dropped: for information, the share of the reference that fails each rule.
    """

    stop_words: tuple[str, ...] = Heuristics.stop_words
    thresholds: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop_words", self.scorer().stop_words)
        known = [rule.reason for rule in _RULES]
        for name in ("thresholds", "dropped"):
            for reason, value in mapping(name, getattr(self, name)).items():
                check_choice(name, reason, known)
                check_number(f"{name}.{reason}", value, "a number", lambda _: True)

    def __str__(self) -> str:
        lines = [f"stop words: {', '.join(self.stop_words)}", f"{'rule':36}{'English':>10}{'here':>10}{'drops':>8}"]
        for rule in _RULES:
            if rule.reason in self.thresholds:
                here = f"{rule.threshold:>10g}{self.thresholds[rule.reason]:>10g}"
                share = f"{self.dropped[rule.reason]:>8.1%}" if rule.reason in self.dropped else ""
                lines.append(f"{rule.reason:34}{rule.sign:2}{here}{share}")
        return "\n".join(lines)

    def scorer(self) -> Heuristics:
        """The scorer that counts these stop words."""
        return Heuristics(stop_words=self.stop_words)

    def where(self, text: str) -> str:
        """An expression with the thresholds in every `passes(...)` of it, for `assay.select(where=...)`.

        Raises:
            InvalidParameterError: `text` is not an expression.
        """
        Expression(text)
        return changed(text, self.thresholds)

    def save(self, path: str | Path) -> None:
        """Writes a YAML file, for `calibration:` of a recipe and for `load`."""
        content = {
            "stop_words": list(self.stop_words),
            "thresholds": dict(self.thresholds),
            "dropped": dict(self.dropped),
        }
        Path(path).write_text(dump(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Reads what `save` wrote, or a file of the same layout; keys may be left out.

        Raises:
            InvalidParameterError: no such file, not YAML, an unknown key or rule, or a value that is no number.
        """
        file = Path(path)
        content = read_yaml(file, f"There is no calibration {file}. `assay.calibrate(...).save(...)` writes one.")
        found: Calibration = build(cls, content, str(file))
        return found


@dataclass(frozen=True, kw_only=True)
class OverlapGuard:
    """What to do with pool documents that share runs of words with target or held-out text.

    words, max_documents: see `Overlap`. max_share: documents with a larger share of shared runs are left out; 1 = only
    count them.
    """

    words: int = 13
    max_documents: int = 10
    max_share: float = 0.0

    def __post_init__(self) -> None:
        check_number("max_share", self.max_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        self.scorer()

    def scorer(self) -> Overlap:
        """The scorer that finds the runs."""
        return Overlap(words=self.words, max_documents=self.max_documents)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How `assay mix search` looks for a mixture of sources.

    by: the column whose values are the sources: of the corpus ("source"), or of scores ("clusters.cluster").
    target: what the mixture is to be good for: a target's name, "any" for the mean over all, or a list of these.
    method: "regmix" (mixtures drawn once, then a regression) or "climb" (in rounds, each near what was best before).
    runs: mixtures to try. tokens: what each reads, "1M tokens"; default the budget, with n-gram proxies at most 1M.
    regressor: what foretells losses; default the best of those tried by cross-validation.
    max_epochs: how often the text of one source may be read at the recipe's budget.
    where: documents to choose from.
    """

    by: str = "source"
    target: str | list[str] = "any"
    method: str = "regmix"
    runs: int = 512
    tokens: str | None = None
    regressor: str | None = None
    max_epochs: float = 4.0
    where: str | None = None

    def __post_init__(self) -> None:
        check_text("by", self.by)
        names = self.targets
        ok = all(isinstance(name, str) for name in names) and 0 < len(names) == len(set(names))
        check(ok, "target", self.target, "a target's name, any, or a list of different ones")
        check_choice("method", self.method, MIX_METHODS)
        check_integer("runs", self.runs, 8, 100_000)
        if self.tokens is not None:
            check(Budget.parse(self.tokens, "tokens").unit == "tokens", "tokens", self.tokens, "in tokens")
        if self.regressor is not None:
            check_choice("regressor", self.regressor, REGRESSORS)
        check_number("max_epochs", self.max_epochs, "a number above 0", lambda x: x > 0)
        if self.where is not None:
            Expression(self.where)

    @property
    def targets(self) -> tuple[str, ...]:
        """What mixtures are looked for, one each."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)


@dataclass(frozen=True, kw_only=True)
class Write:
    """What to write at the end. arm: the arm's name, or "best". to: a folder. format: parquet, jsonl or jsonl.zst."""

    to: str
    arm: str = BEST
    format: str = "parquet"

    def __post_init__(self) -> None:
        check_text("to", self.to)
        check_choice("format", self.format, FORMATS)
