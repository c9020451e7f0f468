"""Who is compared, and with which configs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import asdict, evolve

from ccproxyd.config.lanes import lanes_of
from ccproxyd.config.load import Loaded, load
from scripts.bench.bodies import MODEL, SWAPPED
from scripts.bench.contestants import (
    KEY,
    Contestant,
    Launch,
    ancestor,
    code_router,
    own_contestants,
)
from scripts.bench.footprint import LAZY

OWN = {contestant.name: contestant for contestant in own_contestants()}
OURS = ("lane", "lane-2", "direct")


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path, 4711, "http://127.0.0.1:4712")


def loaded(contestant: Contestant, launch: Launch) -> Loaded:
    contestant.start(launch)
    return load(launch.directory / "config", {})


def lanes(contestant: Contestant, launch: Launch) -> dict[str, str]:
    found = lanes_of(loaded(contestant, launch), {}, launch.directory / "config")
    return {name: lane.name for name, lane in found.items()}


def models(path: Path) -> dict[str, Any]:
    entries = yaml.safe_load(path.read_text())["model_list"]
    return {entry["model_name"]: entry["litellm_params"] for entry in entries}


@pytest.mark.parametrize("name", OURS)
def test_ours_have_the_sample_config_on_the_port_of_the_launch(name: str, launch: Launch) -> None:
    settings = loaded(OWN[name], launch).settings
    assert settings.port == 4711
    assert len(settings.rules) == 4
    assert settings.workers.count == (2 if name == "lane-2" else 1)


def test_a_pair_differs_in_its_records_alone(launch: Launch) -> None:
    told, untold = (loaded(OWN[name], launch).settings for name in ("told", "untold"))
    assert (told.debug, untold.debug) == (True, False)
    assert set(asdict(told.logging).values()) == {True}
    assert set(asdict(untold.logging).values()) == {False}
    assert evolve(told, debug=False, logging=untold.logging, warnings=()) == untold


@pytest.mark.parametrize(
    "contestant",
    [OWN["direct"], OWN["told"], OWN["untold"], LAZY],
    ids=["direct", "told", "untold", "lazy"],
)
def test_in_the_direct_lane_nothing_needs_litellm(contestant: Contestant, launch: Launch) -> None:
    assert set(lanes(contestant, launch).values()) == {"direct"}


@pytest.mark.parametrize("name", ["lane", "lane-2"])
def test_in_litellms_lane_everything_goes_to_it(name: str, launch: Launch) -> None:
    assert set(lanes(OWN[name], launch).values()) == {"litellm"}


@pytest.mark.parametrize("name", ["litellm", "litellm-2"])
def test_plain_litellm_is_told_its_config_its_port_and_its_workers(
    name: str, launch: Launch
) -> None:
    program, *words = OWN[name].start(launch)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert Path(program).name == "litellm"
    assert options["--port"] == "4711"
    assert options["--num_workers"] == ("2" if name.endswith("2") else "1")
    assert yaml.safe_load(Path(options["--config"]).read_text())["general_settings"] == {
        "master_key": KEY
    }


def test_all_with_litellm_in_them_serve_the_same_models(launch: Launch) -> None:
    served = []
    for contestant in OWN.values():
        contestant.start(launch)
        served.append(models(launch.directory / "config" / "config.yaml"))
    ancestor(Path("ccproxy")).start(launch)
    served.append(models(launch.directory / ".ccproxy" / "config.yaml"))
    assert all(one == served[0] for one in served)
    assert {MODEL, SWAPPED, "default"} <= served[0].keys()
    assert {params["api_base"] for params in served[0].values()} == {"http://127.0.0.1:4712"}


def test_the_code_router_speaks_anthropics_protocol_to_the_provider(launch: Launch) -> None:
    assert code_router(Path("cli.js")).start(launch) == ["node", "cli.js", "start"]
    written = launch.directory / ".claude-code-router" / "config.json"
    settings = json.loads(written.read_text())
    [provider] = settings["Providers"]
    assert (settings["PORT"], settings["APIKEY"]) == (4711, KEY)
    assert provider["api_base_url"] == "http://127.0.0.1:4712/v1/messages"
    assert settings["Router"] == {"default": f"mock,{MODEL}"}


def test_the_ancestor_is_started_with_its_own_directory(launch: Launch) -> None:
    command = ancestor(Path("ccproxy")).start(launch)
    directory = launch.directory / ".ccproxy"
    assert command[:3] == ["ccproxy", "--config-dir", os.fspath(directory)]
    assert command[-2:] == ["--port", "4711"]
    assert (directory / "ccproxy.yaml").is_file()
