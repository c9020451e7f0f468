"""What the daemon says, and how a worker refuses."""

from pathlib import Path

import anyio
import pytest

from ccproxyd.errors import ConfigError
from ccproxyd.worker.order import GRACE_SECONDS, Order, Orders, StartError, refusing

pytestmark = pytest.mark.anyio

SERVE = {
    "kind": "serve",
    "generation": 1,
    "name": "1.0",
    "config": "/run/w.json",
    "socket": "/run/w.sock",
    "config_dir": "/etc/ccproxyd",
    "secret": "s",
    "key": "sk-1",
    "selftest": "self",
    "document": {},
}


def test_an_order_is_parsed():
    order = Order.from_message(SERVE)
    assert order.config == Path("/run/w.json")
    assert (order.secret, order.key, order.selftest) == ("s", "sk-1", "self")


def test_an_order_that_is_printed_holds_no_secret():
    shown = str(Order.from_message({**SERVE, "secret": "s3cret"}))
    assert "s3cret" not in shown
    assert "sk-1" not in shown


@pytest.mark.parametrize("missing", ["config", "socket", "config_dir", "secret", "key", "selftest"])
def test_an_order_that_lacks_something_names_it(missing):
    message = {name: value for name, value in SERVE.items() if name != missing}
    with pytest.raises(StartError, match=missing):
        Order.from_message(message)


async def test_the_first_order_is_the_one_to_serve():
    orders = Orders()
    orders.receive(SERVE)
    orders.receive({**SERVE, "name": "2.0"})
    assert await orders.first() == SERVE


async def test_a_stop_before_any_order_leaves_nothing_to_serve():
    orders = Orders()
    orders.receive({"kind": "stop"})
    assert await orders.first() is None


async def test_an_order_that_comes_with_a_stop_is_still_the_order():
    orders = Orders()
    orders.receive({"kind": "stop"})
    orders.receive(SERVE)
    assert await orders.first() == SERVE


async def test_the_first_stop_says_how_long():
    orders = Orders()
    orders.receive({"kind": "stop", "seconds": 5})
    orders.stop_within()
    assert await orders.stop == 5.0


async def test_a_stop_that_says_nothing_gives_the_usual_grace():
    orders = Orders()
    orders.receive({"kind": "stop"})
    with anyio.fail_after(1):
        assert await orders.stop == GRACE_SECONDS


async def test_a_message_of_a_later_version_is_ignored():
    orders = Orders()
    orders.receive({"kind": "sing"})
    assert not orders.serve.done()
    assert not orders.stop.done()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such thing"), "LiteLLM cannot start: ValueError: no such thing, at HERE"),
        (SystemExit(3), "LiteLLM cannot start: SystemExit: 3, at HERE"),
        (ConfigError("config.yaml: x", "is odd"), "LiteLLM cannot start: config.yaml: x: is odd"),
        (StartError("said before"), "said before"),
    ],
)
def test_every_failure_becomes_one_reason(error, reason):
    with pytest.raises(StartError) as caught, refusing("LiteLLM cannot start"):
        raise error
    line = caught.value.__cause__.__traceback__.tb_next.tb_lineno if "HERE" in reason else 0
    assert str(caught.value) == reason.replace("HERE", f"test_order.py:{line}")


def fail_for_a_reason():
    try:
        raise LookupError("nowhere")
    except LookupError as cause:
        raise ImportError("it is not there") from cause


def test_a_failure_with_a_cause_tells_of_both():
    with pytest.raises(StartError) as caught, refusing("LiteLLM cannot start"):
        fail_for_a_reason()
    reason = str(caught.value)
    assert "ImportError: it is not there (LookupError: nowhere), at test_order.py:" in reason


def test_a_reason_is_one_line_without_secrets():
    with pytest.raises(StartError) as caught, refusing("it failed"):
        raise ValueError("two\nlines with sk-ant-12345678 and " + "x y" * 1000)
    reason = str(caught.value)
    assert "\n" not in reason
    assert "sk-ant" not in reason
    assert len(reason) < 500
