"""Mixtures and schedules on a planted pool: every source within one document of its weight, in every phase."""

import json
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.api import build, selecting
from assay.api.scheduling import phase_table, schedule_arm
from assay.api.showing import describe
from assay.artifacts.kinds import Corpus, Selection
from assay.artifacts.workspace import Workspace
from assay.corpus import jsonl, parts, sharing
from assay.errors import ArtifactError, BudgetError, InvalidParameterError
from assay.mix import Phase
from tests.conftest import in_this_process, make_documents, write_jsonl
from tests.mixtures.test_mixture import printed

WEIGHTS = {"web": 0.6, "books": 0.3, "law": 0.1}
NUMBERS = {"web": 120, "books": 60, "law": 12}


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> Corpus:
    rows = [row for k, name in enumerate(NUMBERS) for row in make_documents(NUMBERS[name], seed=k, topic=name)]
    rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    for k in range(3):
        write_jsonl(tmp_path / f"pool-{k}.jsonl", rows[k::3])
    return assay.read(tmp_path / "pool-*.jsonl", workspace=workspace)


def lengths(corpus: Corpus, workspace: Workspace) -> np.ndarray:
    scores = assay.score(corpus, "length", workspace=workspace)
    return scores.to_table(["length.tokens"])["length.tokens"].to_numpy()


def sources(corpus: Corpus) -> np.ndarray:
    return np.concatenate([corpus.table(k, ["source"])["source"].to_numpy() for k in range(corpus.num_parts)])


def repeats(selection: Selection) -> np.ndarray:
    return selection.to_table(["repeats"])["repeats"].to_numpy()


def sizes(corpus: Corpus, workspace: Workspace) -> dict[str, int]:
    """Tokens of each source."""
    return {name: int(lengths(corpus, workspace)[sources(corpus) == name].sum()) for name in NUMBERS}


def check_met(
    corpus: Corpus, workspace: Workspace, selection: Selection, wanted: dict[str, float], seen: np.ndarray | None = None
) -> None:
    """Each source has what is wanted of it within one of its documents, all together within one, and the manifest says
    so; `seen`: how often each document was seen before.
    """
    tokens, names, counts = lengths(corpus, workspace), sources(corpus), repeats(selection)
    together = counts if seen is None else counts + seen
    for name, amount in wanted.items():
        own = names == name
        taken = int((tokens * counts)[own].sum())
        assert abs(taken - amount) < tokens[own].max()
        assert together[own].max() - together[own].min() <= 1  # nothing is repeated before all has been read
        said = selection.manifest.summary["groups"][name]
        assert said["tokens"] == taken
        assert said["epochs"] == pytest.approx(taken / tokens[own].sum())
        assert said["documents"] == int((counts[own] > 0).sum())
        assert said["share"] == pytest.approx(taken / int((tokens * counts).sum()))
    assert 0 <= int((tokens * counts).sum()) - sum(wanted.values()) < tokens.max()


@pytest.mark.parametrize("budget", [2_000, 9_000, 15_000])  # of law 200, 900, 1,500 tokens, of which there are 1,400
@pytest.mark.parametrize("keep_rows", [0, 10**6])
@in_this_process
def test_weights_are_met_within_a_document_with_the_repeats_they_imply(
    corpus: Corpus, workspace: Workspace, budget: int, keep_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "_KEEP_ROWS", keep_rows)
    mixture = assay.Mixture(weights=WEIGHTS)
    selection = assay.select(corpus, mixture, budget=f"{budget} tokens", seed=budget, workspace=workspace)
    check_met(corpus, workspace, selection, {name: budget * weight for name, weight in WEIGHTS.items()})


def test_what_is_available_is_counted_by_source(corpus: Corpus, workspace: Workspace) -> None:
    found = assay.mix.available(corpus, workspace=workspace)
    assert found == sizes(corpus, workspace)
    exact = assay.tokenize(corpus, vocab_size=400, workspace=workspace)
    counted = assay.mix.available(corpus, tokens=exact, where="source <> 'law'", workspace=workspace)
    assert counted["law"] == 0
    assert sum(counted.values()) < exact.manifest.summary["tokens"]
    with pytest.raises(InvalidParameterError, match="'sorce' is neither a column of the corpus nor a score"):
        assay.mix.available(corpus, "sorce", workspace=workspace)


