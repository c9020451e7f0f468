import pytest

from ccproxyd.config.proxies import find_proxy

URL = "https://api.anthropic.com/v1/messages"


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://small", "HTTPS_PROXY": "http://large"}, "http://small"),
        ({"ALL_PROXY": "p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost, .anthropic.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "http://p:1"),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], proxy: str | None) -> None:
    assert find_proxy(URL, environ) == proxy


def test_plain_addresses_have_a_proxy_of_their_own() -> None:
    environ = {"HTTP_PROXY": "http://plain", "HTTPS_PROXY": "http://secure"}
    assert find_proxy("http://127.0.0.1:8080/v1", environ) == "http://plain"
