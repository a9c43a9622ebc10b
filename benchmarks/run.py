"""`make bench`: ours against the peers', side by side in one run; writes benchmarks/results.json.

Every row alternates ours and theirs several times and keeps the medians; ratio > 1 means that ours is faster. Rows that
say "one core" pin the process to one.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import reduce
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import trafilatura
from data_selection import HashedNgramDSIR
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from tokenizers import Tokenizer

from assay import (
    DSIR,
    Contamination,
    Heuristics,
    Language,
    Length,
    Sample,
    Top,
    ZipFit,
    benchmarks,
    read,
    score,
    select,
)
from assay.kernels.kmeans import spherical_kmeans
from assay.kernels.submodular import facility_location
from assay.kernels.vectors import most_similar, snapped
from assay.models.fasttext import FastText
from assay.models.linear import features
from assay.models.linear_fit import fit
from assay.models.tokenizer import BPE
from assay.scorers.minhash import MinHash
from benchmarks import gpt, merging, mixtures
from benchmarks.data import (
    PeerMissing,
    benchmark_files,
    document_vectors,
    domain_passages,
    million_near_duplicates,
    million_rows,
    pool_files,
    some_texts,
    target_file,
    warc_file,
    web_pages,
)
from benchmarks.neural import lm_loss_score

RESULTS = Path(__file__).parent / "results.json"
_RUNS = 5
_DSIR_BYTES = 2_000_000
_TOKENIZE_BYTES = 8_000_000
_DECONTAMINATE_BYTES = 8_000_000
_LANGUAGE_BYTES = 8_000_000
_MINHASH_BYTES = 20_000_000
_ZIPFIT_BYTES = 500_000
_HEURISTICS_BYTES = 32_000_000
_DATATROVE_BYTES = 1_000_000
_FASTTEXT_BYTES = 5_000
_FASTTEXT_PREDICT_BYTES = 10_000_000
_FASTTEXT_TRAIN_BYTES = 20_000_000
_DATATROVE = "datatrove[processing]==0.10.1"


def main() -> None:
    """Measures the rows asked for (default all) and puts them into results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"rows: {', '.join(ROWS)}")
    names = parser.parse_args().names or list(ROWS)
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name} ...", flush=True)
            try:
                measured = ROWS[name](Path(folder))
            except (PeerMissing, ImportError) as error:
                print(f"  left out: {error}")
                continue
            rows[name] = row = {"name": name, **measured, "machine": _machine(), "date": _today()}
            print(f"  ours {row['ours']:.4g} {row['unit']}, {row['peer_name']} {row['peer']:.4g}: {row['ratio']:.3g}x")
    ordered = [*ROWS, *(name for name in rows if name.startswith("scale."))]  # those are measured by benchmarks.scale
    RESULTS.write_text(json.dumps([rows[name] for name in ordered if name in rows], indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {RESULTS}")


def dsir_score(folder: Path) -> dict[str, Any]:
    """DSIR fit and score of the same documents in memory, one core."""
    texts = some_texts(pool_files(folder), _DSIR_BYTES)
    num_bytes = sum(len(text.encode()) for text in texts)
    raw, target = folder / "raw.jsonl", folder / "target.jsonl"
    raw.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    target.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:50]), encoding="utf-8")
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    scorer = DSIR()

    def ours() -> None:
        prepared = scorer.prepare({"target": scorer.sketch_target(batch.slice(0, 50))})
        scorer.score(batch, scorer.finish(prepared, scorer.sketch_pool(batch, prepared)))

    def theirs() -> None:
        package = HashedNgramDSIR([str(raw)], [str(target)], cache_dir=str(folder / "cache"), num_proc=1)
        package.fit_importance_estimator(num_tokens_to_fit="all")
        package.compute_importance_weights()

    with _one_core():
        mine, peer = _alternate(ours, theirs, 3)
    megabytes = num_bytes / 1e6
    return _rates(megabytes / mine, megabytes / peer, "MB/s, fit + score, one core", "data-selection 1.0.3")


