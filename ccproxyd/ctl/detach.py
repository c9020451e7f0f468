"""start --detach: a daemon in the background, where there is no service manager to run it.

It has a session of its own, so that it outlives the terminal, and a log of its own, since its
stderr goes nowhere that anybody looks. What is said on stderr, before there is a log or past it,
goes to a file beside the log, which each start empties; so a daemon that ends at once can be asked
why.
"""

from __future__ import annotations

import os
import subprocess
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ccproxyd.control.client import Client, FailedError
from ccproxyd.control.status import Status
from ccproxyd.ctl.reach import directories
from ccproxyd.ctl.service.reasons import reason_in
from ccproxyd.ctl.serving import wait_until_serving
from ccproxyd.paths import make_private

LOG_NAME: Final = "ccproxyd.log"
STDERR_NAME: Final = "ccproxyd.err"


def start_detached(args: Namespace, command: Sequence[str], client: Client) -> Status:
    """The daemon's status, once it serves.

    Raises:
        FailedError: it has ended before, with its own last words.
    """
    logs = make_private(directories(args).logs)
    log, stderr = logs / LOG_NAME, logs / STDERR_NAME
    begins = log.stat().st_size if log.exists() else 0
    daemon = _spawn([*command, "--log-file", str(log)], stderr)
    try:
        found = wait_until_serving(client, lambda: daemon.poll() is not None)
    except BaseException:
        daemon.terminate()  # ^C: what was not started to its end is not left behind
        raise
    if found is None:
        why = _last_words(stderr) or _last_words(log, begins)
        raise FailedError(_told(why, daemon.returncode, logs))
    return found


def _told(why: str | None, status: int, logs: Path) -> str:
    """On a full disk the last words have no place to go to; a terminal is one."""
    if why is None:
        why, shows = f"exit status {status}, and no word of why in {logs}", "start"
    else:
        shows = "check"
    return f"cannot start ccproxyd: {why}; see: ccproxyctl {shows}"


def _spawn(command: Sequence[str], stderr: Path) -> subprocess.Popen[bytes]:
    descriptor = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _last_words(file: Path, begins: int = 0) -> str | None:
    """The reason in what was written from an offset on; all, if the file has been changed since."""
    if not file.exists():
        return None
    written = file.read_bytes()
    ours = written[begins:] if len(written) >= begins else written
    return reason_in(ours.decode("utf-8", "replace").splitlines())
