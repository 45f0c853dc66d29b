"""Cloud models and requests for the tests of the protocols."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from server.catalogue.cloud import CloudModel, Feature, Price, Rate
from server.chat.request import ChatRequest, parse_chat
from tests.chat import papers, pictures

ALL: frozenset[Feature] = frozenset(
    (
        "tools",
        "parallel_tools",
        "tool_choice",
        "schema",
        "json",
        "thinking",
        "logprobs",
        "n",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "penalties",
        "logit_bias",
    )
)

MODEL = CloudModel(
    id="cloud/model",
    provider="cloud",
    name="model-1",
    title="Model 1",
    context=200_000,
    max_output=64_000,
    price=Price(Rate(5_000_000_000, 25_000_000_000)),
    image=True,
    documents=True,
    features=ALL,
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
)
"""One that can do everything, and is told by degrees how much to think."""


def model(**fields: Any) -> CloudModel:
    return dataclasses.replace(MODEL, **fields)


def without(*features: Feature) -> CloudModel:
    return model(features=ALL - frozenset(features))


def ask(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    """A request of OpenAI's dialect, `hi` where no messages are given."""
    said = list(messages) or [user("hi")]
    return parse_chat({"model": "m", "messages": said, "stream": True, **fields})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def call(identifier: str, name: str = "weather", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function}


def result(identifier: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content}


def tool(name: str = "weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def png(width: int = 2, height: int = 2) -> str:
    """A `data:` URL of a picture."""
    return "data:image/png;base64," + base64.b64encode(pictures.png(width, height)).decode()


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def paper(name: str | None = "a.pdf", pages: int = 1) -> dict[str, Any]:
    """A PDF, as clients of chat completions send it."""
    named = {} if name is None else {"filename": name}
    return {"type": "file", "file": {**named, "file_data": papers.url(papers.pdf(pages))}}


def pdf_data(pages: int = 1) -> str:
    """The same in base64 alone."""
    return base64.b64encode(papers.pdf(pages)).decode()
