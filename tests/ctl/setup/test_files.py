import datetime
from pathlib import Path

import pytest

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.setup.files import (
    Outcome,
    Wanted,
    cannot,
    fill,
    make_directory,
    put,
    read,
    remove,
    remove_directory,
    set_aside,
)
from ccproxyd.ctl.setup.marker import mark
from tests.ctl.service.fakes import write

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


def placed(path: Path, text: str = "new\n", *, force: bool = False) -> Outcome:
    return put(Wanted(path, text), force=force, clock=lambda: NOW)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_that_is_not_there_is_written_with_its_directory_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert put(Wanted(path, "x\n", 0o640)) == Outcome(path, "wrote")
    assert path.read_text() == "x\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(path.parent) == ["b"]


def test_a_file_that_is_as_it_should_be_is_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "new\n")
    before = path.stat()
    assert placed(path, force=True).fate == "unchanged"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_older_one_of_ours_is_brought_up_to_date(tmp_path: Path) -> None:
    path = write(tmp_path / "a", mark("old\n", "#"))
    assert placed(path) == Outcome(path, "updated")
    assert path.read_text() == "new\n"


@pytest.mark.parametrize("text", ["mine\n", mark("old\n", "#") + "and mine\n", ""])
def test_an_edited_one_is_kept(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a", text)
    found = placed(path)
    assert (found.fate, path.read_text()) == ("kept", text)
    assert "--force" in found.note
    assert not found.is_change


def test_force_keeps_what_it_replaces_under_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "mine\n")
    path.chmod(0o600)
    backup = tmp_path / "a.bak-20260102-030405"
    found = placed(path, force=True)
    assert found == Outcome(path, "replaced", f"the edited one is {backup}")
    assert (path.read_text(), backup.read_text()) == ("new\n", "mine\n")
    assert backup.stat().st_mode & 0o777 == 0o600


def test_no_backup_is_ever_lost(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text in ("first\n", "second\n"):
        write(path, text)
        placed(path, force=True)
    kept = {file.read_text() for file in tmp_path.glob("a.bak-*")}
    assert kept == {"first\n", "second\n"}


def test_what_is_no_text_is_somebodys_too(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xff\xfe")
    assert placed(path).fate == "kept"


def test_a_link_to_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.symlink_to(tmp_path / "gone")
    assert read(path) == ""
    assert placed(path).fate == "kept"
    assert path.is_symlink()


def test_what_a_killed_install_left_is_no_hindrance(tmp_path: Path) -> None:
    write(tmp_path / ".a.new", "half")
    assert placed(tmp_path / "a").fate == "wrote"
    assert names(tmp_path) == ["a"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path / "file")
    with pytest.raises(FailedError, match=r"^cannot read .*/file/a: Not a directory$"):
        placed(tmp_path / "file" / "a")
    (tmp_path / ".b.new").mkdir()
    with pytest.raises(FailedError, match=r"^cannot write .*/b: Is a directory$"):
        placed(tmp_path / "b")
    (tmp_path / "a").mkdir()
    with pytest.raises(FailedError, match=r"^cannot remove .*/a: Is a directory$"):
        remove(tmp_path / "a")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "file")
    with pytest.raises(FailedError, match=r"^cannot make .*/file: File exists$"):
        make_directory(file)
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FailedError, match=r"^cannot write .*/a: Is a directory$"):
        fill(tmp_path / "a", "x")


def test_what_is_not_permitted_has_an_exit_code_of_its_own() -> None:
    denied = PermissionError(13, "Permission denied")
    assert isinstance(cannot("write", Path("/a"), denied), NotPermittedError)


def test_what_is_removed_is_gone_and_what_is_set_aside_is_not(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", "1"), write(tmp_path / "other", "2")
    assert remove(one) == Outcome(one, "removed")
    assert set_aside(other, NOW).note.endswith("other.bak-20260102-030405")
    assert names(tmp_path) == ["other.bak-20260102-030405"]


def test_a_directory_is_removed_when_it_is_empty(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "file")
    assert remove_directory(tmp_path / "a") is None
    file.unlink()
    assert remove_directory(tmp_path / "a") == Outcome(tmp_path / "a", "removed")
    assert remove_directory(tmp_path / "a") is None


def test_a_directory_goes_with_all_that_is_in_it_but_not_through_a_link(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "file")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert remove_directory(tmp_path / "link", with_all=True) is None
    assert remove_directory(tmp_path / "a", with_all=True) is not None
    assert not (tmp_path / "a").exists()
