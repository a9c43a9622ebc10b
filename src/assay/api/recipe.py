"""A recipe: pool, target, budget and arms in YAML, read straight into the dataclasses that do the work."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from assay.api.building import build, check_keys, mapping, named
from assay.api.recipe_parts import BEST, Benchmarks, Calibration, Mix, OverlapGuard, Source, Target, TaskFile, Write
from assay.artifacts.kinds import Corpus
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import location
from assay.artifacts.yamlfile import parse, problem, read_yaml
from assay.errors import (
    InvalidParameterError,
    check,
    check_choice,
    check_integer,
    check_number,
    check_text,
    did_you_mean,
)
from assay.mixtures.mixture import Mixture
from assay.proxy import GPT, PROXIES, NGram, Proxy
from assay.proxy.rules import RULES, Rule, Rules
from assay.proxy.rules.phases import MATCHES, score_column
from assay.refiners import REFINERS
from assay.scorers import EMBEDDING, PREFIXES, SCORERS, Heuristics, Method
from assay.selection.budget import Budget
from assay.selection.expressions import Expression
from assay.selection.policies import POLICIES, Policy, Quota, Uniform
from assay.selection.presets import changed

RANDOM = "random"
_NAME_THEM = "Name them yourself: {name: path}."


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to choose.

    scorer: the scorer whose columns `by` and `where` mean, or None where they need none or a default one.
    by: the score to go by, an expression; None for a policy that needs none.
    select: the policy. where: documents to choose from. max_repeats: how often one may be taken.
    others: scorers with parameters, for columns that are read and are not of `scorer`; the rest is taken as it is.
    train: rules of training, for a neural proxy. match: what its runs have in common with plain training on the budget,
        "tokens" or "compute".
    """

    scorer: Method | None = None
    by: str | None = None
    select: Policy = field(default_factory=Uniform)
    where: str | None = None
    max_repeats: int = 1
    others: tuple[Method, ...] = ()
    train: Rule | None = None
    match: str = "tokens"

    def columns(self) -> frozenset[str]:
        """Every column that the arm reads."""
        texts = [text for text in (self.by, self.where, score_column(self.train)) if text is not None]
        return self.select.columns.union(*(Expression(text).columns for text in texts))

    def check_columns(self, targets: tuple[str, ...]) -> None:
        """Raises InvalidParameterError where the arm reads a column that its scorer does not give."""
        for scorer in self.scorers():
            given = [column.name for column in scorer.columns(targets)]
            for column in sorted(self.columns() - set(given)):
                if "." in column and PREFIXES.get(column.split(".")[0]) == scorer.name:
                    hint = did_you_mean(column, given)
                    raise InvalidParameterError(f"{scorer.name!r} gives no column {column!r}. {hint}".rstrip())

    def scorers(self) -> list[Method]:
        """Every scorer whose columns the arm reads."""
        own = [] if self.scorer is None else [self.scorer]
        prefixes = {column.split(".")[0] for column in self.columns() if "." in column}
        names = {PREFIXES[prefix] for prefix in prefixes if prefix in PREFIXES} - {scorer.name for scorer in own}
        known = {scorer.name: scorer for scorer in self.others}
        return own + [known[name] if name in known else SCORERS[name]() for name in sorted(names)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A comparison, checked.

    pool: what to choose from. targets: what it is to be good for, by name.
    budget: what every arm may take, in tokens. arms: ways to choose, by name; `random` is always among them.
    seeds: how often everything is repeated. pool_sample: share of the pool that each seed sees. A half gives the spread
        between seeds that fresh pools of full size would show (random half-samples, McCarthy 1969).
    proxy: what is trained on each choice. overlap: the guard. write: what to write at the end, or None.
    benchmarks: sets of test items, for `contamination.` columns; see `assay.benchmarks`.
    calibration: stop words and thresholds that replace the English ones in every arm; see `assay.calibrate`.
    scorers: parameters for scorers whose columns arms read in `where`, `by` or policies without naming the scorer.
    tasks: benchmark items to ask every proxy, by name; what holds one of them is left out of every arm, unless
        `benchmarks` says `exclude: false`.
    mix: how `assay mix search` looks for a mixture; other verbs do not read it.
    """

    pool: Source
    targets: dict[str, Target]
    budget: Budget
    arms: dict[str, Arm]
    seeds: int = 5
    pool_sample: float = 0.5
    proxy: Proxy = field(default_factory=NGram)
    overlap: OverlapGuard = field(default_factory=OverlapGuard)
    write: Write | None = None
    benchmarks: Benchmarks | None = None
    calibration: Calibration | None = None
    scorers: tuple[Method, ...] = ()
    tasks: dict[str, TaskFile] = field(default_factory=dict)
    mix: Mix | None = None

    def __post_init__(self) -> None:
        check_integer("seeds", self.seeds, 2, 1000)
        check_number("pool_sample", self.pool_sample, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check(
            self.budget.unit == "tokens", "budget", str(self.budget), "in tokens", "Arms are compared token for token."
        )
        if self.arms[RANDOM] != Arm(max_repeats=self.arms[RANDOM].max_repeats):
            raise InvalidParameterError(
                "Arm 'random' is the yardstick and takes no settings but max_repeats; give yours another name."
            )
        check("any" not in self.targets, "target", "any", "another name", "It stands for all targets together.")
        for name in self.targets:
            ends = any(name == f"{other}.heldout" for other in self.targets)
            check(not ends, "target", name, "a name that is not another's with .heldout", "Rename the target.")
        if BEST in self.arms:
            raise InvalidParameterError("No arm can be called 'best': `write` means the winner by it. Rename the arm.")
        for name, arm in self.arms.items():
            if arm.train is not None and not isinstance(self.proxy, GPT):
                raise InvalidParameterError(
                    f"Arm {name!r} has rules of training, which an n-gram model knows nothing of. Add `proxy: gpt`."
                )
            try:
                arm.check_columns(tuple(self.targets))
            except InvalidParameterError as error:
                raise InvalidParameterError(f"arms.{name}: {error}") from None
            if self.benchmarks is None and any(scorer.takes_benchmarks for scorer in arm.scorers()):
                raise InvalidParameterError(
                    f"Arm {name!r} uses contamination, which looks for benchmarks. Add `benchmarks: sets/*/*.jsonl`."
                )
        if self.mix is not None:
            for name in self.mix.targets:
                check_choice("mix.target", name, ["any", *self.targets])
        elif self.write is not None:
            check_choice("write.arm", self.write.arm, [BEST, *self.arms])

    @classmethod
    def load(cls, path: str | Path, changes: Mapping[str, str] | None = None) -> "Recipe":
        """Reads a YAML file; `changes` sets dotted keys ({"arms.dsir.score.dsir.num_buckets": "20000"}).

        Paths in it are taken from the recipe's own folder.

        Raises:
            InvalidParameterError: not YAML, an unknown key, or a value that breaks its rule.
        """
        file = Path(path)
        content = read_yaml(file, f"There is no recipe {file}. `assay init` writes one to start from.")
        set_keys(content, changes or {})
        return cls.from_dict(content, file.parent)

    @classmethod
    def from_dict(cls, content: Any, folder: Path | None = None) -> "Recipe":
        """Reads a mapping in the layout of the YAML file.

        Raises:
            InvalidParameterError: as `load`.
        """
        values = dict(mapping("recipe", content))
        names = {f.name for f in fields(cls)} - {"targets"} | {"target"}
        check_keys("recipe", values, names)
        for name in ("pool", "target", "budget", "arms") if values.get("mix") is None else ("pool", "target", "budget"):
            check(name in values, name, None, "given", "`assay init` writes a recipe that has everything.")
        values["pool"] = _source(Source, values["pool"], "pool", folder)
        values["targets"] = _targets(values.pop("target"), folder)
        if values.get("benchmarks") is not None:
            values["benchmarks"] = _source(Benchmarks, values["benchmarks"], "benchmarks", folder)
            check(not isinstance(values["benchmarks"].read, Corpus), "benchmarks", content["benchmarks"], "files")
        values["budget"] = Budget.parse(values["budget"])
        scorers = mapping("scorers", values.pop("scorers", None) or {})
        values["scorers"] = tuple(
            rooted_scorer(named_scorer("scorers", {name: scorers[name]}), "scorers", folder) for name in scorers
        )
        given = {scorer.name: scorer for scorer in values["scorers"]}
        arms = mapping("arms", values.get("arms", {}))
        arms = {str(name): _arm(arm, f"arms.{name}", folder, given) for name, arm in arms.items()}
        arms = {n: arm if n == RANDOM else _with_others(arm, values["scorers"]) for n, arm in arms.items()}
        if values.get("calibration") is not None:
            values["calibration"] = _calibration(values["calibration"], folder)
            arms = {n: arm if n == RANDOM else _calibrated(arm, values["calibration"]) for n, arm in arms.items()}
        values["arms"] = {RANDOM: arms.pop(RANDOM, Arm())} | arms
        if "proxy" in values:
            values["proxy"] = named("proxy", values["proxy"], PROXIES)
        if "tasks" in values:
            values["tasks"] = _tasks(values["tasks"] or {}, folder)
        if "overlap" in values:
            values["overlap"] = build(OverlapGuard, values["overlap"], "overlap")
        if values.get("mix") is not None:
            values["mix"] = build(Mix, values["mix"], "mix")
        if values.get("write") is not None:
            write = build(Write, values["write"], "write")
            values["write"] = Write(to=_path(write.to, folder), arm=write.arm, format=write.format)
        return cls(**values)


def _arm(content: Any, where: str, folder: Path | None, given: Mapping[str, Method]) -> Arm:
    if isinstance(content, Arm):
        return content
    values = dict(mapping(where, content if content is not None else {}))
    check_keys(where, values, {"score", "select", "where", "max_repeats", "train", "match"})
    scorer, by = _score(values.get("score"), f"{where}.score", given)
    if scorer is not None and given.get(scorer.name) is not scorer:  # whose paths are rooted already
        scorer = rooted_scorer(scorer, f"{where}.score", folder)
    policy = _policy(values.get("select", "uniform" if by is None else "top"), f"{where}.select", folder)
    check_integer(f"{where}.max_repeats", values.get("max_repeats", 1), 1)
    if values.get("where") is not None:
        check_text(f"{where}.where", values["where"])
    if policy.needs_score and by is None:
        raise InvalidParameterError(f"`{where}` selects by {policy.name!r}, which goes by a score. Add `score:`.")
    train, match = _training(values.get("train"), f"{where}.train"), values.get("match", "tokens")
    check_choice(f"{where}.match", match, MATCHES)
    if train is None and "match" in values:
        raise InvalidParameterError(f"`{where}.match` (={match!r}) says what rules of training hold to. Add `train:`.")
    repeats = values.get("max_repeats", 1)
    arm = Arm(
        scorer=scorer, by=by, select=policy, where=values.get("where"), max_repeats=repeats, train=train, match=match
    )
    for name, text in (("score", by), ("where", arm.where)):  # read, so that a mistake in them is found now
        try:
            Expression("true" if text is None else text)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{where}.{name}: {error}") from None
    return arm


def _training(content: Any, where: str) -> Rule | None:
    """One rule, "name" or {name: {parameters}}, or a list of them."""
    if content is None or isinstance(content, Rule):
        return content
    if not isinstance(content, list):
        rule: Rule = named(where, content, RULES)
        return rule
    try:
        return Rules(rules=tuple(named(f"{where}[{k}]", one, RULES) for k, one in enumerate(content)))
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{where}: {error}") from None


def _tasks(content: Any, folder: Path | None) -> dict[str, TaskFile]:
    """Files by name; a name may stand for {read: path}, and a list of paths for themselves."""
    if isinstance(content, list):
        check(all(isinstance(path, str) for path in content), "tasks", content, "paths, or names with {read: path}")
        names = [f"{Path(path).parent.name}/{Path(path).name.split('.')[0]}".lstrip("/") for path in content]
        for k, name in enumerate(names):
            check(name not in names[:k], "tasks", content, f"files of different names, not two {name!r}", _NAME_THEM)
        content = dict(zip(names, content, strict=True))
    found = {}
    for name, given in mapping("tasks", content).items():
        check(":" not in str(name), "tasks", str(name), "names without ':'", "Items are called <benchmark>:<id>.")
        task = build(TaskFile, {"read": given} if isinstance(given, str) else given, f"tasks.{name}")
        examples = None if task.examples is None else _path(task.examples, folder)
        found[str(name)] = replace(task, read=_path(task.read, folder), examples=examples)
    return found


def _calibration(content: Any, folder: Path | None) -> Calibration:
    if isinstance(content, Calibration):
        return content
    if not isinstance(content, str):
        built: Calibration = build(Calibration, content, "calibration")
        return built
    try:
        return Calibration.load(_path(content, folder))
    except InvalidParameterError as error:
        raise InvalidParameterError(f"calibration: {error}") from None


def _calibrated(arm: Arm, calibration: Calibration) -> Arm:
    """The arm with the calibration's thresholds and stop words, but for those that the arm itself gives."""
    by, where = (text and changed(text, calibration.thresholds) for text in (arm.by, arm.where))
    scorer = calibration.scorer() if arm.scorer == Heuristics() else arm.scorer
    others = arm.others if any(s.name == Heuristics.name for s in arm.others) else (*arm.others, calibration.scorer())
    return replace(arm, scorer=scorer, by=by, where=where, others=others)


def _with_others(arm: Arm, others: tuple[Method, ...]) -> Arm:
    """The arm with parameters for scorers that it names without any."""
    found = [other for other in others if arm.scorer is not None and other.name == arm.scorer.name]
    is_bare = bool(found) and arm.scorer is not None and arm.scorer.is_bare()
    return replace(arm, scorer=found[0] if is_bare else arm.scorer, others=(*arm.others, *others))


def _score(content: Any, where: str, given: Mapping[str, Method]) -> tuple[Method | None, str | None]:
    """`dsir`, `length.bytes`, any expression, or `{dsir: {...}, by: expression}`; a bare name means one of `given`."""
    if content is None:
        return None, None
    if isinstance(content, str):
        if content in SCORERS:
            scorer = given[content] if content in given else named(where, content, SCORERS)
            return scorer, _first_column(scorer)
        return None, content
    values = dict(mapping(where, content))
    by = values.pop("by", None)
    if by is not None:
        check_text(f"{where}.by", by)
    scorer = named_scorer(where, values)
    return scorer, by or _first_column(scorer)


def named_scorer(where: str, content: Any) -> Method:
    """A scorer from "name" or {name: {parameters}}, in which parameters may be scorers again.

    Raises:
        InvalidParameterError: unknown name or parameter; the message starts with `where`.
    """
    if isinstance(content, Method):
        return content
    if isinstance(content, Mapping) and len(content) == 1:
        name, parameters = next(iter(content.items()))
        if name in SCORERS and isinstance(parameters, Mapping):
            inner = [key for key in SCORERS[name].nested if parameters.get(key) is not None]
            built = {key: named_scorer(f"{where}.{name}.{key}", parameters[key]) for key in inner}
            content = {name: {**parameters, **built}}
    scorer: Method = named(where, content, SCORERS)
    return scorer


def rooted_scorer(scorer: Method, where: str, folder: Path | None) -> Method:
    """The scorer with the paths in its parameters taken from `folder`."""
    changed: dict[str, Any] = {}
    for name in (*scorer.documents, *scorer.files):
        if (given := getattr(scorer, name)) is not None and not isinstance(given, Corpus):
            changed[name] = _rooted_paths(given, f"{where}.{name}", folder)
    embedding = getattr(scorer, EMBEDDING, None)
    if embedding is not None and not embedding.is_fitted_on_pool:
        changed[EMBEDDING] = embedding.in_folders(tuple(_path(path, folder) for path in embedding.folders))
    for name in scorer.nested:
        if (inner := getattr(scorer, name)) is not None:
            changed[name] = rooted_scorer(inner, f"{where}.{name}", folder)
    return replace(scorer, **changed) if changed else scorer  # type: ignore[type-var]


def _rooted_paths(given: Any, where: str, folder: Path | None) -> Any:
    if isinstance(given, Mapping):
        return {**given, "read": _rooted_paths(given.get("read"), where, folder)}
    listed = given if isinstance(given, list | tuple) else [given]
    check(all(isinstance(path, str) for path in listed), where, given, "a path, or {read: path, text: column}")
    return [_path(path, folder) for path in listed] if isinstance(given, list | tuple) else _path(given, folder)


def _first_column(scorer: Method) -> str:
    return scorer.columns(("target",))[0].name


def _policy(content: Any, where: str, folder: Path | None) -> Policy:
    """A policy from "name" or {name: {parameters}}; a quota may have `mixture`, a file, for what its sources get."""
    if isinstance(content, Mapping) and len(content) == 1:
        name, parameters = next(iter(content.items()))
        if isinstance(parameters, Mapping) and "within" in parameters:
            within = _policy(parameters["within"], f"{where}.{name}.within", folder)
            parameters = {**parameters, "within": within}
            content = {name: parameters}
        if name == Quota.name and isinstance(parameters, Mapping) and "mixture" in parameters:
            check_keys(f"{where}.{name}", parameters, {"mixture", "within"})
            check_text(f"{where}.{name}.mixture", parameters["mixture"])
            try:
                return Quota.of(Mixture.load(_path(parameters["mixture"], folder)), parameters.get("within"))
            except InvalidParameterError as error:
                raise InvalidParameterError(f"{where}.{name}: {error}") from None
    return named(where, content, POLICIES)


def _targets(content: Any, folder: Path | None) -> dict[str, Target]:
    values = mapping("target", _as_source(content))
    named = values if "read" not in values and values else {"target": values}
    return {str(name): _source(Target, value, f"target.{name}", folder) for name, value in named.items()}


def _source(kind: type[Any], content: Any, where: str, folder: Path | None) -> Any:
    values = dict(mapping(where, _as_source(content)))
    refiners = values.get("refine") or []
    listed = refiners if isinstance(refiners, list) else [refiners]
    values["refine"] = tuple(named(f"{where}.refine", refiner, REFINERS) for refiner in listed)
    return _rooted(build(kind, values, where), where, folder)


def _as_source(content: Any) -> Any:
    """A bare path, list of paths or corpus stands for {read: ...}."""
    return {"read": content} if isinstance(content, str | list | Corpus) else content


def _rooted(source: Any, where: str, folder: Path | None) -> Any:
    """`source` with its paths taken from `folder`."""
    if isinstance(source.read, Corpus):
        return source
    reads = [source.read] if isinstance(source.read, str) else source.read
    check(
        isinstance(reads, list) and all(isinstance(r, str) for r in reads),
        f"{where}.read",
        source.read,
        "a path or list of paths",
    )
    changed = {f.name: getattr(source, f.name) for f in fields(source)}
    changed["read"] = [_path(r, folder) for r in reads] if isinstance(source.read, list) else _path(source.read, folder)
    if isinstance(getattr(source, "holdout", None), str):
        changed["holdout"] = _path(source.holdout, folder)
    return type(source)(**changed)


def _path(text: str, folder: Path | None) -> str:
    path = location(text)
    return str(path if isinstance(path, RemotePath) or path.is_absolute() or folder is None else folder / path)


def set_keys(content: Any, changes: Mapping[str, str]) -> None:
    """Sets dotted keys of a recipe's mapping to values written in YAML.

    Raises:
        InvalidParameterError: a value is not YAML, or the recipe is no mapping.
    """
    for key, value in changes.items():
        try:
            _set(content, key, parse(value))
        except yaml.YAMLError as error:
            raise InvalidParameterError(f"`--set` ({key}={value}) is not YAML: {problem(error)}") from None


def _set(content: Any, key: str, value: Any) -> None:
    """Sets a dotted key, turning a bare name on the way (`score: dsir`) into a mapping."""
    *path, last = key.split(".")
    check(isinstance(content, dict), "--set", key, "a change of a recipe that is a mapping")
    for name in path:
        if not isinstance(content.get(name), dict):
            content[name] = {content[name]: {}} if isinstance(content.get(name), str) else {}
        content = content[name]
    content[last] = value
