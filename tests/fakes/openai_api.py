"""OpenAI, played: chat completions, responses, embeddings and models, over HTTP on loopback.

    python -m tests.fakes.openai_api [--port 0] [--key KEY]

What it answers stands in the prompt (script.py), what goes wrong too (faults.py); what it got can
be read at its control port (cloud_program.py). The API's base URL is `URL/v1`.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from tests.fakes.cloud_program import Cloud, main
from tests.fakes.faults import STATUSES, Answer, Shape, whole
from tests.fakes.openai_responses import PAGE, events_of, response_of, script_of_response
from tests.fakes.openai_rules import paper_in, parts_of, refuse_chat, refuse_response
from tests.fakes.script import Script, script_of, tokens
from tests.fakes.vectors import vector_of

MODELS = ("gpt-5", "gpt-5-mini", "gpt-4o", "text-embedding-3-small")
CREATED = 1_790_000_000

_ERRORS: dict[str, tuple[str, str, str | None]] = {
    "429": ("rate_limit_exceeded", "requests", "Rate limit reached for gpt-5 in org-1"),
    "quota": ("insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
    "401": ("invalid_api_key", "invalid_request_error", "Incorrect API key provided: sk-...1"),
    "400": ("unsupported_value", "invalid_request_error", "Unsupported value: 'temperature'"),
    "context": (
        "context_length_exceeded",
        "invalid_request_error",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9000 tokens. Please reduce the length of the messages.",
    ),
}


def error(kind: str) -> dict[str, Any]:
    code, group, message = _ERRORS.get(kind, ("server_error", "server_error", "It failed"))
    return {"error": {"message": message, "type": group, "param": None, "code": code}}


def refusal(message: str) -> dict[str, Any]:
    told = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return {"error": told}


def sse(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


SHAPE = Shape(
    error=error,
    event=lambda kind: sse(error(kind)),
    headers={
        "x-request-id": "req_fake",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "30000000",
        "x-ratelimit-remaining-tokens": "29000000",
        "x-ratelimit-reset-tokens": "2s",
    },
)
assert set(_ERRORS) <= set(STATUSES)


def routes(cloud: Cloud) -> list[web.RouteDef]:
    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if refused := refuse_chat(body):
            return cloud.refuse(request, body, refusal(refused), 400)
        script = _script(body)
        if not body.get("stream"):
            return await cloud.answer(
                request, body, whole(_whole(body, script)), fault=script.fault
            )
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        pieces = [*(sse(chunk) for chunk in _chunks(body, script, usage)), b"data: [DONE]\n\n"]
        answer = Answer(pieces, stream=True, first=1, pace=script.pace)
        return await cloud.answer(request, body, answer, fault=script.fault)

    async def responses(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if refused := refuse_response(body):
            return cloud.refuse(request, body, refusal(refused), 400)
        script = script_of_response(body)
        if not body.get("stream"):
            answer = whole(response_of(body, script))
        else:
            pieces = [
                b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
                for event in events_of(body, script)
            ]
            answer = Answer(pieces, stream=True, first=4, pace=script.pace, event=_response_error)
        return await cloud.answer(request, body, answer, fault=script.fault)

    async def embeddings(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await cloud.answer(request, body, whole(_embeddings(body)))

    async def models(request: web.Request) -> web.StreamResponse:
        entries = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}
            for name in MODELS
        ]
        return await cloud.answer(request, None, whole({"object": "list", "data": entries}))

    return [
        web.post("/v1/chat/completions", chat),
        web.post("/v1/responses", responses),
        web.post("/v1/embeddings", embeddings),
        web.get("/v1/models", models),
    ]


def _response_error(kind: str) -> bytes:
    told = error(kind)["error"]
    event = {
        "type": "error",
        "sequence_number": 9,
        "param": None,
        **{key: told[key] for key in ("code", "message")},
    }
    return b"event: error\n" + sse(event)


def _script(body: dict[str, Any]) -> Script:
    user, said = "", None
    for message in body["messages"]:
        if message["role"] == "user":
            user, said = _text(message["content"]), None
        elif message["role"] == "tool":
            said = f"{said} {_text(message['content'])}" if said else _text(message["content"])
    papers = [
        paper_in(part["file"])
        for message in body["messages"]
        for part in parts_of(message)
        if part["type"] == "file"
    ]
    everything = orjson.dumps(body["messages"]).decode()
    return script_of(body["model"], user, said, everything, papers, PAGE)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _usage(script: Script, choices: int) -> dict[str, Any]:
    completion = script.completion_tokens * choices
    return {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": script.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": script.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": script.reasoning_tokens * choices,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": CREATED,
        "model": f"{body['model']}-2026-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _chunks(body: dict[str, Any], script: Script, usage: bool) -> Iterator[dict[str, Any]]:
    head = _head(body, "chat.completion.chunk")
    if usage:
        head["usage"] = None
    head["obfuscation"] = "x7"

    def chunk(delta: dict[str, Any], choice: int, reason: str | None = None) -> dict[str, Any]:
        part: dict[str, Any] = {"index": choice, "delta": delta, "finish_reason": reason}
        part["logprobs"] = None
        if body.get("logprobs") and delta.get("content"):
            part["logprobs"] = {"content": [_logprob(delta["content"])], "refusal": None}
        return {**head, "choices": [part]}

    for choice in range(body.get("n") or 1):
        yield chunk({"role": "assistant", "content": "", "refusal": None}, choice)
        for piece in tokens(script.thinking):  # as DeepSeek and others do; OpenAI keeps it
            yield chunk({"reasoning_content": piece}, choice)
        for piece in tokens(script.refusal):
            yield chunk({"refusal": piece}, choice)
        for piece in tokens(script.text):
            yield chunk({"content": piece}, choice)
        for index, (name, arguments) in enumerate(script.calls):
            function = {"name": name, "arguments": ""}
            call = {"index": index, "id": f"call_{index}", "type": "function"}
            yield chunk({"tool_calls": [{**call, "function": function}]}, choice)
            for piece in tokens(arguments):
                part = {"index": index, "function": {"arguments": piece}}
                yield chunk({"tool_calls": [part]}, choice)
        yield chunk({}, choice, script.end)
    if usage:
        yield {**head, "choices": [], "usage": _usage(script, body.get("n") or 1)}


def _whole(body: dict[str, Any], script: Script) -> dict[str, Any]:
    silent = bool(script.calls or script.refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if silent and not script.text else script.text,
        "refusal": script.refusal or None,
        "annotations": [],
    }
    if script.thinking:
        message["reasoning_content"] = script.thinking
    if script.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (name, arguments) in enumerate(script.calls)
        ]
    content = [_logprob(piece) for piece in tokens(script.text)]
    logprobs = {"content": content, "refusal": None} if body.get("logprobs") else None
    choices = [
        {"index": index, "message": message, "logprobs": logprobs, "finish_reason": script.end}
        for index in range(body.get("n") or 1)
    ]
    usage = _usage(script, len(choices))
    return {**_head(body, "chat.completion"), "choices": choices, "usage": usage}


def _logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body["input"]
    texts = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    entries = []
    for index, text in enumerate(texts):
        vector = vector_of(text, body.get("dimensions") or 8)
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        embedding = packed if body.get("encoding_format") == "base64" else vector
        entries.append({"object": "embedding", "index": index, "embedding": embedding})
    count = sum(len(text) if isinstance(text, list) else len(text.split()) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": entries, "model": body["model"], "usage": usage}


if __name__ == "__main__":
    main("Plays OpenAI.", SHAPE, routes)
