"""The files of the config directory: which are written, and which of them were never edited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ccproxyd.config.environment import parse_env_file
from ccproxyd.config.load import ENV_FILE
from ccproxyd.config.samples import samples_directory
from ccproxyd.ctl.setup.files import Outcome, Wanted, fill, make_directory, put, read, remove
from ccproxyd.errors import ConfigError

SAMPLES: Final = ("ccproxy.yaml", "config.yaml", "custom_rules.py")

_ENV: Final = """\
# The providers' keys, one NAME=value a line, by the names that config.yaml has for them
# (os.environ/NAME). The daemon reads this file when it starts, and at `ccproxyctl reload`.
#
# ANTHROPIC_API_KEY=
# GEMINI_API_KEY=
"""


def put_samples(config_dir: Path, *, force: bool) -> Iterator[Outcome]:
    """The config to begin with. Keys are never overwritten, not by force either."""
    make_directory(config_dir)
    for wanted in _wanted(config_dir):
        yield put(wanted, force=force)
    yield _put_env(config_dir / ENV_FILE)


def remove_samples(config_dir: Path) -> Iterator[Outcome]:
    """What is still as it was written; what is not is left, and named."""
    for wanted in _wanted(config_dir):
        found = read(wanted.path)
        if found is not None:
            is_sample = found == wanted.text and not wanted.path.is_symlink()
            yield remove(wanted.path) if is_sample else Outcome(wanted.path, "left", "edited")
        for backup in _backups(wanted.path):
            yield Outcome(backup, "left", "an edited one that --force replaced")
    env = config_dir / ENV_FILE
    if env.is_file():
        yield Outcome(env, "left", "keys") if has_keys(env) else remove(env)


def has_keys(env: Path) -> bool:
    """Whether it sets anything, or may: what cannot be read is not for us to judge."""
    try:
        return bool(parse_env_file(read(env) or "", env.name))
    except ConfigError:
        return True


def purge(config_dir: Path) -> Iterator[Outcome]:
    """All files of ours, edited or not, with the backups of them."""
    for name in (*SAMPLES, ENV_FILE):
        for path in (config_dir / name, *_backups(config_dir / name)):
            if path.is_file() or path.is_symlink():
                yield remove(path)


def _backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.bak-*"))


def _wanted(config_dir: Path) -> Iterator[Wanted]:
    directory = samples_directory()
    for name in SAMPLES:
        yield Wanted(config_dir / name, (directory / name).read_text("utf-8"))


def _put_env(env: Path) -> Outcome:
    """An empty one may have been made by tmpfiles.d(5), with its owner and its mode: it is filled.

    Raises:
        FailedError, NotPermittedError: it cannot be written.
    """
    found = read(env)
    if not found and env.is_file():
        fill(env, _ENV)
        return Outcome(env, "updated")
    if found is None:
        return put(Wanted(env, _ENV, 0o600))
    return Outcome(env, "unchanged" if found == _ENV else "kept", "keys are never replaced")
