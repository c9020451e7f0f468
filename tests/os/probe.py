"""A rule that tries what a service must not be able to do. It is put into a machine's config.

With a header `x-probe` on a request it writes into the service's state directory what became of
each attempt: `allowed`, or the name of the error. Run as a program it prints the same, for what its
user may do without any service.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ccproxyd.routing import ClassificationRule

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER_NAMESPACE = 0x10000000
_NO_RANDOMIZATION = 0x0040000
_IO_URING_SETUP = 425


def _call(function: str, *arguments: int) -> None:
    if getattr(_LIBC, function)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), function)


def _attempts(own: Path) -> dict[str, Callable[[], Any]]:
    """What is tried, by its name; `own` is a file of ours."""
    return {
        "change a directory that is open to all": Path("/srv/open/file").touch,
        "change the config": Path("/etc/ccproxyd/open").touch,
        "see a home directory": Path("/home/tester/open").read_bytes,
        "see others' temporary files": Path("/tmp/open").read_bytes,
        "see others' devices": Path("/dev/open").read_bytes,
        "see others' processes": Path("/proc/1/status").read_bytes,
        "be another kind of machine": lambda: _call("personality", _NO_RANDOMIZATION),
        "make a set-user-id program": lambda: own.chmod(0o4755),
        "give a file away": lambda: os.chown(own, os.getuid(), os.getgid()),
        "change its priority": lambda: os.nice(1),
        "talk to a network card": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "be root in a namespace": lambda: _call("unshare", _NEW_USER_NAMESPACE),
        "make a ring of system calls": lambda: _call("syscall", _IO_URING_SETUP, 1, 0),
        "keep a file of its own": lambda: own.write_text("kept"),
        "ask the kernel for addresses": lambda: socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW
        ).close(),
    }


def outcomes(directory: Path) -> dict[str, str]:
    own = directory / "own"
    own.touch()
    return {name: _outcome(attempt) for name, attempt in _attempts(own).items()}


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


class Probe(ClassificationRule):
    reads_tokens = False

    def evaluate(self, request: Any, config: Any) -> bool:
        if "x-probe" in request.headers:
            directory = Path(os.environ["STATE_DIRECTORY"])
            (directory / "probe.json").write_text(json.dumps(outcomes(directory)))
        return False


if __name__ == "__main__":
    print(json.dumps(outcomes(Path(sys.argv[1]))))
