"""Scores of language models: against sums over documents by hand, and planted truths."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay import read, score
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.models.lm import NGramLM
from assay.models.tokenizer import BPE
from assay.scorers import LongRange, LossDifference, MinK, Perplexity, RareTokens, Scorer, State
from assay.scorers.long_range import with_cache, with_short_context
from assay.scorers.ngrams import Halves
from assay.scorers.sampling import sampled
from tests.conftest import make_prose, write_jsonl

SMALL: dict[str, Any] = {"vocab_size": 400, "order": 3}


def to_batch(texts: list[str | None], prefix: str = "d") -> pa.RecordBatch:
    ids = pa.array([f"{prefix}{k}" for k in range(len(texts))])
    return pa.RecordBatch.from_arrays([ids, pa.array(texts, pa.string())], names=["id", "text"])


def fitted(scorer: Scorer, pool: pa.RecordBatch, target: pa.RecordBatch | None = None) -> State:
    prepared = scorer.prepare({} if target is None else {"target": scorer.sketch_target(target)})
    known = {**prepared, "num_documents": np.array([len(pool)])}
    return scorer.finish(prepared, scorer.sketch_pool(pool, known) if scorer.reads_pool else {})


def scored(scorer: Scorer, batch: pa.RecordBatch, state: State) -> dict[str, np.ndarray]:
    names = [column.name.split(".")[1] for column in scorer.columns(("target",))]
    found = scorer.score(batch, state)
    return {name: values.to_numpy(zero_copy_only=False) for name, values in zip(names, found, strict=True)}


def prose(number: int, seed: int, topic: str = "w", length: int = 60) -> list[str]:
    return [d["text"] for d in make_prose(number, seed=seed, topic=topic, length=length)]


POOL = to_batch([*prose(120, 1), *prose(30, 2, "q")])


def test_bits_per_byte_are_an_independent_sum() -> None:
    scorer = Perplexity(**SMALL)
    state = fitted(scorer, POOL)
    batch = to_batch(["w1 w2 é漢", "", None, "w3"], "new")
    found = scored(scorer, batch, state)
    models = Halves.of_state("Perplexity", state).lms
    ids = models[0].encode(pa.array(["w1 w2 é漢"]))[0]
    nats = [-lm.log_probabilities(ids, np.array([0, len(ids)])).astype(float).sum() for lm in models]
    expected = [round(n / np.log(2) / len("w1 w2 é漢".encode()), 4) for n in nats]
    assert found["bits_per_byte"][0] in expected
    assert round(found["loss"][0] * len(ids), 2) in [round(n, 2) for n in nats]
    assert np.isnan(found["loss"][1:3]).all() and found["tokens"][0] == len(ids) and found["tokens"][1] == 0


def test_documents_that_were_read_look_no_easier_than_others() -> None:
    """Cross-fitting: half of the pool is in the sample, the other half is of the same kind."""
    scorer = Perplexity(sample=60, **SMALL)
    pool = to_batch(prose(120, 1))
    state = fitted(scorer, pool)
    loss = scored(scorer, pool, state)["loss"]
    models = Halves.of_state("Perplexity", state).lms
    sample = sampled(scorer.sketch_pool(pool, {"num_documents": np.array([120])}), 60)
    was_read = np.isin(pool.column("id").to_pylist(), sample.column("id").to_pylist())
    assert was_read.sum() == 60
    assert abs(loss[was_read].mean() - loss[~was_read].mean()) < 0.1
    texts = pool.column("text").filter(pa.array(was_read)).to_pylist()
    own = [min(-lm.log_probabilities(*lm.encode(pa.array([t]))).mean() for lm in models) for t in texts]
    assert loss[~was_read].mean() - np.mean(own) > 0.5  # what it would be without


def test_text_unlike_the_pool_is_harder() -> None:
    scorer = Perplexity(**SMALL)
    state = fitted(scorer, POOL)
    bits = scored(scorer, to_batch([*prose(20, 9), *prose(20, 9, "q"), *prose(20, 9, "unknown")], "new"), state)
    usual, seldom, never = np.split(bits["bits_per_byte"], 3)
    assert usual.mean() < seldom.mean() < never.mean()


def test_the_summary_tells_where_bands_begin() -> None:
    scorer = Perplexity(**SMALL)
    columns = scorer.score(POOL, fitted(scorer, POOL))
    named = dict(zip((c.name for c in scorer.columns(())), columns, strict=True))
    found = scorer.summary(scorer.summarise(named))["bits_per_byte"]
    assert list(found) == ["10%", "33%", "50%", "67%", "90%"]
    bits = named["perplexity.bits_per_byte"].to_numpy()
    np.testing.assert_allclose(list(found.values()), np.quantile(bits, [0.1, 1 / 3, 0.5, 2 / 3, 0.9]), atol=0.02)


def test_a_pool_of_one_document_makes_no_two_halves() -> None:
    with pytest.raises(InvalidParameterError, match="has 1 documents to learn from, which do not make two halves"):
        fitted(Perplexity(**SMALL), to_batch(["one"]))


def test_the_target_is_found_and_gains() -> None:
    scorer = LossDifference(**SMALL)
    state = fitted(scorer, POOL, to_batch(prose(10, 3, "q"), "t"))
    found = scored(scorer, POOL, state)
    gain = found["gain"]
    assert gain[120:].min() > gain[:120].max()
    np.testing.assert_allclose(gain, found["prior"] - found["conditional"], atol=2e-4)


def test_with_words_alone_the_gain_is_the_mean_log_ratio_of_words() -> None:
    scorer = LossDifference(vocab_size=400, order=1, share=0.999999)
    target = to_batch(prose(30, 3, "q"), "t")
    state = fitted(scorer, POOL, target)
    read = {key.removeprefix("target."): array for key, array in state.items() if key.startswith("target.")}
    target_lm, halves = NGramLM.of_state(read), Halves.of_state("LossDifference", state).lms
    gain = scored(scorer, POOL, state)["gain"]
    for k in (0, 60, 149):
        ids = target_lm.encode(POOL.column("text").slice(k, 1))[0]
        each = [
            np.mean([np.log(p[t]) - np.log(q[t]) for t in ids])
            for q in (lm.model.distribution(np.empty(0, np.int64)) for lm in halves)
            for p in [target_lm.model.distribution(np.empty(0, np.int64))]
        ]
        assert min(abs(gain[k] - value) for value in each) < 1e-3


def test_a_target_without_text_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Target 'target' has no text"):
        fitted(LossDifference(**SMALL), POOL, to_batch(["", None], "t"))


def test_one_model_of_two_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="`conditional` .* given together with `prior`"):
        LossDifference(prior="folder")


def test_min_k_of_all_tokens_is_the_loss() -> None:
    scorer = MinK(k=1.0, **SMALL)
    found = scored(scorer, POOL, fitted(scorer, POOL))
    np.testing.assert_allclose(found["log_probability"], -found["loss"], atol=1e-4)
    fewer = MinK(k=0.1, **SMALL)
    assert (scored(fewer, POOL, fitted(fewer, POOL))["log_probability"] < found["log_probability"] - 0.5).all()


def test_rare_tokens_are_those_of_the_tail() -> None:
    texts = prose(200, 1)
    scorer = RareTokens(vocab_size=600, tail=0.1)
    state = fitted(scorer, to_batch([*texts, *prose(4, 2, "q")]))
    assert 0.05 < scorer.fit_summary(state)["share"] <= 0.1
    usual, odd = (
        scored(scorer, to_batch(some, "n"), state)["share"] for some in (texts[:20], ["zyx vut zzz " * 9] * 2)
    )
    assert odd.min() > 0.8 and usual.max() < 0.4


def test_a_document_that_comes_back_to_its_words_gains_from_afar() -> None:
    scorer = LongRange(short=40, **SMALL)
    state = fitted(scorer, POOL)
    halves = prose(20, 7, length=80)
    again, other = (
        [f"{a} {a}" for a in halves],
        [f"{a} {b}" for a, b in zip(halves, prose(20, 8, length=80), strict=True)],
    )
    gains = [scored(scorer, to_batch(some, "n"), state)["gain"] for some in (again, other)]
    assert (gains[0] > gains[1]).mean() > 0.9


def test_short_documents_have_no_gain() -> None:
    scorer = LongRange(short=40, **SMALL)
    found = scored(scorer, to_batch(["w1", "", None], "n"), fitted(scorer, POOL))
    assert np.isnan(found["gain"]).all() and found["tokens"][:2].tolist() == [0, 0]


@pytest.mark.parametrize("window", [None, 1, 4])
def test_the_cache_counts_what_stands_before(window: int | None) -> None:
    rng = np.random.default_rng(0)
    starts = np.cumsum([0, 9, 0, 1, 30])
    ids = rng.integers(0, 5, starts[-1])
    base = -rng.exponential(size=len(ids))
    found = with_cache(base, ids, starts, window)
    for a, b in pairwise(starts):
        for i in range(a, b):
            before = ids[max(a, i - window) if window else a : i]
            share = 0.1 if len(before) else 0.0
            own = (before == ids[i]).mean() if len(before) else 0.0
            assert found[i] == pytest.approx(np.log((1 - share) * np.exp(base[i]) + share * own))


def test_a_short_context_is_a_document_that_begins_later() -> None:
    texts = pa.array(prose(5, 1))
    lm = NGramLM.train(BPE.train(texts.to_pylist(), 300), texts, 4)
    ids, starts = lm.encode(texts)
    near, far = with_short_context(lm, ids, starts, 16), lm.log_probabilities(ids, starts)
    np.testing.assert_array_equal(near, far)  # four tokens are within any window's second half


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models that share a tokenizer, and one with another."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    from assay.models import gpt

    torch.set_num_threads(1)
    made = []
    texts = POOL.column("text").to_pylist()
    for name, vocab_size, seed in (("prior", 300, 0), ("conditional", 300, 1), ("other", 350, 0)):
        bpe = BPE.train(texts, vocab_size)
        shape = {"width": 32, "depth": 1, "heads": 2, "hidden": 64, "context": 96}
        made.append(tmp_path_factory.mktemp(name))
        gpt.save(gpt.GPT(gpt.GPTConfig(vocab_size=bpe.vocab_size + 1, **shape), seed), made[-1], bpe.to_json())
    return made


@pytest.mark.parametrize("name", ["perplexity", "loss_difference", "min_k", "long_range"])
def test_scores_of_models_from_folders_do_not_depend_on_batches(name: str, folders: list[Path]) -> None:
    first, second = str(folders[0]), str(folders[1])
    scorer: Scorer = {
        "perplexity": Perplexity(model=first),
        "loss_difference": LossDifference(prior=first, conditional=second),
        "min_k": MinK(model=first),
        "long_range": LongRange(model=first, short=24),
    }[name]
    assert not scorer.reads_pool and not scorer.needs_target
    batch = to_batch([*prose(20, 4), "", None, "x"])
    whole = scored(scorer, batch, {})
    for cut in (1, 7, 22):
        pieces = [scored(scorer, piece, {}) for piece in (batch.slice(0, cut), batch.slice(cut))]
        for key, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([piece[key] for piece in pieces]), values)
    assert np.isnan(whole[next(iter(whole))][20:22]).all()


def test_models_of_other_tokenizers_cannot_be_compared(folders: list[Path]) -> None:
    scorer = LossDifference(prior=str(folders[0]), conditional=str(folders[2]))
    with pytest.raises(InvalidParameterError, match="must have the same tokenizer"):
        scorer.score(POOL, {})


def test_a_model_that_reads_no_further_has_no_long_range(folders: list[Path]) -> None:
    """Tokens of a document's second window have half a context at least: a short one must not have more."""
    with pytest.raises(
        InvalidParameterError, match=r"`short` \(=49\) must be at most half the model's context \(=96\)"
    ):
        LongRange(model=str(folders[0]), short=49).score(POOL, {})
    assert LongRange(model=str(folders[0]), short=48).score(POOL, {})[0].null_count < len(POOL)


def test_scores_are_found_again_unless_the_model_is_another(folders: list[Path], workspace: Workspace) -> None:
    path = write_jsonl(workspace.root.parent / "pool.jsonl", [{"text": text} for text in prose(12, 4)])
    pool = read(str(path), workspace=workspace)
    found = [score(pool, Perplexity(model=str(folder)), workspace=workspace) for folder in (*folders[:2], folders[0])]
    assert found[0].folder == found[2].folder != found[1].folder
    values = found[0].table(0).column("perplexity.bits_per_byte").to_numpy()
    expected = scored(Perplexity(model=str(folders[0])), to_batch(prose(12, 4)), {})["bits_per_byte"]
    np.testing.assert_array_equal(values, expected)
