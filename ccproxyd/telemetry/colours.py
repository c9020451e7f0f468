"""A record for a person at a terminal who looks for a fault: a line for what has happened, in
colours, and its facts below it, as wide as the terminal is.

rich draws it, and knows of NO_COLOR and of terminals that have no colours. It takes 60 ms to
import, so only who needs this imports it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final, cast

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ccproxyd.telemetry.plain import one_line, shown

Draw = Callable[[datetime.datetime, str, str, Mapping[str, Any]], str]

_LEVELS: Final[Mapping[str, str]] = {
    "debug": "dim",
    "info": "green",
    "warning": "yellow",
    "error": "bold red",
    "critical": "bold white on red",
}
_INDENT: Final = 9
"""As wide as the time."""


def drawing_on(stream: object) -> Draw:
    """What draws records for this terminal; without its last line break."""
    console = Console(file=cast("IO[str]", stream), highlight=False, markup=False, emoji=False)

    def draw(when: datetime.datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
        rest = {name: value for name, value in facts.items() if value is not None}
        because = rest.pop("because", None)
        with console.capture() as drawn:
            console.print(_head(when, level, event, because), soft_wrap=True)
            if rest:
                console.print(Padding(Text("  ").join(_named(rest)), (0, 0, 0, _INDENT)))
        lines = drawn.get().splitlines()
        return "\n".join(line.rstrip() for line in lines)

    return draw


def _head(when: datetime.datetime, level: str, event: str, because: Any) -> Text:
    head = Text(f"{when:%H:%M:%S} ", style="dim")
    head.append(f"{level:<7} ", style=f"not dim {_LEVELS.get(level, '')}")
    head.append(one_line(event), style="not dim bold")
    if because:
        head.append(f": {one_line(str(because))}", style="not dim")
    return head


def _named(facts: Mapping[str, Any]) -> Iterator[Text]:
    for name, value in facts.items():
        told = Text(f"{one_line(name)}=", style="dim")
        told.append(shown(value), style="not dim cyan" if _is_number(value) else "not dim")
        yield told


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
