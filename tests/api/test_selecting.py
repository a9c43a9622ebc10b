"""`assay.select` and `assay.score` on small corpora: what is computed, what is found again, what is refused."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import assay
from assay.api import build, selecting
from assay.api.showing import describe
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.corpus import sharing
from assay.errors import ArtifactError, BudgetError, InvalidParameterError
from tests.conftest import make_documents, write_jsonl


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> Corpus:
    for k, topic in enumerate("abc"):
        write_jsonl(tmp_path / f"pool-{topic}.jsonl", make_documents(60, seed=k, topic=topic))
    return assay.read(tmp_path / "pool-*.jsonl", workspace=workspace)


@pytest.fixture
def target(tmp_path: Path, workspace: Workspace) -> Corpus:
    return assay.read(
        write_jsonl(tmp_path / "target.jsonl", make_documents(20, seed=9, topic="b")), workspace=workspace
    )


def sources(corpus: Corpus, selection: assay.Selection) -> dict[str, int]:
    found: dict[str, int] = {}
    for k in range(corpus.num_parts):
        names = corpus.table(k, ["source"])["source"].to_pylist()
        for name, count in zip(names, selection.repeats(k), strict=True):
            found[name] = found.get(name, 0) + int(count)
    return {name: count for name, count in found.items() if count}


def test_a_score_leads_to_the_target(corpus: Corpus, target: Corpus, workspace: Workspace) -> None:
    scores = assay.score(corpus, assay.DSIR(smoothing=0.5), target=target, workspace=workspace)
    selection = assay.select(
        corpus, assay.Top(), scores=scores, by="dsir.per_ngram", budget="40 documents", workspace=workspace
    )
    assert sources(corpus, selection) == {"b": 40}


@pytest.mark.parametrize(
    ("budget", "unit", "expected"),
    [
        ("25 documents", "documents", 25),
        ("10%", "share", None),
        ("20kb", "bytes", 20_000),
        ("3k tokens", "tokens", 3000),
    ],
)
def test_every_unit_of_budget_is_met(
    corpus: Corpus, workspace: Workspace, budget: str, unit: str, expected: int | None
) -> None:
    selection = assay.select(corpus, budget=budget, workspace=workspace)
    lengths = assay.score(corpus, "length", workspace=workspace).to_table()
    column = {"bytes": "length.bytes", "tokens": "length.tokens", "share": "length.tokens"}.get(unit)
    costs = lengths[column].to_numpy() if column else [1] * 180
    repeats = selection.to_table(["repeats"])["repeats"].to_numpy()
    wanted = expected if expected is not None else 0.1 * sum(costs)
    assert wanted <= (costs * repeats).sum() < wanted + max(costs)
    assert repr(selection).startswith(f"Selection(uniform, documents {int((repeats > 0).sum())} of 180, ")


def test_exact_token_counts_are_used_when_given(corpus: Corpus, workspace: Workspace) -> None:
    tokens = assay.tokenize(corpus, vocab_size=400, workspace=workspace)
    selection = assay.select(corpus, budget="5k tokens", tokens=tokens, workspace=workspace)
    counted = 0
    for k in range(corpus.num_parts):
        _, starts = tokens.ids(k)
        counted += int(((starts[1:] - starts[:-1]) * selection.repeats(k)).sum())
    assert counted == selection.manifest.summary["chosen"] >= 5000


def test_a_changed_decision_recomputes_no_score(corpus: Corpus, target: Corpus, workspace: Workspace) -> None:
    scores = assay.score(corpus, "dsir", target=target, workspace=workspace)
    lengths = assay.score(corpus, "length", workspace=workspace)
    before = {p: p.stat().st_mtime_ns for s in (scores, lengths) for p in s.folder.rglob("*")}
    for policy, budget, where in (
        (assay.Top(), "2k tokens", None),
        (assay.Sample(), "3k tokens", None),
        (assay.Threshold(min=-1e9), "1k tokens", "length.words > 50"),
    ):
        assay.select(corpus, policy, scores=[scores, lengths], budget=budget, where=where, workspace=workspace)
    assert {p: p.stat().st_mtime_ns for s in (scores, lengths) for p in s.folder.rglob("*")} == before


def test_the_same_question_finds_the_same_selection_and_any_change_makes_another(
    corpus: Corpus, target: Corpus, workspace: Workspace
) -> None:
    scores = [assay.score(corpus, "dsir", target=target, workspace=workspace)]
    base = {
        "scores": scores,
        "budget": "2k tokens",
        "by": "dsir.log_weight",
        "seed": 0,
        "where": None,
        "max_repeats": 1,
    }
    first = assay.select(corpus, assay.Sample(), **base, workspace=workspace)
    assert assay.select(corpus, assay.Sample(), **base, workspace=workspace).folder == first.folder
    marks = {first.fingerprint}
    for policy, change in (
        (assay.Sample(temperature=2.0), {}),
        (assay.Top(), {}),
        (assay.Sample(), {"budget": "2001 tokens"}),
        (assay.Sample(), {"by": "dsir.per_ngram"}),
        (assay.Sample(), {"seed": 1}),
        (assay.Sample(), {"where": "source = 'b'"}),
        (assay.Sample(), {"max_repeats": 2}),
    ):
        marks.add(assay.select(corpus, policy, **(base | change), workspace=workspace).fingerprint)
    assert len(marks) == 8


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        (assay.Top(), {}, "Policy 'top' goes by a score; pass scores=, or by= a corpus column."),
        (
            assay.Top(),
            {"by": "qualty"},
            "'qualty' is neither a column of the corpus nor a score. There are id, text, source",
        ),
        (assay.Uniform(), {"where": "sorce = 'a'"}, "Did you mean 'source'"),
        (assay.Uniform(), {"max_repeats": 0}, r"`max_repeats` \(=0\) must be an integer ≥ 1"),
        (assay.Uniform(), {"seed": -1}, r"`seed` \(=-1\) must be an integer ≥ 0"),
        (assay.Uniform(), {"budget": "1G tokens"}, r"The budget is 1,000,000,000, but the documents .* hold only"),
        (assay.Quota(by="licence"), {}, "'licence' is neither a column of the corpus nor a score"),
    ],
)
def test_what_cannot_be_chosen_is_explained(
    corpus: Corpus, workspace: Workspace, policy: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        assay.select(corpus, policy, **({"budget": "1k tokens"} | options), workspace=workspace)


@pytest.mark.parametrize(
    ("scorer", "target", "message"),
    [
        ("dsri", None, r"`scorer` \(='dsri'\) must be one of .*dsir, .*overlap.*\. Did you mean 'dsir'"),
        ("dsir", None, "Scorer 'dsir' compares with a target; pass target=assay.read"),
        ("dsir", {}, "`target` .* is empty"),
    ],
)
def test_what_cannot_be_scored_is_explained(
    corpus: Corpus, workspace: Workspace, scorer: str, target: object, message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        assay.score(corpus, scorer, target=target, workspace=workspace)


def test_a_target_without_words_is_refused(corpus: Corpus, tmp_path: Path, workspace: Workspace) -> None:
    empty = assay.read(write_jsonl(tmp_path / "empty.jsonl", [{"id": "a", "text": " \n"}]), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="Target 'law' has no words"):
        assay.score(corpus, "dsir", target={"law": empty}, workspace=workspace)


def test_several_targets_have_columns_of_their_own(
    corpus: Corpus, target: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    other = assay.read(write_jsonl(tmp_path / "c.jsonl", make_documents(20, seed=8, topic="c")), workspace=workspace)
    scores = assay.score(corpus, "dsir", target={"bee": target, "sea": other}, workspace=workspace)
    assert scores.column_names[3:] == ["dsir.log_weight.bee", "dsir.log_weight.sea"]
    for name, source in (("bee", "b"), ("sea", "c")):
        selection = assay.select(
            corpus,
            assay.Top(),
            scores=scores,
            by=f"dsir.log_weight.{name} / dsir.ngrams",
            budget="20 documents",
            workspace=workspace,
        )
        assert sources(corpus, selection) == {source: 20}


def test_scores_and_selections_go_on_after_an_interruption_with_the_same_bytes(
    corpus: Corpus, target: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(workspace: Path) -> list[Path]:
        scores = assay.score(corpus, "dsir", target=target, workspace=workspace)
        selection = assay.select(corpus, assay.Top(), scores=scores, budget="2k tokens", workspace=workspace)
        return [scores.folder, selection.folder]

    expected = everything(tmp_path / "whole")
    real = build._make_part
    calls: list[int] = []

    def failing(make: object, paths: list[Path], part: int) -> int:
        calls.append(part)
        if len(calls) in (2, 6):
            raise KeyboardInterrupt
        return real(make, paths, part)

    monkeypatch.setattr(build, "_make_part", failing)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            everything(tmp_path / "cut")
    assert calls == [0, 1, 1, 2, 0, 1]
    for folder, whole in zip(everything(tmp_path / "cut"), expected, strict=True):
        assert folder.name == whole.name
        for path in whole.glob("part-*"):
            assert (folder / path.name).read_bytes() == path.read_bytes()


def test_many_documents_are_judged_anew_instead_of_kept(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = assay.select(corpus, budget="2k tokens", seed=3, workspace=tmp_path / "kept")
    monkeypatch.setattr(selecting, "_KEEP_ROWS", 10)
    other = assay.select(corpus, budget="2k tokens", seed=3, workspace=tmp_path / "anew")
    assert other.to_table().equals(expected.to_table())


def test_artifacts_of_another_kind_are_refused(corpus: Corpus) -> None:
    with pytest.raises(ArtifactError, match="holds a corpus, not a scores"):
        assay.Scores(corpus.folder)


def test_what_belongs_to_another_corpus_is_refused(
    corpus: Corpus, target: Corpus, tmp_path: Path, workspace: Workspace
) -> None:
    scores = assay.score(corpus, "length", workspace=workspace)
    tokens = assay.tokenize(corpus, vocab_size=400, workspace=workspace)
    selection = assay.select(corpus, budget="5 documents", workspace=workspace)
    for call in (
        lambda: assay.select(target, "top", scores=scores, budget="5 documents", workspace=workspace),
        lambda: assay.select(target, tokens=tokens, budget="1k tokens", workspace=workspace),
        lambda: assay.write(target, selection, tmp_path / "chosen"),
    ):
        with pytest.raises(InvalidParameterError, match=r"was made from another corpus than 'target' .*Make it from"):
            call()
    assert not (tmp_path / "chosen").exists()


def test_a_name_that_stands_for_two_columns_is_refused(corpus: Corpus, target: Corpus, workspace: Workspace) -> None:
    published, smoothed = (
        assay.score(corpus, assay.DSIR(smoothing=s), target=target, workspace=workspace) for s in (0, 0.5)
    )
    with pytest.raises(InvalidParameterError, match="'dsir.log_weight' stands for two columns"):
        assay.select(corpus, "top", scores=[published, smoothed], budget="5 documents", workspace=workspace)
    same = assay.select(corpus, "top", scores=[published, published], budget="5 documents", workspace=workspace)
    assert same.manifest.counts["kept"] == 5


def test_policies_go_by_name_too(corpus: Corpus, workspace: Workspace) -> None:
    scores = assay.score(corpus, "length", workspace=workspace)
    by_name = assay.select(corpus, "top", scores=scores, budget="5 documents", workspace=workspace)
    assert by_name.fingerprint == (
        assay.select(corpus, assay.Top(), scores=scores, budget="5 documents", workspace=workspace).fingerprint
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: assay.score("pool.jsonl", "length"), r"`corpus` \(='pool.jsonl'\) must be a corpus, as assay.read"),
        (lambda c: assay.score(c, "dsir", target="target.jsonl"), r"`target` \(='target.jsonl'\) must be a corpus"),
        (lambda c: assay.score(c, "dsir", target={"a": c, "b": 1}), r"`target\['b'\]` \(=1\) must be a corpus"),
        (lambda c: assay.score(c, assay.DSIR, target=c), "`scorer` .* must be a scorer such as DSIR"),
        (lambda c: assay.select(c, 5, budget="1 documents"), r"`policy` \(=5\) must be a policy such as Top"),
        (lambda c: assay.select(c, "best", budget="1 documents"), "`policy` .*'best'.* must be one of uniform, top"),
        (lambda c: assay.select("pool", budget="1 documents"), "`corpus` .* must be a corpus"),
        (lambda c: assay.tokenize(["a text"]), "`corpus` .* must be a corpus"),
        (lambda c: assay.write(c, "chosen", "chosen"), "`selection` .* must be a selection, as assay.select"),
        (lambda c: assay.read(5), r"`read` \(=5\) must be a path, a folder, a glob or a list of these"),
    ],
)
def test_things_of_the_wrong_kind_are_named(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Callable[[Corpus], object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameterError, match=message):
        call(corpus)


def test_where_lower_is_better_bounds_mean_what_they_say_and_top_takes_the_lowest(
    tmp_path: Path, workspace: Workspace
) -> None:
    quoted = make_documents(10, seed=3, topic="q")
    clean = make_documents(90, seed=4, topic="c")
    pool = assay.read(write_jsonl(tmp_path / "pool.jsonl", quoted + clean), workspace=workspace)
    law, med = (
        assay.read(write_jsonl(tmp_path / f"{n}.jsonl", rows), name=n, workspace=workspace)
        for n, rows in (("law", make_documents(3, seed=5, topic="l")), ("med", quoted))
    )
    scores = assay.score(pool, assay.Overlap(), target={"med": med, "law": law}, workspace=workspace)
    options = {"scores": scores, "workspace": workspace}
    low = assay.select(pool, assay.Threshold(max=0.05), by="overlap.share", budget="90 documents", **options)
    assert sources(pool, low) == {"c": 90}
    high = assay.select(pool, assay.Threshold(min=0.3), by="overlap.share", budget="10 documents", **options)
    assert sources(pool, high) == {"q": 10}
    top = assay.select(pool, "top", by="overlap.ngrams.med", budget="10 documents", **options)
    assert sources(pool, top) == {"c": 10}
    again = assay.score(pool, assay.Overlap(), target={"law": law, "med": med}, workspace=workspace)
    assert again.fingerprint == scores.fingerprint and again.column_names[-2:] == [
        "overlap.ngrams.law",
        "overlap.ngrams.med",
    ]


def test_a_condition_may_read_no_column_at_all(corpus: Corpus, workspace: Workspace) -> None:
    everything = assay.select(corpus, budget="30 documents", where="1 = 1", workspace=workspace)
    assert everything.manifest.counts["kept"] == 30
    with pytest.raises(BudgetError, match="hold only 0"):
        assay.select(corpus, budget="30 documents", where="false", workspace=workspace)


def test_groups_together_meet_the_budget(corpus: Corpus, workspace: Workspace) -> None:
    for policy, within in (("uniform", assay.Uniform()), ("top", assay.Top())):
        quota = assay.Quota(by="id", within=within)
        by = "length(text)" if policy == "top" else None
        selection = assay.select(corpus, quota, budget="10 documents", by=by, workspace=workspace)
        assert selection.manifest.counts["kept"] == 10


@pytest.mark.parametrize("within", [assay.Uniform(), assay.Sample()], ids=["uniform", "sample"])
def test_a_cluster_is_as_likely_to_be_taken_as_a_document_that_stands_alone(
    tmp_path: Path, workspace: Workspace, within: assay.Uniform | assay.Sample
) -> None:
    texts = [f"copied {k // 20}" for k in range(400)] + [f"alone {k}" for k in range(180)]  # 20 clusters of 20
    rows = [{"id": str(k), "text": text, "value": 0.0} for k, text in enumerate(texts)]
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", rows), workspace=workspace)
    scores = assay.score(corpus, "exact", workspace=workspace)
    taken = []
    for seed in range(10):
        policy = assay.Unique(by="exact", within=within)
        selection = assay.select(
            corpus, policy, scores=scores, by="value", budget="50 documents", seed=seed, workspace=workspace
        )
        repeats = np.concatenate([selection.repeats(k) for k in range(selection.num_parts)])
        chosen = [text for text, number in zip(texts, repeats, strict=True) if number]
        assert len(set(chosen)) == len(chosen) == 50
        taken.append(sum(text.startswith("copied") for text in chosen))
    assert 3.5 < np.mean(taken) < 6.5  # 5 expected with sd 0.6; 20 when the luckiest copy's noise placed a cluster


def test_the_first_rule_that_fails_is_the_reason(tmp_path: Path, workspace: Workspace) -> None:
    rows = [
        {"id": "short", "text": "too short"},
        {"id": "repeated", "text": "the same of words and to be with " * 20},
        {"id": "fine", "text": " ".join(["the", "of", *(f"word{k}" for k in range(100))])},
        {"id": "hashes", "text": " ".join(["the", "of", *(f"# word{k}" for k in range(100))])},
    ]
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", rows), workspace=workspace)
    scores = assay.score(corpus, "heuristics", workspace=workspace)
    where = "passes('gopher_quality', 'gopher_repetition', too_few_alpha_words = 0.1)"
    selection = assay.select(corpus, budget="1 documents", scores=scores, where=where, workspace=workspace)
    reasons = selection.to_table(["reason"])["reason"].to_pylist()
    assert reasons == ["gopher.too_few_words", "gopher.top_2gram", None, "gopher.too_many_hashes"]
    assert selection.manifest.counts["dropped"] == {
        "gopher.too_few_words": 1,
        "gopher.too_many_hashes": 1,
        "gopher.top_2gram": 1,
    }
    text = Console(width=100, file=StringIO())
    text.print(describe(selection))
    assert "fails the rule gopher.top_2gram" in text.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_not_a_set_of_scores_is_refused(corpus: Corpus, workspace: Workspace) -> None:
    with pytest.raises(InvalidParameterError, match="`scores` .* must be scores, as assay.score"):
        assay.select(corpus, "top", scores="dsir", budget="5 documents", workspace=workspace)
    with pytest.raises(InvalidParameterError, match=r"`workspace` \(=3\) must be a folder"):
        assay.select(corpus, budget="5 documents", workspace=3)


@pytest.mark.parametrize("partition_bytes", [32 << 20, 200])
def test_the_best_of_each_cluster_is_found_over_parts_and_partitions(
    partition_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 texts of four copies each, the copies in four files; the one with the highest `grade` is to stand for each."""
    rng = np.random.default_rng(2)
    rows = make_documents(60, seed=5)
    grades = rng.permutation(240).reshape(4, 60)
    for file in range(4):
        copies = [{**row, "id": f"{file}-{k}", "grade": int(grades[file, k])} for k, row in enumerate(rows)]
        write_jsonl(tmp_path / f"f{file}.jsonl", copies)  # type: ignore[arg-type]
    corpus = assay.read(str(tmp_path / "f*.jsonl"), id="id", workspace=tmp_path / "w")
    monkeypatch.setattr(selecting, "_PARTITION_BYTES", partition_bytes)
    chosen = assay.select(
        corpus,
        assay.Unique(by="exact", within=assay.Top()),
        scores=assay.score(corpus, "exact", workspace=tmp_path / "w"),
        by="grade",
        budget="60 documents",
        workspace=tmp_path / "w",
    )
    kept = [chosen.repeats(part) for part in range(4)]
    assert np.array_equal(np.array(kept), grades == grades.max(axis=0))
    assert chosen.manifest.counts["dropped"] == {"duplicate": 180}
    assert not list(chosen.folder.glob("work*"))
