from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import Price, Provider, Rate
from server.chat.usage import Usage
from server.ledger.entry import NOTHING
from server.ledger.limits import Room
from server.providers.provider import Call
from server.routing.cloud_attempt import Reached
from server.routing.ledgering import FREE, Bill, bill, bound, local_bound, reservation
from server.routing.needs import Needs
from tests.providers.clouds import model
from tests.routing.cases import WORLD

MODEL = model(
    context=1000, max_output=100, price=Price(Rate(1_000_000, 10_000_000))
)  # 1 and 10 nano-USD a token
HELD = 5000
TOLD = Usage(200, 40)


@pytest.mark.parametrize(
    ("reached", "told", "ended", "counted", "expected"),
    [
        ("nothing", None, False, 0, FREE),
        ("refused", None, False, 0, FREE),
        ("sent", None, False, 0, Bill(Usage(300, 0), 300)),
        ("accepted", None, False, 0, Bill(Usage(300, 0), 300)),
        ("accepted", None, False, 7, Bill(Usage(300, 7), 370)),
        ("accepted", None, True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", TOLD, True, 7, Bill(TOLD, 600)),
        # Anthropic tells the prompt at the beginning, and one token of the answer.
        ("accepted", Usage(200, 1), False, 7, Bill(Usage(200, 7), 270)),
        ("accepted", TOLD, False, 7, Bill(TOLD, 600)),
        ("accepted", None, False, 10_000, Bill(Usage(300, 10_000), HELD)),
        ("accepted", Usage(200, 600), True, 7, Bill(Usage(200, 600), 6200)),
    ],
)
def test_what_an_attempt_is_charged_with(
    reached: Reached, told: Usage | None, ended: bool, counted: int, expected: Bill
) -> None:
    assert bill(reached, told, ended, counted, 300, MODEL, HELD) == expected


@given(
    st.sampled_from(["nothing", "sent", "refused", "accepted"]),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**9),
)
def test_an_estimate_is_never_above_what_is_held(
    reached: Reached, ended: bool, counted: int, prompt: int, held: int
) -> None:
    found = bill(reached, None, ended, counted, prompt, MODEL, held)
    assert 0 <= found.cost <= held
    assert found.cost == 0 or found.usage != NOTHING


NEEDS = Needs(
    asked="auto",
    endpoint="chat",
    task="chat",
    task_from="inferred",
    prompt_tokens=1,
    max_tokens=50,
    key="k",
    time=datetime.time(12),
)
PROVIDER = Provider("cloud", "openai", "https://api.example.com/v1")


@pytest.mark.parametrize(
    ("size", "max_tokens", "n", "prompt", "output"),
    [
        (10, 50, 1, 1000, 50),  # what a provider adds could fill this small context
        (10, None, 1, 1000, 100),
        (10, 50, 3, 1000, 150),
        (100_000, 50, 1, 1000, 50),
    ],
)
def test_the_worst_case_is_reserved(
    size: int, max_tokens: int | None, n: int, prompt: int, output: int
) -> None:
    needs = replace(NEEDS, max_tokens=max_tokens, n=n)
    call = Call("/chat/completions", b"x" * size, {})
    found = reservation(1.0, "r", needs, MODEL, PROVIDER, call)
    assert (found.prompt_tokens, found.output_tokens) == (prompt, output)
    assert found.cost == prompt * 1 + output * 10
    assert (found.host, found.body, found.model) == ("api.example.com", call.body, MODEL.id)


def test_many_inputs_are_reserved_for_beyond_the_context_of_each() -> None:
    maker = model(context=1000, max_output=1, embeddings=True, price=MODEL.price)
    needs = replace(NEEDS, endpoint="embeddings", longest=900, max_tokens=0)
    found = reservation(1.0, "r", needs, maker, PROVIDER, Call("/", b"x" * 50_000, {}))
    assert (found.prompt_tokens, found.output_tokens) == (52_048, 0)
    assert found.cost == 52_048


def test_a_prompt_has_no_more_tokens_than_bytes() -> None:
    large = replace(MODEL, context=10**6)
    found = reservation(1.0, "r", NEEDS, large, PROVIDER, Call("/", b"x" * 5000, {}))
    assert 5000 <= found.prompt_tokens < 5000 + 4096


