"""env: what a client needs in its environment.

    eval "$(ccproxyctl env)"

The address is the running daemon's, else the config's. The key is the config's master key, else the
one that the daemon made at its first start; it is never asked of the control API, which shows no
key to anybody, but read from the file, for which one has to be the same user.

Claude Code is told more, since it is careful behind any address that is not Anthropic's. It sends
the descriptions of all tools with each turn, unless ENABLE_TOOL_SEARCH says that they may be
searched here too; it has its small tasks done by the main model, unless
ANTHROPIC_DEFAULT_HAIKU_MODEL names the one that it takes in front of Anthropic. It offers labels as
models if CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY has it look for them. And it compacts a
conversation in time for the model that it asked for; where a rule may send it to one with a smaller
context window, CLAUDE_CODE_AUTO_COMPACT_WINDOW says for how many tokens. It takes no less than
100,000 there; below that CLAUDE_AUTOCOMPACT_PCT_OVERRIDE names a part of them.

With `--oauth` a client's own subscription pays: its login keeps the header `Authorization`, and our
key comes in a header of its own.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ccproxyd.control.client import FailedError, NotPermittedError, NotRunningError
from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import address, is_terminal, print_error, print_json
from ccproxyd.ctl.reach import ask, client_of, directories, home
from ccproxyd.ctl.service.find import SYSTEM_CONFIG, config_dir_for
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.paths import SYSTEM_RUNTIME

if TYPE_CHECKING:
    from ccproxyd.config.load import Loaded

SYSTEM_STATE: Final = Path("/var/lib/ccproxyd")

KEY_HEADER: Final = "x-litellm-api-key"
"""Where our key is looked for while `Authorization` is taken."""

SMALL_MODEL: Final = "claude-haiku-4-5-20251001"
"""What Claude Code 2.1 takes for titles and summaries."""

LOGINS: Final = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")
"""Either takes the place of a subscription's login."""

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_DISCOVERY: Final = "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"
_SMALL_TASKS: Final = "ANTHROPIC_DEFAULT_HAIKU_MODEL"
_WINDOW: Final = "CLAUDE_CODE_AUTO_COMPACT_WINDOW"
_LARGEST_WINDOW: Final = 1_000_000
"""The most that Claude Code counts on."""
_LEAST_TOLD: Final = 100_000
_ANSWER: Final = 20_000
_RESERVE: Final = 33_000
"""What Claude Code keeps free when it compacts: `_ANSWER`, and 13,000 for the compaction."""

Variables = dict[str, str | None]
"""By name; None for one that must not be set."""


@frozen
class Place:
    """Where the daemon is, or would be."""

    host: str
    port: int
    config_dir: Path
    system: bool = False


def env(args: Namespace) -> int:
    variables = variables_at(args, place_of_running(args) or _configured(args))
    if args.json:
        print_json(variables)
    else:
        for name, value in variables.items():
            print(_line(args.shell, name, value))
        _say_how(args.shell)
    return 0


def variables_at(args: Namespace, place: Place) -> Variables:
    """What a client of the daemon at this place needs, in the environment of this process.

    Raises:
        CcproxydError: there is no key that it could use.
    """
    from ccproxyd.ctl.windows import is_served, smallest_window

    loaded = _readable(place.config_dir)
    key = (loaded and loaded.litellm.master_key) or read_key(_key_files(args, place))
    window = smallest_window(loaded) if loaded else None
    return client_variables(
        place.host,
        place.port,
        key,
        os.environ,
        oauth=args.oauth,
        window=window.tokens if window else None,
        small_model=loaded is not None and is_served(loaded, SMALL_MODEL),
    )


def client_variables(
    host: str,
    port: int,
    key: str,
    environ: Mapping[str, str],
    *,
    oauth: bool = False,
    window: int | None = None,
    small_model: bool = False,
) -> Variables:
    """The variables, for Anthropic's clients and OpenAI's, and for Claude Code in particular.

    Args:
        environ: what the client has in its environment without them.
        oauth: it stays logged in to its own subscription.
        window: the smallest one that a conversation can meet, in tokens, if it is known.
        small_model: a request for `SMALL_MODEL` has somewhere to go.

    >>> client_variables("0.0.0.0", 4000, "sk-1", {})["ANTHROPIC_BASE_URL"]
    'http://127.0.0.1:4000'
    """
    return {
        **_addresses(host, port, environ),
        **(_own_login(key, environ) if oauth else {"ANTHROPIC_AUTH_TOKEN": key}),
        "OPENAI_API_KEY": key,
        "ENABLE_TOOL_SEARCH": environ.get("ENABLE_TOOL_SEARCH") or "true",
        _DISCOVERY: environ.get(_DISCOVERY) or "1",
        **(_small_tasks(environ) if small_model else {}),
        **compaction(window or _LARGEST_WINDOW, environ),
    }


def _addresses(host: str, port: int, environ: Mapping[str, str]) -> Variables:
    """A proxy that the environment names is not to stand before the daemon: NO_PROXY says so."""
    near = reachable(host)
    url = f"http://{address(near, port)}"
    without = _with_host(environ.get("NO_PROXY") or environ.get("no_proxy") or "", near)
    return {
        "ANTHROPIC_BASE_URL": url,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "NO_PROXY": without,
        "no_proxy": without,
    }


def _own_login(key: str, environ: Mapping[str, str]) -> Variables:
    """A key in the environment would be taken for the login, so none may be there."""
    lines = environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
    others = [line for line in lines if line.partition(":")[0].strip().lower() != KEY_HEADER]
    headers = "\n".join([*filter(str.strip, others), f"{KEY_HEADER}: {key}"])
    unwanted: Variables = {name: None for name in LOGINS if name in environ}
    return {"ANTHROPIC_CUSTOM_HEADERS": headers, **unwanted}


