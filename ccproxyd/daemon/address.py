"""Where it is asked to listen, and where it does.

The two can differ where the service manager holds the port: the address is then the socket unit's,
and what the config says of it changes nothing until somebody changes the unit.

Hosts are compared as far as that goes without a resolver. `localhost` is either loopback address;
`0.0.0.0` and `::`, which is what a unit's bare port number means, are every address; any other name
is taken to be right. Port 0 is any port.

A daemon may be started in a shell that was made a client of it, by `eval "$(ccproxyctl env)"`. The
addresses and keys that it finds there are its own: taken for a provider's, it would ask itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

Address = tuple[str, int]

SOCKET_UNIT: Final = "ccproxyd.socket"

_OF_CLIENTS: Final = {
    "ANTHROPIC_BASE_URL": "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_BASE_URL": "OPENAI_API_KEY",
    "OPENAI_API_BASE": "OPENAI_API_KEY",
}
"""The variables by which a client finds a server, and the one with its key for it."""


def agree(asked: Address, bound: Address) -> bool:
    """Whether a listener is where it was asked to be.

    >>> agree(("localhost", 4000), ("::1", 4000)), agree(("127.0.0.1", 4000), ("0.0.0.0", 4000))
    (True, False)
    """
    return hosts_agree(asked[0], bound[0]) and asked[1] in (0, bound[1])


def hosts_agree(asked: str, bound: str) -> bool:
    wanted, found = _parsed(asked), _parsed(bound)
    if found is None:
        return True
    if asked.lower() == "localhost":
        return found.is_loopback
    return wanted is None or wanted == found or (wanted.is_unspecified and found.is_unspecified)


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a literal is, and nothing for a name; a mapped IPv4 one is that."""
    with suppress(ValueError):
        found = ipaddress.ip_address(host)
        return getattr(found, "ipv4_mapped", None) or found
    return None


def of_its_clients(environ: Mapping[str, str], listens: Address) -> tuple[str, ...]:
    """The variables that lead to a daemon which listens there, and that have its key.

    >>> shell = {"OPENAI_BASE_URL": "http://127.0.0.1:4000/v1", "OPENAI_API_KEY": "sk-ccproxy-1"}
    >>> of_its_clients(shell, ("127.0.0.1", 4000))
    ('OPENAI_API_KEY', 'OPENAI_BASE_URL')
    """
    found = [pair for pair in _OF_CLIENTS.items() if _leads_to(environ.get(pair[0], ""), listens)]
    return tuple(sorted({name for pair in found for name in pair if name in environ}))


def _leads_to(url: str, listens: Address) -> bool:
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.port == listens[1] and _is_host(parts.hostname or "", listens[0].lower())
    return False


def _is_host(named: str, host: str) -> bool:
    listens = _parsed(host)
    is_near = host == "localhost" or (
        listens is not None and (listens.is_loopback or listens.is_unspecified)
    )
    return named == host or (is_near and (named == "localhost" or _is_loopback(named)))


def _is_loopback(named: str) -> bool:
    found = _parsed(named)
    return found is not None and found.is_loopback


def shown(address: Address) -> str:
    """
    >>> shown(("127.0.0.1", 4000)), shown(("::1", 4000))
    ('127.0.0.1:4000', '[::1]:4000')
    """
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def how_to_move(bound: Address, environ: Mapping[str, str]) -> str:
    """What holds a port that was handed over, and how it is made to hold another.

    systemd tells the services of a user's manager the number of that process, and no others.
    """
    of_user = "MANAGERPID" in environ
    systemctl = "systemctl --user" if of_user else "systemctl"
    install = f"ccproxyctl install{'' if of_user else ' --system'}"
    return (
        f"{SOCKET_UNIT} of the service manager holds {shown(bound)}; change its ListenStream= with"
        f" `{systemctl} edit {SOCKET_UNIT}`, or have `{install}` write it anew,"
        f" then `{systemctl} stop {SOCKET_UNIT}` and `{systemctl} restart ccproxyd`"
    )
