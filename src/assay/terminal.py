"""Text for people: documents and names are shown as they are, and what would command a terminal as signs."""

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

# C0 but for tab and line feed, delete, C1; marks that turn the direction of text round, so that it reads otherwise; and
# what is no character: halves of surrogate pairs, and the last two of the basic plane, which no XML may hold.
_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SYMBOLS, _DELETE, _UNKNOWN = 0x2400, "\u2421", "\ufffd"


def printable(text: str) -> str:
    """`text` with a visible sign in place of every character that a terminal would obey instead of showing.

    >>> printable("a \\x1b[31mred\\x1b[0m herring\\x7f")
    'a ␛[31mred␛[0m herring␡'
    """
    return _COMMANDS.sub(lambda found: _sign(found[0]), text)


def _sign(character: str) -> str:
    if character == "\x7f":
        return _DELETE
    return chr(_SYMBOLS + ord(character)) if character < " " else _UNKNOWN


class _Terminal(Console):
    """A console whose own styles reach the terminal, and nothing else that commands it."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """As the base class, with every text made printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def console(*, stderr: bool = False, **options: Any) -> Console:
    """Where the command line prints. Square brackets in what it is given are text, not markup."""
    return _Terminal(stderr=stderr, highlight=False, markup=False, emoji=False, **options)
