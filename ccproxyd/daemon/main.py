"""The way in: arguments, what must be owned before anything starts, and the exit code.

0   stopped as asked
1   could not go on
2   the arguments are wrong
75  the port, or the instance, belongs to somebody else
78  the config is wrong; a service manager must not try again
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
from attrs import evolve

from ccproxyd import __version__
from ccproxyd.config.load import Loaded, load
from ccproxyd.config.samples import samples_directory
from ccproxyd.control.server import bind_control_socket
from ccproxyd.daemon.house import House, Owned
from ccproxyd.daemon.instance import bind_listener, client_keys, take_lock
from ccproxyd.daemon.rendering import clear_runtime
from ccproxyd.errors import CcproxydError
from ccproxyd.notify import Notifier, adopt, passed_descriptors
from ccproxyd.paths import Directories, find_directories, make_private
from ccproxyd.telemetry.logs import logger_for, write_standard_error

_DEMO_URL: Final = "CCPROXYD_DEMO_URL"


def main(argv: Sequence[str] | None = None) -> int:
    """`ccproxyd`: run in the foreground until told to stop."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except CcproxydError as error:
        write_standard_error(f"ccproxyd: {error}")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ccproxyd",
        description="Route Claude Code and other clients to many models, through LiteLLM.",
        epilog="ccproxyctl status, reload and stop speak to a running ccproxyd.",
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="where ccproxy.yaml and config.yaml are ($CCPROXY_CONFIG_DIR, else ~/.ccproxy)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="try it: a config of its own and an offline provider, no keys, no network",
    )
    parser.add_argument("--host", help="listen here instead of at ccproxy.host")
    parser.add_argument("--port", type=_port, help="listen here instead of at ccproxy.port")
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.add_argument("--version", action="version", version=f"ccproxyd {__version__}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port number from 0 to 65535, not {text!r}")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    directories = _directories(arguments)
    demo = _demo_provider() if arguments.demo else None
    config_dir = directories.config
    loaded = load(config_dir, os.environ)
    for directory in (directories.runtime, directories.state):
        make_private(directory)
    lock = take_lock(directories.lock)
    try:
        clear_runtime(directories.runtime)
        owned = _owned(arguments, directories, loaded, demo)
        log = logger_for(sys.stderr, debug=arguments.debug or loaded.settings.debug)
        return anyio.run(House(owned, loaded, log, Notifier()).run, backend="asyncio")
    finally:
        os.close(lock)


def _directories(arguments: argparse.Namespace) -> Directories:
    named = samples_directory() / "demo" if arguments.demo else arguments.config_dir
    found = find_directories(
        os.environ,
        home=Path.home(),
        user_id=os.getuid(),
        macos=sys.platform == "darwin",
        config=named,
    )
    return evolve(found, config=found.config.absolute())


def _demo_provider() -> socket.socket:
    """The demo provider's listener; its address goes into the config by the environment."""
    listener = bind_listener("127.0.0.1", 0)
    os.environ[_DEMO_URL] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return listener


def _owned(
    arguments: argparse.Namespace,
    directories: Directories,
    loaded: Loaded,
    demo: socket.socket | None,
) -> Owned:
    settings = loaded.settings
    host = arguments.host or settings.host
    port = settings.port if arguments.port is None else arguments.port
    keys = client_keys(directories, {**os.environ, **loaded.environ}, loaded.litellm.master_key)
    passed = passed_descriptors(os.environ, os.getpid())
    return Owned(
        directories=directories,
        host=host,
        port=port,
        listener=adopt(passed["http"]) if "http" in passed else bind_listener(host, port),
        passed="http" in passed,
        control=bind_control_socket(directories.control_socket),
        keys=tuple(keys),
        demo=demo,
        fixed_address=arguments.host is not None or arguments.port is not None,
    )
