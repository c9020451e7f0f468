"""explain: how a request would be routed, and what each rule measured on it.

The request is a body in a file, a captured request with `path`, `headers` and `body`, or one made
here from `--model` and `--prompt`. Options change what a file says: what would have happened, had
it asked for this model?
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from attrs import field, frozen

from ccproxyd.control.messages import Explanation, Outcome
from ccproxyd.ctl.printing import Column, number, print_json, print_pairs, print_table
from ccproxyd.ctl.reach import ask
from ccproxyd.errors import EXIT_USAGE, CcproxydError


class UsageError(CcproxydError):
    """Arguments that make no sense together, or a file that is none of what it could be."""

    exit_code: ClassVar[int] = EXIT_USAGE


@frozen
class Captured:
    """A request as the daemon takes it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(factory=dict)
    path: str = "/v1/messages"


def explain(args: Namespace) -> int:
    request = request_of(args)
    payload = {"body": request.body, "headers": request.headers, "path": request.path}
    answer = ask(args, "explain", payload, doing="explaining")
    if args.json:
        print_json(answer)
    else:
        _print(Explanation.from_json(answer))
    return 0


def request_of(args: Namespace) -> Captured:
    """The request that the arguments describe.

    Raises:
        UsageError: they describe none.
    """
    if args.file is not None and args.prompt is not None:
        raise UsageError("--prompt makes a request of its own: leave out FILE, or --prompt")
    given = read_request(args.file) if args.file is not None else _quick(args)
    model = {} if args.model is None else {"model": args.model}
    return Captured(
        body={**given.body, **model},
        headers={**given.headers, **dict(args.headers)},
        path=args.path or given.path,
    )


def read_request(file: str) -> Captured:
    """A request out of a file, `-` being stdin.

    Raises:
        UsageError: it is not to be read, not JSON, or not an object.
    """
    name = "stdin" if file == "-" else file
    try:
        document = json.loads(_read(file))
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {name}: it is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"cannot read {name}: not JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise UsageError(f"cannot read {name}: it is nested too deeply") from None
    if not isinstance(document, dict):
        raise UsageError(f"cannot read {name}: a request is a JSON object")
    return _captured(document) if isinstance(document.get("body"), dict) else Captured(document)


def _read(file: str) -> str:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return data.decode()


def _captured(document: Mapping[str, Any]) -> Captured:
    return Captured(
        body=document["body"],
        headers=_headers(document.get("headers")),
        path=str(document.get("path") or "/v1/messages").partition("?")[0],
    )


def _headers(given: object) -> dict[str, str]:
    """Captured by one tool as an object, by another as a list of pairs."""
    pairs = list(given.items()) if isinstance(given, Mapping) else given or []
    try:
        return {str(name): str(value) for name, value in cast("list[Any]", pairs)}
    except (TypeError, ValueError):
        raise UsageError("cannot read headers: neither an object nor a list of pairs") from None


def _quick(args: Namespace) -> Captured:
    if args.model is None and args.prompt is None:
        raise UsageError("no request to explain: name a FILE (- is stdin), --model or --prompt")
    return Captured({"messages": [{"role": "user", "content": args.prompt or ""}]})


def _print(found: Explanation) -> None:
    tokens = "not counted" if found.token_count is None else number(found.token_count)
    pairs = [
        ("label", found.label),
        ("model", found.model),
        ("rule", found.rule),
        ("reason", found.reason),
        ("lane", _lane(found)),
        ("tokens", tokens),
        ("session", found.session_id or ""),
    ]
    print_pairs((name, value) for name, value in pairs if value)
    if found.rules:
        columns = [Column("rule"), Column("label"), Column("matched"), Column("measured")]
        print_table(columns, [_row(outcome) for outcome in found.rules])


def _lane(found: Explanation) -> str:
    return f"{found.lane}: {found.lane_reason}" if found.lane_reason else found.lane


def _row(outcome: Outcome) -> list[str]:
    return [outcome.rule, outcome.label, "yes" if outcome.matched else "no", outcome.detail]
