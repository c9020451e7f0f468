"""`make install` into a directory, as a package's build does it, and what is there then."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from ccproxyd import __version__

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sysconfig.get_path("purelib", "posix_prefix", vars={"base": "/usr"})
DATE = 1_700_000_000
PAGES = (
    "man1/ccproxyctl.1",
    "man5/ccproxy.yaml.5",
    "man7/ccproxyd-clients.7",
    "man7/ccproxyd-control.7",
    "man7/ccproxyd-log.7",
    "man7/ccproxyd-requests.7",
    "man8/ccproxyd.8",
)
SAMPLES = ("ccproxy.yaml", "config.yaml", "custom_rules.py")

MISSING = [name for name in ("hatchling", "installer") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} are not installed"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]

Place = Callable[[str], Path]


def make(target: str, destdir: Path, *, prefix: str = "/usr", **words: str) -> None:
    named = {"DESTDIR": str(destdir), "PREFIX": prefix, "PYTHON": sys.executable, **words}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(
        [
            shutil.which("make") or "make",
            "--silent",
            target,
            *(f"{name}={value}" for name, value in named.items()),
        ],
        cwd=ROOT,
        env={**environ, "SOURCE_DATE_EPOCH": str(DATE)},
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def destdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("destdir")
    make("install", directory)
    return directory


@pytest.fixture
def place(destdir: Path) -> Place:
    return lambda path: destdir / path.lstrip("/")


def everything(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def run(place: Place, *words: str) -> str:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(place(PACKAGES)), "HOME": "/nowhere"}
    done = subprocess.run(
        words, cwd="/", env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/ccproxyd",
        "/usr/bin/ccproxyctl",
        *(f"/usr/share/man/{page}" for page in PAGES),
        "/usr/share/bash-completion/completions/ccproxyctl",
        "/usr/share/bash-completion/completions/ccproxyd",
        "/usr/share/zsh/site-functions/_ccproxyctl",
        "/usr/share/fish/vendor_completions.d/ccproxyctl.fish",
        "/usr/share/fish/vendor_completions.d/ccproxyd.fish",
        "/usr/lib/systemd/user/ccproxyd.service",
        "/usr/lib/systemd/user/ccproxyd.socket",
        "/usr/lib/systemd/system/ccproxyd.service",
        "/usr/lib/systemd/system/ccproxyd.socket",
        "/usr/lib/systemd/system-preset/50-ccproxyd.preset",
        "/usr/lib/sysusers.d/ccproxyd.conf",
        "/usr/lib/tmpfiles.d/ccproxyd.conf",
        "/usr/share/doc/ccproxyd/LICENSE",
        "/usr/share/doc/ccproxyd/README.md",
        *(f"/usr/share/doc/ccproxyd/examples/{sample}" for sample in SAMPLES),
        f"{PACKAGES}/ccproxyd/py.typed",
    ],
)
def test_it_is_installed(place: Place, path: str) -> None:
    assert place(path).stat().st_size > 0 or path.endswith("py.typed")


def test_every_unit_and_every_page_is_installed(destdir: Path) -> None:
    names = {file.name for file in destdir.rglob("*") if file.is_file()}
    sources = [*(ROOT / "contrib" / "systemd").rglob("*"), *(ROOT / "man").iterdir()]
    assert {file.name for file in sources if file.is_file()} <= names


def test_nobody_else_may_write_and_everybody_may_read(destdir: Path) -> None:
    found = {path: path.stat().st_mode & 0o777 for path in everything(destdir)}
    programs = {destdir / "usr/bin/ccproxyd", destdir / "usr/bin/ccproxyctl"}
    wanted = {path: 0o755 if path.is_dir() or path in programs else 0o644 for path in found}
    assert found == wanted


def test_no_file_says_where_it_was_built(destdir: Path) -> None:
    places = [str(destdir).encode(), str(ROOT).encode(), b"ccproxyd-install-"]
    told = [
        path
        for path in everything(destdir)
        if path.is_file() and not path.is_relative_to(destdir / "usr/bin")
        if any(one in path.read_bytes() for one in places)
    ]
    assert told == []


@pytest.mark.parametrize("program", ["ccproxyctl", "ccproxyd"])
def test_a_program_runs_by_the_interpreter_that_was_named(place: Place, program: str) -> None:
    file = place(f"/usr/bin/{program}")
    assert file.read_text("utf-8").splitlines()[0] == f"#!{sys.executable}"
    assert run(place, str(file), "--version") == f"{program} {__version__}\n"


def test_the_package_brings_samples_and_units_along(place: Place) -> None:
    ask = "from ccproxyd.config import samples as s"
    ask += "; print(s.samples_directory(), s.services_directory())"
    package = place(f"{PACKAGES}/ccproxyd")
    found = run(place, sys.executable, "-c", ask).split()
    assert found == [str(package / "etc"), str(package / "contrib")]


def test_every_module_is_compiled_for_the_place_where_it_will_be(place: Place) -> None:
    for source in place(f"{PACKAGES}/ccproxyd").rglob("*.py"):
        file = Path(importlib.util.cache_from_source(str(source)))
        code = marshal.loads(file.read_bytes()[16:])  # noqa: S302 - we have made it
        assert isinstance(code, CodeType)
        assert code.co_filename.startswith(PACKAGES)


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown_from_there(place: Place, page: str) -> None:
    file = place(f"/usr/share/man/{page}")
    shown = run(place, "mandoc", "-T", "ascii", str(file))
    assert f"{file.stem.upper()}({file.suffix[1:]})" in shown


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_man_finds_a_page_by_its_name(place: Place, page: str) -> None:
    if not run(place, "man", "--version").startswith("man "):
        pytest.skip("what is called man here shows no pages")
    name, _, section = page.partition("/")[2].rpartition(".")
    found = run(place, "man", "-M", str(place("/usr/share/man")), "-w", section, name)
    assert found.strip() == str(place(f"/usr/share/man/{page}"))


def test_a_second_build_is_the_same_to_the_letter(destdir: Path, tmp_path: Path) -> None:
    make("install", tmp_path)

    def state(directory: Path) -> dict[str, tuple[float, bytes]]:
        return {
            str(path.relative_to(directory)): (path.stat().st_mtime, path.read_bytes())
            for path in everything(directory)
            if path.is_file()
        }

    first, second = state(destdir), state(tmp_path)
    assert {time for time, _ in first.values()} == {DATE}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_with_another_prefix_the_units_name_it(tmp_path: Path) -> None:
    make("install", tmp_path, prefix="/opt/ccproxyd", SYSCONFDIR="/opt/etc")
    units = tmp_path / "opt/ccproxyd/lib"
    for kind in ("system", "user"):
        service = (units / "systemd" / kind / "ccproxyd.service").read_text("utf-8")
        assert "ExecStart=/opt/ccproxyd/bin/ccproxyd\n" in service
        assert "/usr/bin/" not in service
    service = (units / "systemd/system/ccproxyd.service").read_text("utf-8")
    assert "=/opt/etc/ccproxyd\n" in service
    assert "/opt/etc/ccproxyd " in (units / "tmpfiles.d/ccproxyd.conf").read_text("utf-8")


def test_installed_twice_and_removed_once_nothing_of_it_is_left(tmp_path: Path) -> None:
    make("install", tmp_path)
    stranger = tmp_path / "usr/share/doc/ccproxyd/README.Debian"
    stranger.write_text("mine", encoding="utf-8")
    make("install", tmp_path)
    make("uninstall", tmp_path)
    assert [path for path in everything(tmp_path) if path.is_file()] == [stranger]
    assert not (tmp_path / PACKAGES.lstrip("/") / "ccproxyd").exists()


def test_a_source_archive_can_be_installed_from(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [archive] = tmp_path.iterdir()
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names >= {"Makefile", "pyproject.toml", "scripts/install.py", "README.md", "LICENSE"}
    for directory in ("ccproxyd", "contrib", "etc", "man"):
        sources = (path for path in (ROOT / directory).rglob("*") if path.is_file())
        kept = {str(path.relative_to(ROOT)) for path in sources if "__pycache__" not in path.parts}
        assert kept <= names


# Where an interpreter wants its packages


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("prefix", "directory"),
    [
        ("/usr", "/usr/lib/python3/dist-packages"),
        ("/usr/local", "/usr/local/lib/python3.13/dist-packages"),
        ("/opt/other", "/usual"),
    ],
)
def test_an_interpreter_is_asked_where_it_looks_for_packages(
    script: ModuleType, tmp_path: Path, prefix: str, directory: str
) -> None:
    debian = tmp_path / "python3"
    debian.write_text(
        "#!/bin/sh\n"
        'echo \'{"usual": "/usual", "searched": ["/usr/lib/python3.13", '
        '"/usr/local/lib/python3.13/dist-packages", "/usr/lib/python3/dist-packages"]}\'\n',
        encoding="utf-8",
    )
    debian.chmod(0o755)
    assert script.packages_directory(str(debian), prefix) == directory


def test_what_cannot_build_says_what_it_lacks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(ROOT / "scripts/install.py"), "--destdir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "has no hatchling (Debian: python3-hatchling)" in done.stderr
    assert list(tmp_path.iterdir()) == []
