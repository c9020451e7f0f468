"""Other people's routers: found, fetched, or left out with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.bench import peers
from scripts.bench.contestants import Contestant, code_router
from scripts.bench.peers import CannotInstallError, Peer, default_cache, find_peers

PYTHON = Path(sys.executable).name


def peer(script: str = "", *, installer: str = PYTHON, runs_on: str | None = None) -> Peer:
    """One that a line of Python installs."""
    return Peer(
        "friend",
        "program",
        installer=installer,
        commands=lambda place: [[installer, "-c", script]],
        contestant=code_router,
        runs_on=runs_on,
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(peers, "PEERS", (peer("open('program', 'w').close()"),))
    return monkeypatch


def names(found: list[Contestant]) -> list[str]:
    return [contestant.name for contestant in found]


@pytest.mark.usefixtures("known")
def test_a_peer_that_is_not_there_is_fetched_only_if_that_is_asked_for(tmp_path: Path) -> None:
    found, absent = find_peers(tmp_path, install=False)
    assert (names(found), absent.keys()) == ([], {"friend"})
    assert "make bench ARGS=--peers" in absent["friend"]
    found, absent = find_peers(tmp_path, install=True)
    assert (names(found), absent) == (["ccr"], {})


@pytest.mark.usefixtures("known")
def test_a_peer_that_was_fetched_once_takes_part_from_then_on(tmp_path: Path) -> None:
    find_peers(tmp_path, install=True)
    found, absent = find_peers(tmp_path, install=False)
    assert (names(found), absent) == (["ccr"], {})


def test_an_installer_that_fails_has_the_last_word(
    known: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known.setattr(peers, "PEERS", (peer("raise SystemExit('no network')"),))
    found, absent = find_peers(tmp_path, install=True)
    assert found == []
    assert absent == {"friend": f"{PYTHON}: no network"}


@pytest.mark.parametrize(
    "missing", [peer(installer="no-such-installer"), peer(runs_on="no-such-runtime")]
)
def test_what_it_needs_is_named(missing: Peer, tmp_path: Path) -> None:
    with pytest.raises(CannotInstallError, match=r"^no-such-[a-z]+ is not installed"):
        missing.install(tmp_path)


def test_without_its_runtime_an_installed_peer_is_none(tmp_path: Path) -> None:
    (tmp_path / "friend").mkdir()
    (tmp_path / "friend" / "program").touch()
    assert peer().find(tmp_path) is not None
    assert peer(runs_on="no-such-runtime").find(tmp_path) is None


def test_peers_live_in_the_users_cache() -> None:
    assert default_cache({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/ccproxyd/bench")
    assert default_cache({"HOME": "/h"}) == Path("/h/.cache/ccproxyd/bench")


@pytest.mark.parametrize("one", peers.PEERS, ids=lambda one: one.name)
def test_a_peer_is_installed_below_its_own_directory(one: Peer, tmp_path: Path) -> None:
    commands = one.commands(tmp_path)
    assert all(command[0] == one.installer for command in commands)
    assert all(any(str(tmp_path) in word for word in command) for command in commands)
