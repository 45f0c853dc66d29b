from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from server.catalogue.cloud import Kind
from tests.fakes.cloud_running import FakeCloud, running_cloud

PROGRAMS: dict[Kind, str] = {
    "openai": "openai_api",
    "openai-responses": "openai_api",
    "anthropic": "anthropic_api",
    "gemini": "gemini_api",
}


@pytest.fixture(scope="session")
def running() -> Iterator[dict[Kind, FakeCloud]]:
    """Every kind of cloud, played by a process."""
    with contextlib.ExitStack() as stack:
        programs = {
            name: stack.enter_context(running_cloud(name)) for name in set(PROGRAMS.values())
        }
        yield {kind: programs[name] for kind, name in PROGRAMS.items()}


@pytest.fixture
def clouds(running: dict[Kind, FakeCloud]) -> Iterator[dict[Kind, FakeCloud]]:
    """The same, in good order and with nothing asked so far."""
    for cloud in running.values():
        cloud.mend()
        cloud.requests(clear=True)
    yield running
    for cloud in running.values():
        cloud.mend()


@pytest.fixture(scope="session")
def backup() -> Iterator[FakeCloud]:
    """One more, of kind `openai`, that is always well."""
    with running_cloud("openai_api") as cloud:
        yield cloud
