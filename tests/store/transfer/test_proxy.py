"""Which proxy the environment names."""

from __future__ import annotations

import pytest

from server.errors import ConfigError
from server.store.transfer.hop import Origin
from server.store.transfer.proxy import Proxy, proxy_for

HUB = Origin("https", "hub.example", 443)
PLAIN = Origin("http", "hub.example", 8000)
BASIC = {"Proxy-Authorization": "Basic bWU6dyByZA=="}


@pytest.mark.parametrize(
    ("environment", "origin", "expected"),
    [
        ({}, HUB, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, HUB, Proxy("proxy", 3128, {})),
        ({"https_proxy": "proxy:3128"}, HUB, Proxy("proxy", 3128, {})),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, HUB, Proxy("b", 2, {})),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}, HUB, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, HUB, None),
        ({"HTTP_PROXY": "http://proxy"}, PLAIN, Proxy("proxy", 80, {})),
        ({"ALL_PROXY": "http://proxy:1"}, HUB, Proxy("proxy", 1, {})),
        ({"https_proxy": "http://me:w%20rd@proxy:1"}, HUB, Proxy("proxy", 1, BASIC)),
        ({"https_proxy": "http://p:1", "NO_PROXY": "hub.example"}, HUB, None),
        ({"https_proxy": "http://p:1", "no_proxy": ".example"}, HUB, None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, HUB, None),
        ({"https_proxy": "http://p:1", "no_proxy": "other"}, HUB, Proxy("p", 1, {})),
        ({"http_proxy": "http://p:1", "no_proxy": "hub.example:9"}, PLAIN, Proxy("p", 1, {})),
        ({"http_proxy": "http://p:1", "no_proxy": "hub.example:8000"}, PLAIN, None),
    ],
)
def test_which_one(environment: dict[str, str], origin: Origin, expected: Proxy | None) -> None:
    assert proxy_for(origin, environment) == expected


@pytest.mark.parametrize("value", ["socks5://proxy:1", "https://proxy:1", "http://", "http://p:x"])
def test_one_that_cannot_be_used(value: str) -> None:
    with pytest.raises(ConfigError, match="https_proxy"):
        proxy_for(HUB, {"HTTPS_PROXY": value})


def test_its_password_is_not_shown() -> None:
    assert "bWU6" not in repr(proxy_for(HUB, {"https_proxy": "http://me:w%20rd@proxy:1"}))
