from __future__ import annotations

import re
from pathlib import Path

import pytest

from ccproxyd.config import samples
from ccproxyd.config.imports import build_parts
from ccproxyd.config.lanes import find_lanes
from ccproxyd.config.load import Loaded, load
from ccproxyd.errors import CcproxydError
from ccproxyd.routing import Request, Router, TokenCounter
from ccproxyd.routing.families import is_same_model
from tests.support.shapes import OPUS, Shape, long_conversation, shape


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


# What the sample config does with requests of the shape of real ones


@pytest.fixture(scope="module")
def router() -> Router:
    directory = samples.samples_directory()
    loaded = load(directory, {"ANTHROPIC_API_KEY": "k"})
    return Router(build_parts(loaded, directory).routing)


def routed(router: Router, one: Shape, **changes: object) -> tuple[str, str]:
    """The label and the model of a request."""
    body = {**one.body, **changes}
    request = Request(body, headers=one.headers, path=one.path, counter=TokenCounter())
    decision = router.decide(request)
    return decision.label, decision.model


@pytest.mark.parametrize("name", ["auto-02", "compact-01", "simple-01", "plan-02", "err-cut-02"])
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_what_must_not_be_done_by_a_weaker_model_is_not(
    router: Router, name: str, long: bool
) -> None:
    """Auto mode's check of a command, and a compaction, above all."""
    one = shape(name)
    assert one.body["model"] == OPUS
    more = long_conversation(400_000, 20) if long else []
    label, model = routed(router, one, messages=[*more, *one.body["messages"]])
    assert is_same_model(model, OPUS)
    assert (label == "token_count") is long


def test_what_asks_for_a_small_model_gets_it_however_long_it_is(router: Router) -> None:
    explorer = shape("task-explore-02")
    assert routed(router, explorer)[0] == "background"
    assert routed(router, explorer, messages=long_conversation(400_000, 20))[0] == "background"


# What it shows and leaves out


@pytest.fixture
def examples(tmp_path: Path) -> Loaded:
    """The sample's list of models with all that is commented out in it."""
    sample = (samples.samples_directory() / "config.yaml").read_text("utf-8")
    models = sample.partition("\n# The key that clients")[0]
    shown = re.sub(r"^  # (?=- model_name|  )", "  ", models, flags=re.MULTILINE)
    (tmp_path / "config.yaml").write_text(shown)
    (tmp_path / "ccproxy.yaml").write_text("ccproxy: {}")
    return load(tmp_path, {"ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"})


def test_a_model_of_ones_own_machine_is_reached_past_litellm(
    examples: Loaded, tmp_path: Path
) -> None:
    own = [one for one in examples.litellm.deployments if "127.0.0.1" in str(one.api_base)]
    assert [one.model_name for one in own] == ["background", "local"]
    document = {"model_list": []}
    for one in own:
        found = find_lanes(document, (one,), {}, tmp_path, direct="auto")[one.model_name]
        assert found.endpoint is not None
        assert found.endpoint.key == "none"
    assert examples.warnings == ()
