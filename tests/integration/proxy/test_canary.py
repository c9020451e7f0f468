"""Nothing that comes with a request, or back, is left anywhere.

A string that occurs nowhere else stands in prompts, answers, tool results, headers, queries, keys,
in names (of models, tools, headers, fields, files, sessions), in what a rule, a hook and a provider
fail with, and in JSON that is none. After the whole matrix and what follows here it is looked for
in the log, in all files of the daemon, in every answer of the control API, and in what the programs
print. So it is in a daemon that was started to tell all that it can, with a LiteLLM that does too:
`debug` takes effect at the start, so with a reload there would be nothing to find.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
from attrs import evolve

from ccproxyd.control.verbs import VERBS
from tests.integration.proxy.answers import PATIENCE, Answer, ask
from tests.integration.proxy.conftest import client_of, play, replace_key
from tests.integration.proxy.house import (
    NEW_KEY,
    OLD_KEY,
    OURS,
    PROVIDER_KEY,
    models,
    setup,
)
from tests.integration.proxy.rows import CANARY, LABELS, NEEDS_LITELLM, SCHEMA, Row
from tests.support.daemon import (
    Daemon,
    Setup,
    message_body,
    running_daemon,
    short_directory,
    started,
)
from tests.support.provider import RunningProvider

LANES: Final[Mapping[str, dict[str, str]]] = {"direct": {}, "litellm": NEEDS_LITELLM}
KEY: Final = {"x-api-key": NEW_KEY}
NAMED: Final = {
    f"x-{CANARY}": CANARY,
    "cookie": CANARY,
    "user-agent": CANARY,
    "x-claude-code-session-id": CANARY,
    "anthropic-beta": CANARY,
}


TALKATIVE: Final = {"env": "LITELLM_LOG=DEBUG\n"}


@pytest.fixture(scope="module")
def usual(answers: Mapping[Row, Answer], daemon: Daemon, client: httpx.Client) -> Daemon:
    """The package's own, after the matrix and what is no row of it."""
    assert answers
    ask_for_trouble(client)
    return daemon


@pytest.fixture(scope="module")
def detailed(provider: RunningProvider) -> Iterator[Daemon]:
    """One that was started with `debug`, after the same."""
    with running_daemon(talkative(), provider.url, "--debug") as running:
        replace_key(running)
        with client_of(running) as client:
            play(running, client)
            ask_for_trouble(client)
        yield running


@pytest.fixture(scope="module", params=["usual", "detailed"])
def asked(request: pytest.FixtureRequest) -> Daemon:
    found: Daemon = request.getfixturevalue(request.param)
    return found


def talkative() -> Setup:
    usual = setup()
    settings = {**usual.litellm["litellm_settings"], "set_verbose": True}
    return evolve(
        usual,
        ours={**usual.ours, "debug": True},
        litellm={**usual.litellm, "litellm_settings": settings},
        files={**usual.files, **TALKATIVE},
    )


