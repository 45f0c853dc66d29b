from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import Price, Provider, Rate
from server.chat.usage import Usage
from server.ledger.entry import NOTHING
from server.providers.provider import Call
from server.routing.cloud_attempt import Reached
from server.routing.ledgering import FREE, Bill, bill, reservation
from server.routing.needs import Needs
from tests.providers.clouds import model

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


def test_a_prompt_has_no_more_tokens_than_bytes() -> None:
    large = replace(MODEL, context=10**6)
    found = reservation(1.0, "r", NEEDS, large, PROVIDER, Call("/", b"x" * 5000, {}))
    assert 5000 <= found.prompt_tokens < 5000 + 4096
