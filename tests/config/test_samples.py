from __future__ import annotations

from pathlib import Path

import pytest

from ccproxyd.config import samples
from ccproxyd.errors import CcproxydError


def test_in_a_checkout_the_samples_are_beside_the_package() -> None:
    found = samples.samples_directory()
    assert found == Path(samples.__file__).parents[2] / "etc"
    names = {str(file.relative_to(found)) for file in found.rglob("*") if file.is_file()}
    assert names >= {
        "ccproxy.yaml",
        "config.yaml",
        "custom_rules.py",
        "demo/ccproxy.yaml",
        "demo/config.yaml",
    }


def test_in_a_wheel_the_samples_are_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_PACKAGE", tmp_path / "ccproxyd")
    for directory in ("etc", "ccproxyd/etc"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "ccproxy.yaml").write_text("ccproxy:\n")
    assert samples.samples_directory() == tmp_path / "ccproxyd" / "etc"


def test_the_services_are_where_the_samples_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert samples.services_directory() == Path(samples.__file__).parents[2] / "contrib"
    monkeypatch.setattr(samples, "_PACKAGE", tmp_path / "ccproxyd")
    with pytest.raises(CcproxydError, match=r"^cannot find the services: .*; reinstall$"):
        samples.services_directory()
    unit = tmp_path / "ccproxyd/contrib/systemd/user/ccproxyd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    assert samples.services_directory() == tmp_path / "ccproxyd" / "contrib"


def test_without_samples_the_installation_is_said_to_be_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_PACKAGE", tmp_path / "ccproxyd")
    with pytest.raises(CcproxydError, match=r"^cannot find the sample configs: .*; reinstall$"):
        samples.samples_directory()
