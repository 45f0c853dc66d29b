"""Where a redirect may lead, and what goes along."""

from __future__ import annotations

import pytest

from server.errors import HubError
from server.store.transfer.hop import MOST_REDIRECTS, Origin, first_hop, next_hop

TOKEN = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://hub/a/b?c=d", Origin("http", "hub", 80), "/a/b?c=d"),
        ("https://hub", Origin("https", "hub", 443), "/"),
        ("https://HUB:8443/x#fragment", Origin("https", "hub", 8443), "/x"),
        ("http://[::1]:81/x", Origin("http", "::1", 81), "/x"),
    ],
)
def test_an_address_is_taken_apart(url: str, origin: Origin, target: str) -> None:
    hop = first_hop(url, TOKEN, "the hub")
    assert (hop.origin, hop.target) == (origin, target)


@pytest.mark.parametrize(
    ("location", "keeps_token"),
    [
        ("/other/path", True),
        ("relative", True),
        ("https://hub/elsewhere", True),
        ("https://hub:443/elsewhere", True),
        ("https://hub:8443/elsewhere", False),
        ("https://cdn.hub/elsewhere", False),
        ("https://hub.example/elsewhere", False),
        ("//other/elsewhere", False),
    ],
)
def test_the_token_stays_with_its_origin(location: str, keeps_token: bool) -> None:
    hop = next_hop(first_hop("https://hub/a", TOKEN, "the hub"), location, "the hub")
    assert (hop.headers == TOKEN) is keeps_token
    assert "secret" not in repr(hop)


def test_a_token_that_was_left_behind_does_not_come_back() -> None:
    away = next_hop(first_hop("https://hub/a", TOKEN, "the hub"), "https://cdn/a", "the hub")
    assert next_hop(away, "https://hub/b", "the hub").headers == {}


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://hub/a", "https to http"),
        ("ftp://hub/a", "not one of http or https"),
        ("file:///etc/passwd", "not one of http or https"),
        ("https://user:word@hub/a", "user name or password"),
        ("https://hub:port/a", "malformed"),
        ("https://hub/a b", "malformed"),
        ("https://hub/a\r\nX-Evil: 1", "malformed"),
        ("https://hub/\u00e9", "malformed"),
        ("https://hub/" + "a" * 20_000, "malformed"),
        ("https://[::1/a", "no address"),
    ],
)
def test_where_no_redirect_is_followed(location: str, why: str) -> None:
    with pytest.raises(HubError) as caught:
        next_hop(first_hop("https://hub/a", TOKEN, "the hub"), location, "the hub")
    assert why in caught.value.sentence
    assert location not in caught.value.sentence


def test_redirects_come_to_an_end() -> None:
    hop = first_hop("https://hub/a", TOKEN, "the hub")
    for _ in range(MOST_REDIRECTS):
        hop = next_hop(hop, "/a", "the hub")
    with pytest.raises(HubError, match=f"more than {MOST_REDIRECTS}"):
        next_hop(hop, "/a", "the hub")