def turns() -> list[dict[str, Any]]:
    """A tool was called and has answered."""
    call = {"type": "tool_use", "id": "t-1", "name": "Read", "input": {"file": f"{CANARY}-file"}}
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": f"{CANARY}-result"}
    return [
        {"role": "user", "content": f"{CANARY}-first"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]


def ask_for_trouble(client: httpx.Client) -> None:
    """Each kind of request that no row of the matrix is."""
    path = f"/v1/messages?{CANARY}=query"
    for lane in LANES.values():
        headers = {**KEY, **lane, **NAMED}
        for body in bodies():
            ask(client, path, json=body, headers=headers)
        ask(client, path, content=b'{"messages": ["' + CANARY.encode(), headers=headers)
        ask(client, path, content=f'["{CANARY}"]'.encode(), headers=headers)
    for unserved in (f"/v1/{CANARY}", f"/v1/files/{CANARY}", f"/v1/responses/{CANARY}"):
        ask(client, f"{unserved}?{CANARY}", json={CANARY: CANARY}, headers=KEY)
    ask_with_files(client)


def ask_with_files(client: httpx.Client) -> None:
    """A file has a name and a type, and its part of the form a name."""
    for model, field in (("ear", "file"), (f"{CANARY}-model", "file"), ("ear", f"{CANARY}-field")):
        form = {"model": model, "prompt": CANARY, f"{CANARY}-text": CANARY}
        files = {field: (f"{CANARY}.wav", CANARY.encode(), f"audio/{CANARY}")}
        path = f"/v1/audio/transcriptions?{CANARY}={CANARY}"
        ask(client, path, data=form, files=files, headers=KEY)


def bodies() -> Iterator[dict[str, Any]]:
    yield message_body(messages=turns())
    yield message_body(messages=turns(), stream=True)
    yield message_body(model=f"{CANARY}-model", system=f"{CANARY}-system")
    yield message_body(f"@@status=500;echo@@ {CANARY}")
    yield message_body(f"@@error=3@@ {CANARY}", stream=True)
    yield message_body(f"@@gap=0.02;error=3;type={CANARY}@@", stream=True)
    yield message_body(f"@@header={CANARY};model={CANARY}@@")
    for said in (
        CANARY,
        f'{{"{CANARY}',
        f'{{"error": {{"type": "{CANARY}", "code": "{CANARY}"}}}}',
    ):
        yield message_body(f"@@body={said}@@")
        yield message_body(f"@@body={said}@@", stream=True)
    yield message_body(f"refused by a hook {CANARY}")
    yield message_body(metadata={"user_id": CANARY}, **{f"{CANARY}-field": CANARY})
    session = orjson.dumps({"session_id": CANARY}).decode()
    yield message_body(metadata={"user_id": session})
    tool = {"name": f"{CANARY}-tool", "description": CANARY, "input_schema": SCHEMA}
    yield message_body(tools=[tool], tool_choice={"type": "tool", "name": f"{CANARY}-tool"})
    yield {CANARY: CANARY}


def assert_clean(text: str | bytes, where: str) -> None:
    found = text.encode() if isinstance(text, str) else text
    place = found.find(CANARY.encode())
    around = found[max(0, place - 300) : place + 100]
    assert place < 0, f"{where}: {around!r}"


def test_the_log_has_nothing_of_it(asked: Daemon) -> None:
    assert asked.happened("cannot run a hook")["error"] == "ValueError"
    assert asked.happened("cannot evaluate a rule")["error"] == "ValueError"
    assert len([one for one in asked.records if one["event"] == "ccproxy_post_api_call"]) > 100
    assert_clean("".join(asked.text), "log")


def test_a_daemon_that_was_started_with_debug_tells_more(usual: Daemon, detailed: Daemon) -> None:
    assert "debug" not in {one["level"] for one in usual.records}
    told = {one.get("lane") for one in detailed.records if one["level"] == "debug"}
    assert told >= {"direct", "litellm"}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.method == "GET"])
def test_the_control_api_tells_nothing_of_it(asked: Daemon, verb: Any) -> None:
    transport = httpx.HTTPTransport(uds=str(asked.socket))
    with httpx.Client(transport=transport, timeout=PATIENCE) as control:
        answer = control.get(f"http://localhost{verb.path}")
    assert answer.status_code == 200
    assert_clean(answer.content, verb.name)


@pytest.mark.parametrize("words", [("status",), ("stats",), ("routes",), ("check",)])
def test_the_command_line_prints_nothing_of_it(asked: Daemon, words: tuple[str, ...]) -> None:
    done = asked.ctl(*words, check=False)
    assert_clean(done.stdout + done.stderr, " ".join(words))


def test_explain_gives_back_what_it_was_asked_for_and_no_more(
    asked: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(orjson.dumps(message_body(messages=turns())))
    done = asked.ctl("--json", "explain", str(file))
    assert orjson.loads(done.stdout)["rules"][0]["detail"] == "raised ValueError"
    assert_clean(done.stdout + done.stderr, "explain")


def test_no_file_has_anything_of_it(asked: Daemon) -> None:
    """But the config; and what LiteLLM reads of it has the provider's key."""
    files = [path for path in asked.root.rglob("*") if path.is_file()]
    ours = [path for path in files if not path.is_relative_to(asked.config_dir)]
    assert "usage.db" in {path.name for path in ours}
    for path in ours:
        is_rendered = path.is_relative_to(asked.root / "run")
        found = path.read_bytes()
        assert_clean(found.replace(PROVIDER_KEY.encode(), b"") if is_rendered else found, str(path))


def test_a_log_file_has_nothing_of_it(provider: RunningProvider) -> None:
    """Of a daemon that needs no LiteLLM, and so is there at once."""
    small = evolve(
        setup(),
        ours={**OURS, "workers": {"lazy": True}, "debug": True, "fallbacks": {}},
        models=lambda url: [model for model in models(url) if model["model_name"] in LABELS],
    )
    with short_directory() as root, socket.create_server(("127.0.0.1", 0)) as port:
        small.write(root / "config", provider.url)
        log = root / "logs" / "log"
        with started(root, "--log-file", str(log), listener=port) as daemon:
            url = f"http://127.0.0.1:{port.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                for body in bodies():
                    ask(client, f"/v1/messages?{CANARY}", json=body, headers={"x-api-key": OLD_KEY})
            daemon.stop()
        assert '"event":"ccproxy_post_api_call"' in log.read_text()
        assert_clean(log.read_bytes(), "log file")
        assert_clean("".join(daemon.text), "standard error")
