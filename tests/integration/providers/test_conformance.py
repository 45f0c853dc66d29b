"""Every kind of client at every kind of provider: one conversation with thinking and tools, whole
and streamed, also one that changes its provider amid calls. The fakes refuse what the APIs would.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from server.catalogue.cloud import CloudModel, Kind
from server.chat.answer import Answer
from server.chat.anthropic import MessagesEncoder, WholeMessage, parse_message
from server.chat.chunk_decoder import ChunkDecoder
from server.chat.chunk_encoder import ChunkEncoder, completion
from server.chat.events import Event
from server.chat.request import ChatRequest, parse_chat
from server.providers import PROTOCOLS
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.providers.calling import events_of
from tests.providers.clouds import image, model, png

pytestmark = pytest.mark.integration

TYPED: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = [{"city": "Bonn"}, {"city": "Köln 🌍"}]
CALLS = "\n".join(f"#fake call weather {orjson.dumps(one).decode()}" for one in ARGUMENTS)
PICTURE = png()


@dataclass(frozen=True)
class Provider:
    cloud: FakeCloud
    kind: Kind
    model: CloudModel

    def events(self, request: ChatRequest) -> Iterator[Event]:
        return events_of(self.cloud, PROTOCOLS[self.kind], request, self.model)


@dataclass(frozen=True)
class Said:
    """What a client understood of an answer."""

    text: str
    calls: list[tuple[str, Any]]
    """Id and arguments."""
    turn: dict[str, Any]
    """The answer as the client sends it back."""


class ChatClient:
    """Speaks OpenAI's chat completions."""

    tools: ClassVar = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]

    def request(self, turns: list[Any], **fields: Any) -> ChatRequest:
        body = {"model": "m", "messages": turns, "max_tokens": 4000, **fields}
        return parse_chat({"tools": self.tools, "reasoning_effort": "high", **body})

    def user(self, text: str, picture: str = "") -> dict[str, Any]:
        parts = [{"type": "text", "text": text}, *([image(picture)] if picture else [])]
        return {"role": "user", "content": parts}

    def results(self, calls: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"role": "tool", "tool_call_id": identifier, "content": given["city"]}
            for identifier, given in calls
        ]

    def whole(self, request: ChatRequest, events: Iterator[Event]) -> Said:
        answer = Answer()
        answer.feed(events)
        return self._said(orjson.loads(completion(answer, request, 1))["choices"][0]["message"])

    def streamed(self, request: ChatRequest, events: Iterator[Event]) -> Said:
        encoder = ChunkEncoder(request, 1)
        written = b"".join(encoder.feed([event]) for event in events)
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        for one in written.split(b"\n\n")[:-2]:
            for choice in orjson.loads(one.removeprefix(b"data: "))["choices"]:
                self._add(choice["delta"], message)
        return self._said(message)

    def _add(self, delta: dict[str, Any], message: dict[str, Any]) -> None:
        message["content"] += delta.get("content") or ""
        for detail in delta.get("reasoning_details", ()):
            message.setdefault("reasoning_details", []).append(detail)
        for part in delta.get("tool_calls", ()):
            calls = message.setdefault("tool_calls", [])
            if part["index"] == len(calls):
                calls.append({**part, "function": {**part["function"], "arguments": ""}})
            calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]

    def _said(self, message: dict[str, Any]) -> Said:
        calls = [
            (call["id"], orjson.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls", ())
        ]
        return Said(message["content"] or "", calls, message)


class AnthropicClient:
    """Speaks Anthropic's messages."""

    tools: ClassVar = [{"name": "weather", "input_schema": SCHEMA}]

    def request(self, turns: list[Any], **fields: Any) -> ChatRequest:
        body = {"model": "m", "messages": turns, "max_tokens": 4000, **fields}
        thinking = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
        return parse_message({"tools": self.tools, **thinking, **body})

    def user(self, text: str, picture: str = "") -> dict[str, Any]:
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if picture:
            data = picture.partition(",")[2]
            source = {"type": "base64", "media_type": "image/png", "data": data}
            blocks.append({"type": "image", "source": source})
        return {"role": "user", "content": blocks}

    def results(self, calls: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        blocks = [
            {"type": "tool_result", "tool_use_id": identifier, "content": given["city"]}
            for identifier, given in calls
        ]
        return [{"role": "user", "content": blocks}]

    def whole(self, request: ChatRequest, events: Iterator[Event]) -> Said:
        message = WholeMessage(request, "r")
        message.feed(events)
        return self._said(orjson.loads(message.body())["content"])

    def streamed(self, request: ChatRequest, events: Iterator[Event]) -> Said:
        """Put together as the official SDK does it."""
        encoder = MessagesEncoder(request, "r")
        written = b"".join(encoder.feed([event]) for event in events)
        snapshot: Any = None
        buffers: dict[int, bytes] = {}
        for one in written.split(b"\n\n")[:-1]:
            event = TYPED.validate_json(one.partition(b"data: ")[2])
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
        return self._said([block.to_dict() for block in snapshot.content])

    def _said(self, content: list[dict[str, Any]]) -> Said:
        text = "".join(block["text"] for block in content if block["type"] == "text")
        calls = [(one["id"], one["input"]) for one in content if one["type"] == "tool_use"]
        return Said(text, calls, {"role": "assistant", "content": content})


Client = ChatClient | AnthropicClient
PROGRAMS: dict[Kind, tuple[str, str]] = {
    "openai": ("openai_api", "/v1"),
    "openai-responses": ("openai_api", "/v1"),
    "anthropic": ("anthropic_api", ""),
    "gemini": ("gemini_api", ""),
}
MODELS: dict[Kind, CloudModel] = {
    "openai": model(name="gpt-5"),
    "openai-responses": model(name="gpt-5"),
    "anthropic": model(name="claude-opus-5-5"),
    "gemini": model(name="gemini-3.5-flash", efforts=("minimal", "low", "medium", "high")),
}
kinds = pytest.mark.parametrize("kind", PROGRAMS)
clients = pytest.mark.parametrize(
    "client", [ChatClient(), AnthropicClient()], ids=["chat", "anthropic"]
)
ways = pytest.mark.parametrize("way", ["whole", "streamed"])
Providers = Callable[[Kind], Provider]


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with contextlib.ExitStack() as stack:
        running: dict[str, FakeCloud] = {}

        def provider(kind: Kind) -> Provider:
            program, version = PROGRAMS[kind]
            if program not in running:
                running[program] = stack.enter_context(running_cloud(program))
            cloud = dataclasses.replace(running[program], url=running[program].url + version)
            return Provider(cloud, kind, MODELS[kind])

        yield provider


def ask(client: Client, way: str, provider: Provider, turns: list[Any], **fields: Any) -> Said:
    request = client.request(turns, stream=way == "streamed", **fields)
    said: Said = getattr(client, way)(request, provider.events(request))
    return said


@ways
@clients
@kinds
def test_a_conversation_with_thinking_and_tools(
    providers: Providers, kind: Kind, client: Client, way: str
) -> None:
    provider = providers(kind)
    turns: list[Any] = [client.user(f"#fake think Let me see.\n{CALLS}")]
    for question in ("", "#fake think Hm.\n#fake text And?\n" + CALLS, "thanks"):
        if question:
            turns.append(client.user(question, PICTURE))
        said = ask(client, way, provider, turns)
        turns.append(said.turn)
        if question == "thanks":
            assert said.text == f"Hello from {provider.model.name}."
            break
        assert [given for _, given in said.calls] == ARGUMENTS
        turns += client.results(said.calls)
        answer = ask(client, way, provider, turns)
        assert answer.calls == []
        assert answer.text in ("The tools said Bonn Köln 🌍", "And?")
        turns.append(answer.turn)


@clients
def test_a_conversation_that_changes_its_provider_amid_calls(
    providers: Providers, client: Client
) -> None:
    turns: list[Any] = []
    order: list[Kind] = ["anthropic", "gemini", "openai-responses", "openai", "gemini", "anthropic"]
    for asked, answers in zip(order, [*order[1:], order[0]], strict=True):
        turns.append(client.user(f"#fake think Let me see.\n{CALLS}"))
        said = ask(client, "streamed", providers(asked), turns)
        assert [given for _, given in said.calls] == ARGUMENTS, asked
        turns += [said.turn, *client.results(said.calls)]
        answer = ask(client, "streamed", providers(answers), turns)
        assert answer.text == "The tools said Bonn Köln 🌍", (asked, answers)
        turns.append(answer.turn)


OTHERS: dict[Kind, str] = {"anthropic": "claude-sonnet-5-5", "gemini": "gemini-3.1-pro-preview"}


@clients
@pytest.mark.parametrize("kind", OTHERS)
def test_a_conversation_that_changes_its_model_amid_calls(
    providers: Providers, kind: Kind, client: Client
) -> None:
    provider = providers(kind)
    other = dataclasses.replace(
        provider, model=dataclasses.replace(provider.model, name=OTHERS[kind])
    )
    turns: list[Any] = []
    for asked, answers in ((provider, provider), (provider, other), (other, provider)):
        turns.append(client.user(f"#fake think Let me see.\n{CALLS}"))
        said = ask(client, "streamed", asked, turns)
        turns += [said.turn, *client.results(said.calls)]
        answer = ask(client, "streamed", answers, turns)
        assert answer.text == "The tools said Bonn Köln 🌍"
        turns.append(answer.turn)


@clients
@kinds
def test_a_refusal_is_one_wherever_it_comes_from(
    providers: Providers, kind: Kind, client: Client
) -> None:
    provider = providers(kind)
    said = ask(client, "streamed", provider, [client.user("#fake refuse I will not.")])
    assert said.calls == []
    assert said.text == ""


@kinds
def test_an_engines_stream_and_a_clouds_are_read_alike(providers: Providers, kind: Kind) -> None:
    """A cloud's answer in chunks, read by the decoder that reads engines."""
    client, provider = ChatClient(), providers(kind)
    request = client.request([client.user("#fake text one two\n" + CALLS)], stream=True)
    encoder, decoder = ChunkEncoder(request, 1), ChunkDecoder()
    answer = Answer()
    for event in provider.events(request):
        answer.feed(decoder.feed(encoder.feed([event])))
    assert answer.ended
    assert answer.choice().text == "one two"
    assert [orjson.loads(call.arguments) for call in answer.choice().calls] == ARGUMENTS
