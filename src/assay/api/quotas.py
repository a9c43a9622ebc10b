"""`assay.learn_quota`: how much of each kind of document to take, found in rounds by what a proxy still has to learn.

Paper: Diversify and Conquer: Diversity-Centric Data Selection with Iterative Refinement, Yu et al. 2024
(arXiv:2409.11378), section 3.2. There documents are clustered; each round draws a part of the budget from the clusters
by their weights, a model is trained on all that was drawn, and the weights w of clusters become w * s / sum(w * s) with
s the softmax over clusters of how much better a reward model finds the true answers than those the model generates.

What differs:
- What a cluster still has to teach is the *gap*: bits per byte of its held-out documents under the n-gram proxy trained
  on what was drawn, less those under the same model trained on the whole pool (50M tokens of it at most). No reward
  model is needed, and a cluster of noise, that nobody can predict, does not attract the budget.
- Each round draws its whole share of the budget; the authors' code draws a K-th of it, for K clusters, and forgets the
  weights of the round before.
- A cluster of which nothing was held out counts as the mean of the others. What one cannot give goes to the others.

Cost: a proxy a round, and one of the whole pool: seconds each on a laptop, docs/diversity.md. Held in memory: 4,000
held-out documents, and the proxy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow.compute as pc

from assay.api.selecting import Question, check_columns, choose
from assay.api.tokenizing import tokenize
from assay.artifacts.kinds import Corpus, Scores, Tokens, check_corpus
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.corpus.engine import map_parts
from assay.errors import BudgetError, InvalidParameterError, check, check_integer
from assay.kernels.filling import fill
from assay.kernels.ragged import take_runs
from assay.models.ngram import Queries
from assay.proxy.ngram import NGram
from assay.proxy.stream import document_bits, training_stream
from assay.selection.budget import Budget
from assay.selection.choose import REASONS, Rules, totals
from assay.selection.policies import Policy, Quota, Uniform

_NAME = "learn_quota"
_HELDOUT_DOCUMENTS = 4_000
_MAX_HELDOUT = 0.1  # of the pool
_REFERENCE_TOKENS = 50_000_000
_NOT_IN_SAMPLE = REASONS.index("not_in_sample") + 1


@dataclass(frozen=True, kw_only=True)
class LearnedQuota:
    """What the rounds found; prints as a table.

    quota: the policy that takes what they took, for an arm or `assay.select`.
    groups: values of the column, sorted.
    tokens: drawn of each in all rounds [groups].
    weights: by which each round drew [rounds + 1, groups]; the last are those that a further round would draw by.
    gaps: bits per byte that each group's held-out text had still to gain, after each round [rounds, groups].
    """

    quota: Quota
    groups: tuple[str, ...]
    tokens: np.ndarray
    weights: np.ndarray
    gaps: np.ndarray

    def __str__(self) -> str:
        rounds = range(len(self.gaps))
        lines = [f"{self.quota.by:24}{'tokens':>12}" + "".join(f"  weight {k}   gap {k}" for k in rounds)]
        for g, name in enumerate(self.groups):
            found = "".join(f"{self.weights[k, g]:>10.4f}{self.gaps[k, g]:>8.3f}" for k in rounds)
            lines.append(f"{name:24}{self.tokens[g]:>12,.0f}{found}")
        return "\n".join(lines)


def learn_quota(
    corpus: Corpus,
    scores: Scores | Sequence[Scores] = (),
    *,
    budget: str | Budget,
    by: str = "clusters.cluster",
    within: Policy | None = None,
    rounds: int = 3,
    proxy: NGram | None = None,
    seed: int = 0,
    workspace: Workspace | str | Location | None = None,
) -> LearnedQuota:
    """Shares of a budget for the values of a column, by what a proxy still has to learn of each.

    Args:
        scores: scores of the corpus that have the column, if it is none of the corpus.
        budget: what all rounds take together, in tokens.
        by: the column.
        within: the policy that draws inside each group; default at random, each as likely as any other.
        rounds: how often weights are learned; each draws as much.
        proxy: the n-gram model; default `NGram()`. seed: of draws and of what is held out.

    Raises:
        InvalidParameterError: an unknown column, a policy that needs a score, or less than a document held out.
        BudgetError: the budget is larger than what may be chosen from.
    """
    check_corpus(corpus)
    check_integer("rounds", rounds, 1, 100)
    check_integer("seed", seed, 0)
    wanted, space, proxy = Budget.parse(budget), Workspace(workspace), proxy or NGram()
    check(wanted.unit == "tokens", "budget", str(wanted), "in tokens")
    inner = within or Uniform()
    check(isinstance(inner, Policy) and not inner.needs_score, "within", within, "a policy that needs no score")
    given = (scores,) if isinstance(scores, Scores) else tuple(scores)
    for one in given:
        one.require_made_from(corpus)
    share = min(_MAX_HELDOUT, _HELDOUT_DOCUMENTS / max(1, corpus.num_documents))
    rules = Rules(policy=Quota(by=by, within=inner), pool_sample=1 - share, seed=seed, stream=_NAME)
    tokens = tokenize(corpus, vocab_size=proxy.vocab_size, workspace=space)
    question = Question(corpus=corpus, scores=given, tokens=tokens, rules=rules, budget=wanted, max_repeats=1)
    check_columns(question)
    return _Rounds.of(question, proxy, space).run(rounds)


@dataclass(frozen=True, kw_only=True)
class _Heldout:
    """Held-out documents: all tokens, where each starts [documents + 1], bytes and group of each [documents]."""

    tokens: np.ndarray
    starts: np.ndarray
    num_bytes: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Rounds:
    """The question, what each group can give, and the test.

    available: tokens by group, sorted by name.
    """

    question: Question
    proxy: NGram
    workspace: Workspace
    available: Mapping[str, float]
    heldout: _Heldout

    @classmethod
    def of(cls, question: Question, proxy: NGram, workspace: Workspace) -> "_Rounds":
        found: Counter[str] = Counter()
        pieces = []
        for part, (own, piece) in enumerate(map_parts(partial(_look, question), range(question.corpus.num_parts))):
            found.update(own)
            pieces.append((part, piece))
        available = {name: found[name] for name in sorted(found) if found[name] > 0}
        if question.budget.amount > sum(available.values()):
            raise BudgetError(
                f"The budget is {question.budget.amount:,.0f} tokens, but the pool without what is held out has only "
                f"{sum(available.values()):,.0f}. Lower it."
            )
        heldout = _gather(question, pieces, list(available))
        if not heldout.num_bytes.sum():
            raise InvalidParameterError("No document could be held out to learn from; the pool is too small.")
        return cls(question=question, proxy=proxy, workspace=workspace, available=available, heldout=heldout)

    def run(self, rounds: int) -> LearnedQuota:
        """Draws, trains, and changes the weights."""
        room = np.array(list(self.available.values()))
        amount = self.question.budget.amount
        queries = self._queries()
        whole = replace(self.question.rules, policy=Uniform())
        most = min(float(room.sum()), _REFERENCE_TOKENS)
        reference = self._bits_per_byte(queries, whole, most)
        weights, gaps = [room / room.sum()], []
        drawn = np.zeros(len(room))
        for k in range(1, rounds + 1):
            drawn += allocate(amount * k / rounds - drawn.sum(), weights[-1], room - drawn)
            gap = self._bits_per_byte(queries, self._rules(drawn), float(drawn.sum())) - reference
            gap[np.isnan(gap)] = np.nanmean(gap)
            gaps.append(gap)
            weights.append(reweighted(weights[-1], gap))
        groups = tuple(self.available)
        quota = self._rules(drawn).policy
        assert isinstance(quota, Quota)
        return LearnedQuota(quota=quota, groups=groups, tokens=drawn, weights=np.stack(weights), gaps=np.stack(gaps))

    def _rules(self, drawn: np.ndarray) -> Rules:
        """By the same noise more of a group is the same and more, so that what one round took the next takes, too."""
        assert isinstance(self.question.rules.policy, Quota)
        shares = {name: float(number) for name, number in zip(self.available, drawn, strict=True) if number > 0}
        return replace(self.question.rules, policy=replace(self.question.rules.policy, shares=shares))

    def _queries(self) -> Queries:
        assert self.question.tokens is not None
        vocab_size = self.question.tokens.manifest.summary["vocab_size"]
        return self.proxy.queries(self.heldout.tokens, self.heldout.starts, vocab_size)

    def _bits_per_byte(self, queries: Queries, rules: Rules, num_tokens: float) -> np.ndarray:
        """Of each group's held-out text, under a proxy trained on so many tokens [groups]; NaN where it has none."""
        assert self.question.tokens is not None
        question = replace(self.question, rules=rules, budget=Budget(num_tokens, "tokens"))
        selection = choose(question, _NAME, self.workspace)
        least = min(int(num_tokens), int(selection.manifest.summary["chosen"]))
        stream = training_stream(selection, self.question.tokens, least)
        bits = document_bits(self.proxy.log_probabilities(stream, queries), self.heldout.starts)
        size = len(self.available)
        num_bytes = np.bincount(self.heldout.groups, self.heldout.num_bytes, size)
        sums = np.bincount(self.heldout.groups, bits, size)
        return np.divide(sums, num_bytes, out=np.full(size, np.nan), where=num_bytes > 0)


