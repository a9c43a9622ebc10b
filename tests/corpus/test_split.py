"""Holding out test documents."""

from pathlib import Path

import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import split
from assay.corpus.split import leave_out_seen, limit_holdout, split_holdout
from assay.errors import InvalidParameterError
from tests.conftest import make_documents, write_jsonl
from tests.corpus.test_jsonl import rows


def ids(corpus: assay.Corpus) -> set[str]:
    return {row["id"] for row in rows(corpus, ["id"])}


@pytest.fixture
def target(tmp_path: Path, workspace: Workspace) -> assay.Corpus:
    return assay.read(write_jsonl(tmp_path / "target.jsonl", make_documents(200)), workspace=workspace)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_the_two_sides_are_disjoint_and_whole(target: assay.Corpus, workspace: Workspace, share: float) -> None:
    fit, heldout = split_holdout(target, share, workspace)
    assert len(ids(heldout)) == round(share * 200)
    assert ids(fit) | ids(heldout) == ids(target) and not ids(fit) & ids(heldout)
    texts = {row["id"]: row["text"] for row in rows(target)}
    assert all(texts[row["id"]] == row["text"] for side in (fit, heldout) for row in rows(side))


def test_the_split_does_not_depend_on_order(tmp_path: Path, target: assay.Corpus, workspace: Workspace) -> None:
    reverse = assay.read(write_jsonl(tmp_path / "reverse.jsonl", make_documents(200)[::-1]), workspace=workspace)
    assert [ids(side) for side in split_holdout(reverse, 0.3, workspace)] == [
        ids(side) for side in split_holdout(target, 0.3, workspace)
    ]


def test_more_is_held_out_without_moving_what_was(target: assay.Corpus, workspace: Workspace) -> None:
    assert ids(split_holdout(target, 0.2, workspace)[1]) < ids(split_holdout(target, 0.4, workspace)[1])


def test_a_split_is_found_again(target: assay.Corpus, workspace: Workspace) -> None:
    first, second = (split_holdout(target, 0.3, workspace) for _ in range(2))
    assert [side.fingerprint for side in first] == [side.fingerprint for side in second]
    assert first[0].fingerprint != first[1].fingerprint


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 0.001, 0.999])
def test_shares_that_leave_nothing_are_refused(target: assay.Corpus, workspace: Workspace, share: float) -> None:
    with pytest.raises(InvalidParameterError, match="`holdout` "):
        split_holdout(target, share, workspace)


def test_no_more_is_tested_on_than_the_limit(
    target: assay.Corpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limit_holdout(target, workspace) is target
    monkeypatch.setattr(split, "MAX_HOLDOUT_BYTES", target.num_bytes // 4)
    limited = limit_holdout(target, workspace)
    assert 0.15 * target.num_bytes < limited.num_bytes <= target.num_bytes // 4
    fit, heldout = split_holdout(target, 0.5, workspace)
    assert heldout.num_bytes <= target.num_bytes // 4
    assert len(ids(fit)) == 100


def test_a_document_keeps_its_side_when_others_come(tmp_path: Path, target: assay.Corpus, workspace: Workspace) -> None:
    """Only one side gives way: the hash below which a document is held out moves one way or the other."""
    more = [*make_documents(200), *make_documents(77, seed=1, topic="new")]
    larger = assay.read(write_jsonl(tmp_path / "larger.jsonl", more), workspace=workspace)
    fit, heldout = map(ids, split_holdout(target, 0.3, workspace))
    fit_larger, heldout_larger = map(ids, split_holdout(larger, 0.3, workspace))
    moved = [fit & heldout_larger, heldout & fit_larger]
    assert min(map(len, moved)) == 0 and max(map(len, moved)) < 20


def test_the_sides_do_not_depend_on_parts(
    tmp_path: Path, target: assay.Corpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(4):
        write_jsonl(tmp_path / f"cut-{k}.jsonl", make_documents(200)[50 * k : 50 * (k + 1)])
    cut = assay.read(tmp_path / "cut-*.jsonl", workspace=workspace)
    assert cut.num_parts == 4
    assert [rows(side) for side in split_holdout(cut, 0.3, workspace)] == [
        [{"id": row["id"], "text": row["text"]} for row in rows(side)] for side in split_holdout(target, 0.3, workspace)
    ]


def test_documents_too_long_to_test_on_are_explained(
    target: assay.Corpus, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "MAX_HOLDOUT_BYTES", 300)
    for hold_out in (lambda: split_holdout(target, 0.3, workspace), lambda: limit_holdout(target, workspace)):
        with pytest.raises(
            InvalidParameterError, match="The first two documents of 'target' to test on are longer than"
        ):
            hold_out()


def test_one_document_is_too_few_to_test_on(tmp_path: Path, workspace: Workspace) -> None:
    one = assay.read(write_jsonl(tmp_path / "one.jsonl", make_documents(1)), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="'one' has one document; at least 2 are needed to test on"):
        limit_holdout(one, workspace)
    with pytest.raises(InvalidParameterError) as refused:
        split_holdout(one, 0.5, workspace)
    assert str(refused.value).startswith("`holdout` (=0.5) leaves 1 and 0 of the 1 documents of 'one'; it must leave 1")


def test_held_out_documents_that_arms_are_chosen_by_are_left_out(tmp_path: Path, workspace: Workspace) -> None:
    documents = make_documents(20)
    twins = [{"id": f"twin-{k}", "text": f"{documents[k]['text']}\n"} for k in (1, 5, 5)] + [
        {"id": "empty", "text": ""}
    ]
    twins = [{**twin, "id": f"{twin['id']}-{k}"} for k, twin in enumerate(twins)]
    fit = assay.read(write_jsonl(tmp_path / "fit.jsonl", [*documents, {"id": "e", "text": ""}]), workspace=workspace)
    others = make_documents(3, seed=8, topic="x")
    heldout = assay.read(write_jsonl(tmp_path / "held.jsonl", twins + others), workspace=workspace)
    unseen = leave_out_seen(heldout, [fit], workspace)
    assert ids(unseen) == {"x-0", "x-1", "x-2", "empty-3"} and unseen.manifest.counts["seen"] == 3
    assert leave_out_seen(unseen, [fit], workspace) is unseen
    assert leave_out_seen(heldout, [fit], workspace).fingerprint == unseen.fingerprint
    only = assay.read(write_jsonl(tmp_path / "only.jsonl", twins[:3] + others[:1]), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="3 of the 4 documents of 'only' are word for word among those"):
        leave_out_seen(only, [fit], workspace)
