"""A schedule: phases of training, one after another, each with its own mixture.

What the field calls its phases are ways to build one:

- *end-phase upsampling* (`Schedule.upsampled`): the last 5 to 30 % of the tokens, 10 to 20 % being best, take more of a
  few small sets that are close to what is tested: Blakeney et al. 2024, Does your data spark joy? (arXiv:2406.03476);
- *cooldown* (`Schedule.cooldown`): another mixture while the learning rate falls, usually for the last tenth;
- *replay* (`Schedule.replay`): when training goes on with text of a domain, a share of the general mixture is kept;
- *critical ratio* (`Schedule.critical`): the most of a domain that leaves the general loss where it may be: Gu et al.
  2024 (arXiv:2407.17467).

A source's limit of epochs counts all phases up to the one that states it, and what exceeds it goes to the phase's other
sources in proportion to their weights, of which the web is as a rule the most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from assay.artifacts.kinds import human_count
from assay.artifacts.yamlfile import read_yaml
from assay.errors import InvalidParameterError, check, check_number, check_text
from assay.mixtures.mixture import Mixture, MixturePlan, check_keys, check_weights, new_grid, write_yaml

_ROUNDING = 1e-6
_KEYS = ("by", "phases")
_PHASE_KEYS = ("name", "share", "weights", "max_epochs", "mixture")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training. name: also of its folder. share: of all tokens, above 0. mixture: what it reads."""

    name: str
    share: float
    mixture: Mixture

    def __post_init__(self) -> None:
        check_text("name", self.name)
        is_plain = all(letter.isalnum() or letter in "-_." for letter in self.name)
        check(is_plain, "name", self.name, "letters, digits, '-', '_' and '.'", "A folder is called by it.")
        check_number("share", self.share, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check(isinstance(self.mixture, Mixture), "mixture", self.mixture, "a mixture")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Phases in the order in which they are read.

    phases: their shares sum to 1, their names differ, their mixtures go by the same column.

    Raises:
        InvalidParameterError: they do not.
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        is_list = isinstance(self.phases, Sequence) and all(isinstance(phase, Phase) for phase in self.phases)
        check(is_list and len(self.phases) > 0, "phases", self.phases, "a list of phases, at least one")
        object.__setattr__(self, "phases", tuple(self.phases))
        total = sum(phase.share for phase in self.phases)
        check(abs(total - 1) <= _ROUNDING, "phases", round(total, 9), "given shares that sum to 1")
        names = [phase.name for phase in self.phases]
        for k, phase in enumerate(self.phases):
            check(phase.name not in names[:k], "phases", phase.name, "given a name each")
            rule = f"a mixture by {self.by!r} as in the first phase"
            check(phase.mixture.by == self.by, f"phases.{phase.name}", phase.mixture.by, rule)

    @property
    def by(self) -> str:
        """The column by which its mixtures go."""
        return self.phases[0].mixture.by

    @classmethod
    def cooldown(cls, base: Mixture, end: Mixture, share: float = 0.1, name: str = "cooldown") -> "Schedule":
        """One mixture, and another one for the last `share` of the tokens.

        Raises:
            InvalidParameterError: the share is not between 0 and 1.
        """
        check_number("share", share, "a share above 0 and below 1", lambda x: 0 < x < 1)
        main = Phase(name="main", share=1 - share, mixture=base)
        return cls(phases=(main, Phase(name=name, share=share, mixture=end)))

    @classmethod
    def upsampled(
        cls, base: Mixture, sets: Mapping[str, float], share: float = 0.15, max_epochs: float | None = None
    ) -> "Schedule":
        """A mixture, and for the last `share` of the tokens more of some sets.

        Args:
            sets: weights of the sets in the last phase, sum at most 1. What they leave goes to the mixture's other
                sources, which stand to each other as before.
            share: of the last phase.
            max_epochs: of the sets, both phases together; default as in `base`.

        Raises:
            InvalidParameterError: weights that sum to more than 1, or leave something and nobody to take it.
        """
        weights = check_weights("sets", sets)
        left = 1 - sum(weights.values())
        check(left >= -_ROUNDING, "sets", dict(weights), "weights that sum to at most 1")
        others = {name: weight for name, weight in base.weights.items() if name not in weights and weight > 0}
        if left > _ROUNDING:
            check(bool(others), "sets", dict(weights), "weights that sum to 1", "`base` has no other source.")
            end = Mixture.scaled(weights, by=base.by).blended(Mixture.scaled(others, by=base.by), left)
        else:
            end = Mixture.scaled(weights, by=base.by)
        limits: float | Mapping[str, float] | None = base.max_epochs
        if max_epochs is not None or isinstance(limits, Mapping):
            known = {name: base.epochs_of(name) for name in end.weights if name in base.weights}
            limits = known | (dict.fromkeys(weights, max_epochs) if max_epochs is not None else {})
        end = Mixture(weights=end.weights, by=base.by, max_epochs=limits)
        return cls.cooldown(base, end, share, name="upsampled")

    @classmethod
    def replay(cls, domain: Mixture | str, general: Mixture | str, ratio: float) -> "Schedule":
        """For training that goes on with text of a domain: one phase, in which `ratio` of the text is general.

        Args:
            domain, general: mixtures, or sources. ratio: share of general text, replayed.
        """
        return cls._one("replay", domain, general, ratio)

    @classmethod
    def critical(cls, domain: Mixture | str, general: Mixture | str, ratio: float) -> "Schedule":
        """For training that goes on with text of a domain: one phase, in which `ratio` of the text is of the domain.

        Args:
            domain, general: mixtures, or sources.
            ratio: share of the domain, as CMR has it. Data mixing laws (Ye et al. 2024) speak of the share of general
                text instead, which is `replay`'s.
        """
        return cls._one("critical", general, domain, ratio)

    @classmethod
    def _one(cls, name: str, most: Mixture | str, other: Mixture | str, ratio: float) -> "Schedule":
        """One phase, in which `ratio` of the text is of `other`."""
        check_number("ratio", ratio, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        mixture = _as_mixture(most).blended(_as_mixture(other), ratio)
        return cls(phases=(Phase(name=name, share=1.0, mixture=mixture),))

    def plan(self, available: Mapping[str, float], tokens: float) -> "SchedulePlan":
        """What each phase takes of each source for a budget, on paper.

        Args:
            available: tokens of each source, seen once. tokens: of all phases.

        Raises:
            InvalidParameterError: a source with a weight is not among `available`.
            BudgetError: a phase whose sources have too little left; see `Mixture.plan`.
        """
        read: dict[str, float] = {}
        plans = []
        for phase in self.phases:
            try:
                plan = phase.mixture.plan(available, tokens * phase.share, read)
            except InvalidParameterError as error:
                raise type(error)(f"Phase {phase.name!r}: {error}") from None
            plans.append(plan)
            read = {name: read.get(name, 0) + plan.tokens.get(name, 0) for name in {**read, **plan.tokens}}
        return SchedulePlan(schedule=self, phases=tuple(plans))

    def table(self) -> Table:
        """Phases with the weights of their sources, for people."""
        grid = new_grid(self.by, *(f"{phase.name} {phase.share:.0%}" for phase in self.phases))
        for name in dict.fromkeys(name for phase in self.phases for name in phase.mixture.weights):
            grid.add_row(Text(name), *(f"{phase.mixture.weights.get(name, 0):.4f}" for phase in self.phases))
        return grid

    def save(self, path: str | Path) -> None:
        """Writes a YAML file, or JSON where it is called .json, for `load`."""
        phases = []
        for phase in self.phases:
            content = phase.mixture.to_dict()
            del content["by"]
            phases.append({"name": phase.name, "share": phase.share, **content})
        write_yaml({"by": self.by, "phases": phases}, path)

    @classmethod
    def load(cls, path: str | Path) -> "Schedule":
        """Reads what `save` wrote, or a YAML or JSON file of the same layout.

        A phase may have `mixture: file`, taken from the schedule's own folder, instead of weights.

        Raises:
            InvalidParameterError: no such file, not YAML, an unknown key, or a phase or mixture that is none.
        """
        file = Path(path)
        content = read_yaml(file, f"There is no schedule {file}.")
        check_keys(str(file), content, _KEYS)
        phases = content.get("phases")
        check(isinstance(phases, list), f"{file}: phases", phases, "a list of {name: ..., share: ..., weights: ...}")
        try:
            return cls(phases=tuple(_phase(one, content.get("by"), file, k) for k, one in enumerate(phases)))
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{file}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class SchedulePlan:
    """What each phase takes of each source; see `Schedule.plan`. phases: a plan each."""

    schedule: Schedule
    phases: tuple[MixturePlan, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources of all phases."""
        return tuple(dict.fromkeys(name for plan in self.phases for name in plan.tokens))

    def epochs(self, source: str) -> list[float]:
        """How many times over a source has been read when each phase ends [phases]."""
        found, read = [], 0.0
        size = next(plan.available[source] for plan in self.phases if source in plan.available)
        for plan in self.phases:
            read += plan.tokens.get(source, 0.0)
            found.append(read / size if read else 0.0)
        return found

    def table(self) -> Table:
        """Sources with what each phase takes of them and how often they have been read by then, for people."""
        names = [phase.name for phase in self.schedule.phases]
        headings = [f"{name} {what}" for name in names for what in ("tokens", "share", "epochs in all")]
        grid = new_grid(self.schedule.by, *headings)
        for source in self.sources:
            cells = []
            for plan, epochs in zip(self.phases, self.epochs(source), strict=True):
                tokens = plan.tokens.get(source, 0.0)
                cells += [human_count(round(tokens)), f"{tokens / sum(plan.tokens.values()):.4f}", f"{epochs:.2f}"]
            grid.add_row(Text(source), *cells)
        moved = [f"{plan.moved:.1%} of {name}" for name, plan in zip(names, self.phases, strict=True) if plan.moved > 0]
        if moved:
            grid.caption = f"Limits of epochs move to other sources: {', '.join(moved)}."
        return grid


def _as_mixture(mixture: Mixture | str) -> Mixture:
    """A mixture; a name stands for that source alone."""
    check(isinstance(mixture, Mixture | str), "domain, general", mixture, "a mixture or the name of a source each")
    return Mixture(weights={mixture: 1.0}) if isinstance(mixture, str) else mixture


def _phase(content: Any, by: str | None, file: Path, number: int) -> Phase:
    where = f"phases[{number}]"
    check_keys(where, content, _PHASE_KEYS)
    for key in ("name", "share"):
        check(key in content, f"{where}.{key}", None, "given")
    is_either = ("mixture" in content) != ("weights" in content)
    check(is_either, where, content, "given either `weights` or `mixture`, a file")
    if "mixture" in content:
        check("max_epochs" not in content, f"{where}.max_epochs", content.get("max_epochs"), "written in the mixture")
        check_text(f"{where}.mixture", content["mixture"])
        mixture = Mixture.load(file.parent / content["mixture"])
        check(by in (None, mixture.by), "by", by, f"as in {content['mixture']}, {mixture.by!r}")
    else:
        given = {key: content[key] for key in ("weights", "max_epochs") if key in content}
        mixture = Mixture.from_dict(given if by is None else {"by": by, **given}, where)
    return Phase(name=content["name"], share=content["share"], mixture=mixture)