def dsir_end_to_end(folder: Path) -> dict[str, Any]:
    """From .jsonl.zst through fit, score and choice to Parquet, against Daft's plain conversion; whole processes."""
    pool = pool_files(folder)
    target = target_file(folder, pool)
    mine = f"""
import assay
pool = assay.read({pool!r}, workspace={str(folder / "w")!r})
target = assay.read({str(target)!r}, workspace={str(folder / "w")!r})
scores = assay.score(pool, assay.DSIR(), target=target, workspace={str(folder / "w")!r})
chosen = assay.select(pool, assay.Top(), scores=scores, budget="2M tokens", workspace={str(folder / "w")!r})
assay.write(pool, chosen, {str(folder / "chosen")!r})
"""
    peer = f"""
import daft
daft.read_json({pool!r}).write_parquet({str(folder / "daft")!r})
"""

    def run(code: str) -> Callable[[], None]:
        def once() -> None:
            for name in ("w", "chosen", "daft"):
                shutil.rmtree(folder / name, ignore_errors=True)
            quiet = {**os.environ, "DAFT_PROGRESS_BAR": "0", "DO_NOT_TRACK": "1", "DAFT_ANALYTICS_ENABLED": "0"}
            # Not checked by exit code: Daft sometimes aborts while it winds down, after its files are whole.
            subprocess.run([sys.executable, "-c", code], capture_output=True, env=quiet)
            if not any(folder.glob("chosen/*.parquet")) and not any(folder.glob("daft/*.parquet")):
                raise RuntimeError(f"wrote nothing:\n{code}")

        return once

    ours, theirs = _alternate(run(mine), run(peer), _RUNS)
    return _times(ours, theirs, "s", "daft, conversion to Parquet only")


def select_rescore_1m(folder: Path) -> dict[str, Any]:
    """Another policy and budget on a million scored documents, against the package's resampling of them."""
    path = million_rows(folder)
    corpus = read(path, workspace=folder / "w")
    target = read(_head(path, folder / "t.jsonl"), workspace=folder / "w")
    scores = [
        score(corpus, DSIR(), target=target, workspace=folder / "w"),
        score(corpus, Length(), workspace=folder / "w"),
    ]
    package = HashedNgramDSIR(
        [str(path)], [str(path)], cache_dir=str(folder / "cache"), num_proc=1, min_example_length=1
    )
    (folder / "cache/log_importance_weights").mkdir(parents=True, exist_ok=True)
    weights = scores[0].to_table(["dsir.log_weight"])["dsir.log_weight"].to_numpy()
    np.save(folder / "cache/log_importance_weights/0.npy", weights)
    count = iter(range(1, 1000))

    def ours() -> None:
        k = next(count)
        policy = Top() if k % 2 else Sample(temperature=1 + k)
        select(corpus, policy, scores=scores, budget=f"{500 + k}k tokens", seed=k, workspace=folder / "w")

    def theirs() -> None:
        k = next(count)
        package.resample(str(folder / f"out{k}"), num_to_sample=60_000 + k, cache_dir=str(folder / f"tmp{k}"))

    mine, peer = _alternate(ours, theirs, _RUNS)
    return _times(mine, peer, "s for 1M documents", "data-selection 1.0.3, resample")


