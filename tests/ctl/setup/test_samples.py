from pathlib import Path

import pytest

from ccproxyd.config.load import load
from ccproxyd.config.samples import samples_directory
from ccproxyd.ctl.setup.files import Outcome
from ccproxyd.ctl.setup.samples import SAMPLES, has_keys, purge, put_samples, remove_samples
from tests.ctl.service.fakes import write


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


def fates(outcomes: object) -> dict[str, str]:
    return {one.path.name: one.fate for one in outcomes}


def installed(config: Path, *, force: bool = False) -> dict[str, str]:
    return fates(list(put_samples(config, force=force)))


def test_a_new_config_is_private_and_good(config: Path) -> None:
    assert set(installed(config).values()) == {"wrote"}
    assert config.stat().st_mode & 0o777 == 0o700
    assert (config / "env").stat().st_mode & 0o777 == 0o600
    assert load(config, {}).settings.port == 4000


def test_a_second_time_changes_nothing(config: Path) -> None:
    installed(config)
    assert set(installed(config, force=True).values()) == {"unchanged"}


def test_an_edited_file_is_kept_or_by_force_replaced(config: Path) -> None:
    installed(config)
    write(config / "config.yaml", "model_list: []\n")
    assert installed(config)["config.yaml"] == "kept"
    assert installed(config, force=True)["config.yaml"] == "replaced"
    assert (config / "config.yaml").read_text() == (samples_directory() / "config.yaml").read_text()


def test_keys_are_not_replaced_by_force_either(config: Path) -> None:
    write(config / "env", "A_KEY=secret\n")
    assert installed(config, force=True)["env"] == "kept"
    assert (config / "env").read_text() == "A_KEY=secret\n"


def test_an_empty_env_that_the_system_has_made_keeps_its_mode(config: Path) -> None:
    env = write(config / "env")
    env.chmod(0o640)
    inode = env.stat().st_ino
    assert installed(config)["env"] == "updated"
    assert (env.stat().st_ino, env.stat().st_mode & 0o777) == (inode, 0o640)
    assert not has_keys(env)


@pytest.mark.parametrize(
    ("text", "has"), [("# A=1\n", False), ("", False), ("A=1\n", True), ("what is this\n", True)]
)
def test_what_sets_nothing_has_no_keys(tmp_path: Path, text: str, has: bool) -> None:
    assert has_keys(write(tmp_path / "env", text)) is has


def test_what_was_never_edited_is_taken_away(config: Path) -> None:
    installed(config)
    assert set(fates(list(remove_samples(config))).values()) == {"removed"}
    assert list(config.iterdir()) == []


def test_what_was_edited_stays_and_is_named(config: Path) -> None:
    installed(config)
    write(config / "ccproxy.yaml", "ccproxy: {}\n")
    write(config / "env", "A=1\n")
    found = list(remove_samples(config))
    assert Outcome(config / "ccproxy.yaml", "left", "edited") in found
    assert Outcome(config / "env", "left", "keys") in found
    assert {file.name for file in config.iterdir()} == {"ccproxy.yaml", "env"}


def test_so_does_what_an_install_by_force_has_set_aside(config: Path) -> None:
    installed(config)
    backup = write(config / "config.yaml.bak-20260102-030405")
    found = list(remove_samples(config))
    assert Outcome(backup, "left", "an edited one that --force replaced") in found
    assert list(config.iterdir()) == [backup]


def test_a_linked_file_is_somebodys_even_if_it_says_the_same(config: Path, tmp_path: Path) -> None:
    installed(config)
    elsewhere = (config / "config.yaml").rename(tmp_path / "dotfile")
    (config / "config.yaml").symlink_to(elsewhere)
    assert fates(list(remove_samples(config)))["config.yaml"] == "left"
    assert elsewhere.exists()


def test_a_purge_takes_all_of_ours_and_nothing_else(config: Path) -> None:
    installed(config)
    write(config / "env", "A=1\n")
    write(config / "config.yaml.bak-20260102-030405")
    write(config / "my_rules.py")
    assert set(fates(list(purge(config)))) == {*SAMPLES, "env", "config.yaml.bak-20260102-030405"}
    assert [file.name for file in config.iterdir()] == ["my_rules.py"]
