"""What a person reads: tables, figures in words, errors.

On a terminal a table is drawn by rich, which is loaded for that alone; elsewhere it is aligned
text. Nothing is coloured where NO_COLOR is set or the terminal is dumb. Text from outside is shown
without its control characters, so that no model's name moves the cursor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

from attrs import frozen

_COLOURS: Final = {"ready": "32", "degraded": "31"}
_OTHER_COLOUR: Final = "33"


@frozen
class Column:
    title: str
    figures: bool = False


Row = Sequence[str]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_error(message: str) -> None:
    print(f"ccproxyctl: {visible(clean(message))}", file=sys.stderr)


def print_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"warning: {visible(clean(warning))}")


def clean(message: str) -> str:
    """A message without what looks like a secret: it may quote a config, or somebody's module."""
    from ccproxyd.telemetry.redact import redact  # most commands have nothing to complain about

    return redact(message)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and what they are, in two columns."""
    shown = [(name, visible(value)) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"  {name:<{width}}  {value}".rstrip())


def print_table(columns: Sequence[Column], rows: Iterable[Row]) -> None:
    shown = [[visible(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _draw(columns, shown)
    else:
        _align(columns, shown)


def is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured_state(state: str) -> str:
    return coloured(state, _COLOURS.get(state, _OTHER_COLOUR))


def coloured(text: str, colour: str | None) -> str:
    """In the colour of a number of ECMA-48, where colours are wanted."""
    shown = visible(text)
    if colour is None or not is_terminal(sys.stdout) or os.environ.get("NO_COLOR"):
        return shown
    return f"\x1b[{colour}m{shown}\x1b[0m"


def visible(text: str) -> str:
    r"""The text without anything that a terminal would obey.

    >>> visible("opus\x1b[2J")
    'opus?[2J'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def duration(seconds: float) -> str:
    """Seconds as one would say them.

    >>> duration(0.314), duration(12.2), duration(200), duration(11520), duration(190000)
    ('0.31 s', '12 s', '3 min 20 s', '3 h 12 min', '2 d 4 h')
    """
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.2f} s"
    if whole < 60:
        return f"{whole} s"
    large, name, small, rest = next(unit for unit in _UNITS if whole >= unit[0])
    return f"{whole // large} {name} {whole % large // small} {rest}"


_UNITS: Final = (
    (86400, "d", 3600, "h"),
    (3600, "h", 60, "min"),
    (60, "min", 1, "s"),
)


def size(count: int) -> str:
    """Bytes in megabytes.

    >>> size(58_400_000)
    '58 MB'
    """
    return f"{count / 1e6:.0f} MB"


def address(host: str, port: int) -> str:
    """
    >>> address("127.0.0.1", 4000), address("::1", 4000)
    ('127.0.0.1:4000', '[::1]:4000')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def milliseconds(value: float | None) -> str:
    """
    >>> milliseconds(None), milliseconds(0.24), milliseconds(812.4), milliseconds(4210)
    ('-', '0.24 ms', '812 ms', '4.2 s')
    """
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def dollars(value: float) -> str:
    """
    >>> dollars(0), dollars(0.01234), dollars(12.345)
    ('-', '$0.0123', '$12.35')
    """
    if not value:
        return "-"
    return f"${value:.4f}" if value < 1 else f"${value:.2f}"


def number(value: int) -> str:
    """
    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "request"), plural(2, "request")
    ('1 request', '2 requests')
    """
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def _align(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    titles = [column.title.upper() for column in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    for row in [titles, *rows]:
        cells = (_pad(*cell) for cell in zip(columns, row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _pad(column: Column, cell: str, width: int) -> str:
    return cell.rjust(width) if column.figures else cell.ljust(width)


def _draw(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.figures else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, highlight=False).print(table)