def tokenize(folder: Path) -> dict[str, Any]:
    """Ids of the same documents under the same tokenizer, one core."""
    texts = some_texts(pool_files(folder), _TOKENIZE_BYTES)
    bpe = BPE.train(texts[: len(texts) // 2], 8192)
    reference = Tokenizer.from_str(bpe.to_json())
    column = pa.array(texts, pa.large_string())
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with _one_core():
        mine, peer = _alternate(
            lambda: bpe.encode(column), lambda: reference.encode_batch_fast(texts, add_special_tokens=False), 3
        )
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return _rates(megabytes / mine, megabytes / peer, "MB/s, one core", "tokenizers, encode_batch_fast")


def extract_html(folder: Path) -> dict[str, Any]:
    """Pages of a .warc.gz to text in Parquet, against the same pages in memory handed to trafilatura one by one."""
    pages = web_pages()
    path = warc_file(folder, pages)

    def ours() -> None:
        shutil.rmtree(folder / "w", ignore_errors=True)
        read(path, workspace=folder / "w")

    def theirs() -> None:
        for page in pages:
            trafilatura.extract(page)

    with _one_core():
        mine, peer = _alternate(ours, theirs, 3)
    megabytes = sum(len(page) for page in pages) / 1e6
    unit = "MB/s of HTML, one core, .warc.gz to Parquet by resiliparse"
    return _rates(megabytes / mine, megabytes / peer, unit, f"trafilatura {version('trafilatura')}, extract only")


def minhash_signatures(folder: Path) -> dict[str, Any]:
    """112 hashes of word 5-grams from the text on, one core; the peer gets words cut at spaces, which is cheapest."""
    from rensa import RMinHash

    texts, megabytes, ours = _minhash(folder, _MINHASH_BYTES)

    def theirs() -> None:
        for start in range(0, len(texts), 1000):
            words = [text.lower().split() for text in texts[start : start + 1000]]
            shingles = [[" ".join(w[k : k + 5]) for k in range(max(1, len(w) - 4))] for w in words]
            RMinHash.digest_matrix_from_token_sets(shingles, num_perm=112, seed=1)

    with _one_core():
        mine, peer = _alternate(ours, theirs, 3)
    return _rates(megabytes / mine, megabytes / peer, "MB/s, one core", f"rensa {version('rensa')}")


def minhash_signatures_datatrove(folder: Path) -> dict[str, Any]:
    """The same against datatrove, installed for the occasion into an environment of its own; its import not counted."""
    texts, megabytes, ours = _minhash(folder, _DATATROVE_BYTES)
    code = f"""
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
step = MinhashDedupSignature({str(folder / "out")!r})
def work(text):
    shingles = step.get_shingles(text)
    if len(shingles):
        step.get_signature(shingles)
"""
    mine, peer = _alternate_datatrove(folder, ours, code, texts)
    return _rates(megabytes / mine, megabytes / peer, "MB/s, one core", _DATATROVE)


def heuristics_all(folder: Path) -> dict[str, Any]:
    """All columns of the rules of Gopher (two sets), FineWeb and C4 in one pass, one core, against datatrove's filters.

    datatrove is installed for the occasion; its four filters each get the original text, and its import and first call
    are not counted. What limits it is spaCy, which cuts the words anew in every filter; what limits ours is cutting
    words, two fifths of the time, and repeated runs of them, a quarter, both a few branches a byte: 34 MB/s on text of
    13 domains, more on prose, half of it on code.
    """
    texts = some_texts(pool_files(folder), _HEURISTICS_BYTES)
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    few = some_texts(pool_files(folder), _DATATROVE_BYTES)
    code = """
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter
from datatrove.pipeline.filters import GopherRepetitionFilter
steps = [GopherQualityFilter(), GopherRepetitionFilter(), FineWebQualityFilter(), C4QualityFilter()]
def work(text):
    for step in steps:
        step.filter(Document(text=text, id="0"))
"""
    mine, peer = _alternate_datatrove(folder, lambda: Heuristics().score(batch, {}), code, few)
    rates = sum(len(text.encode()) for text in texts) / 1e6 / mine, sum(len(text.encode()) for text in few) / 1e6 / peer
    return _rates(*rates, "MB/s, one core", _DATATROVE)


def duplicates_1m(folder: Path) -> dict[str, Any]:
    """Near duplicates of a million documents, read in place, in a process of its own; against the aim of 4 minutes."""
    path = million_near_duplicates(folder, pool_files(folder))
    code = f"""
import time
started = time.perf_counter()
import assay
from assay.artifacts.cost import peak_memory
pool = assay.read({str(path)!r}, id="id", workspace={str(folder / "w")!r})
scores = assay.score(pool, "minhash", workspace={str(folder / "w")!r})
seconds = time.perf_counter() - started
memory = peak_memory() / (1 << 30)
print(seconds, memory, pool.num_bytes / 1e6, scores.manifest.summary["clusters"], flush=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if not run.stdout.strip():
        raise RuntimeError(run.stderr)
    seconds, memory, megabytes, clusters = map(float, run.stdout.split())
    about = {"memory_gb": memory, "text_mb": megabytes, "clusters": int(clusters)}
    return _times(seconds, 240.0, "s for 1M documents", "no peer: the aim, 4 minutes and 4 GB") | about


def decontaminate_all(folder: Path) -> dict[str, Any]:
    """The whole pool against all benchmark sets, one core; the peer names no item and finds runs of 13 words only."""
    files = pool_files(folder)
    sets = benchmarks(benchmark_files(folder, files), workspace=folder / "w")
    scorer = Contamination()
    sketches, items = {}, []
    for name, corpus in sets.items():
        columns = [column for column in scorer.target_columns if column in corpus.column_names]
        batches = [batch for k in range(corpus.num_parts) for batch in corpus.batches(k, columns)]
        sketches[name] = reduce(scorer.merge, map(scorer.sketch_target, batches))
        items += [text for batch in batches for text in batch.column("text").to_pylist()]
    state = scorer.prepare(sketches)
    pool = read(files, workspace=folder / "w")
    batches = [batch for k in range(pool.num_parts) for batch in pool.batches(k, ["text"])]
    known = {run for text in items for run in _runs(text)}
    texts = some_texts(files, _DECONTAMINATE_BYTES)
    with _one_core():
        mine, peer = _alternate(
            lambda: [scorer.score(batch, state) for batch in batches],
            lambda: [any(run in known for run in _runs(text)) for text in texts],
            3,
        )
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return _rates(pool.num_bytes / 1e6 / mine, megabytes / peer, "MB/s, one core", "13-word runs in a Python set")


def language(folder: Path) -> dict[str, Any]:
    """Language of the same documents, one core; the package reads all of them, ours a sample of 6 kB."""
    texts = some_texts(pool_files(folder), _LANGUAGE_BYTES)
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    package = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    with _one_core():
        mine, peer = _alternate(lambda: Language().score(batch, {}), lambda: list(map(package.classify, texts)), 3)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return _rates(megabytes / mine, megabytes / peer, "MB/s, one core", "py3langid 0.4")


def zipfit_fast(folder: Path) -> dict[str, Any]:
    """Alignment with 200 target texts by the fast form, against the exact form of the same scorer, one core.

    `agreement` is the rank correlation of the two on these documents.
    """
    files = pool_files(folder)
    texts = some_texts(files, _ZIPFIT_BYTES)
    lines = target_file(folder, files).read_text(encoding="utf-8").splitlines()
    target, pool = (
        pa.RecordBatch.from_pydict(
            {"id": [str(k) for k in range(len(some))], "text": pa.array(some, pa.large_string())}
        )
        for some in ([json.loads(line)["text"] for line in lines], texts)
    )
    fast, exact = ZipFit(), ZipFit(anchors=0)
    state = fast.prepare({"target": fast.sketch_target(target)})
    found: dict[ZipFit, np.ndarray] = {}

    def run(scorer: ZipFit) -> Callable[[], None]:
        def once() -> None:
            found[scorer] = scorer.score(pool, state)[0].to_numpy()

        return once

    with _one_core():
        mine, peer = _alternate(run(fast), run(exact), 3)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    ranks = [np.argsort(np.argsort(found[scorer])) for scorer in (fast, exact)]
    row = _rates(megabytes / mine, megabytes / peer, "MB/s, one core", "the exact form, 200 target texts")
    return row | {"agreement": round(float(np.corrcoef(*ranks)[0, 1]), 4)}


def kmeans(folder: Path) -> dict[str, Any]:
    """500 clusters of 50,000 vectors of documents, both cores; `similarity` says which centres are nearer."""
    from sklearn.cluster import MiniBatchKMeans

    vectors = document_vectors(folder, 50_000)
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = spherical_kmeans(vectors, 500, 0)

    def theirs() -> None:
        found["peer"] = MiniBatchKMeans(500, batch_size=4096, n_init=1, random_state=0).fit(vectors).cluster_centers_

    mine, peer = _alternate(ours, theirs, 3)
    about = {f"similarity_{k}": float(most_similar(vectors, snapped(c))[1].mean()) for k, c in found.items()}
    return _times(mine, peer, "s", f"scikit-learn {version('scikit-learn')}, MiniBatchKMeans") | about


def facility_location_greedy(folder: Path) -> dict[str, Any]:
    """All of 4,096 documents in greedy order, from their vectors on; the peer's greedy is lazy, too."""
    from submodlib import FacilityLocationFunction

    vectors = document_vectors(folder, 4096)
    size = len(vectors)
    quiet = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "verbose": False, "show_progress": False}
    gains: dict[str, Any] = {}

    def ours() -> None:
        gains["ours"] = facility_location(vectors, size - 1)[1]

    def theirs() -> None:
        similar = np.maximum(vectors @ vectors.T, 0)
        function = FacilityLocationFunction(n=size, mode="dense", sijs=similar, separate_rep=False)
        gains["peer"] = [gain for _, gain in function.maximize(budget=size - 1, optimizer="LazyGreedy", **quiet)]

    mine, peer = _alternate(ours, theirs, 3)
    np.testing.assert_allclose(gains["ours"], gains["peer"], rtol=1e-5, atol=1e-3)
    return _times(mine, peer, "s for 4,096 documents", f"submodlib-py {version('submodlib-py')}, LazyGreedy")


def diversity_200k(folder: Path) -> dict[str, Any]:
    """200,000 documents embedded, clustered and put in the order of facility location, in a process of its own."""
    path = million_near_duplicates(folder, pool_files(folder), 200_000)
    code = f"""
import time
import assay
from assay.artifacts.cost import peak_memory
pool = assay.read({str(path)!r}, id="id", workspace={str(folder / "w")!r})
times = [time.perf_counter()]
for work in (assay.embed, lambda *a, **k: assay.score(a[0], "clusters", **k),
             lambda *a, **k: assay.score(a[0], "facility_location", **k)):
    work(pool, workspace={str(folder / "w")!r})
    times.append(time.perf_counter())
print(*(b - a for a, b in zip(times, times[1:])), peak_memory() / (1 << 30), pool.num_bytes / 1e6, flush=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if not run.stdout.strip():
        raise RuntimeError(run.stderr)
    embed, clusters, covering, memory, megabytes = map(float, run.stdout.split())
    about = {"embed_s": embed, "clusters_s": clusters, "facility_location_s": covering, "memory_gb": memory}
    row = _times(embed + clusters + covering, 600.0, "s for 200,000 documents", "no peer: the aim, 10 minutes and 4 GB")
    return row | about | {"text_mb": megabytes}


def ray_overhead(folder: Path) -> dict[str, Any]:
    """Scoring with DSIR and length, choosing and writing on two Ray machines of a core each, against the native runner.

    Included: joining the cluster, handing work over, results. Not: the start of machines and of their workers, for
    which a run that is not counted stands, nor reading the pool. What it says is what a cluster costs that brings no
    core more.
    """
    if find_spec("ray") is None:
        raise PeerMissing("ray is not installed: make cluster-test installs it")
    from tests.cluster import start

    pool = pool_files(folder)
    target = target_file(folder, pool)
    code = f"""
import assay, sys
space = {str(folder)!r}
pool, target = assay.read({pool!r}, workspace=space), assay.read({str(target)!r}, workspace=space)
import time
started = time.perf_counter()
own = space + "/" + sys.argv[1]
scores = [assay.score(pool, one, target=target, workspace=own) for one in (assay.DSIR(), assay.Length())]
chosen = assay.select(pool, assay.Top(), scores=scores, by="dsir.per_ngram", budget="2M tokens", workspace=own)
assay.write(pool, chosen, own + "-chosen")
print(time.perf_counter() - started)
"""
    machines = start(2)
    seconds: dict[str, list[float]] = {"native": [], "ray": []}
    try:
        for number in range(_RUNS + 1):  # the first is not counted: workers start, and compiled kernels are loaded
            for runner, times in seconds.items():
                environment = {**os.environ, "ASSAY_RUNNER": runner, "RAY_ADDRESS": machines.address}
                command = [sys.executable, "-c", code, f"{runner}-{number}"]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                times.append(float(done.stdout.split()[-1]))
    finally:
        machines.shutdown()
    ours, peer = (statistics.median(seconds[runner][1:]) for runner in ("ray", "native"))
    return _times(ours, peer, "s for 202 MB", "the native runner")


def fasttext_predict(folder: Path) -> dict[str, Any]:
    """Probabilities of the same documents of 5 kB under the same model, one core; 2 labels, 100 dimensions, bigrams."""
    texts = some_texts(pool_files(folder), _FASTTEXT_TRAIN_BYTES)
    whole = " ".join(texts).replace("\n", " ")
    documents = [whole[k : k + _FASTTEXT_BYTES] for k in range(0, _FASTTEXT_PREDICT_BYTES, _FASTTEXT_BYTES)]
    lengths = [len(text) > 1000 for text in texts]
    lines = [f"__label__{'ab'[is_long]} {_one_line(text)}\n" for text, is_long in zip(texts, lengths, strict=True)]
    package = _fasttext_model(folder, lines, epoch=1)
    package.save_model(str(folder / "model.bin"))
    model = FastText.load(folder / "model.bin")
    column = pa.array(documents, pa.large_string())
    with _one_core():
        mine, peer = _alternate(lambda: model.predict(column), lambda: package.predict(documents, k=-1), 5)
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    unit = "MB/s, one core, documents of 5 kB, DCLM's form of model"
    return _rates(megabytes / mine, megabytes / peer, unit, f"fasttext-numpy2 {version('fasttext-numpy2')}")


def fasttext_train(folder: Path) -> dict[str, Any]:
    """A classifier of 13 domains from passages of 500 characters, from the text on, both on all cores.

    The peer's settings are DCLM's (100 dimensions, bigrams, 5 epochs) but for the learning rate, 0.5: with DCLM's 0.1
    it is right on 0.78 of them, with 1 not more often. `accuracy` is of passages that neither has seen, ours first.
    """
    files = sorted(Path(pool_files(folder)).parent.glob("*.jsonl.zst"))
    if len(files) < 2:
        raise PeerMissing("needs the pool of several domains")
    texts, labels = domain_passages(files, 3000)
    order = np.random.default_rng(0).permutation(len(texts))
    held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]
    lines = [f"__label__{labels[k]} {_one_line(texts[k])}\n" for k in rest]
    column, others = (pa.array([texts[k] for k in rows], pa.large_string()) for rows in (rest, held_out))
    found: dict[str, Any] = {}

    def ours() -> None:
        found["model"] = fit(features(column), labels[rest].astype(float), kind="multiclass")[0]

    def theirs() -> None:
        found["package"] = _fasttext_model(folder, lines, lr=0.5, epoch=5, thread=os.cpu_count())

    mine, peer = _alternate(ours, theirs, 3)
    said = found["package"].predict([_one_line(texts[k]) for k in held_out])[0]
    accuracies = [
        float(np.mean(found["model"].predict(others).argmax(axis=1) == labels[held_out])),
        float(np.mean([label[0] == f"__label__{labels[k]}" for label, k in zip(said, held_out, strict=True)])),
    ]
    unit = f"s for {len(rest):,} passages of 500 characters, all cores"
    name = f"fasttext-numpy2 {version('fasttext-numpy2')}"
    return _times(mine, peer, unit, name) | {"accuracy": accuracies}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fasttext_model(folder: Path, lines: list[str], **settings: Any) -> Any:
    path = folder / "train.txt"
    path.write_text("".join(lines), encoding="utf-8")
    # Ten threads unless said: with fewer, fastText 0.9.2 leaves most vectors uninitialised.
    given = {"dim": 100, "lr": 0.1, "wordNgrams": 2, "bucket": 2_000_000, "thread": 10, "verbose": 0, **settings}
    return fasttext.train_supervised(str(path), **given)


ROWS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "dsir.score": dsir_score,
    "dsir.end_to_end": dsir_end_to_end,
    "select.rescore_1m": select_rescore_1m,
    "tokenize": tokenize,
    "extract.html": extract_html,
    "minhash.signatures": minhash_signatures,
    "minhash.signatures.datatrove": minhash_signatures_datatrove,
    "heuristics.all": heuristics_all,
    "duplicates.1m": duplicates_1m,
    "decontaminate.all": decontaminate_all,
    "language": language,
    "zipfit.fast": zipfit_fast,
    "runner.ray_overhead": ray_overhead,
    "fasttext.predict": fasttext_predict,
    "fasttext.train": fasttext_train,
    "kmeans": kmeans,
    "facility_location": facility_location_greedy,
    "diversity.200k": diversity_200k,
    **gpt.ROWS,
    "lm_loss.score": lm_loss_score,
    "regmix.fit": mixtures.regmix_fit,
    "mix.merge": merging.merge,
}


def _minhash(folder: Path, num_bytes: int) -> tuple[list[str], float, Callable[[], Any]]:
    """Documents, how many MB they are, and what makes our signatures of them (and band keys and sets, on top)."""
    texts = some_texts(pool_files(folder), num_bytes)
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    return texts, sum(len(text.encode()) for text in texts) / 1e6, lambda: MinHash().sketch(batch)


def _environment(folder: Path, packages: list[str]) -> Path:
    """The interpreter of a new virtual environment with these packages.

    Raises:
        PeerMissing: they cannot be installed.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    run = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
    if run.returncode:
        raise PeerMissing(f"{packages[0]} cannot be installed: {run.stderr.strip().splitlines()[-1]}")
    return python


def _alternate(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int) -> tuple[float, float]:
    """Median seconds of each, taken in turn after one uncounted run of ours (compiled kernels are loaded there)."""
    ours()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for function, times in zip((ours, theirs), seconds, strict=True):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _alternate_datatrove(folder: Path, ours: Callable[[], Any], code: str, texts: list[str]) -> tuple[float, float]:
    """As `_alternate`, three times, one core; datatrove, in an environment of its own, does `work(text)` of `code`."""
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    script = f"""
import json, time
{code}
texts = json.load(open({str(folder / "texts.json")!r}))
work("the first call loads the tokenizer")
started = time.perf_counter()
for text in texts:
    work(text)
print(time.perf_counter() - started)
"""
    python = _environment(folder / "venv", [_DATATROVE, "spacy"])
    seconds: tuple[list[float], list[float]] = ([], [])
    with _one_core():
        ours()
        for _ in range(3):
            started = time.perf_counter()
            ours()
            seconds[0].append(time.perf_counter() - started)
            run = subprocess.run([python, "-c", script], capture_output=True, text=True)
            if run.returncode:
                raise PeerMissing(f"datatrove does not run: {run.stderr.strip().splitlines()[-1]}")
            seconds[1].append(float(run.stdout.split()[-1]))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


class _one_core:
    """Pins this process to one core, where the system allows it."""

    def __enter__(self) -> None:
        self.before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if self.before:
            os.sched_setaffinity(0, {min(self.before)})

    def __exit__(self, *error: object) -> None:
        if self.before:
            os.sched_setaffinity(0, self.before)


def _rates(ours: float, peer: float, unit: str, name: str) -> dict[str, Any]:
    return {"ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer, "peer_name": name}


def _times(ours: float, peer: float, unit: str, name: str) -> dict[str, Any]:
    return {"ours": ours, "peer": peer, "unit": unit, "ratio": peer / ours, "peer_name": name}


def _runs(text: str) -> set[int]:
    """Runs of 13 lower-case words, the rule of GPT-3, in plain Python; hashed, or the set would hold gigabytes."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[k : k + 13])) for k in range(len(words) - 12)}


def _head(path: Path, to: Path) -> Path:
    with open(path, encoding="utf-8") as stream:
        to.write_text("".join(next(stream) for _ in range(200)), encoding="utf-8")
    return to


def _machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


if __name__ == "__main__":
    main()