def test_a_mixture_stands_for_its_quota(corpus: Corpus, workspace: Workspace) -> None:
    mixture = assay.Mixture(weights=WEIGHTS, max_epochs={"law": 8})
    quota = assay.Quota.of(mixture)
    assert (quota.shares, quota.max_epochs) == (mixture.weights, {"web": 4, "books": 4, "law": 8})
    first = assay.select(corpus, mixture, budget="2k tokens", workspace=workspace)
    assert assay.select(corpus, quota, budget="2k tokens", workspace=workspace) == first
    longest = assay.Quota.of(mixture, assay.Top())
    taken = repeats(assay.select(corpus, longest, by="length.tokens", budget="2k tokens", workspace=workspace))
    tokens, names = lengths(corpus, workspace), sources(corpus)
    for name in NUMBERS:
        own = names == name
        assert tokens[own & (taken > 0)].min() >= tokens[own & (taken == 0)].max()


def test_what_a_limit_of_epochs_takes_from_one_goes_to_the_others(
    corpus: Corpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(selecting, "note", said.append)
    have = sizes(corpus, workspace)
    weights = {"web": 0.4, "books": 0.2, "law": 0.4}
    mixture = assay.Mixture(weights=weights, max_epochs=1.5)
    selection = assay.select(corpus, mixture, budget="10k tokens", workspace=workspace)
    law = 1.5 * have["law"]
    check_met(corpus, workspace, selection, {"law": law, "web": (10_000 - law) * 2 / 3, "books": (10_000 - law) / 3})
    moved, left = 0.4 - law / 10_000, law / 10_000
    assert said == [f"quota: `max_epochs` moves {moved:.1%} of the budget to other groups; it leaves law {left:.1%}"]


def test_what_cannot_be_met_is_told_with_the_way_out(corpus: Corpus, workspace: Workspace) -> None:
    have = sizes(corpus, workspace)
    all_of_it = rf"The budget of group 'law' is 3,000, but .* group 'law' hold only {have['law']:,}"
    epochs = 3000 / have["law"]
    for strict in (
        assay.Quota(shares={"law": 1, "web": 1}),
        assay.Mixture(weights={"law": 0.5, "web": 0.5}, max_epochs=None),
    ):
        with pytest.raises(
            BudgetError, match=rf"{all_of_it}: that would be {epochs:.2f} epochs\. .*max_repeats: 3.*max_epochs"
        ):
            assay.select(corpus, strict, budget="6k tokens", workspace=workspace)
    enough = assay.select(corpus, strict, budget="6k tokens", max_repeats=3, workspace=workspace)
    check_met(corpus, workspace, enough, {"law": 3000, "web": 3000})
    rows = [line.split() for line in printed(describe(enough)).split("\n")]
    assert (
        next(row for row in rows if row[:1] == ["law"])[3]
        == f"{enough.manifest.summary['groups']['law']['epochs']:.2f}"
    )
    with pytest.raises(BudgetError, match=r"is 90,000, but the groups of `shares` can give only .* raise `max_epochs`"):
        assay.select(corpus, assay.Mixture(weights={"law": 0.5, "web": 0.5}), budget="90k tokens", workspace=workspace)
    with pytest.raises(
        InvalidParameterError, match="`shares` names 'lwa', of which nothing can be taken; 'source' has"
    ):
        assay.select(corpus, assay.Mixture(weights={"lwa": 1.0}), budget="2k tokens", workspace=workspace)
    with pytest.raises(BudgetError, match=r"is 2,000, but the documents that may be taken hold only 0\. .*`where`"):
        assay.select(corpus, assay.Mixture(weights=WEIGHTS), budget="2k tokens", where="false", workspace=workspace)


def test_documents_and_bytes_are_shared_out_too(tmp_path: Path, workspace: Workspace) -> None:
    rows = [{**row, "year": 2020 + k % 3} for k, row in enumerate(make_documents(90))]
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", rows), workspace=workspace)
    mixture = assay.Mixture(by="year", weights={2020: 0.5, 2021: 0.3, 2022: 0.2})
    selection = assay.select(corpus, mixture, budget="70 documents", workspace=workspace)
    groups = selection.manifest.summary["groups"]
    seen = {year: (said["seen"], said["documents"], said["epochs"]) for year, said in groups.items()}
    assert seen == {"2020": (35, 30, 35 / 30), "2021": (21, 21, 0.7), "2022": (14, 14, 14 / 30)}
    selection = assay.select(corpus, mixture, budget="30 kb", workspace=workspace)
    longest = max(len(row["text"]) for row in rows)
    for year, said in selection.manifest.summary["groups"].items():
        assert abs(said["bytes"] - 30_000 * mixture.weights[year]) < longest
    plain = assay.select(corpus, budget="50 documents", workspace=workspace)
    assert "groups" not in plain.manifest.summary


def test_the_manifest_says_nothing_of_too_many_groups(
    corpus: Corpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "_MAX_GROUPS", 2)
    selection = assay.select(corpus, assay.Quota(), budget="50 documents", workspace=workspace)
    assert "groups" not in selection.manifest.summary
    assert "Too many values" in printed(phase_table([selection]))


def test_a_recipe_takes_a_mixture_from_its_folder(tmp_path: Path) -> None:
    assay.Mixture(weights={"web": 0.75, "law": 0.25}, max_epochs=2).save(tmp_path / "mixture.yaml")
    content = {
        "pool": "pool.jsonl",
        "target": "target.jsonl",
        "budget": "1M tokens",
        "arms": {"mixed": {"score": "dsir", "select": {"quota": {"mixture": "mixture.yaml", "within": "top"}}}},
    }
    arm = assay.Recipe.from_dict(content, tmp_path).arms["mixed"]
    assert arm.select == assay.Quota(shares={"web": 0.75, "law": 0.25}, max_epochs=2, within=assay.Top())
    content["arms"] = {"mixed": {"select": {"quota": {"mixture": "mixture.yaml", "shares": "equal"}}}}
    with pytest.raises(
        InvalidParameterError, match=r"`arms.mixed.select.quota` has no 'shares'; it takes mixture, within"
    ):
        assay.Recipe.from_dict(content, tmp_path)
    content["arms"] = {"mixed": {"select": {"quota": {"mixture": "no.yaml"}}}}
    with pytest.raises(InvalidParameterError, match=r"arms.mixed.select.quota: There is no mixture .*no.yaml"):
        assay.Recipe.from_dict(content, tmp_path)


SCHEDULE = assay.Schedule(
    phases=(
        Phase(name="main", share=0.6, mixture=assay.Mixture(weights={"web": 0.7, "books": 0.28, "law": 0.02})),
        Phase(name="end", share=0.25, mixture=assay.Mixture(weights={"web": 0.3, "law": 0.7})),
        Phase(name="cooldown", share=0.15, mixture=assay.Mixture(weights={"books": 0.5, "law": 0.5})),
    )
)


@pytest.mark.parametrize("seed", range(3))
def test_each_phase_meets_its_weights_and_reads_on(corpus: Corpus, workspace: Workspace, seed: int) -> None:
    phases = assay.mix.schedule(corpus, SCHEDULE, budget="12k tokens", seed=seed, workspace=workspace)
    seen = np.zeros(sum(NUMBERS.values()), np.int64)
    for phase, selection in zip(SCHEDULE.phases, phases, strict=True):
        wanted = {name: 12_000 * phase.share * phase.mixture.weights.get(name, 0) for name in NUMBERS}
        check_met(corpus, workspace, selection, wanted, seen)
        seen += repeats(selection)
        counts = selection.manifest.counts
        assert counts["in"] == counts["kept"] + sum(counts["dropped"].values())
    assert seen[sources(corpus) == "law"].min() >= 2  # 12,000 * (.6 * .02 + .25 * .7 + .15 * .5) tokens of about 1,400
    reasons = np.array(phases[1].to_table(["reason"])["reason"].to_pylist(), object)
    read_before = (repeats(phases[0]) > 0) & (repeats(phases[1]) == 0)
    assert set(reasons[read_before]) == {"in_earlier_phase"}


def test_phases_of_one_mixture_read_what_one_selection_reads(corpus: Corpus, workspace: Workspace) -> None:
    mixture = assay.Mixture(weights=WEIGHTS)
    halves = assay.Schedule.cooldown(mixture, mixture, 0.4)
    first, second = assay.mix.schedule(corpus, halves, budget="15k tokens", workspace=workspace)
    together = repeats(first) + repeats(second)
    whole = repeats(assay.select(corpus, mixture, budget="15k tokens", workspace=workspace))
    for name in NUMBERS:
        assert np.abs(together - whole)[sources(corpus) == name].sum() <= 2  # of rounding, one document a phase


def test_a_limit_counts_all_phases_and_what_it_leaves_goes_to_the_phases_others(
    corpus: Corpus, workspace: Workspace
) -> None:
    have = sizes(corpus, workspace)
    base = assay.Mixture(weights={"web": 0.8, "books": 0.15, "law": 0.05})
    schedule = assay.Schedule.upsampled(base, {"law": 0.9}, share=0.3, max_epochs=2)
    main, end = assay.mix.schedule(corpus, schedule, budget="12k tokens", workspace=workspace)
    law = main.manifest.summary["groups"]["law"]["tokens"] + end.manifest.summary["groups"]["law"]["tokens"]
    assert law == 2 * have["law"]
    plan = schedule.plan(have, 12_000)
    longest = lengths(corpus, workspace).max()
    for name in NUMBERS:
        assert abs(end.manifest.summary["groups"][name]["tokens"] - plan.phases[1].tokens[name]) < 2 * longest
    cells = [line.split() for line in printed(phase_table([main, end])).split("\n")]
    assert next(row for row in cells if row[:1] == ["law"])[-1] == "2.00"


def test_a_phase_that_asks_for_too_much_is_named(corpus: Corpus, workspace: Workspace) -> None:
    base = assay.Mixture(weights={"web": 0.8, "law": 0.2})
    strict = assay.Schedule.cooldown(base, assay.Mixture(weights={"law": 1.0}, max_epochs=None))
    message = r"Phase .cooldown.: The budget of group .law. is 600, beside the 1,\d{3} of earlier .* max_repeats: 2"
    with pytest.raises(BudgetError, match=message):
        assay.mix.schedule(corpus, strict, budget="6k tokens", workspace=workspace)
    limited = assay.Schedule.cooldown(base, assay.Mixture(weights={"law": 1.0}, max_epochs=1))
    with pytest.raises(
        BudgetError, match="Phase 'cooldown': The budget is 600, but the groups of `shares` can give only"
    ):
        assay.mix.schedule(corpus, limited, budget="6k tokens", workspace=workspace)


def test_phases_are_found_again_and_do_not_depend_on_order_or_parts(
    corpus: Corpus, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = assay.mix.schedule(corpus, SCHEDULE, budget="12k tokens", workspace=workspace)
    before = {path: path.stat().st_mtime_ns for one in phases for path in one.folder.rglob("*")}
    assert assay.mix.schedule(corpus, SCHEDULE, budget="12k tokens", workspace=workspace) == phases
    assert {path: path.stat().st_mtime_ns for one in phases for path in one.folder.rglob("*")} == before
    later = [Phase(name=p.name, share=p.share, mixture=p.mixture) for p in SCHEDULE.phases[:2]]
    changed = assay.Schedule(phases=(*later, Phase(name="cooldown", share=0.15, mixture=later[0].mixture)))
    again = assay.mix.schedule(corpus, changed, budget="12k tokens", workspace=workspace)
    assert again[:2] == phases[:2]
    assert again[2] != phases[2]

    def by_id(corpus: Corpus, phases: list[Selection]) -> list[dict[str, int]]:
        ids = [name for k in range(corpus.num_parts) for name in corpus.table(k, ["id"])["id"].to_pylist()]
        return [{i: n for i, n in zip(ids, repeats(one).tolist(), strict=True) if n} for one in phases]

    expected = by_id(corpus, phases)
    monkeypatch.setattr(parts, "PART_BYTES", 5_000)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 1_000)
    rows = [json.loads(line) for file in tmp_path.glob("pool-*.jsonl") for line in file.read_text().splitlines()]
    shuffled = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    other = assay.read(write_jsonl(tmp_path / "shuffled.jsonl", shuffled), workspace=workspace)
    assert other.num_parts > corpus.num_parts
    assert by_id(other, assay.mix.schedule(other, SCHEDULE, budget="12k tokens", workspace=workspace)) == expected


@in_this_process
def test_phases_go_on_after_an_interruption_with_the_same_bytes(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def phases(workspace: str) -> list[Selection]:
        return assay.mix.schedule(corpus, SCHEDULE, budget="12k tokens", workspace=tmp_path / workspace)

    expected = phases("whole")
    real = build._make_part
    calls: list[int] = []

    def failing(make: object, paths: list[Path], part: int) -> int:
        calls.append(part)
        if len(calls) in (6, 9):  # in the first phase and in the second
            raise KeyboardInterrupt
        return real(make, paths, part)

    monkeypatch.setattr(build, "_make_part", failing)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            phases("cut")
    for one, whole in zip(phases("cut"), expected, strict=True):
        assert one.folder.name == whole.folder.name
        for path in whole.folder.glob("part-*"):
            assert (one.folder / path.name).read_bytes() == path.read_bytes()


def test_an_arm_is_read_in_phases_by_its_own_rules(tmp_path: Path, workspace: Workspace) -> None:
    rows = [row for k, name in enumerate(NUMBERS) for row in make_documents(NUMBERS[name], seed=k, topic=name)]
    target = make_documents(30, seed=9, topic="web")
    copied = {"id": "copied", "text": target[0]["text"], "source": "web"}
    write_jsonl(tmp_path / "pool.jsonl", [*rows, copied])
    write_jsonl(tmp_path / "target.jsonl", target)
    arms = {"long": {"score": "length.words", "where": "length.words >= 80"}, "even": {"select": "quota"}}
    content = {"pool": "pool.jsonl", "target": "target.jsonl", "budget": "6k tokens", "arms": arms}
    recipe = assay.Recipe.from_dict(content, tmp_path)
    mixture = assay.Mixture(weights={"web": 0.9, "law": 0.1})
    schedule = assay.Schedule.cooldown(mixture, assay.Mixture(weights={"web": 1.0}), 0.3)
    pool, phases = schedule_arm(recipe, "long", schedule, workspace)
    assert [round(one.manifest.summary["chosen"], -2) for one in phases] == pytest.approx([4200, 1800], abs=200)
    words = assay.score(pool, "length", workspace=workspace).to_table(["length.words"])["length.words"].to_numpy()
    seen, own = repeats(phases[0]) + repeats(phases[1]), sources(pool) == "web"
    ids = np.array([name for k in range(pool.num_parts) for name in pool.table(k, ["id"])["id"].to_pylist()])
    may = own & (ids != "copied")
    first, second = (words[own & (repeats(one) > 0)] for one in phases)
    assert first.min() >= second.max() >= second.min() >= words[may & (seen == 0)].max()  # the longest first
    assert words[seen > 0].min() >= 80
    assert seen[ids == "copied"] == 0
    assert schedule_arm(recipe, "random", schedule, workspace)[1] != phases
    with pytest.raises(InvalidParameterError, match=r"`arm` \(='even'\) must be one without shares of its own"):
        schedule_arm(recipe, "even", schedule, workspace)
    with pytest.raises(InvalidParameterError, match="`arm` .* must be one of random, long, even"):
        schedule_arm(recipe, "lnog", schedule, workspace)


def test_a_schedule_by_clusters_goes_by_those_of_the_recipe(tmp_path: Path, workspace: Workspace) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_documents(40, seed=0, topic="a") + make_documents(40, seed=1, topic="b"))
    write_jsonl(tmp_path / "target.jsonl", make_documents(30, seed=9, topic="a"))
    content = {"pool": "pool.jsonl", "target": "target.jsonl", "budget": "1k tokens", "mix": {}}
    recipe = assay.Recipe.from_dict(content | {"scorers": {"clusters": {"num_clusters": 2}}}, tmp_path)
    mixture = assay.Mixture(weights={"0": 0.5, "1": 0.5}, by="clusters.cluster")
    _, phases = schedule_arm(recipe, "random", assay.Schedule.cooldown(mixture, mixture), workspace)
    assert [set(one.manifest.summary["groups"]) for one in phases] == [{"0", "1"}] * 2


def test_phases_are_written_into_folders_in_order(corpus: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    phases = assay.mix.schedule(corpus, SCHEDULE, budget="6k tokens", workspace=workspace)
    exports = assay.mix.write_phases(corpus, phases, tmp_path / "out", format="jsonl")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00-main", "01-end", "02-cooldown"]
    for export, selection in zip(exports, phases, strict=True):
        lines = [line for file in sorted(export.folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
        assert len(lines) == repeats(selection).sum()
        assert export.manifest.summary["groups"] == selection.manifest.summary["groups"]
    assay.mix.write_phases(corpus, phases, tmp_path / "out", format="jsonl")
    with pytest.raises(
        ArtifactError, match=r"holds '02-cooldown', which is no phase of this schedule \(00-main, 01-end\)"
    ):
        assay.mix.write_phases(corpus, phases[:2], tmp_path / "out", format="jsonl")
