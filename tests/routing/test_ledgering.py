from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import CloudModel, Effort, Price, Provider, Rate
from server.chat.events import Text
from server.chat.usage import Usage
from server.ledger.entry import NOTHING
from server.ledger.limits import Room
from server.providers.provider import Call
from server.routing.cloud_attempt import Reached
from server.routing.ledgering import FREE, Bill, bill, bound, local_bound, reservation, thought
from server.routing.needs import Needs
from server.routing.tally import Tally
from tests.providers.clouds import model
from tests.routing.cases import WORLD
from tests.routing.test_tally import Scripted

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
        # What cannot be is as if it was not told.
        ("accepted", Usage(200, 2**64 - 1), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, 4001), False, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, 4000), True, 7, Bill(Usage(200, 4000), 40_200)),
        ("accepted", Usage(4001, 40), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(4000, 40), True, 7, Bill(Usage(4000, 40), 4400)),
        ("accepted", Usage(200, 40, cached_tokens=2**70), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, 40, cache_write_tokens=-1), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, 40, reasoning_tokens=2**70), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(-200, 40), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, -40), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, cast(int, 4.5)), True, 7, Bill(Usage(300, 7), 370)),
        ("accepted", Usage(200, cast(int, "40")), True, 7, Bill(Usage(300, 7), 370)),
        ("sent", Usage(200, 2**64 - 1), False, 0, Bill(Usage(300, 0), 300)),
    ],
    ids=repr,
)
def test_what_an_attempt_is_charged_with(
    reached: Reached, told: Usage | None, ended: bool, counted: int, expected: Bill
) -> None:
    assert bill(reached, told, ended, counted, 300, MODEL, HELD) == expected


@pytest.mark.parametrize(
    ("reached", "told", "ended", "expected"),
    [
        ("nothing", None, False, FREE),
        ("refused", None, False, FREE),
        ("sent", None, False, Bill(Usage(300, 50), 800)),
        ("accepted", None, False, Bill(Usage(300, 57), 870)),
        ("accepted", Usage(200, 1), False, Bill(Usage(200, 57), 770)),
        ("accepted", Usage(200, 90), False, Bill(Usage(200, 90), 1100)),
        ("accepted", None, True, Bill(Usage(300, 57), 870)),
        ("accepted", TOLD, True, Bill(TOLD, 600)),
    ],
)
def test_what_it_may_have_thought_is_charged_where_the_end_does_not_tell(
    reached: Reached, told: Usage | None, ended: bool, expected: Bill
) -> None:
    assert bill(reached, told, ended, 7, 300, MODEL, HELD, thought=50) == expected


def test_each_of_many_answers_and_inputs_may_be_as_long_as_the_context() -> None:
    many = Usage(200, 4001)
    assert bill("accepted", many, True, 7, 300, MODEL, HELD, n=2).usage == many
    inputs = Usage(8000, 0)
    assert bill("accepted", inputs, True, 0, 2000, MODEL, HELD).usage == inputs


def test_a_usage_that_cannot_be_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bill("accepted", Usage(200, 2**64 - 1), True, 7, 300, MODEL, HELD)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{MODEL.id} tells a usage that cannot be: ")


@given(
    st.sampled_from(["nothing", "sent", "refused", "accepted"]),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
)
def test_an_estimate_is_never_above_what_is_held(
    reached: Reached, ended: bool, counted: int, prompt: int, held: int, thought: int
) -> None:
    found = bill(reached, None, ended, counted, prompt, MODEL, held, thought=thought)
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

THINKER = replace(
    MODEL, max_output=100_000, features=frozenset({"thinking"}), efforts=("none", "low")
)


@pytest.mark.parametrize(
    ("model", "needs", "effort", "said", "expected"),
    [
        (replace(THINKER, features=frozenset()), {}, None, "", 0),
        (THINKER, {}, "none", "", 0),
        (THINKER, {}, "low", "", 4000),
        (THINKER, {}, None, "", 4000),
        (replace(THINKER, efforts=("low",)), {}, "none", "", 4000),
        (replace(THINKER, speed=2000.0), {}, None, "", 20_000),
        (THINKER, {"n": 3}, None, "", 12_000),
        (THINKER, {"max_tokens": 1500}, None, "", 1500),
        (THINKER, {"max_tokens": 1500}, None, "x" * 3000, 500),
        (THINKER, {"max_tokens": 1500}, None, "x" * 6000, 0),
        (replace(THINKER, max_output=900), {}, None, "", 900),
    ],
)
def test_what_a_model_may_have_thought_in_ten_seconds(
    model: CloudModel, needs: dict[str, Any], effort: Effort | None, said: str, expected: int
) -> None:
    now = [0.0]
    tally = Tally(Scripted([Text(said)]), lambda: now[0])
    now[0] = 10.0
    tally.feed(b"")
    needed = replace(NEEDS, **({"max_tokens": None} | needs))
    assert thought(model, needed, effort, tally) == expected


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
    assert found.key_id == needs.key


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
