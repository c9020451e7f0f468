"""Why a daemon ended, in its own words: the last complaint among what it logged. Pure.

It logs records in JSON. Before there is a log, and when it gives up, it says one line that begins
with its name. What else there is, say the last line of a traceback, is better than nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_OWN: Final = "ccproxyd: "
_COMPLAINTS: Final = ("error", "critical")


def reason_in(lines: Sequence[str]) -> str | None:
    r"""
    >>> reason_in(["Starting", "ccproxyd: config.yaml: model_list: must be a list"])
    'config.yaml: model_list: must be a list'
    >>> reason_in(['{"level": "error", "event": "cannot bind", "because": "in use"}', '{}'])
    'cannot bind: in use'
    """
    said = [line.strip() for line in lines if line.strip()]
    complaints = (_complaint(line) for line in reversed(said))
    others = (line for line in reversed(said) if not line.startswith("{"))
    return next((one for one in complaints if one), None) or next(others, None)


def _complaint(line: str) -> str | None:
    if line.startswith(_OWN):
        return line.removeprefix(_OWN)
    record = _object(line)
    if record.get("level") not in _COMPLAINTS:
        return None
    because = f": {record['because']}" if record.get("because") else ""
    return f"{record.get('event', 'an error')}{because}"


def journal_messages(lines: Iterable[str]) -> list[str]:
    """The messages of a unit's own processes, without systemd's about it, as `-o json` has them.

    One that is not UTF-8 is a list of numbers there, and none of ours.
    """
    records = (_object(line) for line in lines)
    return [
        record["MESSAGE"]
        for record in records
        if isinstance(record.get("MESSAGE"), str) and record.get("SYSLOG_IDENTIFIER") != "systemd"
    ]


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}
