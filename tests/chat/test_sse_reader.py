from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.sse import MAX_EVENT
from server.chat.sse_reader import ServerEvent, SseReader
from server.errors import EngineError, ProviderError


def read(*chunks: bytes) -> list[ServerEvent]:
    reader = SseReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", b"a")]),
        (b"data:a\n\n", [("message", b"a")]),
        (b"data:  a\n\n", [("message", b" a")]),
        (b"data\n\n", [("message", b"")]),
        (b"data: a\n\ndata: b\n\n", [("message", b"a"), ("message", b"b")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"data: {}\nevent: ping\n\n", [("ping", b"{}")]),
        (b"event: ping\n\ndata: a\n\n", [("message", b"a")]),
        (b"event:\ndata: a\n\n", [("message", b"a")]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b"data: a\ndata\ndata: b\n\n", [("message", b"a\n\nb")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", b"a"), ("message", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("message", b"a"), ("message", b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [("message", b"a"), ("message", b"b")]),
        (b": keep-alive\n\n", []),
        (b":\n\n\n\n", []),
        (b": x\ndata: a\n\n", [("message", b"a")]),
        (b"id: 1\nretry: 10\ndata: a\nunknown: x\n\n", [("message", b"a")]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [("message", b"a"), ("message", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_reading(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert read(stream) == events
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for at in range(len(stream)):
        assert read(stream[:at], stream[at:]) == events
        assert read(stream[:at], b"", stream[at:]) == events


lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(
    events=st.lists(st.tuples(lines, st.lists(lines, min_size=1, max_size=3))),
    ending=st.sampled_from([b"\n", b"\r", b"\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_what_is_written_is_read(
    events: list[tuple[str, list[str]]], ending: bytes, cuts: list[int]
) -> None:
    stream = b""
    for name, data in events:
        stream += b"event: " + name.encode() + ending
        stream += b"".join(b"data: " + line.encode() + ending for line in data) + ending
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    wanted = [(name or "message", "\n".join(data).encode()) for name, data in events]
    assert read(*pieces) == wanted


@pytest.mark.parametrize("blame", [EngineError, ProviderError])
def test_an_event_without_end_is_not_kept_forever(blame: type[EngineError | ProviderError]) -> None:
    reader = SseReader(blame)
    assert reader.feed(b"x" * MAX_EVENT) == []
    with pytest.raises(blame, match=f"The {blame.fault} sent an event without end"):
        reader.feed(b"x")
