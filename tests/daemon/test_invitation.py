from __future__ import annotations

from pathlib import Path

from ccproxyd.daemon.invitation import invitation


def test_the_command_line_is_the_one_beside_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "ccproxyctl").touch()
    told = invitation(tmp_path / "ccproxyd")
    assert f"  {tmp_path}/ccproxyctl run -- claude\n" in told
    assert f'  eval "$({tmp_path}/ccproxyctl env)"\n' in told


def test_without_one_beside_it_it_is_the_one_of_the_path(tmp_path: Path) -> None:
    assert "  ccproxyctl run -- claude\n" in invitation(tmp_path / "__main__.py")
