"""`assay mix search`: a mixture of sources for a target, found by cheap runs and verified by matched proxies.

Mixtures are drawn, proxies lose something on each, a regression foretells what others would lose, and the best foretold
is taken (RegMix, Liu et al. 2025, arXiv:2407.01492; CLIMB, Diao et al. 2025, arXiv:2504.13161, does so in rounds). With
n-gram proxies a run is simulated exactly by adding counts (`api.simulation`), hundreds a second of work; transformers
are trained.

What differs from the papers:
- The search is tested on half of the documents that scorers would be fitted to, so that the comparison which follows
  has a test that the search never saw.
- The lowest of many measured or foretold losses is too good to be true. The mixture foretold and the best one measured
  are run again on fresh draws of the pool, and the better one there is the answer.
- No mixture asks for more of a source than `max_epochs` passes over it at the recipe's budget, in all rounds.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from assay.api.recipe import RANDOM, Recipe
from assay.api.recipe_parts import Mix
from assay.api.simulating import SOURCES, plan_sources
from assay.api.simulation import Simulation, simulate, tokens_of_sources
from assay.api.staging import Stage, do_tasks
from assay.artifacts.kinds import Run, human_count
from assay.artifacts.manifest import atomic_path
from assay.artifacts.mixture_search import RUNS, SEARCH, MixtureSearch
from assay.artifacts.workspace import Draft, Workspace
from assay.errors import BudgetError, InvalidParameterError
from assay.kernels.filling import fill
from assay.mixtures.climb import climb
from assay.mixtures.design import dirichlet
from assay.mixtures.mixture import Mixture
from assay.mixtures.optimum import best_mixture
from assay.mixtures.regression import check_enough, choose
from assay.mixtures.runs import Runs, write_runs
from assay.progress import step
from assay.proxy import NGram
from assay.selection.budget import Budget
from assay.selection.policies import Quota

VERSION = 1
ANY = "any"
_NGRAM_TOKENS = 1_000_000  # of a simulated run
_CHUNK = 256  # mixtures simulated at a time
_FRESH = (1, 2)  # seeds on which candidates are run again
_ANCHORS = ("proportional", "uniform")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """What trains or simulates a proxy on any mixture of the sources.

    stage: the recipe made ready, with the arm `sources`. mix: what is searched. num_tokens: what a run reads.
    """

    stage: Stage
    mix: Mix
    num_tokens: int

    @cached_property
    def _draws(self) -> list[dict[str, float]]:
        """Tokens of each source in every draw of the pool that the search or its verification can take."""
        recipe = self.stage.recipe
        tasks = [self.stage.task(SOURCES, seed) for seed in range(max(recipe.seeds, 1 + max(_FRESH)))]
        draws = tokens_of_sources(self.stage.bench, tasks)
        if isinstance(recipe.proxy, NGram) or self.num_tokens == self.budget:
            return draws
        smaller = [replace(task, rules=replace(task.rules, pool_sample=self._share)) for task in tasks]
        names = tokens_of_sources(self.stage.bench, smaller)[0]
        return [{name: draw[name] for name in names} for draw in draws]

    @property
    def _share(self) -> float:
        """Of the pool, that a smaller run takes its documents from, so that sources run out as at the budget."""
        return max(self.stage.recipe.pool_sample * self.num_tokens / self.budget, 1e-9)

    @property
    def available(self) -> dict[str, float]:
        """Tokens that the first seed's sample of the pool has of each source, sorted by name."""
        return self._draws[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self.available)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The targets."""
        return tuple(self.stage.bench.heldout)

    @property
    def budget(self) -> int:
        """Tokens of the training that is meant."""
        return int(self.stage.recipe.budget.amount)

    @cached_property
    def prior(self) -> np.ndarray:
        """Share of each source in the pool [sources]."""
        sizes = np.array(list(self.available.values()))
        return sizes / sizes.sum()

    @cached_property
    def at_most(self) -> np.ndarray:
        """The largest share that each source can have in every draw [sources].

        Raises:
            BudgetError: all sources read `max_epochs` times are less than the budget.
        """
        sizes = np.min([list(draw.values()) for draw in self._draws], axis=0)
        have = self.mix.max_epochs * sizes.sum()
        if have < self.budget:
            raise BudgetError(
                f"The budget is {self.budget:,} tokens, but all sources read {self.mix.max_epochs:g} times give "
                f"{have:,.0f}. Lower the budget or raise mix.max_epochs."
            )
        return np.minimum(1.0, self.mix.max_epochs * sizes / self.budget)

    @property
    def uniform(self) -> np.ndarray:
        """Equal shares, as far as `at_most` allows [sources]."""
        return fill(1.0, np.ones(len(self.sources)), self.at_most)

    def losses(self, weights: np.ndarray, seed: int = 0) -> np.ndarray:
        """Bits per byte by metric of a run on each mixture [mixtures, metrics].

        Args:
            weights: rows sum to 1 [mixtures, sources]. seed: of the draw of documents.
        """
        if isinstance(self.stage.bench.proxy, NGram):
            return self._simulated(weights, seed)
        return self._trained(weights, seed)

    def _simulated(self, weights: np.ndarray, seed: int) -> np.ndarray:
        simulation = self._kept(seed)
        found = []
        with step(f"simulate mixtures, draw {seed + 1}", len(weights), "mixtures") as advance:
            for chunk in _chunks(weights):
                found.append(simulation.losses_of(chunk))
                advance(len(chunk))
        return np.concatenate(found)

    def _kept(self, seed: int) -> Simulation:
        """The counts of a draw; only those of the last one are kept."""
        kept: dict[int, Simulation] = self.__dict__.setdefault("_simulations", {})
        if seed not in kept:
            kept.clear()
            kept[seed] = self.simulation(seed)
        return kept[seed]

    def simulation(self, seed: int) -> Simulation:
        """The counts of a draw."""
        task, scale = self.stage.task(SOURCES, seed), self.num_tokens / self.budget
        return simulate(self.stage.bench, task, self.sources, num_tokens=self.num_tokens, scale=scale)

    def _trained(self, weights: np.ndarray, seed: int) -> np.ndarray:
        recipe = self.stage.recipe
        own = recipe.arms[SOURCES]
        arms = {f"mixture-{k}": replace(own, select=Quota.of(self.mixture(row))) for k, row in enumerate(weights)}
        names = list(arms)
        arms = {RANDOM: recipe.arms[RANDOM]} | arms
        scores = {name: () if name == RANDOM else self.stage.scores[SOURCES] for name in arms}
        staged = replace(self.stage, recipe=replace(recipe, arms=arms, pool_sample=self._share), scores=scores)
        tasks = [staged.task(name, seed, num_tokens=self.num_tokens) for name in names]
        runs = do_tasks(staged.bench, tasks, f"train on {len(tasks)} mixtures, draw {seed + 1}")
        return np.array([[_bits_per_byte(run, metric) for metric in self.metrics] for run in runs])

    def mixture(self, weights: np.ndarray) -> Mixture:
        """The mixture of these weights [sources]."""
        shares = {name: float(share) for name, share in zip(self.sources, weights, strict=True)}
        return Mixture.scaled(shares, by=self.mix.by, max_epochs=self.mix.max_epochs)


def search_mixture(recipe: Recipe, *, workspace: Workspace | str | None = None) -> MixtureSearch:
    """Looks for the mixture of sources on which a proxy loses least, as the recipe's `mix` says.

    Raises:
        InvalidParameterError: fewer than two sources or more than 200, or fewer runs than the regression needs.
        BudgetError: the pool cannot give the budget within `max_epochs`.
    """
    mix = recipe.mix or Mix()
    plan, stage = plan_sources(recipe, mix.by, mix.where, workspace)
    done = plan.add("search mixtures", lambda looked_at: _search(stage(looked_at), mix, looked_at))
    plan.run()
    return done.result()


def _search(stage: Stage, mix: Mix, workspace: Workspace) -> MixtureSearch:
    bench, recipe = stage.bench, stage.recipe
    lab = Lab(stage=stage, mix=mix, num_tokens=_run_tokens(recipe, mix))
    task = stage.task(SOURCES, 0)
    parameters = {
        "mix": {"by": mix.by, "targets": mix.targets, "method": mix.method, "runs": mix.runs, "where": mix.where}
        | {"regressor": mix.regressor, "max_epochs": mix.max_epochs, "tokens": lab.num_tokens},
        "budget": lab.budget,
        "pool_sample": recipe.pool_sample,
        "seeds": recipe.seeds,  # sources are those that every draw has
        "proxy": bench.proxy.parameters(),
        "guards": {reason: guard.text for reason, guard in task.rules.guards.items()},
    }
    inputs = {"corpus": bench.pool.fingerprint, "tokens": bench.tokens.fingerprint}
    inputs |= {f"heldout.{name}": tokens.fingerprint for name, (_, tokens) in bench.heldout.items()}
    inputs |= {f"scores.{s.name}": s.fingerprint for s in (*stage.scores[SOURCES], *stage.guards)}
    draft = workspace.open_draft("mixture_search", bench.pool.name, VERSION, parameters, inputs)
    if draft.finished() is None:
        draft.start()
        _make(lab, draft)
    return MixtureSearch(draft.folder)


def _make(lab: Lab, draft: Draft) -> None:
    rounds = len(lab.mix.targets) if lab.mix.method == "climb" else 1
    num_runs = len(_ANCHORS) + rounds * (lab.mix.runs - len(_ANCHORS))
    check_enough(num_runs, len(lab.sources), None if lab.mix.regressor is None else [lab.mix.regressor])
    runs, picks = METHODS[lab.mix.method](lab)
    again = np.mean([lab.losses(np.stack(_candidates(lab, picks)), seed) for seed in _FRESH], axis=0)
    found = [_choose(lab, runs, pick, again, k) for k, pick in enumerate(picks)]
    write_runs(runs, draft.folder / RUNS)
    content = {
        "schema_version": 1,
        "fingerprint": draft.fingerprint,
        "by": lab.mix.by,
        "method": lab.mix.method,
        "sources": [
            {"name": name, "tokens": size, "share": float(share), "at_most": float(most)}
            for (name, size), share, most in zip(lab.available.items(), lab.prior, lab.at_most, strict=True)
        ],
        "metrics": list(lab.metrics),
        "budget_tokens": lab.budget,
        "run_tokens": lab.num_tokens,
        "num_runs": len(runs),
        "max_epochs": lab.mix.max_epochs,
        "proxy": {**lab.stage.bench.proxy.parameters(), "rung": lab.stage.bench.proxy.rung},
        "found": found,
    }
    with atomic_path(draft.folder / SEARCH) as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    files = [{"file": n, "rows": 0, "bytes": (draft.folder / n).stat().st_size} for n in (SEARCH, RUNS)]
    draft.finish(schema={}, parts=files)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """What a method proposes for one target.

    foretold: the mixture with the best prediction [sources]. prediction: its loss.
    measured: the best mixture that was run [sources]. facts: about the regression, for search.json.
    """

    target: str
    foretold: np.ndarray
    prediction: float
    measured: np.ndarray
    facts: dict[str, Any]


def _regmix(lab: Lab) -> tuple[Runs, list[Pick]]:
    """One design, one regression per target."""
    drawn = dirichlet(lab.prior, lab.mix.runs - len(_ANCHORS), 0, at_most=lab.at_most)
    runs = _runs_of(lab, np.concatenate([_anchors(lab), drawn]))
    return runs, [_pick(lab, runs, target) for target in lab.mix.targets]


def _climb(lab: Lab) -> tuple[Runs, list[Pick]]:
    """Rounds of 4/7, 2/7 and 1/7 of the runs for each target; all runs together are the table."""
    rest = lab.mix.runs - len(_ANCHORS)
    later = (max(1, rest * 2 // 7), max(1, rest // 7))
    rounds = (rest - sum(later), *later)
    tables = [_runs_of(lab, _anchors(lab))]
    for target in lab.mix.targets:

        def losses(weights: np.ndarray, target: str = target) -> np.ndarray:
            tables.append(_runs_of(lab, weights, len(tables)))
            return _loss(tables[-1], target)

        climb(losses, lab.prior, rounds=rounds, at_most=lab.at_most)
    runs = _joined(tables)
    return runs, [_pick(lab, runs, target) for target in lab.mix.targets]


METHODS: dict[str, Callable[[Lab], tuple[Runs, list[Pick]]]] = {"regmix": _regmix, "climb": _climb}


def _pick(lab: Lab, runs: Runs, target: str) -> Pick:
    """What a regression on the runs makes of one target."""
    loss = _loss(runs, target)
    names = None if lab.mix.regressor is None else [lab.mix.regressor]
    choice = choose(runs.weights, loss, names=names)
    best = best_mixture(choice.predictor.predict, lab.prior, at_most=lab.at_most)
    return Pick(
        target=target,
        foretold=best,
        prediction=float(choice.predictor.predict(best[None])[0]),
        measured=runs.weights[int(np.argmin(loss))],
        facts={
            "regressor": choice.name,
            "spearman": choice.spearman,
            "error": choice.error,
            "mean_error": choice.mean_error,
            "tried": [asdict(one) for one in choice.tried],
        },
    )


def _candidates(lab: Lab, picks: Sequence[Pick]) -> list[np.ndarray]:
    """Proportional and uniform, then the two mixtures of each pick."""
    return [*_anchors(lab), *(mixture for pick in picks for mixture in (pick.foretold, pick.measured))]


def _choose(lab: Lab, runs: Runs, pick: Pick, again: np.ndarray, k: int) -> dict[str, Any]:
    """The better of a pick's two mixtures on fresh draws, and what else is known of them."""
    column = list(range(len(lab.metrics))) if pick.target == ANY else [lab.metrics.index(pick.target)]
    fresh = again[:, column].mean(axis=1)
    foretold, measured = (float(fresh[len(_ANCHORS) + 2 * k + j]) for j in (0, 1))
    origin = "foretold" if foretold <= measured else "measured"
    weights = pick.foretold if origin == "foretold" else pick.measured
    return {
        "target": pick.target,
        "weights": _named(lab, weights),
        "origin": origin,
        "foretold": _named(lab, pick.foretold),
        "best_measured": _named(lab, pick.measured),
        "prediction": pick.prediction,
        "best_loss": float(_loss(runs, pick.target).min()),
        "fresh": {
            "foretold": foretold,
            "best_measured": measured,
            **{name: float(fresh[j]) for j, name in enumerate(_ANCHORS)},
        },
        "at_cap": [n for n, w, m in zip(lab.sources, weights, lab.at_most, strict=True) if m < 1 and w > 0.999 * m],
        **pick.facts,
    }


