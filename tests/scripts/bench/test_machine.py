"""What the figures were measured on."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.bench import machine


def test_the_machine_and_all_versions_are_named(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path / "none")
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["processor"]
    assert facts["versions"]["litellm"][0].isdigit()
    assert facts["versions"]["ccproxyd"].startswith("0.")
    assert json.loads(json.dumps(facts)) == facts


def test_installed_peers_have_their_versions(tmp_path: Path) -> None:
    package = tmp_path / "friend" / "node_modules" / "@who" / "friend"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "2.0.0"}')
    wheel = tmp_path / "other-one" / "lib" / "python3.12" / "site-packages"
    (wheel / "other_one-1.2.0.dist-info").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    versions = machine.facts(tmp_path)["versions"]
    assert versions["friend"] == "2.0.0"
    assert versions["other-one"] == "1.2.0"
    assert "empty" not in versions


def test_a_program_that_is_not_there_has_no_version() -> None:
    assert machine._said("no-such-program") is None
    assert machine._version("no-such-package") is None
