"""Values as text that a terminal can show: one line, and nothing that it would obey."""

from __future__ import annotations

from typing import Any


def shown(value: Any) -> str:
    """
    >>> shown(0.5), shown(1234.56789), shown(0.000123), shown(7), shown("a")
    ('0.5', '1234.568', '0.000123', '7', 'a')
    """
    if isinstance(value, float):
        # A price can be far below a thousandth, and has its nine decimals.
        decimals = 3 if abs(value) >= 1 else 9
        return f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return one_line(str(value))


def one_line(text: str) -> str:
    r"""Nothing that ends a line, or that a terminal obeys.

    >>> one_line("a\nb \x1b[2J")
    'a b [2J'
    """
    if text.isprintable():
        return text
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
