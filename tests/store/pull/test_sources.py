"""Who is asked, in which order, and who is asked no more."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from server.catalogue import Store
from server.errors import HubError
from server.settings import Settings
from server.store.hub import Hub
from server.store.modelscope import ModelScope
from server.store.pull.order import Order
from server.store.pull.sources import Sources, sources

COMMIT = "c" * 40
HUB, SCOPE = Hub("http://hub", "hf_secret"), ModelScope("http://scope")


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_who_told_of_a_file_gives_it_first() -> None:
    both = Sources([HUB, SCOPE])
    urls = both.urls(Order("org/model"), COMMIT, "a/b.json", "http://hub")
    assert [url.url for url in urls] == [
        f"http://hub/org/model/resolve/{COMMIT}/a/b.json",
        "http://scope/models/org/model/resolve/master/a/b.json",
    ]
    assert [dict(url.headers) for url in urls] == [{"Authorization": "Bearer hf_secret"}, {}]
    other = Order("org/model", modelscope="Org/Model")
    first, _ = both.urls(other, COMMIT, "a", "http://scope")
    assert first.url == "http://scope/models/Org/Model/resolve/master/a"


def test_settings_name_the_hub_before_the_configuration() -> None:
    store = Store(hub="http://configured", sources=("huggingface",))
    for endpoint, expected in (("http://named", "http://named"), (None, "http://configured")):
        settings = Settings(home=None, configs=(), hub_endpoint=endpoint)  # type: ignore[arg-type]
        (url,) = sources(settings, store).urls(Order("a/b"), COMMIT, "c", "")
        assert url.url.startswith(f"{expected}/a/b/")


def test_what_all_of_them_said_is_told(nowhere: str) -> None:
    unreachable = Sources([Hub(nowhere, attempts=1), ModelScope("http://scope")])
    with pytest.raises(HubError) as caught:
        unreachable.listing(Order("org/model"), None)
    assert caught.value.what == f"{nowhere} cannot be reached"
    assert "ModelScope cannot stand in for the hub: no revision" in caught.value.why


def test_who_cannot_be_reached_is_not_asked_again_until_told_to() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        alone = Sources([Hub(address, attempts=1)])
        with pytest.raises(HubError, match="cannot be reached"):
            alone.listing(Order("org/one"), None)
        listening.listen()
        listening.setblocking(False)
        with pytest.raises(HubError, match="cannot be reached"):
            alone.listing(Order("org/two"), None)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_without_any_source_it_is_said() -> None:
    with pytest.raises(HubError, match="no hub can be asked"):
        Sources([]).listing(Order("org/model"), None)
