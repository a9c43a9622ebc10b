"""Language against py3langid itself, scripts against a slow count, and text of known language."""

import json
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fontTools.unicodedata import script
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from assay import Language
from assay.errors import MissingExtraError
from assay.kernels.arrow import utf8
from assay.kernels.language import sample_texts
from assay.scorers import language
from tests.contracts.test_scorers import batch

SENTENCES = {
    "en": "The weather will be fine tomorrow, so we are going to walk to the lake.",
    "de": "Morgen wird das Wetter schön, deshalb gehen wir zu Fuß zum See.",
    "fr": "Demain il fera beau, alors nous irons à pied jusqu'au lac.",
    "es": "Mañana hará buen tiempo, así que iremos andando hasta el lago.",
    "ru": "Завтра будет хорошая погода, поэтому мы пойдём к озеру пешком.",
    "el": "Αύριο ο καιρός θα είναι καλός, γι' αυτό θα πάμε με τα πόδια στη λίμνη.",
    "ja": "明日は天気がいいので、みんなで湖まで歩いて行きます。",
    "ko": "내일은 날씨가 좋을 테니 우리는 호수까지 걸어갈 것입니다.",
    "zh": "明天天气很好，所以我们打算走路去湖边。",
    "ar": "سيكون الطقس جميلا غدا لذلك سنمشي إلى البحيرة.",
    "he": "מחר יהיה מזג אוויר נאה ולכן נלך ברגל אל האגם.",
    "hi": "कल मौसम अच्छा रहेगा, इसलिए हम झील तक पैदल जाएँगे।",
}
SCRIPTS = {
    "ru": "Cyrl",
    "el": "Grek",
    "ja": "Hira",
    "ko": "Hang",
    "zh": "Hani",
    "ar": "Arab",
    "he": "Hebr",
    "hi": "Deva",
}


@cache
def package() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def score(texts: list[str | None], **parameters: int) -> tuple[list[float], list[str], list[str]]:
    confidence, code, scripts = Language(**parameters).score(batch(texts), {})
    return confidence.to_pylist(), code.to_pylist(), scripts.to_pylist()


def assert_same(confidence: list[float], codes: list[str], expected: list[tuple[str, float]]) -> None:
    """Equal but for Chinese, whose kinds are one here, and for float32, in which the package adds up."""
    assert codes == [{"kik": "ki", "yue": "zh", "wuu": "zh"}.get(code, code) for code, _ in expected]
    others = [k for k, code in enumerate(codes) if code != "zh"]
    assert [confidence[k] for k in others] == pytest.approx([float(expected[k][1]) for k in others], abs=1e-3)
    assert all(confidence[k] >= expected[k][1] - 1e-3 for k in range(len(codes)))


def pool_texts(shared: Path, name: str) -> list[dict[str, str]]:
    with pa.input_stream(str(shared / f"pool/{name}.jsonl.zst"), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().decode().split("\n") if line]


def test_sentences_get_their_language_and_script() -> None:
    _, codes, scripts = score(list(SENTENCES.values()))
    assert codes == list(SENTENCES)
    assert scripts == [SCRIPTS.get(code, "Latn") for code in SENTENCES]


@pytest.mark.parametrize(
    "change", [str, str.upper, lambda text: text.replace("ö", "o\u0308") + " 42", lambda text: text[:9]]
)
def test_answers_are_those_of_the_package(change) -> None:
    texts = [change(text) for text in SENTENCES.values()]
    confidence, codes, _ = score(texts)
    expected = [package().classify(text) for text in texts]
    assert_same(confidence, codes, expected)


def test_answers_are_those_of_the_package_on_real_text(shared: Path) -> None:
    texts = [r["text"] for r in pool_texts(shared, "multilingual")[::40] if len(r["text"].encode()) <= 6000]
    confidence, codes, _ = score(texts)
    expected = [package().classify(text) for text in texts]
    assert_same(confidence, codes, expected)


def test_languages_of_real_text_are_told(shared: Path) -> None:
    """Shares of docs/language.md, with some room."""
    names = {"amh": "am", "eng": "en", "fra": "fr", "hau": "ha", "ibo": "ig", "lin": "ln", "lug": "lg", "orm": "om",
             "pcm": "pcm", "sna": "sn", "som": "so", "swa": "sw", "xho": "xh", "yor": "yo"}  # fmt: skip
    right: dict[str, list[bool]] = defaultdict(list)
    rows = [r for r in pool_texts(shared, "multilingual")[::3] if r["lang"] in names and "masakhane" in r["source"]]
    for row, code in zip(rows, score([r["text"] for r in rows])[1], strict=True):
        right[row["lang"]].append(code == names[row["lang"]])
    assert len(right) == 13
    assert min(np.mean(hits) for hits in right.values()) > 0.9
    news = pool_texts(shared, "news")[::10]
    assert np.mean([code == "en" for code in score([r["text"] for r in news])[1]]) > 0.995


def test_text_without_letters_is_undetermined() -> None:
    assert score(["", " \n", "12 + 30 = 42", "🙂🙂 --- !!!", None]) == (
        [0.0] * 4 + [None],
        ["und"] * 4 + [None],
        ["Zyyy"] * 4 + [None],
    )


def test_the_script_is_that_of_most_letters() -> None:
    texts = ["abc где αβ", "ab где", "漢字かなカナ", "Ⅻ½ ª", "a" * 10 + "я" * 11, *SENTENCES.values()]
    for text, found in zip(texts, score(texts)[2], strict=True):
        counts = Counter(script(c) for c in text if c.isalpha())
        assert counts[found] == max(counts.values())


def test_a_long_text_is_read_at_its_start_middle_and_end() -> None:
    text = SENTENCES["de"] * 100 + SENTENCES["ru"] * 100 + SENTENCES["ja"] * 100
    column = utf8(pa.array([SENTENCES["de"], text, "", text[1:]], pa.large_string()))
    data, offsets = sample_texts(column.data, column.offsets, 500)
    pieces = [data[a:b].tobytes().decode() for a, b in pairwise(offsets)]
    assert (pieces[0], pieces[2]) == (SENTENCES["de"], "")
    for piece, whole in ((pieces[1], text), (pieces[3], text[1:])):
        first, middle, last = piece[: piece.index("озер")], piece, piece[-100:]
        assert whole.startswith(first[:400]) and whole.endswith(last) and "пешком" in middle
        assert 1490 <= len(piece.encode()) <= 1508
    assert score([text], sample_bytes=1500)[:2] == score([pieces[1]])[:2]
    ends = SENTENCES["en"] * 20
    assert score([ends + SENTENCES["de"] * 1000 + ends], sample_bytes=900)[1] == ["en"]


def test_threads_do_not_disturb_each_other() -> None:
    texts = list(SENTENCES.values()) * 20
    with ThreadPoolExecutor(4) as pool:
        assert len({str(result) for result in pool.map(lambda _: score(texts), range(8))}) == 1


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_loaded", [])
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingExtraError, match=r"py3langid.*pip install 'assay\[language\]'"):
        score(["text"])


def test_samples_of_bytes_that_are_no_text_stay_within_their_room() -> None:
    text = np.frombuffer(b"a" * 10 + b"\x80" * 50, np.uint8)
    data, offsets = sample_texts(text, np.array([0, len(text)]), 5)
    assert len(data) == offsets[-1] <= 3 * 5 + 8
