"""Metadata before documents: hosts, masks, and where it stops."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.models.sequences import NONE
from assay.packing.sequences import pack
from assay.proxy.rules.metadata import MeCo, host, prefixed, split
from assay.proxy.stream import Stream
from tests.proxy.rules.training import LENGTH, VOCAB, documents


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://en.wikipedia.org/wiki/Cat", "en.wikipedia.org"),
        ("HTTP://WWW.Example.COM", "www.example.com"),
        ("http://user:pw@site.org:8080/x", "site.org"),
        ("//cdn.site.org/x", "cdn.site.org"),
        ("https://site.org.?q=a/b", "site.org"),
        ("https://site.org#frag", "site.org"),
        ("https://bücher.example/", "bücher.example"),
        ("https://xn--bcher-kva.example/", "bücher.example"),
        ("https://xn--99999999.example/", "xn--99999999.example"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("http://[broken/", None),
        ("file:///home/a.txt", None),
        ("articles/txt/1.txt", None),
        ("site.org/page", None),
        ("  https://site.org  ", "site.org"),
        ("http://", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url: str | None, expected: str | None) -> None:
    assert host(url) == expected


def test_prefixes_of_addresses_and_of_other_columns() -> None:
    assert MeCo().prefixes(["http://a.b/c", None, "x"]) == ["URL: a.b\n\n", "", ""]
    assert MeCo(by="source").prefixes(["New\n York", None, " "]) == ["Source: New York\n\n", "", ""]


def as_lists(stream: Stream) -> list[list[int]]:
    return [stream.tokens[a:b].tolist() for a, b in zip(stream.starts, stream.starts[1:], strict=False)]


def test_prefixes_stand_before_their_documents_and_carry_no_loss() -> None:
    stream = Stream(*documents(30))
    sizes = np.random.default_rng(0).integers(0, 6, 30)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    ids = np.full(starts[-1], VOCAB - 1, np.uint16)
    found, masked = prefixed(stream, (ids, starts))
    assert masked.tolist() == sizes.tolist()
    assert as_lists(found) == [[VOCAB - 1] * n + text for n, text in zip(sizes, as_lists(stream), strict=True)]
    packed = pack(*found, masked=masked, length=LENGTH, end_id=VOCAB, seed=0)
    assert (packed.targets != NONE).sum() == len(stream.tokens) + 30  # document tokens and ends, nothing of prefixes
    told = sorted(packed.targets[packed.targets != NONE].tolist())
    assert told == sorted([*stream.tokens.tolist(), *[VOCAB] * 30])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.013, 0.999])
def test_a_split_loses_nothing_and_is_exact_to_the_token(share: float) -> None:
    stream = Stream(*documents(50))
    stream.has_end[-1] = False
    first, rows, second, later = split(stream, share, seed=4)
    whole = as_lists(stream)
    assert len(second.tokens) == round(share * len(stream.tokens))
    assert len(first.tokens) + len(second.tokens) == len(stream.tokens)
    joined: dict[int, list[int]] = {}
    for part, members in ((first, rows), (second, later)):
        for row, text in zip(members.tolist(), as_lists(part), strict=True):
            joined[row] = joined.get(row, []) + text
    assert [joined[row] for row in range(50)] == whole
    assert first.has_end.sum() + second.has_end.sum() == stream.has_end.sum()
    assert len(set(rows.tolist()) & set(later.tolist())) <= 1
    assert len(rows) == 1 or rows.tolist() != sorted(rows.tolist())
    assert split(stream, share, seed=5)[1].tolist() != rows.tolist()


def test_a_split_between_two_documents_cuts_none() -> None:
    stream = Stream(np.arange(40, dtype=np.uint16), np.arange(0, 41, 4), np.ones(10, np.bool_))
    first, rows, second, later = split(stream, 0.3, seed=0)
    assert sorted([*rows.tolist(), *later.tolist()]) == list(range(10))
    assert first.has_end.all() and second.has_end.all() and len(later) == 3


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(InvalidParameterError, match="`cooldown`"):
        MeCo(cooldown=1.2)
    with pytest.raises(InvalidParameterError, match="both parts"):
        split(Stream(np.zeros(3, np.uint16), np.array([0, 3]), np.ones(1, np.bool_)), 0.01, seed=0)
    with pytest.raises(InvalidParameterError, match="len\\(prefixes\\)"):
        prefixed(Stream(*documents(3)), (np.zeros(0, np.uint16), np.zeros(2, np.int64)))
