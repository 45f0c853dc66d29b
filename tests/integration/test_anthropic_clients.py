"""Anthropic's own SDK and LangChain at the Anthropic dialect, over a socket.

The server is a stand-in for the router: it reads each request as /v1/messages does, answers it with
what Anthropic, played, says to it, translated there and back. So whatever a client sends must be
understood, sent on and answered as the client expects.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pydantic
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage

from server.chat import parse_json
from server.chat.anthropic import (
    PING,
    MessagesEncoder,
    WholeMessage,
    count_answer,
    parse_count,
    parse_message,
)
from server.errors import HoldfastError
from server.providers.anthropic import PROTOCOL
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.providers.calling import events_of
from tests.providers.clouds import MODEL

pytestmark = pytest.mark.integration

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "weather", "description": "Says it.", "input_schema": SCHEMA}
CALL = '#fake think Hm.\n#fake text Looking.\n#fake call weather {"city": "Köln 🌍"}'


class Handler(http.server.BaseHTTPRequestHandler):
    cloud: FakeCloud

    def do_POST(self) -> None:
        body = parse_json(self.rfile.read(int(self.headers["content-length"])))
        try:
            self._answer(body)
        except HoldfastError as error:
            self._send(error.status, orjson.dumps(error.anthropic_body("req_1")))

    def _answer(self, body: Any) -> None:
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            parse_count(body)
            return self._send(200, count_answer(42))
        assert path == "/v1/messages"
        request = parse_message(body)
        events = events_of(self.cloud, PROTOCOL, request, MODEL)
        if not request.stream:
            message = WholeMessage(request, "req_1")
            message.feed(events)
            return self._send(200, message.body())
        encoder = MessagesEncoder(request, "req_1", 12)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(PING)
        try:
            for event in events:
                self.wfile.write(encoder.feed([event]))
        except HoldfastError as error:
            self.wfile.write(encoder.error(error))
        return None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_cloud("anthropic_api") as cloud:
        handler = type("Handler", (Handler,), {"cloud": cloud})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def sdk(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="key", base_url=url, max_retries=0)


def ask(content: Any, **fields: Any) -> Any:
    said = [{"role": "user", "content": content}]
    return {"model": "auto", "max_tokens": 4000, "messages": said, **fields}


def test_a_conversation_with_tools_and_thinking(sdk: anthropic.Anthropic) -> None:
    asked = ask(CALL, tools=[TOOL], thinking={"type": "adaptive"}, system="be brief")
    with sdk.messages.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        streamed = stream.get_final_message()
    assert {"text", "thinking", "signature", "input_json", "message_stop"} <= kinds
    whole = sdk.messages.create(**asked)
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use"]
    assert [block.to_dict() for block in streamed.content] == [
        block.to_dict() for block in whole.content
    ]
    assert streamed.usage.to_dict() == whole.usage.to_dict()
    assert streamed.stop_reason == "tool_use"
    call: Any = whole.content[-1]
    assert call.input == {"city": "Köln 🌍"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [*asked["messages"], whole.to_param(), {"role": "user", "content": [result]}]
    final = sdk.messages.create(**{**asked, "messages": turns})
    assert final.content[-1].type == "text"
    assert final.stop_reason == "end_turn"


def test_counting(sdk: anthropic.Anthropic) -> None:
    said: Any = ask("hi")["messages"]
    counted = sdk.messages.count_tokens(model="auto", messages=said, tools=[TOOL], system="x")
    assert counted.input_tokens == 42


def test_beta_clients(sdk: anthropic.Anthropic) -> None:
    answer = sdk.beta.messages.create(
        **ask([{"type": "text", "text": "#fake text hi", "cache_control": {"type": "ephemeral"}}]),
        betas=["interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    assert answer.content[0].to_dict() == {"type": "text", "text": "hi"}


class Place(pydantic.BaseModel):
    city: str


def test_an_answer_in_a_shape(sdk: anthropic.Anthropic) -> None:
    parsed = sdk.messages.parse(**ask('#fake text {"city":"Bonn"}'), output_format=Place)
    assert parsed.parsed_output == Place(city="Bonn")


def test_the_sdk_runs_tools(sdk: anthropic.Anthropic) -> None:
    asked = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Says it."""
        asked.append(city)
        return "sunny"

    runner = sdk.beta.messages.tool_runner(
        **ask('#fake call weather {"city": "Bonn"}'), tools=[weather]
    )
    final = runner.until_done()
    assert asked == ["Bonn"]
    assert final.content[0].to_dict() == {"type": "text", "text": "The tools said sunny"}


def test_errors_are_those_of_the_sdk(sdk: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        sdk.messages.create(**ask("hi"), extra_body={"temperature": 7})
    with pytest.raises(anthropic.InternalServerError) as busy:
        sdk.messages.create(**ask("#fake fault 529"))
    assert busy.value.type == "overloaded_error"
    with (
        pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
        sdk.messages.stream(**ask("#fake long 20\n#fake fault 529 at=mid-stream")) as stream,
    ):
        for _ in stream:
            pass


async def test_the_asynchronous_client(url: str) -> None:
    async with anthropic.AsyncAnthropic(api_key="key", base_url=url) as client:
        said = ask("#fake text one two three")
        async with client.messages.stream(**said) as stream:
            pieces = [piece async for piece in stream.text_stream]
        assert "".join(pieces) == "one two three"
        assert len(pieces) == 3


def test_langchain(url: str) -> None:
    model = ChatAnthropic(
        model_name="auto",
        api_key=pydantic.SecretStr("key"),
        base_url=url,
        max_tokens_to_sample=4000,
        thinking={"type": "adaptive"},
        timeout=None,
        stop=None,
    ).bind_tools([TOOL])
    question = HumanMessage(CALL)
    answer = model.invoke([question])
    assert answer.tool_calls[0]["args"] == {"city": "Köln 🌍"}
    streamed: Any = None
    for chunk in model.stream([question]):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.tool_calls == answer.tool_calls
    result = ToolMessage("sunny", tool_call_id=answer.tool_calls[0]["id"])
    final = model.invoke([question, answer, result])
    assert final.response_metadata["stop_reason"] == "end_turn"
