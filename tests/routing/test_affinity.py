from __future__ import annotations

from typing import Any

import pytest

from server.chat import parse_chat, parse_completion
from server.routing.affinity import NOTHING, SESSION_TTL, Cached, Prefixes, Sessions
from server.routing.prefix import Prefix, measured


def prefix(*parts: str, each: int = 100) -> Prefix:
    """A conversation of so many messages, of 100 tokens each."""
    found: list[tuple[int, int]] = []
    for number, _ in enumerate(parts, 1):
        found.append((hash(parts[:number]), each * number))
    return tuple(found)


def test_a_conversation_that_goes_on_is_in_the_cache() -> None:
    held = Prefixes(4, 10_000, 60)
    assert held.cached(prefix("a", "b"), 0) == NOTHING
    held.remember(prefix("a", "b"), 0)
    assert held.cached(prefix("a", "b", "c", "d"), 1) == Cached(200, continues=True)
    assert held.cached(prefix("a", "b"), 1) == Cached(200, continues=True)
    assert held.cached(prefix("a", "x"), 1) == Cached(100, continues=False)
    assert held.cached(prefix("b"), 1) == NOTHING


def test_what_goes_on_takes_the_place_of_what_it_goes_on_from() -> None:
    held = Prefixes(2, 0, 60)
    held.remember(prefix("other"), 0)
    for length in range(1, 20):
        held.remember(prefix(*"abcdefghijklmnopqrst"[:length]), length)
    assert held.cached(prefix("other"), 20).tokens == 100


def test_the_one_that_was_not_used_for_longest_goes_first() -> None:
    held = Prefixes(2, 0, 60)
    for who in ("one", "two", "one", "three"):
        held.remember(prefix("system", who), 0)
    assert held.cached(prefix("system", "two"), 0) == Cached(100, continues=False)
    assert held.cached(prefix("system", "one"), 0).tokens == 200
    assert held.cached(prefix("system", "three"), 0).tokens == 200


def test_room_is_bounded_and_its_own_prompts_are_always_held() -> None:
    held = Prefixes(1, 250, 60)
    for who in "abcde":
        held.remember(prefix(who), 0)
    assert [held.cached(prefix(who), 0).tokens for who in "abcde"] == [0, 0, 100, 100, 100]
    held.remember(prefix("long", each=1000), 0)
    assert held.cached(prefix("long", each=1000), 0).tokens == 1000
    assert held.cached(prefix("e"), 0) == NOTHING


def test_what_a_prompt_takes_is_what_its_target_says() -> None:
    held = Prefixes(1, 10, 60, size=lambda found: 4 + len(found))
    for who in "abcde":
        held.remember(prefix(who), 0)
    assert [held.cached(prefix(who), 0).tokens for who in "abcde"] == [0, 0, 100, 100, 100]
    held.remember(prefix("long", "and", "longer"), 0)
    assert [held.cached(prefix(who), 0).tokens for who in "cde"] == [0, 0, 100]


def test_what_is_taken_is_there_for_nobody_else() -> None:
    held = Prefixes(4, 0, 60)
    held.remember(prefix("a"), 0)
    held.remember(prefix("b"), 0)
    assert held.take(prefix("a", "x", "y")) == prefix("a")
    assert held.cached(prefix("a", "x", "y"), 0) == NOTHING
    assert held.take(prefix("a", "x", "y")) == ()
    held.remember(prefix("a", "x", "y"), 1)
    assert held.cached(prefix("a", "x", "y", "z"), 1).tokens == 300
    assert held.cached(prefix("b"), 1).tokens == 100


def test_what_is_old_is_gone_and_so_is_all_with_the_engine() -> None:
    held = Prefixes(4, 10_000, 60)
    held.remember(prefix("a"), 0)
    held.remember(prefix("b"), 50)
    assert held.cached(prefix("a"), 60).tokens == 100
    assert held.cached(prefix("a"), 61) == NOTHING
    assert held.cached(prefix("b"), 61).tokens == 100
    held.clear()
    assert held.cached(prefix("b"), 61) == NOTHING
    held.remember(prefix("b"), 62)
    assert held.cached(prefix("b"), 62).tokens == 100


def test_nothing_is_remembered_of_nothing() -> None:
    held = Prefixes(4, 100, 60)
    held.remember((), 0)
    assert held.cached((), 0) == NOTHING


def test_sessions_are_those_of_a_key_bounded_and_for_a_while() -> None:
    sessions = Sessions(most=2)
    sessions.went("key", "s", "small", 0)
    assert sessions.last("key", "s", 1) == "small"
    assert sessions.last("other", "s", 1) is None
    assert sessions.last("key", "s", SESSION_TTL + 1) is None
    for name in "abc":
        sessions.went("key", name, "big", 0)
    assert [sessions.last("key", name, 0) for name in "sabc"] == [None, None, "big", "big"]


# ---- Beginnings of requests ----


def beginnings(*contents: str, system: str = "", **more: Any) -> tuple[float, Prefix]:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(contents)]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return measured(parse_chat({"model": "m", "messages": messages, **more}))


def shared(one: Prefix, other: Prefix) -> int:
    return len({what for what, _ in one} & {what for what, _ in other})


def test_there_is_a_beginning_for_each_message() -> None:
    tokens, first = beginnings("Hello", "Hi!", "How are you?")
    assert len(first) == 3
    assert [count for _, count in first] == sorted(count for _, count in first)
    assert first[-1][1] == int(tokens)
    _, second = beginnings("Hello", "Hi!", "How are you?", "Well.", "And now?")
    assert second[:3] == first


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (beginnings("a"), beginnings("b"), 0),
        (beginnings("a", system="s"), beginnings("b", system="s"), 1),
        (beginnings("a", system="s"), beginnings("a", system="t"), 0),
        (beginnings("a", "b", "c"), beginnings("a", "x", "c"), 1),
    ],
)
def test_alike_is_what_begins_alike(
    one: tuple[float, Prefix], other: tuple[float, Prefix], alike: int
) -> None:
    assert shared(one[1], other[1]) == alike


def test_tools_come_first() -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    _, plain = beginnings("a")
    _, with_tool = beginnings("a", tools=[tool])
    _, again = beginnings("b", tools=[tool])
    assert shared(plain, with_tool) == 0
    assert shared(with_tool, again) == 1


def test_long_documents_meet_within() -> None:
    book = "It was the best of times, it was the worst of times. " * 2000
    _, one = beginnings(book + "What is it about?")
    _, other = beginnings(book + "Who wrote it?")
    assert shared(one, other) == len(one) - 1 > 3


def test_beginnings_are_bounded() -> None:
    _, many = beginnings(*[f"message {number}" for number in range(999)])
    assert len(many) == 64
    assert many[-1][1] > many[8][1] > many[7][1]


def test_bare_prompts_have_beginnings_too() -> None:
    def of(prompt: Any) -> Prefix:
        return measured(parse_completion({"model": "m", "prompt": prompt}))[1]

    assert of("a" * 100_000 + "b")[:3] == of("a" * 100_000 + "c")[:3]
    assert of([1, 2, 3])[-1][1] == 3
    assert of([1, 2, 3]) != of([1, 2, 4])
