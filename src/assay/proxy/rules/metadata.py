"""Where a document is from, told to the model before its text; at the end of training no longer.

Paper: Metadata Conditioning Accelerates Language Model Pre-training (MeCo), Gao et al. 2025 (arXiv:2501.01956), section
2. Authors' code: princeton-pli/MeCo at e7d9d63. A document begins with "URL: host" and an empty line, on which no loss
is taken; the last tenth of the run reads other documents without it, with the same schedule and optimiser state.

What differs:
- Which documents come last is drawn by the seed. A document that the border falls into is cut there.
- Only addresses with a scheme have a host: "README.md" is none. Host names are lower-case, without user, port and final
  dot, and international ones are written in their own letters. A document without host has no prefix.
- Another column can stand in for the address, "Source: wikipedia", as section 5 of the paper does with topics.
- A document longer than a sequence has its prefix in its first piece alone, where it can be looked at.

Cost: the tokens of the prefixes, which take compute and teach nothing themselves: a few per cent on ordinary documents
(`make_phases` counts them; `match="compute"` shortens the run by as much). When not to use: where few documents have a
known address, or all have the same.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np

from assay.errors import InvalidParameterError, check, check_number, check_text
from assay.kernels.ragged import take_runs
from assay.proxy.rules_base import Hooks, Rule
from assay.proxy.stream import Stream

_URL = "url"


@dataclass(frozen=True, kw_only=True)
class MeCo(Rule):
    """Documents begin with where they are from, but for the last part of the run.

    by: the column that says it; of "url" the host is told.
    cooldown: share of the tokens at the end without; 1 = plain training.
    """

    name: ClassVar[str] = "meco"
    changes: ClassVar[str] = "text"

    by: str = _URL
    cooldown: float = 0.1

    def __post_init__(self) -> None:
        check_text("by", self.by)
        check_number("cooldown", self.cooldown, "a share from 0 to 1", lambda x: 0 <= x <= 1)

    @property
    def column(self) -> str:
        return self.by

    def start(self) -> Hooks:
        return Hooks()

    def prefixes(self, values: Sequence[str | None]) -> list[str]:
        """What stands before each document, "" before those of which nothing is known.

        Args:
            values: of the column `by`, one a document.
        """
        if self.by == _URL:
            hosts = [host(value) for value in values]
            return ["" if name is None else f"URL: {name}\n\n" for name in hosts]
        texts = [" ".join(str(value).split()) if value is not None else "" for value in values]
        label = self.by[:1].upper() + self.by[1:]
        return [f"{label}: {text}\n\n" if text else "" for text in texts]


def host(url: str | None) -> str | None:
    """The host of an address, as people read it; None where it has none.

    >>> host("https://user@WWW.Example.org:8080/a?b"), host("http://xn--bcher-kva.example/"), host("notes/a.txt")
    ('www.example.org', 'bücher.example', None)
    """
    try:
        name = urlsplit(url.strip()).hostname if url else None
    except ValueError:  # a bracket that does not close, and the like
        return None
    name = name.rstrip(".") if name else None
    if name and "xn--" in name:
        with suppress(UnicodeError):
            name = name.encode("ascii").decode("idna")
    return name or None


def prefixed(stream: Stream, prefixes: tuple[np.ndarray, np.ndarray]) -> tuple[Stream, np.ndarray]:
    """Documents with tokens put before them, and how many those are of each [documents], which carry no loss.

    Args:
        prefixes: ids of all prefixes [tokens] uint16, and where that of each document starts [documents + 1].
    """
    ids, starts = prefixes
    num_documents = len(stream.starts) - 1
    check(len(starts) == num_documents + 1, "len(prefixes)", len(starts) - 1, f"the {num_documents:,} documents")
    masked, sizes = np.diff(starts), np.diff(stream.starts)
    out = np.empty(len(ids) + len(stream.tokens), np.uint16)
    # Prefix, document, prefix, document, ...: runs of both arrays put one behind the other.
    first = np.stack([starts[:-1], stream.starts[:-1] + len(ids)], axis=1).ravel()
    take_runs(np.concatenate([ids, stream.tokens]), first, np.stack([masked, sizes], axis=1).ravel(), out)
    return Stream(out, np.concatenate(([0], np.cumsum(masked + sizes))), stream.has_end), masked


def split(stream: Stream, share: float, seed: int) -> tuple[Stream, np.ndarray, Stream, np.ndarray]:
    """Documents in two parts drawn by the seed, the second of round(share x tokens) tokens.

    A document that the border falls into is cut: its first tokens end the first part, without an end mark, and the
    others begin the second.

    Returns:
        each part, and after it which document each of its documents is.

    Raises:
        InvalidParameterError: a part would have no tokens.
    """
    sizes = np.diff(stream.starts)
    num_first = len(stream.tokens) - round(share * len(stream.tokens))
    if not 0 < num_first < len(stream.tokens):
        raise InvalidParameterError(
            f"`cooldown` (={share}) must leave a token to both parts of a run of {len(stream.tokens):,} tokens. "
            "Take 0 or 1 for one part, or more tokens."
        )
    order = np.random.default_rng([seed, len(sizes)]).permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    border = int(np.searchsorted(ends, num_first, side="left"))  # the last document of the first part
    cut = num_first - int(ends[border] - sizes[order[border]])
    rows = order[: border + 1], order[border + (ends[border] == num_first) :]
    first = _taken(stream, rows[0], last_size=cut)
    return first, rows[0], _taken(stream, rows[1], skipped=0 if ends[border] == num_first else cut), rows[1]


def _taken(stream: Stream, rows: np.ndarray, *, last_size: int | None = None, skipped: int = 0) -> Stream:
    """Some documents; of the last only `last_size` tokens, of the first all but the `skipped` first."""
    sizes, starts = np.diff(stream.starts)[rows], stream.starts[rows].copy()
    has_end = stream.has_end[rows].copy()
    if last_size is not None and last_size < sizes[-1]:
        sizes[-1], has_end[-1] = last_size, False
    sizes[0] -= skipped
    starts[0] += skipped
    out = np.empty(int(sizes.sum()), np.uint16)
    take_runs(stream.tokens, starts, sizes, out)
    return Stream(out, np.concatenate(([0], np.cumsum(sizes))), has_end)
