"""The agent, as shipped and as rendered, against the keys that launchd.plist(5) knows."""

import plistlib
from pathlib import Path
from typing import Any

from ccproxyd.config.samples import services_directory
from ccproxyd.config.settings import Workers
from ccproxyd.ctl.service.find import LABEL
from ccproxyd.ctl.setup.agent import HEAD, render
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.setup.marker import is_unedited, mark

KEYS = """
    Label Disabled UserName GroupName inetdCompatibility LimitLoadToHosts LimitLoadFromHosts
    LimitLoadToSessionType LimitLoadToHardware LimitLoadFromHardware Program BundleProgram
    ProgramArguments EnableGlobbing EnableTransactions EnablePressuredExit OnDemand
    ServiceIPC KeepAlive RunAtLoad RootDirectory WorkingDirectory EnvironmentVariables Umask TimeOut
    ExitTimeOut ThrottleInterval InitGroups WatchPaths QueueDirectories StartOnMount StartInterval
    StartCalendarInterval StandardInPath StandardOutPath StandardErrorPath Debug WaitForDebugger
    SoftResourceLimits HardResourceLimits Nice ProcessType AbandonProcessGroup LowPriorityIO
    LowPriorityBackgroundIO MaterializeDatalessFiles LaunchOnlyOnce MachServices Sockets
    LaunchEvents SessionCreate LegacyTimers AssociatedBundleIdentifiers
""".split()
KEEP_ALIVE_KEYS = "SuccessfulExit NetworkState PathState OtherJobEnabled Crashed AfterInitialDemand"
LITELLMS_OWN_STOP_SECONDS = 20

SHIPPED = services_directory() / "launchd" / f"{LABEL}.plist"
SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))
HOME = Path("/Users/alice")


def rendered(**options: Any) -> dict[str, Any]:
    text = render(SHIPPED.read_text(), SCRIPTS, HOME, **options)
    found: dict[str, Any] = plistlib.loads(text.encode())
    return found


def test_it_is_named_after_its_label_and_has_only_keys_that_launchd_knows() -> None:
    agent = plistlib.loads(SHIPPED.read_bytes())
    assert agent["Label"] == SHIPPED.stem == LABEL
    assert set(agent) <= set(KEYS)
    assert set(agent["KeepAlive"]) <= set(KEEP_ALIVE_KEYS.split())


def test_it_is_started_with_the_session_and_again_after_a_failure_alone() -> None:
    agent = rendered()
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


def test_it_may_take_longer_to_end_than_requests_may_to_finish() -> None:
    assert rendered()["ExitTimeOut"] > Workers().stop_seconds + LITELLMS_OWN_STOP_SECONDS


def test_every_path_is_one_of_this_installation_and_of_its_user() -> None:
    agent = rendered()
    assert agent["ProgramArguments"] == [
        "/opt/bin/ccproxyd",
        "--wait-for-config",
        "--log-file",
        "/Users/alice/Library/Logs/ccproxyd/ccproxyd.log",
    ]
    assert agent["StandardErrorPath"] == "/Users/alice/Library/Logs/ccproxyd/ccproxyd.err"
    assert "/usr/bin" in agent["EnvironmentVariables"]["PATH"].split(":")


def test_a_command_of_several_words_and_another_config_are_put_in() -> None:
    module = Executables(("/p/python", "-P", "-m", "ccproxyd"), ())
    text = render(SHIPPED.read_text(), module, HOME, Path("/a & b"))
    agent = plistlib.loads(text.encode())
    assert agent["ProgramArguments"][:5] == [*module.daemon, "--wait-for-config"]
    assert agent["EnvironmentVariables"]["CCPROXY_CONFIG_DIR"] == "/a & b"


def test_it_is_still_a_property_list_when_it_is_marked() -> None:
    text = render(SHIPPED.read_text(), SCRIPTS, HOME)
    assert text.startswith(HEAD)
    marked = mark(text, "<!--", " -->", after=HEAD)
    assert is_unedited(marked)
    assert plistlib.loads(marked.encode()) == plistlib.loads(text.encode())
