"""Gemini, played: generateContent, streamGenerateContent, countTokens, batchEmbedContents and
models, on loopback.

    python -m tests.fakes.gemini_api [--port 0] [--key KEY]

What it answers stands in the prompt (script.py), what goes wrong too (faults.py); what it got can
be read at its control port (cloud_program.py). It takes what the API takes (gemini_rules.py). The
API's base URL is `URL`.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from aiohttp import web

from tests.fakes.cloud_program import Cloud, main
from tests.fakes.documents import Paper
from tests.fakes.faults import STATUSES, Answer, Shape, whole
from tests.fakes.gemini_rules import (
    Json,
    RefusedError,
    camel,
    check,
    check_embeddings,
    paper_in,
    signature,
)
from tests.fakes.script import Script, script_of, tokens
from tests.fakes.vectors import vector_of

MODELS = ("gemini-3.5-flash", "gemini-3.1-pro-preview", "gemini-2.5-flash")
_PAGE = 560
"""Tokens of a page of a PDF, as it was measured."""
_ENDS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_ERRORS = {
    "429": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
    "quota": (403, "PERMISSION_DENIED", "Your project has been denied access."),
    "401": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "400": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "context": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "503": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "529": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
}
assert set(_ERRORS) == set(STATUSES)


def error(kind: str, message: str | None = None) -> Json:
    code, status, default = _ERRORS[kind]
    details = []
    if kind == "429":
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.2s"}
        details = [delay]
    said = message or default
    return {"error": {"code": code, "message": said, "status": status, "details": details}}


def sse(data: Json) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\r\n\r\n"


SHAPE = Shape(
    error=error,
    event=lambda kind: sse(error(kind)),
    headers={"server-timing": "gfet4t7; dur=300"},
)


def routes(cloud: Cloud) -> list[web.RouteDef]:
    async def generate(request: web.Request) -> web.StreamResponse:
        model, _, method = request.match_info["call"].partition(":")
        body = camel(await request.json())
        refused = _refusal(model, body, method)
        if refused is not None:
            return cloud.refuse(request, body, error("400", refused), 400)
        script = _script(model, body)
        if method == "countTokens":
            return await cloud.answer(request, body, whole({"totalTokens": script.prompt_tokens}))
        if method == "generateContent":
            answer = whole(_answer(model, body, script, _parts(model, body, script), last=True))
        else:
            pieces = [sse(one) for one in _answers(model, body, script)]
            answer = Answer(pieces, stream=True, first=0, pace=script.pace)
        return await cloud.answer(request, body, answer, fault=script.fault)

    async def embed(request: web.Request) -> web.StreamResponse:
        model, body = request.match_info["model"], camel(await request.json())
        try:
            check_embeddings(model, body)
        except RefusedError as refused:
            return cloud.refuse(request, body, error("400", str(refused)), 400)
        return await cloud.answer(request, body, whole(_embeddings(model, body)))

    async def models(request: web.Request) -> web.StreamResponse:
        methods = ["generateContent", "countTokens"]
        entries = [
            {"name": f"models/{name}", "displayName": name, "inputTokenLimit": 1_048_576,
             "outputTokenLimit": 65_536, "supportedGenerationMethods": methods}
            for name in MODELS
        ]  # fmt: skip
        return await cloud.answer(request, None, whole({"models": entries}))

    return [
        web.post("/{version:v1|v1beta}/models/{model}:batchEmbedContents", embed),
        web.post("/{version:v1|v1beta}/models/{call}", generate),
        web.get("/{version:v1|v1beta}/models", models),
    ]


def _refusal(model: str, body: Json, method: str) -> str | None:
    try:
        if method in ("generateContent", "streamGenerateContent"):
            check(model, body)
    except RefusedError as refused:
        return str(refused)
    except (LookupError, TypeError, AttributeError) as broken:
        return f"malformed: {broken!r}"
    return None


def _script(model: str, body: Json) -> Script:
    user, said = "", None
    papers: list[Paper] = []
    for content in body["contents"]:
        parts = content["parts"]
        papers += _papers(parts)
        text = "".join(part.get("text", "") for part in parts)
        answered = [
            str(part["functionResponse"]["response"].get("output", ""))
            for part in parts
            if "functionResponse" in part
        ]
        if content.get("role", "user") == "user":
            said = " ".join(answered) if answered else None
            user = text or user
    return script_of(model, user, said, orjson.dumps(body).decode(), papers, _PAGE)


def _papers(parts: list[Json]) -> Iterator[Paper]:
    """Each under the text before it."""
    before = ""
    for part in parts:
        data = part.get("inlineData", {})
        if data.get("mimeType") == "application/pdf":
            yield paper_in(before, data["data"])
        before = part.get("text", "")


def _parts(model: str, body: Json, script: Script) -> list[Json]:
    parts: list[Json] = []
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    if script.thinking and thinking.get("includeThoughts"):
        parts += [{"text": piece, "thought": True} for piece in tokens(script.thinking)]
    parts += [{"text": piece} for piece in tokens(script.text)]
    if script.thinking and script.text and not script.calls:
        parts[-1]["thoughtSignature"] = signature(model, script.text)
    for index, (name, arguments) in enumerate(script.calls):
        args = orjson.loads(arguments)
        part: Json = {"functionCall": {"id": f"fc{index}", "name": name, "args": args}}
        if index == 0:  # of parallel calls, the first carries it
            part["thoughtSignature"] = signature(model, name)
        parts.append(part)
    return parts


def _answer(model: str, body: Json, script: Script, parts: list[Json], *, last: bool) -> Json:
    thought = script.reasoning_tokens
    usage = {
        "promptTokenCount": script.prompt_tokens,
        "cachedContentTokenCount": script.cached,
        "thoughtsTokenCount": thought,
        "candidatesTokenCount": script.completion_tokens - thought,
        "totalTokenCount": script.prompt_tokens + script.completion_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": script.prompt_tokens}],
    }
    answer: Json = {"usageMetadata": usage, "modelVersion": model, "responseId": "resp-fake"}
    if script.refusal:
        return {**answer, "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    count = body.get("generationConfig", {}).get("candidateCount", 1)
    candidates = []
    for index in range(count):
        candidate: Json = {"content": {"role": "model", "parts": parts}, "index": index}
        if last:
            candidate["finishReason"] = _ENDS.get(script.end, script.end)
        candidates.append(candidate)
    return {**answer, "candidates": candidates}


def _answers(model: str, body: Json, script: Script) -> Iterator[Json]:
    if not script.refusal:
        for part in _parts(model, body, script):
            yield _answer(model, body, script, [part], last=False)
    yield _answer(model, body, script, [{"text": ""}], last=True)


def _embeddings(model: str, body: Json) -> Json:
    """Whether it tells tokens depends on the model."""
    answer: Json = {"embeddings": []}
    count = 0
    for one in body["requests"]:
        text = "".join(part["text"] for part in one["content"]["parts"])
        values = vector_of(text, one.get("outputDimensionality", 8))
        answer["embeddings"].append({"values": values})
        count += len(text.split())
    if model.endswith("-2"):
        answer["usageMetadata"] = {"promptTokenCount": count}
    return answer


if __name__ == "__main__":
    main("Plays Gemini.", SHAPE, routes)
