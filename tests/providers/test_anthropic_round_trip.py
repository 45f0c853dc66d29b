"""A client of Anthropic's that is served by Anthropic: what is said comes through unchanged."""

from __future__ import annotations

from typing import Any

import orjson
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from server.chat.anthropic import MessagesEncoder, WholeMessage, parse_message
from server.chat.anthropic.opaque import detail_in
from server.chat.relay import Translation
from server.providers.anthropic import PROTOCOL
from tests.providers.clouds import model
from tests.providers.test_anthropic_stream import RICH, START, STOP, done, text, thought, tool, wire

TYPED: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
MODEL = model(efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
TOOLS = [{"name": "weather", "description": "Says it.", "input_schema": {"type": "object"}}]

calm = settings(max_examples=100)
words = st.text(min_size=1, max_size=8)
spoken = words.filter(str.strip)
"""White space alone is refused by the API, and left out."""
thoughts = st.builds(
    lambda said, signature: {"type": "thinking", "thinking": said, "signature": signature},
    st.text(max_size=5),
    words,
) | st.builds(lambda data: {"type": "redacted_thinking", "data": data}, st.text(max_size=5))


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Conversations as the API has answered and will take them: thinking anywhere, text between,
    calls at the end, each answered in the turn after it."""
    written: list[dict[str, Any]] = [said("user", [text_block(draw(spoken))])]
    for number in range(draw(st.integers(0, 3))):
        content: list[dict[str, Any]] = []
        for _ in range(draw(st.integers(0, 2))):
            content += draw(st.lists(thoughts, max_size=2))
            if not content or content[-1]["type"] != "text":
                content.append(text_block(draw(spoken)))
        content += draw(st.lists(thoughts, max_size=1))
        calls = [f"toolu_{number}_{one}" for one in range(draw(st.integers(0, 2)))]
        for one in calls:
            given = {"n": draw(words)}
            content.append({"type": "tool_use", "id": one, "name": "weather", "input": given})
        results = [
            {"type": "tool_result", "tool_use_id": one, "content": draw(spoken)} for one in calls
        ]
        if content:
            written.append(said("assistant", content))
            written.append(said("user", [*results, text_block(draw(spoken))]))
    return written


def said(role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": role, "content": content}


def text_block(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@calm
@given(conversation=turns())
def test_a_conversation_is_sent_as_it_came(conversation: list[dict[str, Any]]) -> None:
    body = {
        "model": "model-1",
        "max_tokens": 100,
        "messages": conversation,
        "system": "be brief",
        "tools": TOOLS,
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "low"},
        "stop_sequences": ["x"],
        "stream": True,
    }
    sent = orjson.loads(PROTOCOL.encode(parse_message(body), MODEL).body)
    assert sent == body


def folded(stream: bytes) -> dict[str, Any]:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for one in stream.removesuffix(b"\n\n").split(b"\n\n"):
        event = orjson.loads(one.partition(b"data: ")[2])
        if event["type"] in ("ping", "a_new_kind"):
            continue
        typed = TYPED.validate_python(event)
        snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    message: dict[str, Any] = snapshot.to_dict(exclude_unset=False, exclude_none=True)
    return {**message, "content": opened(message["content"])}


def opened(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what Anthropic wrote where the client holds more; see opaque.py."""
    for block in content:
        for key in ("signature", "data"):
            if block.get(key):
                detail = detail_in(block[key], key)
                assert detail is not None
                block[key] = detail[key]
    return content


REQUEST = parse_message(
    {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
)


def relayed(stream: bytes, size: int) -> bytes:
    relay = Translation(PROTOCOL.decoder(REQUEST), MessagesEncoder(REQUEST, "r"))
    out = b"".join(relay.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert relay.done
    assert relay.usage is not None
    return out


def test_an_answer_arrives_as_it_was_given_wherever_it_is_cut() -> None:
    stream = wire(*RICH)
    for size in (1, 7, 100, len(stream)):
        assert folded(relayed(stream, size)) == folded(stream)


pieces = st.lists(
    st.tuples(st.sampled_from(["text", "thought", "tool"]), words, words), min_size=1, max_size=6
)


@calm
@given(blocks=pieces, size=st.integers(1, 200))
def test_any_answer_arrives_as_it_was_given(blocks: list[tuple[str, str, str]], size: int) -> None:
    events: list[dict[str, Any]] = [START]
    before = ""
    for kind, one, other in blocks:
        if kind == before == "text":  # neighbours of text become one block
            continue
        before = kind
        index = sum(event["type"] == "content_block_start" for event in events)
        if kind == "text":
            events += text(index, one, other)
        elif kind == "thought":
            events += thought(index, one, other)
        else:
            whole = orjson.dumps({one: other}).decode()
            events += tool(index, f"toolu_{index}", whole[:3], whole[3:])
    events += [done("tool_use" if before == "tool" else "end_turn"), STOP]
    stream = wire(*events)
    if any(kind == "tool" for kind, *_ in blocks) and before != "tool":
        events[-2] = done("tool_use")
        stream = wire(*events)
    assert folded(relayed(stream, size)) == folded(stream)
    message = WholeMessage(REQUEST, "r")
    message.feed(PROTOCOL.decoder(REQUEST).feed(stream))
    assert opened(orjson.loads(message.body())["content"]) == folded(stream)["content"]
