"""The worlds: namespaces, a provider, a daemon where there is one, and the cases in a row.

    python -m scripts.claude.worlds WORLD CLIENT OUT CASE...

runs inside of one already; `enter` is the command that makes it. Loopback is all the network there
is, `/etc/hosts` and the directory `ROOT` are its own, and Anthropic's address is the provider's.
What was seen of a case is written to `OUT/CASE.json`.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import socket
import ssl
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final, cast

import anyio
from attrs import define, field

from ccproxyd.ctl.env import SMALL_MODEL
from scripts.claude.cases import CASES, LABEL_HEADER, Case, World
from scripts.claude.client import Ended, Home, run_client
from scripts.claude.provider import CLIENTS_PORT, PORT, Provider
from tests.support.daemon import Daemon, Setup, started

ROOT: Final = Path("/tmp/ccproxyd-claude")  # noqa: S108 - a world has one of its own
ANTHROPIC: Final = "api.anthropic.com"
PROVIDER_URL: Final = f"http://127.0.0.1:{PORT}"
_CLIENTS_URL: Final = f"http://127.0.0.1:{CLIENTS_PORT}"
_SHELL: Final = 'mount -t tmpfs world "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'


def enter(world: World, client: Path, out: Path, cases: Sequence[str]) -> list[str]:
    """The command that runs the cases in a world of their own."""
    ROOT.mkdir(exist_ok=True)
    hosts = out / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {ANTHROPIC}\n")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = [sys.executable, "-m", "scripts.claude.worlds", world, str(client), str(out), *cases]
    shell = ["sh", "-ec", _SHELL, "world", str(ROOT), str(hosts)]
    return ["unshare", *user, "--net", "--mount", "--", *shell, *inside]


@define
class Inhabited:
    """A world in which something is done."""

    world: World
    client: Path
    out: Path
    provider: Provider = field(factory=Provider)
    daemon: Daemon | None = None

    async def do(self, case: Case) -> None:
        began = monotonic()
        home = Home(ROOT / "home")
        shutil.rmtree(home.directory, ignore_errors=True)
        home.make()
        ended = await self._runs(case, home)
        told = {
            "ended": [one.to_json() for one in ended],
            "asked": [one.to_json() for one in self.provider.take()],
            "seconds": round(monotonic() - began, 1),
        }
        (self.out / f"{case.name}.json").write_text(json.dumps(told))
        print(f"{self.world}: {case.name} {told['seconds']} s", file=sys.stderr, flush=True)

    async def _runs(self, case: Case, home: Home) -> list[Ended]:
        found: list[Ended | None] = [None] * len(case.runs)

        async def one(index: int) -> None:
            environ = home.environ(case.auth, self._more(case))
            command = self._command(case)
            found[index] = await run_client(
                command, case.runs[index], home, environ, self._progress
            )

        async with anyio.create_task_group() as group:
            for index in range(len(case.runs)):
                if case.at_once:
                    group.start_soon(one, index)
                else:
                    await one(index)
        return [ended for ended in found if ended is not None]

    def _progress(self) -> int:
        return -1 if self.provider.busy else len(self.provider.asked)

    def _more(self, case: Case) -> dict[str, str]:
        """Alone, the client is told what else `ccproxyctl run` would tell it."""
        if self.daemon is not None:
            return {**_of_daemon(self.daemon), **case.environ}
        token = {} if case.auth in ("login", "key") else {"ANTHROPIC_AUTH_TOKEN": "sk-alone"}
        told = {"ANTHROPIC_BASE_URL": _CLIENTS_URL, "ENABLE_TOOL_SEARCH": "true"}
        small = {"ANTHROPIC_DEFAULT_HAIKU_MODEL": SMALL_MODEL}
        return {**told, **small, **token, **case.environ}

    def _command(self, case: Case) -> list[str]:
        if self.daemon is None:
            return [str(self.client)]
        oauth = ["--oauth"] if case.auth == "login" else []
        return [sys.executable, "-m", "ccproxyd.ctl", "run", *oauth, "--", str(self.client)]


def _of_daemon(daemon: Daemon) -> dict[str, str]:
    """How `ccproxyctl` finds the daemon."""
    return {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CCPROXYD_SOCKET": str(daemon.socket),
        "STATE_DIRECTORY": str(daemon.root / "state"),
    }


def setup(world: World) -> Setup:
    """Every model of Anthropic's is kept; what comes with a login is paid by that one."""
    return Setup(
        rules=[
            {"label": "login", "rule": "MatchHeaderRule", "params": [_BY_LOGIN]},
            {"label": "small", "rule": "MatchHeaderRule", "params": [{"name": LABEL_HEADER}]},
        ],
        models=_models,
        ours={"port": CLIENTS_PORT, "lanes": {"direct": "auto" if world == "direct" else "off"}},
        litellm={
            "litellm_settings": {"drop_params": True, "ssl_verify": str(ROOT / "authority.pem")}
        },
    )


_BY_LOGIN: Final = {"name": "authorization", "pattern": "sk-ant-oat"}


def _models(url: str) -> list[dict[str, Any]]:
    key = {"api_base": url, "api_key": "sk-of-the-provider"}
    return [
        {"model_name": "claude-*", "litellm_params": {"model": "anthropic/claude-*", **key}},
        {"model_name": "default", "litellm_params": {"model": "anthropic/claude-sonnet-5", **key}},
        {
            "model_name": "small",
            "litellm_params": {"model": "anthropic/claude-haiku-4-5", **key},
            "model_info": {"max_input_tokens": 1_000_000},  # or all clients would compact earlier
        },
        {"model_name": "login", "litellm_params": {"model": "anthropic/claude-sonnet-5"}},
    ]


async def live(world: World, client: Path, out: Path, names: Sequence[str]) -> None:
    _up()
    here = Inhabited(world, client, out)
    await here.provider.start(_certificate(), alone=world == "alone")
    try:
        with ExitStack() as stack:
            if world != "alone":
                root = ROOT / "daemon"
                root.mkdir()
                setup(world).write(root / "config", PROVIDER_URL)
                here.daemon = stack.enter_context(started(root))
                await anyio.to_thread.run_sync(here.daemon.happened, "ready")
            for case in CASES:
                if case.name in names:
                    here.provider.take()
                    await here.do(case)
    finally:
        await here.provider.stop()


def _up() -> None:
    """Loopback, which a new network has switched off: SIOCGIFFLAGS, SIOCSIFFLAGS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        asked = struct.pack("16sh14s", b"lo", 0, b"")
        _, flags, _ = struct.unpack("16sh14s", fcntl.ioctl(door, 0x8913, asked))
        fcntl.ioctl(door, 0x8914, struct.pack("16sh14s", b"lo", flags | 1, b""))


def _certificate() -> ssl.SSLContext:
    """Anthropic's name, vouched for by an authority that this world alone knows."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ANTHROPIC)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ANTHROPIC)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (ROOT / "authority.pem").write_bytes(pem)
    (ROOT / "both.pem").write_bytes(pem + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ROOT / "both.pem")
    return context


def main(words: Sequence[str]) -> None:
    world, client, out, *names = words
    anyio.run(live, cast("World", world), Path(client), Path(out), names)


if __name__ == "__main__":
    main(sys.argv[1:])