def test_the_pages_of_a_document_are_reserved_for_beside_its_bytes() -> None:
    large, call = replace(MODEL, context=10**6), Call("/", b"x" * 5000, {})
    bare = reservation(1.0, "r", NEEDS, large, PROVIDER, call)
    paged = reservation(1.0, "r", replace(NEEDS, pages=10), large, PROVIDER, call)
    assert paged.prompt_tokens - bare.prompt_tokens == 10 * 3000
    full = reservation(1.0, "r", replace(NEEDS, pages=10**6), large, PROVIDER, call)
    assert full.prompt_tokens == large.context


WRITER = replace(MODEL, context=200_000, max_output=64_000)  # its longest answer costs 640,000
OPEN = replace(NEEDS, max_tokens=None)
THINKING = replace(OPEN, features=frozenset({"thinking"}))
PROMPT = 10 + 2048
"""Tokens that a body of ten bytes can have."""


@pytest.mark.parametrize(
    ("room", "needs", "tokens"),
    [
        (Room(), OPEN, None),
        (Room(money=10**6), OPEN, None),
        (Room(money=640_000 + PROMPT), OPEN, None),
        # Half of what is left, less the prompt and the limit's own bytes.
        (Room(money=640_000), OPEN, 31_787),
        (Room(money=200_000), OPEN, 9787),
        (Room(money=200_000), replace(OPEN, n=3), 3262),
        # Of 12,362 a half is no answer worth having any more; of 12,361 all of it is not.
        (Room(money=PROMPT + 64 + 10 * 1024), OPEN, 1024),
        (Room(money=PROMPT + 64 + 10 * 1024 - 1), OPEN, None),
        (Room(money=PROMPT + 64 + 10 * 4096), THINKING, 4096),
        (Room(money=PROMPT + 64 + 10 * 4096 - 1), THINKING, None),
        (Room(tokens=64_000 + PROMPT), OPEN, None),
        (Room(tokens=50_000), OPEN, 25_000 - PROMPT - 64),
        (Room(tokens=PROMPT + 64 + 1024), OPEN, 1024),
        (Room(tokens=PROMPT), OPEN, None),
        (Room(money=200_000, tokens=10_000), OPEN, 5000 - PROMPT - 64),
        (Room(money=0), OPEN, None),
    ],
)
def test_an_answer_is_bounded_to_what_is_left(room: Room, needs: Needs, tokens: int | None) -> None:
    call = Call("/", b"x" * 10, {})
    wanted = reservation(1.0, "r", needs, WRITER, PROVIDER, call)
    assert bound(room, wanted, WRITER, needs) == tokens


@pytest.mark.parametrize(
    ("room", "needs", "tokens"),
    [
        (Room(), OPEN, None),
        (Room(money=0), OPEN, None),
        (Room(tokens=20_000), OPEN, 9999),
        (Room(tokens=20_000), replace(OPEN, n=2), 4999),
        (Room(tokens=20_000), NEEDS, None),
        (Room(tokens=1025), OPEN, 1024),
        (Room(tokens=1024), OPEN, None),
        (Room(tokens=4097), THINKING, 4096),
        (Room(tokens=4096), THINKING, None),
    ],
)
def test_an_answer_from_here_is_bounded_to_the_tokens_that_are_left(
    room: Room, needs: Needs, tokens: int | None
) -> None:
    assert local_bound(room, needs, WORLD["small"]) == tokens


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 3000), st.integers(1, 4))
def test_what_is_bounded_is_within_what_is_left(money: int, tokens: int, size: int, n: int) -> None:
    needs = replace(OPEN, n=n)
    room = Room(money, tokens)
    first = reservation(1.0, "r", needs, WRITER, PROVIDER, Call("/", b"x" * size, {}))
    found = bound(room, first, WRITER, needs)
    if found is not None:
        limited = replace(needs, max_tokens=found)
        body = b"x" * (size + 64)
        again = reservation(1.0, "r", limited, WRITER, PROVIDER, Call("/", body, {}))
        assert room.covers(again.cost, again.tokens)