def reweighted(weights: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """W * s / sum(w * s) with s the softmax of the gaps [groups].

    >>> reweighted(np.array([0.5, 0.5]), np.log([1.0, 3.0])).round(2).tolist()
    [0.25, 0.75]
    """
    scaled: np.ndarray = weights * np.exp(gaps - gaps.max())
    return scaled / scaled.sum()


def allocate(amount: float, weights: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The amount by weights, none more than there is room for [groups]; what does not fit goes to the others.

    Where those with a weight are full, the others share what is left equally.

    >>> allocate(10, np.array([0.5, 0.4, 0.1]), np.array([2.0, 100.0, 100.0])).round(2).tolist()
    [2.0, 6.4, 1.6]
    """
    given = fill(max(0.0, amount), weights, room)
    return given + fill(max(0.0, amount - given.sum()), np.ones(len(room)), room - given)


def _look(question: Question, part: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Tokens by group that can be drawn from a part, and its held-out rows with their groups."""
    judged = question.judge(part)
    rows = np.flatnonzero(judged.reason == _NOT_IN_SAMPLE)
    return totals(judged)["groups"], [(int(row), judged.groups[judged.group[row]]) for row in rows]


def _gather(question: Question, pieces: list[tuple[int, list[tuple[int, str]]]], groups: list[str]) -> _Heldout:
    """The held-out documents of groups that something can be drawn of."""
    assert isinstance(question.tokens, Tokens)
    numbers = {name: k for k, name in enumerate(groups)}
    ids, sizes, num_bytes, of = [np.empty(0, np.uint16)], [], [], []
    for part, found in pieces:
        known = [(row, numbers[name]) for row, name in found if name in numbers]
        if not known:
            continue
        rows = np.array([row for row, _ in known])
        values, starts = question.tokens.ids(part)
        lengths = np.diff(starts)[rows]
        own = np.empty(int(lengths.sum()), np.uint16)
        take_runs(values, starts[rows], lengths, own)
        texts = [pc.fill_null(pc.binary_length(b.column("text")), 0) for b in question.corpus.batches(part, ["text"])]
        ids.append(own)
        sizes.append(lengths)
        num_bytes.append(np.concatenate([t.to_numpy(zero_copy_only=False) for t in texts])[rows])
        of.append(np.array([number for _, number in known]))
    none = [np.empty(0, np.int64)]
    return _Heldout(
        tokens=np.concatenate(ids),
        starts=np.concatenate(([0], np.cumsum(np.concatenate(sizes or none)))),
        num_bytes=np.concatenate(num_bytes or none),
        groups=np.concatenate(of or none),
    )
