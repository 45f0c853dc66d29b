"""LangChain's client for OpenAI, over both of its APIs, with each of OpenAI's protocols behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from server.catalogue.cloud import Kind
from server.providers import PROTOCOLS
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.providers.translator import Translator

pytestmark = pytest.mark.integration

KINDS: tuple[Kind, ...] = ("openai", "openai-responses")
CALL = HumanMessage('#fake think Hm.\n#fake call weather {"city": "Bonn"}')


@tool
def weather(city: str) -> str:
    """Says it."""
    return f"sunny in {city}"


class City(BaseModel):
    city: str


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeCloud]:
    with running_cloud("openai_api", "--key", "key") as running:
        yield dataclasses.replace(running, url=f"{running.url}/v1")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(params=[False, True], ids=["as chat", "as responses"])
def model(cloud: FakeCloud, kind: Kind, request: pytest.FixtureRequest) -> ChatOpenAI:
    client = openai.DefaultHttpxClient(transport=Translator(cloud, PROTOCOLS[kind]))
    return ChatOpenAI(
        model="m",
        api_key="key",  # type: ignore[arg-type]
        base_url="http://holdfast/v1",
        http_client=client,
        use_responses_api=request.param,
        max_retries=0,
    )


def test_text(model: ChatOpenAI) -> None:
    assert model.invoke("#fake text Hello.").text == "Hello."
    pieces = [piece.text for piece in model.stream("#fake long 9")]
    assert "".join(pieces) == "0 1 2 3 4 5 6 7 8"
    assert len(pieces) > 5


def test_tools(model: ChatOpenAI) -> None:
    able = model.bind_tools([weather])
    said = able.invoke([CALL])
    (call,) = said.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Bonn"})
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_token_details"]["reasoning"] == 1
    told = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    assert able.invoke([CALL, said, told]).text == "The tools said sunny in Bonn"


def test_tools_in_a_stream(model: ChatOpenAI) -> None:
    able = model.bind_tools([weather])
    whole: AIMessageChunk | None = None
    for piece in able.stream([CALL]):
        assert isinstance(piece, AIMessageChunk)
        whole = piece if whole is None else whole + piece
    assert whole is not None
    (call,) = whole.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Bonn"})
    told = ToolMessage("fog", tool_call_id=call["id"])
    assert able.invoke([CALL, whole, told]).text == "The tools said fog"


def test_a_schema(model: ChatOpenAI) -> None:
    found = model.with_structured_output(City).invoke('#fake text {"city": "Bonn"}')
    assert found == City(city="Bonn")
