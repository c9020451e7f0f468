"""The proxy on the way to an address, as the environment names it.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case; the small letters go first.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

Environ = Mapping[str, str]


def find_proxy(url: str, environ: Environ) -> str | None:
    """The proxy's URL, or None where there is none.

    >>> find_proxy("https://api.anthropic.com/v1", {"https_proxy": "proxy.lan:3128"})
    'http://proxy.lan:3128'
    >>> find_proxy("https://x.lan", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".lan"}) is None
    True
    """
    parts = urlsplit(url)
    without = _named(environ, "no_proxy")
    if without and proxy_bypass_environment(parts.hostname or "", {"no": without}):
        return None
    found = _named(environ, f"{parts.scheme}_proxy") or _named(environ, "all_proxy")
    if not found:
        return None
    return found if "://" in found else f"http://{found}"


def _named(environ: Environ, name: str) -> str | None:
    return environ.get(name) or environ.get(name.upper())
