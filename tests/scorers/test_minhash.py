"""MinHash against brute force, theory, and planted near duplicates."""

import itertools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.errors import InvalidParameterError
from assay.kernels.arrow import utf8
from assay.kernels.minhash import distinct_shingles, link, signatures
from assay.kernels.unicode import tables
from assay.kernels.words import word_windows
from assay.scorers.minhash import MAX_LEADERS, MinHash, _permutations, found_with_probability

Pairs = set[tuple[int, int]]


def shingles_of(text: str, length: int = 5) -> set[tuple[str, ...]]:
    found = text.lower().split()
    return {tuple(found[k : k + length]) for k in range(max(1, len(found) - length + 1))} if found else set()


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


def planted(num_pairs: int, seed: int) -> tuple[list[str], list[float]]:
    """2 * num_pairs texts; 2k and 2k + 1 share their beginning, so that their J spreads over 0.5 to 0.95."""
    rng = np.random.default_rng(seed)
    texts, wanted = [], rng.uniform(0.5, 0.95, num_pairs)
    for j in wanted:
        size = int(rng.integers(100, 300))
        common = round(size * 2 * j / (1 + j))
        body = [f"w{n}" for n in rng.integers(0, 10**9, size)]
        other = [f"w{n}" for n in rng.integers(0, 10**9, size - common)]
        texts += [" ".join(body), " ".join(body[:common] + other)]
    return texts, [jaccard(shingles_of(a), shingles_of(b)) for a, b in zip(texts[::2], texts[1::2], strict=True)]


def candidates(scorer: MinHash, texts: list[str]) -> Pairs:
    """Pairs of texts that share a band."""
    rows = pa.RecordBatch.from_arrays([pa.array(texts)], names=["text"])
    keys, _, _ = scorer.sketch(rows)
    buckets: dict[int, list[int]] = {}
    for row, key in zip(*np.divmod(np.arange(keys.size), keys.shape[1]), strict=True):
        buckets.setdefault(int(keys[row, key]), []).append(int(row))
    return {pair for rows in buckets.values() for pair in itertools.combinations(rows, 2)}


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 5)])
def test_pairs_are_found_as_often_as_the_s_curve_says(bands: int, rows: int) -> None:
    """6,000 pairs in ten classes of J; each class within 4 standard errors, all together within 3."""
    texts, similarities = planted(6000, seed=bands)
    found = candidates(MinHash(bands=bands, rows=rows), texts)
    is_found = np.array([(2 * k, 2 * k + 1) in found for k in range(6000)])
    j = np.array(similarities)
    expected = found_with_probability(j, bands, rows)
    variance = expected * (1 - expected)
    z = (is_found - expected).sum() / np.sqrt(variance.sum())
    assert abs(z) < 3
    for low in np.arange(0.5, 0.95, 0.05):
        inside = (j >= low) & (j < low + 0.05)
        assert inside.sum() > 300
        error = np.sqrt(max(1.0, variance[inside].sum()))
        assert abs((is_found - expected)[inside].sum()) < 4 * error
    assert len(found) <= is_found.sum() + 5


def test_places_of_a_signature_agree_as_often_as_j_says() -> None:
    """400 pairs x 256 permutations: the mean difference to J is within 3 standard errors of 0."""
    texts, similarities = planted(400, seed=1)
    text = utf8(pa.array(texts))
    sets = distinct_shingles(*word_windows(text.data, text.offsets, 5, tables()))
    made = signatures(*sets, *_permutations(256))
    agreement = (made[::2] == made[1::2]).mean(axis=1)
    j = np.array(similarities)
    assert abs((agreement - j).mean()) < 3 * np.sqrt((j * (1 - j)).mean() / (256 * 400))
    assert np.sqrt(((agreement - j) ** 2).mean()) < 1.2 * np.sqrt((j * (1 - j)).mean() / 256)


def test_recall_and_precision_against_brute_force(make_corpus: Callable[..., Corpus]) -> None:
    """3,000 documents, 1,500 planted pairs of J 0.5 to 0.95: no false pair, and as many true ones as theory says."""
    texts, _ = planted(1500, seed=7)
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scores = assay.score(corpus, MinHash(), workspace=corpus.folder.parent).to_table()
    clusters: dict[int, list[int]] = {}
    for row, cluster in enumerate(scores["minhash.cluster"].to_pylist()):
        clusters.setdefault(cluster, []).append(row)
    found = {pair for rows in clusters.values() for pair in itertools.combinations(rows, 2)}
    sets = [shingles_of(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = {}
    for row, shingles in enumerate(sets):
        for shingle in shingles:
            holders.setdefault(shingle, []).append(row)
    together = {pair for rows in holders.values() if len(rows) > 1 for pair in itertools.combinations(rows, 2)}
    true = {(a, b): j for a, b in together if (j := jaccard(sets[a], sets[b])) >= 0.8}
    assert found <= set(true)
    expected = np.array([found_with_probability(j, 14, 8) for j in true.values()])
    assert len(true) > 400
    assert abs(len(found) - expected.sum()) < 3 * np.sqrt((expected * (1 - expected)).sum())
    assert len(found) / len(true) > 0.96


def linked(texts: list[str], threshold: float, order: np.ndarray, max_leaders: int = MAX_LEADERS) -> list[set[int]]:
    """Trees of one bucket that holds all texts."""
    text = utf8(pa.array(texts))
    sets = distinct_shingles(*word_windows(text.data, text.offsets, 2, tables()))
    roots = link(np.argsort(order), np.array([0, len(texts)]), *sets, threshold, max_leaders)
    return sorted(({k for k in range(len(texts)) if roots[k] == root} for root in set(roots.tolist())), key=min)


def components(num: int, pairs: set[tuple[int, ...]]) -> list[set[int]]:
    parts = [{k} for k in range(num)]
    for a, b in pairs:
        one, other = (next(p for p in parts if x in p) for x in (a, b))
        if one is not other:
            parts.remove(other)
            one |= other
    return sorted(parts, key=min)


def chain(num: int, seed: int) -> list[str]:
    """Texts in which each differs from the one before by a word or two; far ones are not alike."""
    rng = np.random.default_rng(seed)
    body = [f"v{n}" for n in rng.integers(0, 10**6, 40)]
    texts = []
    for _ in range(num):
        for k in rng.integers(0, 40, 2):
            body[k] = f"v{rng.integers(0, 10**6)}"
        texts.append(" ".join(body))
    return texts


@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.9, 1.0])
def test_a_bucket_is_split_as_brute_force_splits_it(threshold: float) -> None:
    texts = [*chain(25, 1), *chain(25, 2), *chain(3, 1)]
    sets = [shingles_of(text, 2) for text in texts]
    pairs = {(a, b) for a, b in itertools.combinations(range(len(texts)), 2) if jaccard(sets[a], sets[b]) >= threshold}
    order = np.random.default_rng(5).permutation(len(texts)).astype(np.uint64)
    assert linked(texts, threshold, order) == components(len(texts), pairs)


