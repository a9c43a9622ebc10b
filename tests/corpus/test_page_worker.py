"""Encodings: what a page says of itself, what it is, and what is not text at all."""

from pathlib import Path

import pytest

from assay.corpus.page_worker import decode

GERMAN = "<html><p>Größe und Maße, größer als üblich – „ja“ für 5 €</p></html>"
RUSSIAN = "<html><p>Все люди рождаются свободными и равными в своем достоинстве и правах.</p></html>"
JAPANESE = "<html><p>すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。</p></html>"
# File -> the encoding that its letters make words of its language in, found by reading them; the names are not always
# right: what is called Latin2 is Windows-1250 where the letters of the two differ.
UDHR = {
    "Arabic_Alarabia-Arabic": "cp1256",
    "Belorus_Belaruski-Cyrillic": "cp1251",
    "Bulgarian_Balgarski-Cyrillic": "cp1251",
    "Chinese_Mandarin-GB2312": "gb18030",
    "Croatian_Hrvatski-Latin2": "cp1250",
    "Czech_Cesky-Latin2": "cp1250",
    "Greek_Ellinika-Greek": "iso8859-7",
    "Hebrew_Ivrit-Hebrew": "cp1255",
    "Hungarian_Magyar-Latin2": "iso8859-2",
    "Japanese_Nihongo-EUC": "euc_jp",
    "Japanese_Nihongo-SJIS": "shift_jis",
    "Mongolian_Khalkha-Cyrillic": "iso8859-5",
    "Polish_Polski-Latin2": "cp1250",
    "Romanian_Romana-Latin2": "iso8859-16",
    "Russian_Russky-Cyrillic": "cp1251",
    "Slovak_Slovencina-Latin2": "cp1250",
    "Turkish_Turkce-Turkish": "cp1254",
    "Ukrainian-Cyrillic": "cp1251",
}


@pytest.mark.parametrize("extra", ["", "<meta charset=ascii>"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "cp1252"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp1251"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
    ],
)
def test_a_declared_encoding_is_taken_and_one_not_declared_found(text: str, encoding: str, extra: str) -> None:
    page = (extra.replace("ascii", encoding) + text).encode(encoding)
    assert decode(page, None) == page.decode(encoding)
    assert decode(text.encode(encoding), encoding) == text


@pytest.mark.parametrize(
    ("page", "charset", "text"),
    [
        (b"\xef\xbb\xbf<p>\xc3\xa9", "latin-1", "<p>é"),
        (b"\xff\xfe" + "<p>é".encode("utf-16-le"), "utf-8", "<p>é"),
        (b"\xfe\xff" + "<p>é".encode("utf-16-be"), None, "<p>é"),
        (b"<meta charset=koi8-r><p>" + "größer".encode(), "utf-8", "<meta charset=koi8-r><p>größer"),
        (b"<meta charset=utf-8><p>gr\xf6\xdfer als alle", "utf-8", "<meta charset=utf-8><p>größer als alle"),
        (b"<meta charset=utf-16><p>" + "größer".encode(), None, "<meta charset=utf-16><p>größer"),
        (b'<?xml version="1.0" encoding="iso-8859-5"?>' + "люди".encode("iso8859-5"), None, None),
        (("é" * 50).encode() + b"\xff", "utf-8", "é" * 50 + "\ufffd"),
        (("é" * 50).encode() + b"\xff", None, "é" * 50 + "\ufffd"),
        (b"<p>plain", "no such charset", "<p>plain"),
        (b"", None, ""),
    ],
)
def test_what_says_so_first_is_believed_while_it_fits(page: bytes, charset: str | None, text: str | None) -> None:
    assert decode(page, charset) == (page.decode("iso8859-5") if text is None else text)


@pytest.mark.parametrize(
    "page",
    [bytes(range(256)) * 9, b"<p>" + bytes(40), "<p>no mark".encode("utf-16-le"), b"\xff\xfe\x00\xd8" * 9],
)
def test_what_is_no_text_is_not_decoded(page: bytes) -> None:
    assert decode(page, None) is None


@pytest.mark.parametrize("name", UDHR)
def test_real_text_in_old_encodings_is_found_without_being_told(shared: Path, name: str) -> None:
    raw = (shared / "raw" / "encodings" / "udhr" / name).read_bytes()
    assert decode(raw, None) == raw.decode(UDHR[name], "replace")
    assert decode(raw, UDHR[name]) == raw.decode(UDHR[name], "replace")


@pytest.mark.parametrize("name", ["Bosnian_Bosanski-Cyrillic", "Serbian_Srpski-Cyrillic"])
def test_text_that_no_one_recognises_is_not_made_into_latin_letters(shared: Path, name: str) -> None:
    assert decode((shared / "raw" / "encodings" / "udhr" / name).read_bytes(), None) is None
