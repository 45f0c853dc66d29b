"""Anthropic, played: messages, the counting of tokens and models, over HTTP on loopback.

    python -m tests.fakes.anthropic_api [--port 0] [--key KEY]

What it answers stands in the prompt (script.py), what goes wrong too (faults.py); what it got can
be read at its control port (cloud_program.py). It takes what the API takes (anthropic_rules.py).
The API's base URL is `URL`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from tests.fakes.anthropic_rules import Json, RefusedError, check, paper_in, signature
from tests.fakes.cloud_program import Cloud, main
from tests.fakes.faults import STATUSES, Answer, Shape, whole
from tests.fakes.script import Script, script_of, tokens

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
_PAGE = 2330
"""Tokens of a page of a PDF, as it was measured."""
_ENDS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
         "content_filter": "refusal"}  # fmt: skip
_ERRORS = {
    "429": ("rate_limit_error", "This request would exceed your account's rate limit."),
    "quota": ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    "401": ("authentication_error", "invalid x-api-key"),
    "400": ("invalid_request_error", "messages.0: something is wrong"),
    "context": ("invalid_request_error", "prompt is too long: 200012 tokens > 200000 maximum"),
    "500": ("api_error", "Internal server error"),
    "503": ("overloaded_error", "Overloaded"),
    "529": ("overloaded_error", "Overloaded"),
}
assert set(_ERRORS) == set(STATUSES)


def error(kind: str, message: str | None = None) -> Json:
    name, default = _ERRORS[kind]
    body = {"type": name, "message": message or default}
    return {"type": "error", "error": body, "request_id": "req_fake"}


def sse(data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


SHAPE = Shape(
    error=error,
    event=lambda kind: sse(error(kind)),
    headers={
        "request-id": "req_fake",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-21T10:00:00Z",
    },
)


def routes(cloud: Cloud) -> list[web.RouteDef]:
    async def messages(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refused = _refusal(request, body)
        if refused is not None:
            return cloud.refuse(request, body, error("400", refused), 400)
        script = _script(body)
        if not body.get("stream"):
            return await cloud.answer(
                request, body, whole(_whole(body, script)), fault=script.fault
            )
        pieces = [sse(event) for event in _events(body, script)]
        answer = Answer(pieces, stream=True, first=3, pace=script.pace)
        return await cloud.answer(request, body, answer, fault=script.fault)

    async def count(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refused = _refusal(request, body, counts=True)
        if refused is not None:
            return cloud.refuse(request, body, error("400", refused), 400)
        counted = {"input_tokens": _script(body).prompt_tokens}
        return await cloud.answer(request, body, whole(counted))

    async def models(request: web.Request) -> web.StreamResponse:
        entries = [
            {"type": "model", "id": name, "display_name": name, "lifecycle": "active",
             "created_at": "2026-09-01T00:00:00Z"}
            for name in MODELS
        ]  # fmt: skip
        page = {"data": entries, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        return await cloud.answer(request, None, whole(page))

    return [
        web.post("/v1/messages", messages),
        web.post("/v1/messages/count_tokens", count),
        web.get("/v1/models", models),
    ]


def _refusal(request: web.Request, body: Json, *, counts: bool = False) -> str | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        check(body, headers, counts=counts)
    except RefusedError as refused:
        return str(refused)
    except (LookupError, TypeError, AttributeError) as broken:
        return f"malformed: {broken!r}"
    return None


def _script(body: Json) -> Script:
    user, said = "", None
    papers = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = [_text(one.get("content")) for one in blocks if one["type"] == "tool_result"]
        papers += [paper_in(one) for one in blocks if _is_pdf(one)]
        text = _text([one for one in blocks if one["type"] == "text"])
        if message["role"] == "user":
            said = " ".join(results) if results else None
            user = text or user
    everything = orjson.dumps([body["messages"], body.get("system"), body.get("tools")]).decode()
    return script_of(body["model"], user, said, everything, papers, _PAGE)


def _is_pdf(block: Json) -> bool:
    return (block["type"], block.get("source", {}).get("type")) == ("document", "base64")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _usage(body: Json, script: Script) -> Json:
    """What is not read from the cache is written to it, where that is asked for."""
    rest = script.prompt_tokens - script.cached
    marked = b'"cache_control"' in orjson.dumps(body)
    return {
        "input_tokens": 0 if marked else rest,
        "cache_read_input_tokens": script.cached,
        "cache_creation_input_tokens": rest if marked else 0,
        "cache_creation": {
            "ephemeral_5m_input_tokens": rest if marked else 0,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": script.completion_tokens,
        "output_tokens_details": {"thinking_tokens": script.reasoning_tokens},
        "service_tier": "standard",
        "inference_geo": "global",
    }


def _blocks(body: Json, script: Script) -> list[Json]:
    blocks: list[Json] = []
    thinking = body.get("thinking", {})
    if script.thinking and thinking.get("type") not in ("disabled", "between_tools"):
        shown = thinking.get("type") == "enabled" or thinking.get("display") == "summarized"
        said = script.thinking if shown else ""
        blocks.append(
            {"type": "thinking", "thinking": said, "signature": signature(body["model"], said)}
        )
    if script.text:
        blocks.append({"type": "text", "text": script.text})
    blocks += [
        {"type": "tool_use", "id": f"toolu_{index}{len(body['messages'])}", "name": name,
         "input": orjson.loads(arguments)}
        for index, (name, arguments) in enumerate(script.calls)
    ]  # fmt: skip
    return blocks


def _end(script: Script) -> Json:
    details = {"type": "refusal", "category": None, "explanation": script.refusal}
    refused = bool(script.refusal)
    return {
        "stop_reason": "refusal" if refused else _ENDS.get(script.end, script.end),
        "stop_sequence": None,
        "stop_details": details if refused else None,
    }


def _whole(body: Json, script: Script) -> Json:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": _blocks(body, script),
        "container": None,
        **_end(script),
        "usage": _usage(body, script),
    }


def _events(body: Json, script: Script) -> Iterator[Json]:
    started = _whole(body, script) | {"content": [], "stop_reason": None, "stop_details": None}
    started["usage"] = {**started["usage"], "output_tokens": 1, "output_tokens_details": None}
    yield {"type": "message_start", "message": started}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(body, script)):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    usage = _usage(body, script)
    told = {key: usage[key] for key in usage if key not in ("service_tier", "inference_geo")}
    del told["cache_creation"]
    yield {"type": "message_delta", "delta": _end(script), "usage": told}
    yield {"type": "message_stop"}


def _empty(block: Json) -> Json:
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: empty.get(key, value) for key, value in block.items()}


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        for piece in tokens(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in tokens(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield {"type": "input_json_delta", "partial_json": ""}
        for piece in tokens(orjson.dumps(block["input"]).decode()):
            yield {"type": "input_json_delta", "partial_json": piece}


if __name__ == "__main__":
    main("Plays Anthropic.", SHAPE, routes)
