"""The end of training: which source in it does the good, on text where that is planted."""

import numpy as np
import pytest

from assay.api.simulated import Heldout
from assay.api.tails import ablate_tail, apportion
from assay.errors import InvalidParameterError
from assay.models.ngram import Queries, score_once
from assay.proxy.annealing import Documents
from tests.api.test_online import LENGTH, VOCAB, documents

SOURCES = ("easy", "rich", "noise")


def draw(seed: int, num: int = 300) -> list[Documents]:
    rng = np.random.default_rng(seed)
    texts = [documents(name, num, rng) for name in SOURCES]
    return [(text.ravel().astype(np.uint16), np.arange(num + 1) * LENGTH) for text in texts]


@pytest.fixture(scope="module")
def heldout() -> Heldout:
    asked = documents("rich", 40, np.random.default_rng(99))
    starts = np.arange(41) * LENGTH
    queries = Queries.of(asked.ravel(), starts, vocab_size=VOCAB, order=3)
    return Heldout(queries, starts, np.full(40, 4.0 * LENGTH), np.zeros(40, np.int64))


BASE, TAIL = np.array([0.9, 0.05, 0.05]), np.array([0.2, 0.6, 0.2])


def test_the_source_that_teaches_the_target_is_what_the_end_gains_by(heldout: Heldout) -> None:
    seeds = [draw(k) for k in range(5)]
    found = ablate_tail(seeds, heldout, sources=SOURCES, base=BASE, tail=TAIL, tokens=12_000)
    assert found.gained.low > 0
    worth = {name: interval.estimate for name, interval in found.without.worth.items()}
    assert worth["rich"] > found.gained.estimate > 0  # without it the end is worse than none
    assert max(worth["easy"], worth["noise"]) <= 0  # both take its place
    assert found.without.verdicts()["rich"] == "helps" and found.without.verdicts()["noise"] == "harms"
    assert str(found).startswith("the end saves 0.") and str(found).splitlines()[2].startswith("rich")


def test_an_end_by_the_base_mixture_gains_nothing(heldout: Heldout) -> None:
    found = ablate_tail([draw(0), draw(1)], heldout, sources=SOURCES, base=BASE, tail=BASE, tokens=8000)
    assert found.gained.estimate == found.gained.low == found.gained.high == 0


def test_what_runs_out_is_read_again_and_said(heldout: Heldout) -> None:
    few = [draw(0, num=20), draw(1, num=20)]  # 800 tokens of each
    found = ablate_tail(few, heldout, sources=SOURCES, base=np.ones(3), tail=TAIL, tokens=6000, share=0.5)
    np.testing.assert_allclose(found.without.epochs[0], (1000 + 1800) / 800)
    assert "read 3" in str(found) or "read 4" in str(found)


def test_the_two_models_are_those_of_the_streams_put_together_by_hand(heldout: Heldout) -> None:
    seeds = [draw(0), draw(1)]
    pure, other = np.array([1.0, 0, 0]), np.array([0.0, 0.5, 0.5])
    found = ablate_tail(seeds, heldout, sources=SOURCES, base=pure, tail=other, tokens=4000, share=0.25)

    def chances(tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
        has_end = np.arange(len(starts) - 1) < len(starts) - 2  # the last may be cut
        return np.exp(score_once(heldout.queries, tokens, starts, has_end=has_end))

    saved = []
    for easy, rich, noise in seeds:
        base = chances(easy[0][:3000], np.arange(0, 3001, LENGTH))
        control = chances(easy[0][3000:4000], np.arange(0, 1001, LENGTH))
        starts = np.concatenate((np.arange(0, 500, LENGTH), 500 + np.arange(0, 500, LENGTH), [1000]))
        ended = chances(np.concatenate((rich[0][:500], noise[0][:500])), starts)
        saved.append(np.log2((base + ended) / (base + control)).sum() / heldout.sizes.sum())
    assert found.gained.estimate == pytest.approx(np.mean(saved), rel=1e-9)


def test_shares_of_tokens_add_up() -> None:
    rng = np.random.default_rng(0)
    for total in (1, 7, 1000):
        weights = rng.dirichlet(np.ones(9))
        given = apportion(total, weights)
        assert given.sum() == total and (np.abs(given - total * weights) < 1).all()


def test_bad_input_is_refused(heldout: Heldout) -> None:
    good = {"sources": SOURCES, "base": BASE, "tail": TAIL, "tokens": 4000}
    with pytest.raises(InvalidParameterError, match="`draws` .=1. must be two or more"):
        ablate_tail([draw(0)], heldout, **good)  # type: ignore[arg-type]
    for change in ({"share": 1.0}, {"tokens": 10}, {"tail": np.ones(2)}, {"base": np.zeros(3)}):
        with pytest.raises(InvalidParameterError, match=f"`{next(iter(change))}`"):
            ablate_tail([draw(0), draw(1)], heldout, **{**good, **change})  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="`weights`.*two sources or more"):
        ablate_tail([draw(0), draw(1)], heldout, **{**good, "tail": np.array([0.0, 1.0, 0.0])})  # type: ignore[arg-type]
    empty = [*draw(0)[:2], (np.empty(0, np.uint16), np.array([0]))]
    with pytest.raises(InvalidParameterError, match="has no tokens"):
        ablate_tail([empty, empty], heldout, **good)  # type: ignore[arg-type]
