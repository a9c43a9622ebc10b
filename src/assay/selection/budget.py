"""Budgets: how much to select, in tokens, documents, bytes or a share of the pool's tokens."""

import re
from dataclasses import dataclass

from assay.errors import InvalidParameterError, check, shown

UNITS = ("tokens", "documents", "bytes", "share")
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
_EXAMPLES = "Write for example '2M tokens', '500k documents', '1.5 GB' or '10%'."


@dataclass(frozen=True)
class Budget:
    """An amount in one of UNITS; a share is a fraction (0 to 1) of all tokens of the pool."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: "str | Budget", name: str = "budget") -> "Budget":
        """Reads "2M tokens", "500k documents", "1.5 GB", "10%"; `name` is what messages call it.

        Raises:
            InvalidParameterError: anything else, among it a comma that does not part thousands, or less than one.

        >>> Budget.parse("2M tokens")
        Budget(amount=2000000, unit='tokens')
        >>> Budget.parse("10 %")
        Budget(amount=0.1, unit='share')
        """
        if isinstance(text, Budget):
            return text
        match = re.fullmatch(
            r"\s*((?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)?(?:\.\d+)?)\s*([kmgtb]?)\s*(tokens?|documents?|docs?|bytes?|b|%)\s*",
            (text if isinstance(text, str) else shown(text)).lower(),
        )
        if match is None or not match[1]:
            raise InvalidParameterError(f"`{name}` (={shown(text)}) must be a number with a unit. {_EXAMPLES}")
        number, scale, unit = match.groups()
        amount = float(number.replace(",", "").replace("_", ""))
        check(amount > 0, name, text, "above zero", _EXAMPLES)
        check(amount * _SCALES[scale] < 1e18, name, text, "below 10^18", _EXAMPLES)
        if unit == "%":
            check(scale == "" and amount <= 100, name, text, "at most 100%", _EXAMPLES)
            return cls(amount / 100, "share")
        unit = {"t": "tokens", "d": "documents", "b": "bytes"}[unit[0]]
        check(amount * _SCALES[scale] >= 1, name, text, f"at least one of its {unit}", _EXAMPLES)
        return cls(round(amount * _SCALES[scale]), unit)

    def __str__(self) -> str:
        return f"{self.amount:.4g} of the pool's tokens" if self.unit == "share" else f"{self.amount:,} {self.unit}"
