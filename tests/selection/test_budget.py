import pytest

from assay.errors import InvalidParameterError
from assay.selection.budget import Budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("2M tokens", 2_000_000, "tokens"),
        ("500k documents", 500_000, "documents"),
        ("1 token", 1, "tokens"),
        ("1 doc", 1, "documents"),
        ("1,500 docs", 1500, "documents"),
        ("1_000 tokens", 1000, "tokens"),
        ("2,000,000.5 tokens", 2_000_000, "tokens"),
        (".5 GB", 500_000_000, "bytes"),
        (" 1.5 GB ", 1_500_000_000, "bytes"),
        ("100mb", 100_000_000, "bytes"),
        ("64 bytes", 64, "bytes"),
        ("3B tokens", 3_000_000_000, "tokens"),
        ("1T tokens", 10**12, "tokens"),
        ("10%", 0.1, "share"),
        ("0.5 %", 0.005, "share"),
        ("100%", 1.0, "share"),
    ],
)
def test_budgets_are_read_as_people_write_them(text: str, amount: float, unit: str) -> None:
    budget = Budget.parse(text)
    assert budget == Budget(pytest.approx(amount), unit)
    assert Budget.parse(budget) is budget


@pytest.mark.parametrize(
    "text",
    [
        "2M",
        "tokens",
        "",
        "-5 tokens",
        "2 M M tokens",
        "1e6 tokens",
        "5 apples",
        "0 tokens",
        "101%",
        "2k%",
        None,
        "1,5 GB",
        "15,00 docs",
        ",500 docs",
        "_ docs",
        "0.3 documents",
        "1.5.2 GB",
        "1__0 tokens",
        "_1_ tokens",
        "9" * 400 + " tokens",
    ],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"`budget` .*'2M tokens', '500k documents', '1.5 GB' or '10%'"):
        Budget.parse(text)
