"""What the one router of a Holdfast makes of its configuration, and of one that is read later."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server import catalogue, settings
from server.catalogue import Catalogue
from server.chat.request import parse_chat
from server.ledger.book import Book
from server.ledger.keys import Key
from server.providers.secrets import Keyring
from server.routing.router import Router
from server.routing.trace import Trace
from tests.routing.cases import ROUTES

NOTHING = Path("/nonexistent")
BUILTIN = catalogue.load(settings.load(os.environ, home=NOTHING, system_config=NOTHING / "x"))
CHAT = parse_chat({"model": "auto", "messages": [{"role": "user", "content": "Hello"}]})


class Somebody:
    id = "hr"
    key: Key | None = None


def known(**rules: Any) -> Catalogue:
    return replace(BUILTIN, router=replace(BUILTIN.router, **rules))


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Router]:
    book = Book(tmp_path / "book.db")
    made = Router(known(), book, Keyring({}), lambda entry: None, lambda provider, size: None)
    yield made
    await made.close()


async def test_what_retries_may_add_is_what_was_read_last(router: Router) -> None:
    for share, retried in ((0.0, False), (0.2, True), (0.0, False), (0.5, True)):
        router.configure(known(retry_budget=share))
        assert router._dispatch.means.budget.withdraw() is retried


@pytest.mark.parametrize(
    ("rules", "headers", "before", "private"),
    [
        ({}, {}, False, False),
        ({}, {b"x-holdfast-local-only": b"true"}, True, True),
        ({"policy": "local-only"}, {}, True, True),
        ({"routes": (ROUTES["secret"],)}, {}, False, True),
        (
            {"policy": "local-only", "routes": (replace(ROUTES["secret"], policy="cheapest"),)},
            {},
            True,
            True,
        ),
        (
            {
                "policy": "local-only",
                "routes": (replace(ROUTES["secret"], policy="cheapest", local_only=False),),
            },
            {},
            True,
            False,
        ),
    ],
)
async def test_whether_it_is_to_stay_here_is_known_before_it_is_let_in(
    router: Router, rules: Any, headers: dict[bytes, bytes], before: bool, private: bool
) -> None:
    """`before`: what was thought of it until it was read."""
    router.configure(known(**rules))
    trace = Trace("/v1/chat/completions", "r1", "hr", {}, before)
    router.needs(CHAT, "chat", headers, Somebody(), trace)
    assert trace.private is private
