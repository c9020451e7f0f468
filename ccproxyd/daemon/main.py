"""The way in: arguments, what must be owned before anything starts, and the exit code.

What ends the daemon is said on standard error, and in the log if that is elsewhere.

0   stopped as asked
1   could not go on
2   the arguments are wrong
75  the port, or the instance, belongs to somebody else
78  the config is wrong; a service manager must not try again
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
from attrs import evolve, field, frozen

from ccproxyd import __version__
from ccproxyd.config.environment import by_reference
from ccproxyd.config.load import Loaded, load
from ccproxyd.config.samples import samples_directory
from ccproxyd.daemon.address import Address, of_its_clients
from ccproxyd.daemon.house import House, Owned
from ccproxyd.daemon.instance import bind_listener, client_keys, take_lock
from ccproxyd.daemon.phases import Daemon
from ccproxyd.daemon.rendering import clear_runtime
from ccproxyd.errors import EXIT_FAILED, AddressInUseError, CcproxydError, ConfigError
from ccproxyd.notify import Notifier, adopt, passed_descriptors
from ccproxyd.paths import Directories, find_directories, make_private
from ccproxyd.telemetry.logs import (
    Logger,
    hearing_libraries,
    in_detail,
    last_trace,
    logger_for,
    open_log_file,
    write_standard_error,
)

_DEMO_URL: Final = "CCPROXYD_DEMO_URL"


def main(argv: Sequence[str] | None = None) -> int:
    """`ccproxyd`: run in the foreground until told to stop."""
    arguments = _parser().parse_args(argv)
    # A watchdog ends what hangs with SIGABRT: the stacks say where. SIGUSR1 asks for them alone.
    faulthandler.enable(2)
    faulthandler.register(signal.SIGUSR1, 2, all_threads=True)
    try:
        return _logged(arguments)
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
    parser.add_argument(
        "--log-file",
        type=Path,
        metavar="PATH",
        help="log there instead of on standard error; 10 MB at most, and three old files",
    )
    parser.add_argument(
        "--wait-for-config",
        action="store_true",
        help="a wrong config does not end it: it waits for a reload that finds it right",
    )
    parser.add_argument("--version", action="version", version=f"ccproxyd {__version__}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port number from 0 to 65535, not {text!r}")
    return int(text)


def _logged(arguments: argparse.Namespace) -> int:
    """Run with a log; what ends it is standard error's, and a file's as well."""
    file = open_log_file(arguments.log_file) if arguments.log_file else None
    log = logger_for(file or sys.stderr, debug=arguments.debug)
    try:
        with hearing_libraries(log):
            return _run(arguments, log)
    except CcproxydError as error:
        if file:
            log("error", "cannot start", because=str(error))
        raise
    except Exception as error:
        trace = last_trace(error)
        log("critical", "cannot go on", because="internal error", trace=trace)
        if file:
            write_standard_error(f"ccproxyd: internal error; it is in {arguments.log_file}")
        return EXIT_FAILED
    finally:
        if file:
            file.close()


def _run(arguments: argparse.Namespace, log: Logger) -> int:
    directories = _directories(arguments)
    premises = Premises(arguments, directories, log, Notifier(), demo=_demo(arguments))
    first = _first_config(arguments, directories.config, log)
    for directory in (directories.runtime, directories.state):
        make_private(directory)
    lock = take_lock(directories.lock)
    try:
        clear_runtime(directories.runtime)
        return anyio.run(premises.daemon().run, first, backend="asyncio")
    finally:
        os.close(lock)


def _first_config(
    arguments: argparse.Namespace, directory: Path, log: Logger
) -> Loaded | ConfigError:
    try:
        loaded = load(directory, os.environ)
        own = of_its_clients(os.environ, _address(arguments, loaded))
        if not own:
            return loaded
        log("info", "what the environment has for clients of this daemon is left out", names=own)
        for name in own:
            del os.environ[name]
        return load(directory, os.environ)
    except ConfigError as error:
        if not arguments.wait_for_config:
            raise
        return error


def _address(arguments: argparse.Namespace, loaded: Loaded) -> Address:
    """Where to listen."""
    settings = loaded.settings
    port = settings.port if arguments.port is None else arguments.port
    return arguments.host or settings.host, port


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


def _demo(arguments: argparse.Namespace) -> socket.socket | None:
    """The demo provider's listener; its address goes into the config by the environment."""
    if not arguments.demo:
        return None
    listener = bind_listener("127.0.0.1", 0)
    os.environ[_DEMO_URL] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return listener


def _passed() -> socket.socket | None:
    """The listener that the service manager holds for us."""
    passed = passed_descriptors(os.environ, os.getpid())
    return adopt(passed["http"]) if "http" in passed else None


def _listener(loaded: Loaded, host: str, port: int) -> socket.socket:
    try:
        return bind_listener(host, port)
    except AddressInUseError:
        raise
    except CcproxydError as error:
        # What is no address may be a key in the wrong place.
        raise CcproxydError(by_reference(str(error), loaded.referred)) from None


@frozen
class Premises:
    """What every house of this daemon stands on."""

    arguments: argparse.Namespace
    directories: Directories
    log: Logger
    notifier: Notifier
    demo: socket.socket | None
    passed: socket.socket | None = field(factory=_passed)

    def daemon(self) -> Daemon:
        waits = self.arguments.wait_for_config
        return Daemon(self.directories, self.log, self.notifier, self.house, waits)

    def house(self, loaded: Loaded) -> House:
        """A house for a config.

        Raises:
            CcproxydError: the port, or the clients' key, is not to be had.
        """
        debug = self.arguments.debug or loaded.settings.debug
        log = in_detail(self.log) if debug else self.log
        return House(self._owned(loaded), loaded, log, self.notifier)

    def _owned(self, loaded: Loaded) -> Owned:
        arguments = self.arguments
        host, port = _address(arguments, loaded)
        environ = {**os.environ, **loaded.environ}
        keys = client_keys(self.directories, environ, loaded.litellm.master_key)
        return Owned(
            directories=self.directories,
            host=host,
            port=port,
            # A copy of what was handed over: each house closes its own.
            listener=self.passed.dup() if self.passed else _listener(loaded, host, port),
            passed=self.passed is not None,
            keys=tuple(keys),
            demo=self.demo,
            fixed_address=arguments.host is not None or arguments.port is not None,
        )