def _named(lab: Lab, weights: np.ndarray) -> dict[str, float]:
    return {name: float(share) for name, share in zip(lab.sources, weights, strict=True)}


def _anchors(lab: Lab) -> np.ndarray:
    """The mixtures that every search runs besides those that it draws [2, sources]."""
    return np.stack([fill(1.0, lab.prior, lab.at_most), lab.uniform])


def _runs_of(lab: Lab, weights: np.ndarray, batch: int = 0) -> Runs:
    names = tuple(f"{batch}-{k}" for k in range(len(weights)))
    tokens = np.full(len(weights), float(lab.num_tokens))
    losses = lab.losses(weights)
    return Runs(sources=lab.sources, weights=weights, metrics=lab.metrics, losses=losses, names=names, tokens=tokens)


def _joined(tables: Sequence[Runs]) -> Runs:
    first = tables[0]
    return replace(
        first,
        weights=np.concatenate([t.weights for t in tables]),
        losses=np.concatenate([t.losses for t in tables]),
        names=tuple(name for t in tables for name in t.names),
        tokens=np.concatenate([t.tokens for t in tables if t.tokens is not None]),
    )


def _loss(runs: Runs, target: str) -> np.ndarray:
    return runs.loss(None if target == ANY else target)


def _run_tokens(recipe: Recipe, mix: Mix) -> int:
    """What a run reads.

    Raises:
        InvalidParameterError: more than the budget.
    """
    budget = int(recipe.budget.amount)
    if mix.tokens is None:
        return min(budget, _NGRAM_TOKENS) if isinstance(recipe.proxy, NGram) else budget
    tokens = int(Budget.parse(mix.tokens).amount)
    if tokens > budget:
        raise InvalidParameterError(
            f"`mix.tokens` (={human_count(tokens)}) must be at most the budget (={human_count(budget)}). Leave it out."
        )
    return tokens


def _chunks(weights: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(weights), _CHUNK):
        yield weights[first : first + _CHUNK]


def _bits_per_byte(run: Run, target: str) -> float:
    table = run.to_table(["target", "bits", "bytes"])
    is_of = np.array(table["target"].to_pylist()) == target
    return float(table["bits"].to_numpy()[is_of].sum() / table["bytes"].to_numpy()[is_of].sum())
