"""Where it is asked to listen, and where it does.

The two can differ where the service manager holds the port: the address is then the socket unit's,
and what the config says of it changes nothing until somebody changes the unit.

Hosts are compared as far as that goes without a resolver. `localhost` is either loopback address;
`0.0.0.0` and `::`, which is what a unit's bare port number means, are every address; any other name
is taken to be right. Port 0 is any port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

Address = tuple[str, int]

SOCKET_UNIT: Final = "ccproxyd.socket"


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