def _small_tasks(environ: Mapping[str, str]) -> Variables:
    """Who has chosen a model for them keeps it, by whichever name of the variable."""
    chosen = any(environ.get(name) for name in ("ANTHROPIC_SMALL_FAST_MODEL", _SMALL_TASKS))
    return {} if chosen else {_SMALL_TASKS: SMALL_MODEL}


def compaction(window: int, environ: Mapping[str, str]) -> Variables:
    """When Claude Code is to compact a conversation, for a window that it may not know of.

    Who has asked for less is left alone.

    >>> compaction(128_000, {})
    {'CLAUDE_CODE_AUTO_COMPACT_WINDOW': '128000'}
    >>> compaction(128_000, {"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "110000"})
    {}
    >>> compaction(64_000, {})["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"]
    '40'
    """
    if window >= min(_LARGEST_WINDOW, _asked_for(environ)):
        return {}
    told = max(window, _LEAST_TOLD)
    variables: Variables = {_WINDOW: str(told)}
    if window < told:
        wanted = max(window - _RESERVE, window // 2)
        percent = max(wanted * 100 // (told - _ANSWER), 1)
        variables["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"] = str(percent)
    return variables


def _asked_for(environ: Mapping[str, str]) -> int:
    own = environ.get(_WINDOW, "")
    return int(own) if own.isdecimal() else _LARGEST_WINDOW


def reachable(host: str) -> str:
    """Where a client on this machine reaches what listens at `host`; a wildcard is everywhere.

    >>> reachable("0.0.0.0"), reachable("::"), reachable(""), reachable("proxy.lan")
    ('127.0.0.1', '::1', '127.0.0.1', 'proxy.lan')
    """
    try:
        given = ip_address(host)
    except ValueError:
        return host or _LOOPBACK[4]
    return _LOOPBACK[given.version] if given.is_unspecified else host


def read_key(files: list[Path]) -> str:
    """The key in the first of the files that is there.

    Raises:
        NotPermittedError: it is not ours to read.
        CcproxydError: there is none, or it is broken.
    """
    for file in files:
        if key := _key_in(file):
            return key
    raise CcproxydError(
        f"there is no client key yet: no {files[0]}, and no general_settings.master_key in "
        "config.yaml; the daemon makes one at its first start"
    )


def _key_in(file: Path) -> str | None:
    try:
        key = file.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise NotPermittedError(f"cannot read the key in {file}: permission denied") from None
    except (OSError, ValueError) as error:
        raise CcproxydError(f"cannot read the key in {file}: {type(error).__name__}") from None
    if not key or not key.isprintable() or " " in key:
        raise CcproxydError(f"cannot use the key in {file}: it is not one line of text")
    return key


def place_of_running(args: Namespace) -> Place | None:
    """Where the daemon is, if one runs.

    Raises:
        CcproxydError: it does not say.
    """
    client = client_of(args)
    try:
        status = Status.from_json(ask(args, "status", client=client))
    except NotRunningError:
        return None
    if not status.listen.port:
        raise FailedError("cannot tell where ccproxyd listens: its status does not say")
    named = Path(status.config_dir) if status.config_dir else None
    return Place(
        status.listen.host,
        status.listen.port,
        directories(args, named).config,
        system=client.path.parent == SYSTEM_RUNTIME,
    )


def _configured(args: Namespace) -> Place:
    config_dir = config_dir_for(args)
    settings = _load(config_dir).settings
    print_error("note: ccproxyd is not running; this is what its config says")
    system = config_dir == SYSTEM_CONFIG
    return Place(settings.host, settings.port, config_dir, system=system)


def _readable(config_dir: Path) -> Loaded | None:
    """The config, if it can be read: a running daemon may go on with an older one."""
    try:
        return _load(config_dir)
    except ConfigError:
        return None


def _load(config_dir: Path) -> Loaded:
    from ccproxyd.config.load import load

    return load(config_dir, os.environ)


def _key_files(args: Namespace, place: Place) -> list[Path]:
    """systemd before 254 put a user service's state beside its config."""
    own = directories(args).client_key
    beside = Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config") / "ccproxyd" / "key"
    return [SYSTEM_STATE / "key", own, beside] if place.system else [own, beside]


def _with_host(without: str, host: str) -> str:
    hosts = [name.strip() for name in without.split(",") if name.strip()]
    return ",".join(hosts if host in hosts or "*" in hosts else [*hosts, host])


# How shells assign


def _sh(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    """PowerShell takes the typographic quotes for quotes, too."""
    quoted = "".join(
        letter * 2 if letter in "'\u2018\u2019\u201a\u201b" else letter for letter in value
    )
    return f"$env:{name} = '{quoted}'"


_ASSIGN: Final[Mapping[str, Callable[[str, str], str]]] = {
    "sh": _sh,
    "fish": _fish,
    "powershell": _powershell,
}

_UNSET: Final[Mapping[str, str]] = {
    "sh": "unset {}",
    "fish": "set -e {}",
    "powershell": "Remove-Item Env:{} -ErrorAction SilentlyContinue",
}

_USE: Final = {
    "sh": 'eval "$(ccproxyctl env)"',
    "fish": "ccproxyctl env --shell fish | source",
    "powershell": "ccproxyctl env --shell powershell | Out-String | Invoke-Expression",
}


def _line(shell: str, name: str, value: str | None) -> str:
    return _UNSET[shell].format(name) if value is None else _ASSIGN[shell](name, value)


def _say_how(shell: str) -> None:
    """For someone who looks at it instead of evaluating it."""
    if is_terminal(sys.stdout):
        print(f"# to use it: {_USE[shell]}")
