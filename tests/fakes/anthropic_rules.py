"""What Anthropic's Messages API does not take, in its own words.

The checks are those of the API that a gateway can run into: fields that it does not know, tools and
their results that do not belong together, thinking that it has not signed, and what must not be
asked for at once. `signature` is how the fake signs what it thinks, so that it knows it again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.documents import Paper, paper

NEWEST, OLDER = "2026-10-21", "2023-06-01"
_FIELDS = {"model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice",
           "thinking", "output_config", "stop_sequences", "metadata", "cache_control",
           "service_tier", "container", "diagnostics", "inference_geo", "speed"}  # fmt: skip
_SAMPLING = {"temperature", "top_p", "top_k"}
_BLOCKS = {
    "text": {"text", "citations"},
    "image": {"source", "transformations"},
    "document": {"source", "title", "context", "citations"},
    "tool_use": {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}
_TOOL = {"type", "name", "description", "input_schema", "strict", "cache_control", "input_examples",
         "defer_loading", "eager_input_streaming", "allowed_callers"}  # fmt: skip
_ROLES = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"GIF8": "image/gif",
          b"RIFF": "image/webp"}  # fmt: skip

Json = dict[str, Any]


class RefusedError(Exception):
    """`str()` of it is the API's message."""


def signature(model: str, thinking: str) -> str:
    """Of what `model` thought; another model does not take it."""
    return base64.b64encode(hashlib.sha256(f"{model} {thinking}".encode()).digest()).decode()


def check(body: Json, headers: dict[str, str], *, counts: bool = False) -> None:
    """Raises RefusedError. Names in `headers` are in lower case; `counts`: tokens are counted."""
    version = headers.get("anthropic-version")
    if version not in (NEWEST, OLDER):
        raise RefusedError("anthropic-version: header is required")
    known = _FIELDS | (_SAMPLING if version == OLDER else set())
    if counts:
        known -= {"max_tokens", "stream", "stop_sequences", "metadata"} | _SAMPLING
    for key in body:
        if key not in known:
            raise RefusedError(f"{key}: Extra inputs are not permitted")
    for key in ("model", "messages", *(() if counts else ("max_tokens",))):
        if key not in body:
            raise RefusedError(f"{key}: Field required")
    if not counts and body["max_tokens"] < 1:
        raise RefusedError("max_tokens: Input should be greater than or equal to 1")
    _check_tools(body)
    _check_thinking(body, headers)
    _check_form(body)
    _check_messages(body)


def _check_tools(body: Json) -> None:
    for index, tool in enumerate(body.get("tools", [])):
        place = f"tools.{index}"
        if tool.get("type", "custom") != "custom":
            continue  # it runs here
        _extra(tool, _TOOL, f"{place}.custom")
        if not _NAME.fullmatch(tool["name"]):
            raise RefusedError(f"{place}.custom.name: String should match pattern")
        schema = tool.get("input_schema")
        if schema is None or schema.get("type") != "object":
            raise RefusedError(f"{place}.custom.input_schema.type: Field required")
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                raise RefusedError(
                    f"{place}.custom.input_schema: input_schema does not support oneOf, allOf, or "
                    "anyOf at the top level"
                )
        if tool.get("strict"):
            _closed(schema, f"{place}.custom.input_schema")
    choice = body.get("tool_choice")
    if choice and choice["type"] != "none" and not body.get("tools"):
        raise RefusedError("tool_choice: may only be specified while providing `tools`")


def _check_thinking(body: Json, headers: dict[str, str]) -> None:
    thinking = body.get("thinking", {"type": "unset"})
    if thinking["type"] not in ("unset", "enabled", "disabled", "adaptive", "between_tools"):
        raise RefusedError("thinking: Input tag does not match any of the expected tags")
    on = thinking["type"] in ("enabled", "adaptive")
    if on and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")
    if thinking["type"] != "enabled":
        return
    budget = thinking["budget_tokens"]
    if budget < 1024:
        raise RefusedError("thinking.enabled.budget_tokens: Input should be at least 1024")
    between = "interleaved-thinking" in headers.get("anthropic-beta", "") and body.get("tools")
    if budget >= body.get("max_tokens", budget + 1) and not between:
        raise RefusedError("`max_tokens` must be greater than `thinking.budget_tokens`")
    if body.get("temperature", 1) != 1 or "top_k" in body or body.get("top_p", 1) < 0.95:
        raise RefusedError("`temperature` may only be set to 1 when thinking is enabled")


def _check_form(body: Json) -> None:
    config = body.get("output_config", {})
    _extra(config, {"effort", "format"}, "output_config")
    if config.get("effort", "low") not in ("low", "medium", "high", "xhigh", "max"):
        raise RefusedError("output_config.effort: Input should be 'low', 'medium', 'high' or 'max'")
    if "format" in config:
        _closed(config["format"]["schema"], "output_config.format.schema")
    if any(not stop.strip() for stop in body.get("stop_sequences", [])):
        raise RefusedError("stop_sequences: each stop sequence must contain non-whitespace")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise RefusedError("temperature: Input should be less than or equal to 1")
    if "temperature" in body and "top_p" in body:
        raise RefusedError("`temperature` and `top_p` cannot both be specified for this model.")


