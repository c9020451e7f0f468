"""env: what a client needs in its environment.

    eval "$(ccproxyctl env)"

The address is the running daemon's, else the config's. The key is the config's master key, else the
one that the daemon made at its first start; it is never asked of the control API, which shows no
key to anybody, but read from the file, for which one has to be the same user.
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

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}


@frozen
class Place:
    """Where the daemon is, or would be."""

    host: str
    port: int
    config_dir: Path
    system: bool = False


def env(args: Namespace) -> int:
    place = _running(args) or _configured(args)
    key = _configured_key(place.config_dir) or read_key(_key_files(args, place))
    variables = client_variables(place.host, place.port, key, os.environ)
    if args.json:
        print_json(variables)
    else:
        for name, value in variables.items():
            print(_ASSIGN[args.shell](name, value))
        _say_how(args.shell)
    return 0


def client_variables(host: str, port: int, key: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, for Anthropic's clients and OpenAI's.

    A proxy that the environment names is not to stand before the daemon, so its host joins
    NO_PROXY.

    >>> client_variables("0.0.0.0", 4000, "sk-1", {})["ANTHROPIC_BASE_URL"]
    'http://127.0.0.1:4000'
    """
    near = reachable(host)
    url = f"http://{address(near, port)}"
    without = _with_host(environ.get("NO_PROXY") or environ.get("no_proxy") or "", near)
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": key,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": key,
        "NO_PROXY": without,
        "no_proxy": without,
    }


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


def _running(args: Namespace) -> Place | None:
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


def _configured_key(config_dir: Path) -> str | None:
    """The master key, if the config can be read: a running daemon may go on with an older one."""
    try:
        return _load(config_dir).litellm.master_key
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

_USE: Final = {
    "sh": 'eval "$(ccproxyctl env)"',
    "fish": "ccproxyctl env --shell fish | source",
    "powershell": "ccproxyctl env --shell powershell | Out-String | Invoke-Expression",
}


def _say_how(shell: str) -> None:
    """For someone who looks at it instead of evaluating it."""
    if is_terminal(sys.stdout):
        print(f"# to use it: {_USE[shell]}")
