"""Seeds are verified: planted good and bad candidates are told apart, worthless ones are not accepted."""

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

import assay
from assay.api.showing import describe
from assay.api.verifying import _Source
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import AssayError, InvalidParameterError
from tests.conftest import make_prose

PROXY = assay.NGram(order=3, vocab_size=600)


def mixed(num_documents: int, seed: int) -> list[dict[str, str]]:
    """Base text: mostly two topics, and a little of the target's."""
    parts = [make_prose(num_documents, seed=seed, topic="m"), make_prose(num_documents, seed=seed, topic="n")]
    return [*parts[0], *parts[1], *make_prose(num_documents // 10, seed=seed, topic="t")]


@pytest.fixture
def base(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(mixed(300, 1), "base")


@pytest.fixture
def target(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus(make_prose(60, seed=2, topic="t"), "target")


def test_planted_good_seeds_are_accepted_and_others_are_not(
    make_corpus: Callable[..., Corpus], base: Corpus, target: Corpus, workspace: Workspace
) -> None:
    candidates = {
        "good": make_corpus(make_prose(120, seed=3, topic="t"), "good"),
        "base": make_corpus(mixed(60, 4), "like-base"),
        "bad": make_corpus(make_prose(120, seed=5, topic="z"), "bad"),
    }
    settings = {"base": base, "target": target, "seeds": 6, "proxy": PROXY, "workspace": workspace}
    found = assay.verify_seeds(candidates, **settings)
    assert found.accepted == ["good"]
    rows = {row["name"]: row for row in found.content["candidates"]}
    assert rows["bad"]["verdict"] in ("worse", "no gain shown") and rows["bad"]["gain"]["estimate"] < 0
    assert rows["good"]["gain"]["low"] > 0
    assert "Accepted: good (3 tried" in found.headline
    console = Console(width=100, file=io.StringIO())
    console.print(describe(found))
    assert "good" in console.file.getvalue() and "accepted" in console.file.getvalue()
    again = assay.verify_seeds(dict(reversed(candidates.items())), **settings)
    assert again.folder == found.folder


def test_text_that_is_also_held_out_wins_nothing(
    make_corpus: Callable[..., Corpus], base: Corpus, target: Corpus, workspace: Workspace
) -> None:
    # Half of it is the test itself, the other half worthless: without the guard it would win by far.
    stolen = [{"text": row["text"]} for row in make_prose(60, seed=2, topic="t") + make_prose(120, seed=5, topic="z")]
    candidate = make_corpus(stolen, "stolen")
    found = assay.verify_seeds(
        {"stolen": candidate}, base=base, target=target, seeds=4, proxy=PROXY, workspace=workspace
    )
    (row,) = found.content["candidates"]
    assert row["left_out_for_overlap"] == 60 and row["verdict"] != "accepted"


def test_every_document_is_in_one_seed_only(base: Corpus, target: Corpus, workspace: Workspace) -> None:
    overlap = assay.score(base, assay.Overlap(), target=target, workspace=workspace)
    tokens = assay.tokenize(base, vocab_size=600, workspace=workspace)
    source = _Source(corpus=base, tokens=tokens, overlap=overlap)
    totals = source.fold_tokens(4)
    drawn = [source.draw(fold, 4, int(totals[fold])) for fold in range(4)]
    texts = [tuple(ids[a:b]) for ids, starts in drawn for a, b in itertools.pairwise(starts)]
    ids, starts = tokens.ids(0)
    assert sorted(texts) == sorted(tuple(ids[a:b]) for a, b in itertools.pairwise(starts))
    assert totals.sum() == len(ids)
    cut, bounds = source.draw(0, 4, 1000)
    np.testing.assert_array_equal(cut, drawn[0][0][:1000])
    assert bounds[-1] == 1000


def test_targets_without_text_or_name_are_refused(
    make_corpus: Callable[..., Corpus], base: Corpus, target: Corpus, workspace: Workspace
) -> None:
    empty = make_corpus([{"text": ""}, {"text": ""}], "empty")
    settings = {"base": base, "seeds": 2, "proxy": PROXY, "workspace": workspace}
    for given in ({"empty": empty}, {"empty": empty, "target": target}, {"target": target, "zero": empty}):
        with pytest.raises(InvalidParameterError, match=r"`target\['(empty|zero)'\]` .*must be documents with text"):
            assay.verify_seeds({"one": base}, target=given, **settings)
    for wrong in ({}, {1: target}):
        with pytest.raises(InvalidParameterError, match="`target` .*must be corpora by name"):
            assay.verify_seeds({"one": base}, target=wrong, **settings)
    with pytest.raises(InvalidParameterError, match="`candidates` .*must be corpora by name"):
        assay.verify_seeds({1: base}, target=target, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 1}, "`seeds`"),
        ({"max_false_accepts": 0.7}, "`max_false_accepts`"),
        ({"max_tokens": 10}, "`max_tokens`"),
        ({"seeds": 100}, "Give more text, or fewer `seeds`"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    base: Corpus, target: Corpus, workspace: Workspace, settings: dict, message: str
) -> None:
    with pytest.raises(AssayError, match=message):
        assay.verify_seeds({"one": target}, base=base, target=base, proxy=PROXY, workspace=workspace, **settings)
    with pytest.raises(InvalidParameterError, match="`candidates`"):
        assay.verify_seeds({}, base=base, target=target, workspace=workspace)