def _closed(schema: Json, place: str) -> None:
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        raise RefusedError(
            f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for key in ("minimum", "maximum", "maxLength", "minLength", "maxItems"):
        if key in schema:
            raise RefusedError(f"{place}: For '{kind}' type, property '{key}' is not supported")
    for one in schema.get("properties", {}).values():
        _closed(one, place)
    if isinstance(schema.get("items"), dict):
        _closed(schema["items"], place)


def _check_messages(body: Json) -> None:
    turns = list(_turns(body["messages"]))
    if not turns or turns[0]["role"] != "user":
        raise RefusedError('messages: first message must use the "user" role')
    used: set[str] = set()
    waiting: list[str] = []
    for index, turn in enumerate(turns):
        place = f"messages.{index}"
        if not turn["content"] and index < len(turns) - 1:
            raise RefusedError(f"{place}: all messages must have non-empty content")
        for number, block in enumerate(turn["content"]):
            _check_block(block, turn["role"], f"{place}.content.{number}", body["model"])
        waiting = _check_calls(turn, waiting, used, place)
    if waiting:
        raise _unanswered(f"messages.{len(turns) - 1}", waiting)
    if body.get("thinking", {}).get("type") == "enabled":
        _check_loop(turns)
    named = any(block["type"] == "tool_use" for turn in turns for block in turn["content"])
    if named and not body.get("tools"):
        raise RefusedError(
            "Requests which include `tool_use` or `tool_result` blocks must define tools"
        )


def _turns(messages: list[Json]) -> Iterator[Json]:
    """Neighbours of one role are one turn, as the API has it."""
    latest: Json | None = None
    for message in messages:
        _extra(message, {"role", "content"}, "messages")
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "system":
            continue
        if message["role"] not in _ROLES:
            raise RefusedError(f"messages: Unexpected role {message['role']!r}")
        if latest is not None and latest["role"] == message["role"]:
            latest["content"] += blocks
            continue
        if latest is not None:
            yield latest
        latest = {"role": message["role"], "content": list(blocks)}
    if latest is not None:
        yield latest


def _check_block(block: Json, role: str, place: str, model: str) -> None:
    kind = block["type"]
    if kind not in _ROLES[role]:
        raise RefusedError(f"{place}: `{kind}` blocks are not permitted in a {role} message")
    _extra(block, _BLOCKS[kind] | {"type", "cache_control"}, f"{place}.{kind}")
    if kind == "text":
        _check_text(block)
    if kind == "image":
        _check_image(block["source"], f"{place}.image.source")
    if kind == "document" and block["source"]["type"] == "base64":
        try:
            paper_in(block)
        except ValueError:
            raise RefusedError(f"{place}.document.source.base64: The PDF was not valid.") from None
    if kind == "thinking":
        if "signature" not in block:
            raise RefusedError(f"{place}.thinking.signature: Field required")
        if block["signature"] not in (signature(model, block["thinking"]), signature(model, "")):
            raise RefusedError(f"{place}: Invalid `signature` in `thinking` block")
    if kind in ("tool_use", "tool_result"):
        identifier = block["id" if kind == "tool_use" else "tool_use_id"]
        if not _NAME.fullmatch(identifier):
            raise RefusedError(f"{place}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if kind == "tool_use" and not isinstance(block["input"], dict):
        raise RefusedError(f"{place}.tool_use.input: Input should be a valid dictionary")


def _check_text(block: Json) -> None:
    if not block["text"]:
        raise RefusedError("messages: text content blocks must be non-empty")
    if not block["text"].strip():
        raise RefusedError("messages: text content blocks must contain non-whitespace text")


def paper_in(block: Json) -> Paper:
    """Raises ValueError for what is none."""
    source = block["source"]
    _extra(source, {"type", "media_type", "data"}, "document.source")
    if source["media_type"] != "application/pdf":
        raise ValueError(source["media_type"])
    return paper(block.get("title") or "", source["data"])


def _check_image(source: Json, place: str) -> None:
    if source["type"] != "base64":
        return
    data = base64.b64decode(source["data"])
    seen = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if seen != source["media_type"]:
        raise RefusedError(
            f"{place}.base64.data: The image was specified using the {source['media_type']} media "
            f"type, but the image appears to be a {seen} image"
        )


def _check_calls(turn: Json, waiting: list[str], used: set[str], place: str) -> list[str]:
    """The ids of the calls in `turn`; those in `waiting` must be answered at its beginning."""
    if turn["role"] == "user":
        answered: list[str] = []
        begun = True
        for number, block in enumerate(turn["content"]):
            begun = begun and block["type"] == "tool_result"
            if block["type"] != "tool_result":
                continue
            if block["tool_use_id"] not in waiting or not begun:
                raise RefusedError(
                    f"{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {block['tool_use_id']}. Each `tool_result` block must have a "
                    "corresponding `tool_use` block in the previous message."
                )
            answered.append(block["tool_use_id"])
        if missing := [one for one in waiting if one not in answered]:
            raise _unanswered(place, missing)
        return []
    calls = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
    if len({*calls}) < len(calls) or not used.isdisjoint(calls):
        raise RefusedError("messages: `tool_use` ids must be unique")
    used.update(calls)
    return calls


def _unanswered(place: str, calls: list[str]) -> RefusedError:
    return RefusedError(
        f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}."
    )


def _check_loop(turns: list[Json]) -> None:
    """With a budget, an answer that tools go on must begin with thinking."""
    last = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    results = any(block["type"] == "tool_result" for block in turns[-1]["content"])
    if last is None or not results:
        return
    kind = last["content"][0]["type"]
    if kind not in ("thinking", "redacted_thinking"):
        raise RefusedError(
            f"messages.{turns.index(last)}.content.0.type: Expected `thinking` or "
            f"`redacted_thinking`, but found `{kind}`."
        )


def _extra(value: Json, known: set[str], place: str) -> None:
    for key in value:
        if key not in known:
            raise RefusedError(f"{place}.{key}: Extra inputs are not permitted")