def test_a_large_bucket_is_compared_with_leaders_only_and_finds_every_copy() -> None:
    """40 different pages, 50 copies of each, all in one bucket."""
    pages = [" ".join(f"p{page}x{k}" for k in range(30)) for page in range(40)]
    texts = [pages[k % 40] for k in range(2000)]
    order = np.random.default_rng(0).permutation(2000).astype(np.uint64)
    parts = linked(texts, 0.8, order)
    assert parts == [set(range(page, 2000, 40)) for page in range(40)]


def test_bands_and_rows_follow_from_the_threshold() -> None:
    assert MinHash().shape() == (14, 8)
    assert MinHash(bands=14, rows=8, threshold=0.7).shape() == (14, 8)
    for threshold in (0.5, 0.7, 0.8, 0.9):
        bands, rows = MinHash(threshold=threshold, num_hashes=128).shape()
        assert bands * rows <= 128
        assert found_with_probability(threshold, bands, rows) >= 0.9
        assert found_with_probability(threshold, 128 // (rows + 1), rows + 1) < 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bands": 14}, "`rows` .=None. must be given together with `bands`"),
        ({"threshold": 0}, "`threshold` .=0. must be a similarity above 0"),
        ({"threshold": 1.1}, "`threshold` .=1.1. must be a similarity above 0, at most 1"),
        ({"threshold": 0.05, "num_hashes": 16}, "`num_hashes` .=16. must be larger for a `threshold` of 0.05"),
        ({"bands": 100, "rows": 100}, "`rows` .=100. must be an integer from 1 to 40"),
    ],
)
def test_shapes_that_cannot_work_are_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        MinHash(**parameters)  # type: ignore[arg-type]


def test_documents_without_a_word_stand_alone_and_short_ones_are_one_shingle(
    make_corpus: Callable[..., Corpus],
) -> None:
    texts = ["", "", "!!!", "!!!", "two words", "Two, words!", "two words more", "one", "one"]
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scores = assay.score(corpus, "minhash", workspace=corpus.folder.parent).to_table()
    assert scores["minhash.cluster_size"].to_pylist() == [1, 1, 1, 1, 2, 2, 1, 2, 2]


def test_without_threshold_whatever_shares_a_band_is_linked(make_corpus: Callable[..., Corpus]) -> None:
    texts, _ = planted(300, seed=3)
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scorer = MinHash(bands=14, rows=8, threshold=0)
    scores = assay.score(corpus, scorer, workspace=corpus.folder.parent)
    sizes = [len(part) for part in components(len(texts), candidates(scorer, texts))]
    assert scores.manifest.summary["clusters"] == len(sizes)


def test_a_large_family_is_connected_as_brute_force_connects_it() -> None:
    """300 edits of one text in one bucket, more than there are leaders; most pairs are just below the threshold.

    With fewer leaders nothing wrong is joined, and most of what belongs together still is.
    """
    rng = np.random.default_rng(8)
    base = [f"b{k}" for k in range(80)]
    texts = []
    for k in range(300):
        edited = list(base)
        for at in rng.integers(0, 80, rng.integers(1, 9)):
            edited[at] = f"e{k}x{at}"
        texts.append(" ".join(edited))
    sets = [shingles_of(text, 2) for text in texts]
    similarities = {(a, b): jaccard(sets[a], sets[b]) for a, b in itertools.combinations(range(300), 2)}
    for threshold in (0.8, 0.85, 0.9):
        pairs = {pair for pair, j in similarities.items() if j >= threshold}
        expected = components(300, pairs)
        assert 1 < len(expected) < 290
        order = rng.permutation(300).astype(np.uint64)
        assert linked(texts, threshold, order) == expected
        found = linked(texts, threshold, order, max_leaders=64)
        assert all(any(part <= whole for whole in expected) for part in found)
        assert 300 - len(found) > (300 - len(expected)) / 2
