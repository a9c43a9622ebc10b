"""Our reading of fastText models against the package, on models that it trains here."""

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InputError
from assay.models.fasttext import FastText
from tests.conftest import make_documents

SIGMOID_STEP = 0.0079  # at its steepest
LABELS = {"good": "a", "bad": "b", "ügly": "c"}  # name of the label -> topic of its documents
ODD = [
    "",
    " ",
    "a1 a2 b3 never-seen-before",
    "Ünïcödé straße 漢字 🙂 a1\tb2\x0bc3\x0ca4\ra5\x00b6",
    "a1 __label__good __label__unknown b2",
    "a1 a2 </s> b1 b2 b3",
    "</s>",
    "x" * 60,  # longer, and the package is off by more than 1e-5 itself: it adds up in single precision
    "a1 " * 40,
    "a1\u2028a2\u00a0b3",
]


def documents(seed: int, number: int = 60) -> list[tuple[str, str]]:
    """Labelled documents, a quarter of the labels wrong, so that probabilities are neither 0 nor 1."""
    rows = []
    wrong = np.random.default_rng(seed)
    for label, topic in LABELS.items():
        own = make_documents(number if label != "ügly" else number // 3, seed=seed, topic=topic, length=20)
        shared = make_documents(len(own), seed=seed + 50, topic="é", length=30)
        for a, b in zip(own, shared, strict=True):
            given = wrong.choice(list(LABELS)) if wrong.uniform() < 0.25 else label
            rows.append((given, f"{a['text']} {b['text']}"))
    return rows


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fasttext") / "train.txt"
    path.write_text("".join(f"__label__{label} {text}\n" for label, text in documents(0)), encoding="utf-8")
    return path


def train(path: Path, **settings: Any) -> Any:
    # Ten threads and a multiple of ten dimensions: with other numbers fastText 0.9.2 leaves vectors uninitialised.
    defaults = {"dim": 10, "epoch": 20, "thread": 10, "bucket": 5000, "verbose": 0, "minCount": 1, "lr": 0.3}
    return fasttext.train_supervised(str(path), **{**defaults, **settings})


def theirs(model: Any, texts: list[str], labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities [texts, labels] in the order of `labels`; NaN where the package says nothing."""
    result = np.full((len(texts), len(labels)), np.nan)
    for row, text in enumerate(texts):
        for found, probability in zip(*model.predict(text, k=-1), strict=True):
            result[row, labels.index(found)] = probability
    return result


def assert_same(model: Any, path: Path, loss: str) -> None:
    model.save_model(str(path))
    ours = FastText.load(path)
    assert list(ours.labels) == model.get_labels()
    texts = ODD + [text for _, text in documents(7, 10)]
    expected = theirs(model, texts, ours.labels)
    assert len({tuple(row) for row in expected.round(6)}) > 20
    # k=-1 leaves out what has no probability at all, which one-vs-all may say.
    found = ours.predict(pa.array(texts, pa.large_string()))
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), np.isnan(expected).all(axis=1))
    differences = np.abs(found - expected)[~np.isnan(expected)]
    if loss in ("ova", "ns"):  # from a table: where a margin lies on the edge of a step, rounding decides
        assert np.mean(differences > 1e-5) < 0.02
        assert differences.max() < SIGMOID_STEP
    else:
        assert differences.max() < 1e-5


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"wordNgrams": 2}, {"wordNgrams": 4, "minn": 2, "maxn": 4}, {"wordNgrams": 3, "minn": 1, "maxn": 3}],
    ids=["words", "bigrams", "subwords", "both"],
)
def test_probabilities_are_the_packages(training: Path, tmp_path: Path, loss: str, settings: dict[str, int]) -> None:
    assert_same(train(training, loss=loss, **settings), tmp_path / "model.bin", loss)


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova"])
def test_with_more_labels_than_dimensions_vectors_are_not_multiplied_out(
    training: Path, tmp_path: Path, loss: str
) -> None:
    model = train(many_labels(training, tmp_path / "train.txt", 14), loss=loss, wordNgrams=2, minn=2, maxn=3)
    assert_same(model, tmp_path / "model.bin", loss)
    assert FastText.load(tmp_path / "model.bin")._tables.output is not None


def many_labels(path: Path, to: Path, number: int) -> Path:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    to.write_text("".join(line.replace(" ", f"{k % number} ", 1) for k, line in enumerate(lines * 6)), encoding="utf-8")
    return to


@pytest.mark.parametrize("loss", ["softmax", "hs"])
@pytest.mark.parametrize("quantise", [{}, {"qnorm": True}, {"qnorm": True, "qout": True}, {"cutoff": 300}])
def test_quantised_models_are_read(training: Path, tmp_path: Path, loss: str, quantise: dict[str, Any]) -> None:
    # 256 labels at least are needed to quantise them.
    path = many_labels(training, tmp_path / "train.txt", 300 if quantise.get("qout") else 1)
    model = train(path, loss=loss, wordNgrams=2, minn=2, maxn=3)
    model.quantize(str(path), dsub=4, thread=1, **quantise)
    assert_same(model, tmp_path / "model.ftz", loss)


def test_many_labels_and_newlines(training: Path, tmp_path: Path) -> None:
    model = train(training)
    model.save_model(str(tmp_path / "model.bin"))
    ours = FastText.load(tmp_path / "model.bin")
    lines = "a1 a2\nb1\n\nc3 b7\n"
    for newline in (" ", ""):
        expected = theirs(model, [lines.replace("\n", newline)], ours.labels)
        found = ours.predict(pa.array([lines]), newline=newline)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    parted, grown = (ours.predict(pa.array([lines]), newline=newline) for newline in (" ", ""))
    assert np.abs(parted - grown).max() > 1e-3
    assert np.isfinite(ours.predict(pa.array(["a1", None, ""]))).all()


def test_what_is_no_supervised_model_is_refused(training: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    train(training, wordNgrams=2, bucket=50).save_model(str(path))
    content = path.read_bytes()
    for length in (0, 3, 8, 40, 80, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="is no fastText model"):
            FastText.load(path)
    for bad in (b"PK" + content[2:], content + b"x", content[:4] + b"\x63" + content[5:]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="no fastText model that can be read"):
            FastText.load(path)
    words = tmp_path / "vectors.bin"
    fasttext.train_unsupervised(str(training), dim=10, bucket=50, epoch=1, thread=10, verbose=0).save_model(str(words))
    with pytest.raises(InputError, match="word vectors, and no labels"):
        FastText.load(words)
    with pytest.raises(InputError, match="There is no model"):
        FastText.load(tmp_path / "other.bin")
    with pytest.raises(InputError, match="is a folder"):
        FastText.load(tmp_path)


def test_damaged_bytes_are_refused_or_give_numbers(training: Path, tmp_path: Path) -> None:
    """Whatever byte of the head is wrong, nothing is read outside of the arrays."""
    path = tmp_path / "model.bin"
    train(training, wordNgrams=2, bucket=50).save_model(str(path))
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        bad = content.copy()
        bad[rng.integers(0, 200)] = rng.integers(256)
        path.write_bytes(bad)
        try:
            FastText.load(path).predict(pa.array(ODD))
        except InputError:
            refused += 1
    assert refused > 30
