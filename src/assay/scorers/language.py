"""Language and script of each document.

Model: py3langid 0.4 (A. Barbaresi, BSD-3-Clause; after langid.py, Lui and Baldwin 2012, ACL demos): naive Bayes over
100,053 byte n-grams, 139 languages and `zxx`, no language (code, markup, lists of links). The model lies in the wheel;
nothing is downloaded. The package walks its automaton in Python at 2 MB/s; our kernel reads the same tables and gives
the same answers at 15 times that, with other threads running meanwhile.

Chosen by accuracy on text of known language, docs/language.md: on African news it is right where lid.176 of fastText,
which knows few of these languages, cannot be.

What differs from the package:
- Of a long document the first, middle and last third of `sample_bytes` are read.
- A document without letters is `und` with confidence 0.
- Codes are ISO 639-1 where there is one (the package says `kik` for Kikuyu, `ki`), and Cantonese and Wu are `zh`, which
  includes them: 7 % of standard Chinese pages were taken for one of them.

Confidence is the posterior at temperature sqrt(bytes read), the package's calibration, so that texts of all lengths
compare: 0.5 keeps what is mostly in one language. When not to use: to tell sisters apart (Croatian and Bosnian,
Norwegian and Danish in a line or two), or for languages that the model has not seen: it then
names the nearest one, often with high confidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from unicodedata import normalize

import numpy as np
import pyarrow as pa

from assay.errors import MissingExtraError, check_integer
from assay.kernels.arrow import from_utf8, masked, utf8
from assay.kernels.language import count_scripts, log_posteriors, sample_texts
from assay.scorers.base import Column, Scorer, State

UNDETERMINED = "und"
_NO_SCRIPT = "Zyyy"
_NUM_CODE_POINTS = 0x110000
_LAST_PLANE_WITH_LETTERS = 0x40000
_BETTER_CODES = {"kik": "ki", "wuu": "zh", "yue": "zh"}


class _Model(NamedTuple):
    """What the kernels need; see `kernels.language`.

    labels: code of each language, one that stands for several (Serbian, in two scripts) several times. scripts: ISO
    15924 codes.
    """

    labels: list[str]
    rows: np.ndarray
    moves: np.ndarray
    features: np.ndarray
    weights: np.ndarray
    priors: np.ndarray
    scripts: list[str]
    script_of: np.ndarray


_loaded: list[_Model] = []
_loading = Lock()


@dataclass(frozen=True, kw_only=True)
class Language(Scorer):
    """Language, confidence and dominant script of each document; nothing to fit.

    sample_bytes: how much of a long document is read, in thirds from its start, middle and end.
    """

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 1

    sample_bytes: int = 6000

    def __post_init__(self) -> None:
        check_integer("sample_bytes", self.sample_bytes, 100, 1 << 30)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`language.confidence` (the score), `language.code`, `language.script`."""
        return [
            Column("language.confidence", pa.float64(), True, "probability of the language; 0 without letters"),
            Column("language.code", pa.string(), None, "ISO 639-1, else 639-3; zxx = no language, und = no letters"),
            Column("language.script", pa.string(), None, "script of most letters, ISO 15924; Zyyy without letters"),
        ]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Confidence, code and script per row.

        Raises:
            MissingExtraError: py3langid or fontTools is not installed.
        """
        model = _model()
        text = utf8(batch.column("text"))
        data, offsets = sample_texts(text.data, text.offsets, self.sample_bytes // 3)
        letters = count_scripts(data, offsets, model.script_of, len(model.scripts))
        prepared = utf8(_normalised(from_utf8(data, offsets)))
        posteriors, num_features = log_posteriors(
            prepared.data, prepared.offsets, model.rows, model.moves, model.features, model.weights, model.priors
        )
        has_letters = letters.sum(axis=1) > 0
        known = has_letters & (num_features > 0)
        probabilities = _probabilities(posteriors, np.diff(prepared.offsets), model.labels)
        best = probabilities.argmax(axis=1)
        confidence = np.where(known, probabilities[np.arange(len(best)), best], 0.0)
        codes = np.array([*model.labels, UNDETERMINED])[np.where(known, best, len(model.labels))]
        scripts = np.array([*model.scripts, _NO_SCRIPT])[
            np.where(has_letters, letters.argmax(axis=1), len(model.scripts))
        ]
        return [masked(confidence, text.is_valid), masked(codes, text.is_valid), masked(scripts, text.is_valid)]

    def summarise(self, columns: Mapping[str, pa.Array]) -> State:
        """Documents of each language in one part."""
        codes, counts = np.unique(columns["language.code"].drop_null().to_numpy(False).astype(str), return_counts=True)
        return {"codes": codes, "documents": counts}

    def merge(self, a: State, b: State) -> State:
        """Documents of each language are added."""
        codes, where = np.unique(np.concatenate([a["codes"], b["codes"]]).astype(str), return_inverse=True)
        amounts = np.concatenate([a["documents"], b["documents"]])
        return {"codes": codes, "documents": np.bincount(where, amounts, len(codes)).astype(np.int64)}

    def summary(self, total: State) -> dict[str, Any]:
        """`languages`: documents by code, most first."""
        order = np.lexsort((total["codes"], -total["documents"]))
        return {"languages": {str(total["codes"][k]): int(total["documents"][k]) for k in order}}


def _normalised(texts: pa.Array) -> pa.Array:
    """As the model was trained: composed characters (NFC), and text all in capitals in lower case."""
    # Not pyarrow's utf8_normalize: its NFC (25.0) takes Hangul syllables apart.
    return pa.array([_normalised_text(text) for text in texts.to_pylist()], pa.large_string())


def _normalised_text(text: str) -> str:
    text = text.lower() if text.isupper() else text
    return text if text.isascii() else normalize("NFC", text)


def _probabilities(posteriors: np.ndarray, num_bytes: np.ndarray, labels: list[str]) -> np.ndarray:
    """Softmax at temperature sqrt(bytes) [texts, languages]; columns of one label are added up in the first of them."""
    scaled = posteriors / np.sqrt(np.maximum(1, num_bytes))[:, None]
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    scaled /= scaled.sum(axis=1, keepdims=True)
    for k, label in enumerate(labels):
        if (first := labels.index(label)) != k:
            scaled[:, first] += scaled[:, k]
            scaled[:, k] = 0.0
    return scaled


def _model() -> _Model:
    """The model, loaded once in a process (about 1.5 s)."""
    with _loading:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


def _load() -> _Model:
    try:
        from fontTools.unicodedata import script
        from py3langid.langid import MODEL_DIR, MODEL_FILE
        from py3langid.modelio import load_model
    except ImportError as error:
        raise MissingExtraError(
            f"Scorer 'language' needs {error.name}, which is not installed. Run: pip install 'assay[language]'"
        ) from error
    weights, priors, labels, moves, rows, features = load_model(MODEL_DIR / MODEL_FILE)
    letters = [code for code in range(_LAST_PLANE_WITH_LETTERS) if chr(code).isalpha()]
    script_of_letter = [script(chr(code)) for code in letters]
    scripts = sorted(set(script_of_letter))
    script_of = np.full(_NUM_CODE_POINTS, len(scripts), np.uint8)
    script_of[letters] = np.searchsorted(scripts, script_of_letter)
    return _Model(
        labels=[_BETTER_CODES.get(label, label) for label in labels],
        rows=np.asarray(rows, np.uint32),
        moves=np.asarray(moves).reshape(-1, 256),
        features=np.asarray(features, np.int32),
        weights=np.asarray(weights, np.float32),
        priors=np.asarray(priors, np.float32),
        scripts=scripts,
        script_of=script_of,
    )
