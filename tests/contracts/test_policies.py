"""The contract that every policy in the table meets, through the whole select path."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import jsonl, parts
from assay.errors import AssayError
from assay.selection.policies import POLICIES, Cap, Policy, Quota, Sample, Threshold, Top, Uniform, Unique
from tests.conftest import make_documents, write_jsonl

EXAMPLES: dict[str, Policy] = {
    "uniform": Uniform(),
    "top": Top(),
    "threshold": Threshold(min=20, max=180),
    "sample": Sample(temperature=30.0),
    "quota": Quota(by="source", shares="equal", within=Top()),
    "cap": Cap(by="source", limit=2_000, within=Top()),
    "unique": Unique(by="twins", within=Top(), repeats={1: 1, 2: 2}),
}
BUDGET = 4_000


def documents() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for k, topic in enumerate("abc"):
        rows += make_documents(80 - 25 * k, seed=k, topic=topic, length=100)
    rng = np.random.default_rng(0)
    for row in rows:
        row["twins.cluster"], row["twins.cluster_size"] = int(rng.integers(0, 40)), 2
        row["quality"] = None if rng.random() < 0.1 else float(rng.integers(0, 200))
    return rows


def chosen(folder: Path, rows: list[dict[str, object]], policy: Policy, seed: int = 0) -> dict[str, int]:
    """id -> repeats of what is taken."""
    corpus = assay.read(write_jsonl(folder / "pool.jsonl", rows), workspace=folder / "w")
    selection = assay.select(corpus, policy, by="quality", budget=f"{BUDGET} tokens", seed=seed, workspace=folder / "w")
    ids = [i for k in range(corpus.num_parts) for i in corpus.table(k, ["id"])["id"].to_pylist()]
    repeats = [int(r) for k in range(corpus.num_parts) for r in selection.repeats(k)]
    return {name: count for name, count in zip(ids, repeats, strict=True) if count}


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> Policy:
    return EXAMPLES[request.param]


def test_every_policy_of_the_table_has_an_example() -> None:
    assert EXAMPLES.keys() == POLICIES.keys()
    assert all(type(EXAMPLES[name]) is kind and kind.name == name for name, kind in POLICIES.items())


def test_the_choice_does_not_depend_on_order_or_parts(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = chosen(tmp_path / "a", rows, policy)
    monkeypatch.setattr(parts, "PART_BYTES", 3_000)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 1_000)
    shuffled = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    assert chosen(tmp_path / "b", shuffled, policy) == expected


def test_the_budget_is_met_within_one_document(tmp_path: Path, workspace: Workspace, policy: Policy) -> None:
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", documents()), workspace=workspace)
    lengths = assay.score(corpus, "length", workspace=workspace)
    selection = assay.select(corpus, policy, by="quality", scores=lengths, budget="4k tokens", workspace=workspace)
    tokens = lengths.to_table(["length.tokens"])["length.tokens"].to_numpy()
    repeats = selection.to_table(["repeats"])["repeats"].to_numpy()
    groups = 3 if policy.group_by else 1
    total = int((tokens * repeats).sum())
    assert total == selection.manifest.summary["chosen"]
    assert BUDGET <= total < BUDGET + groups * tokens.max()


def test_documents_without_a_score_are_taken_only_where_none_is_needed(tmp_path: Path, policy: Policy) -> None:
    rows = documents()
    unscored = {row["id"] for row in rows if row["quality"] is None}
    taken = unscored & chosen(tmp_path, rows, policy).keys()
    assert bool(taken) == (not policy.needs_score)


def test_the_funnel_balances(tmp_path: Path, workspace: Workspace, policy: Policy) -> None:
    rows = documents()
    path = write_jsonl(tmp_path / "pool.jsonl", [*rows, rows[0], {"id": "x", "text": None}])
    corpus = assay.read(path, max_failed_share=0.1, workspace=workspace)
    selection = assay.select(
        corpus, policy, by="quality", budget="2k tokens", where="source <> 'b'", workspace=workspace
    )
    counts = selection.manifest.counts
    assert counts["in"] == len(rows) + 2
    assert counts["in"] == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["failed"].values())
    table = selection.to_table()
    reasons = table["reason"].to_pylist()
    assert [r is None for r in reasons] == [n > 0 for n in table["repeats"].to_pylist()]
    assert {r: reasons.count(r) for r in set(reasons) - {None}} == counts["dropped"]


def test_the_same_seed_chooses_the_same_and_another_seed_other_documents(tmp_path: Path, policy: Policy) -> None:
    rows = documents()
    for row in rows:
        row["quality"] = 100.0  # all alike, so that only chance decides
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert chosen(tmp_path / "a", rows, policy) == chosen(tmp_path / "b", rows, policy)
    assert chosen(tmp_path / "a", rows, policy, seed=1) != chosen(tmp_path / "a", rows, policy)


def test_priorities_are_row_wise_and_never_nan_where_a_score_is(policy: Policy) -> None:
    rng = np.random.default_rng(0)
    scores, uniform = rng.normal(100, 30, 200), rng.random(200)
    whole = policy.priorities(scores, uniform)
    halves = [policy.priorities(scores[part], uniform[part]) for part in (slice(0, 77), slice(77, None))]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    if policy.name != "threshold":
        assert not np.isnan(whole).any()


def test_policies_survive_pickling_and_name_their_parameters(policy: Policy) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy
    parameters = policy.parameters()
    assert parameters["name"] == policy.name
    assert json.loads(json.dumps(parameters)) == parameters


def test_unknown_parameters_and_changes_are_refused(policy: Policy) -> None:
    with pytest.raises(TypeError):
        type(policy)(no_such_parameter=1)
    with pytest.raises((AttributeError, AssayError)):
        policy.name = "other"  # type: ignore[misc]
