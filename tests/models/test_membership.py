"""Membership: planted repeats are found, no repeats are not, and what needs no model stands beside it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay import Membership, membership, read
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.models.calibration import area_under_curve
from assay.models.lm import NGramLM, document_sums
from assay.models.membership import SHARES, Telling, _scores, lowest_mean, tell_apart, telling
from assay.models.tokenizer import BPE
from tests.conftest import make_prose, write_jsonl

SIZE = 100


def prose(number: int, seed: int, topic: str = "w") -> list[str]:
    return [d["text"] for d in make_prose(number, seed=seed, topic=topic, length=50)]


@pytest.fixture(scope="module")
def sets() -> tuple[list[str], list[str], list[str]]:
    """Documents that may be planted, such as never are, and what the model reads anyway: all of one kind."""
    texts = prose(2 * SIZE + 600, seed=1)
    return texts[:SIZE], texts[SIZE : 2 * SIZE], texts[2 * SIZE :]


@pytest.fixture(scope="module")
def by_repeats(sets: tuple[list[str], list[str], list[str]]) -> dict[int, Membership]:
    planted, others, background = sets
    bpe = BPE.train(background, 400)
    reference = NGramLM.train(bpe, pa.array(prose(100, seed=2)), 2)
    found = {}
    for repeats in (0, 1, 4, 16):
        lm = NGramLM.train(bpe, pa.array(background + planted * repeats), 2)
        found[repeats] = tell_apart(pa.array(planted), pa.array(others), lm, reference)
    return found


def is_nothing(found: Telling) -> bool:
    """0.5 is within three standard errors: there are eleven scores, and each has an interval of 95 %."""
    return abs(found.auc - 0.5) <= 1.5 * (found.high - found.low) / 2


def test_the_area_rises_with_planted_repeats_and_is_a_half_without(by_repeats: dict[int, Membership]) -> None:
    names = [t.method for t in by_repeats[0].scores]
    assert names == [*(f"min-k {share:.0%}" for share in SHARES), "loss", "zlib", "lower case", "reference"]
    for k, name in enumerate(names):
        of_repeats = [by_repeats[repeats].scores[k] for repeats in (0, 1, 4, 16)]
        assert is_nothing(of_repeats[0]), of_repeats[0]
        if name != "lower case":  # these texts have no capitals
            areas = [t.auc for t in of_repeats]
            assert areas == sorted(areas), (name, areas)
            assert areas[3] > (0.6 if name == "zlib" else 0.85), (name, areas)


def test_the_blind_classifier_knows_no_model(by_repeats: dict[int, Membership]) -> None:
    blind = [found.blind for found in by_repeats.values()]
    assert len(set(blind)) == 1
    assert is_nothing(blind[0])


def test_sets_of_other_words_are_told_apart_blindly(sets: tuple[list[str], list[str], list[str]]) -> None:
    lm = NGramLM.train(BPE.train(sets[2], 400), pa.array(sets[2]), 3)
    found = tell_apart(pa.array(prose(40, seed=3)), pa.array(prose(40, seed=3, topic="v")), lm)
    assert found.blind.auc > 0.95
    assert found.blind.method == "blind" and "blind" in str(found).splitlines()[-1]


def test_min_k_of_all_tokens_is_the_mean_and_of_few_the_lowest() -> None:
    rng = np.random.default_rng(0)
    starts = np.cumsum([0, 1, 0, 7, 30, 2])
    values = -rng.exponential(size=starts[-1]).round(1)  # with ties
    for share in (0.01, 0.2, 0.5, 1.0):
        found = lowest_mean(values, starts, share)
        for k, (a, b) in enumerate(pairwise(starts)):
            if a == b:
                assert np.isnan(found[k])
            else:
                assert found[k] == pytest.approx(np.sort(values[a:b])[: max(1, int(share * (b - a)))].mean())


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng, truth, held = np.random.default_rng(0), 0.7602499, 0  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    for _ in range(400):
        found = telling("x", rng.normal(1, 1, 60), rng.normal(0, 1, 40))
        held += found.low <= truth <= found.high
    assert 0.92 < held / 400 < 0.98


def test_the_area_counts_ties_half() -> None:
    rng = np.random.default_rng(1)
    members, others = rng.integers(2, 9, 50), rng.integers(0, 7, 80)
    scores, labels = np.concatenate([members, others]), np.arange(130) < 50
    assert telling("x", members, others).auc == pytest.approx(area_under_curve(scores, labels))


def test_membership_reads_corpora(
    sets: tuple[list[str], list[str], list[str]], workspace: Workspace, tmp_path: Path
) -> None:
    planted, others, background = sets
    lm = NGramLM.train(BPE.train(background, 400), pa.array(background + planted * 16), 4)
    corpora = [
        read(str(write_jsonl(tmp_path / f"{name}.jsonl", [{"text": t} for t in texts])), workspace=workspace)
        for name, texts in (("in", planted), ("out", others))
    ]
    found = membership(*corpora, lm, shares=(0.2,), max_documents=60)
    assert (found.num_members, found.num_others) == (60, 60)
    assert found.scores[0].method == "min-k 20%" and found.scores[0].auc > 0.9
    with pytest.raises(InvalidParameterError, match="`model` .* must be a trained model, a folder"):
        membership(*corpora, 3)  # type: ignore[arg-type]


def test_sets_that_are_too_small_are_refused(sets: tuple[list[str], list[str], list[str]]) -> None:
    lm = NGramLM.train(BPE.train(sets[2], 300), pa.array(sets[2]), 2)
    with pytest.raises(InvalidParameterError, match=r"`non_members` \(=3\) must be at least 10 documents with text"):
        tell_apart(pa.array(sets[0]), pa.array([*sets[1][:3], "", None]), lm)
    with pytest.raises(InvalidParameterError, match="`shares`"):
        tell_apart(pa.array(sets[0]), pa.array(sets[1]), lm, shares=(0.0,))


def test_sets_without_an_overlap_have_an_interval_all_the_same() -> None:
    low, high = np.arange(20.0), np.arange(100.0, 130.0)
    assert 0.8 < telling("x", high, low).low < 0.9 and telling("x", high, low).high == 1
    assert telling("x", low, high).low == 0 and 0.1 < telling("x", low, high).high < 0.2


def test_a_reference_may_cut_texts_into_other_tokens(sets: tuple[list[str], list[str], list[str]]) -> None:
    """What it loses on a text is compared, and not what it loses on a token, of which it may have many more."""
    texts = sets[2]
    lm = NGramLM.train(BPE.train(texts, 400), pa.array(texts), 2)
    for reference in (lm, NGramLM.train(BPE.train(texts, 270), pa.array(texts), 2)):
        ids, starts = lm.encode(pa.array(sets[0]))
        own_ids, own = reference.encode(pa.array(sets[0]))
        asked = ((reference, own_ids, own), (lm, ids, starts))
        total = [-document_sums(m.log_probabilities(i, s), s) for m, i, s in asked]
        found = _scores(pa.array(sets[0], pa.large_string()), lm, ids, starts, reference, ())["reference"]
        np.testing.assert_allclose(found, (total[0] - total[1]) / np.diff(starts), atol=1e-9)
