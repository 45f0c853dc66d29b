"""What OpenAI refuses of a request: the words of its 400, or None where there is nothing to refuse.

The rules are those that a translation can break: parameters and keys that do not exist, calls and
answers that do not match, reasoning that was not given out here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.fakes.documents import Paper, paper

_BOTH = (
    "model stream stream_options temperature top_p top_logprobs tools tool_choice store metadata "
    "parallel_tool_calls service_tier user safety_identifier prompt_cache_key "
    "prompt_cache_retention"
)
_CHAT = frozenset(
    f"{_BOTH} messages max_tokens max_completion_tokens n stop seed presence_penalty logprobs "
    "frequency_penalty logit_bias response_format reasoning_effort verbosity modalities audio "
    "prediction web_search_options functions function_call".split()
)
_RESPONSES = frozenset(
    f"{_BOTH} input instructions include max_output_tokens max_tool_calls previous_response_id "
    "reasoning text truncation background conversation prompt".split()
)
_MESSAGES = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "audio", "annotations"},
    "tool": {"role", "content", "tool_call_id"},
}
_ITEMS: dict[str, set[str]] = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "call_id", "name", "arguments", "id", "status"},
    "function_call_output": {"type", "call_id", "output", "id", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
}
_FEWEST = 16


def refuse_chat(body: dict[str, Any]) -> str | None:
    if wrong := _unknown(body, _CHAT):
        return f"Unrecognized request argument supplied: {wrong}"
    if not body.get("messages"):
        return "Invalid 'messages': empty array"
    if body.get("stream_options") and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    if body.get("tool_choice") and not body.get("tools"):
        return "'tool_choice' is only allowed when 'tools' are specified."
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema" and not form["json_schema"].get("name"):
        return "Missing required parameter: 'response_format.json_schema.name'."
    pending: set[str] = set()
    for at, message in enumerate(body["messages"]):
        role = message.get("role")
        if wrong := _unknown(message, _MESSAGES.get(role, ())):
            return f"Unknown parameter: 'messages[{at}].{wrong}'."
        if role == "tool":
            if message["tool_call_id"] not in pending:
                return "messages with role 'tool' must be a response to a preceding message"
            pending.remove(message["tool_call_id"])
            continue
        if pending:
            return f"These tool_call_ids did not have response messages: {min(pending)}"
        if message.get("content") is None and not message.get("tool_calls"):
            return f"Invalid value for 'content': expected a string, got null in messages[{at}]."
        pending = {call["id"] for call in message.get("tool_calls") or ()}
        for part in parts_of(message):
            if part["type"] == "file" and (wrong := _refuse_file(part["file"])):
                return f"Invalid value for 'messages[{at}].content': {wrong}"
    return f"These tool_call_ids did not have response messages: {pending}" if pending else None


def refuse_response(body: dict[str, Any]) -> str | None:
    if wrong := _unknown(body, _RESPONSES):
        return f"Unknown parameter: '{wrong}'."
    if body.get("max_output_tokens", _FEWEST) < _FEWEST:
        return f"Invalid 'max_output_tokens': integer below minimum value. Expected >= {_FEWEST}."
    for at, tool in enumerate(body.get("tools") or ()):
        if tool["type"] == "function" and "name" not in tool:
            return f"Missing required parameter: 'tools[{at}].name'."
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema" and not form.get("name"):
        return "Missing required parameter: 'text.format.name'."
    return None if isinstance(body["input"], str) else _refuse_items(body["input"])


def _refuse_items(items: list[dict[str, Any]]) -> str | None:
    pending: set[str] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if wrong := _unknown(item, _ITEMS.get(kind, ())):
            return f"Unknown parameter: 'input[{at}].{wrong}'."
        for part in parts_of(item):
            given = {key: value for key, value in part.items() if key not in ("type", "detail")}
            if part["type"] == "input_file" and (wrong := _refuse_file(given)):
                return f"Invalid value for 'input[{at}].content': {wrong}"
        if kind == "function_call":
            pending.add(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in pending:
                return f"No tool call found for function call output with call_id {item['call_id']}"
            pending.remove(item["call_id"])
        elif kind == "reasoning":
            if not str(item.get("encrypted_content")).startswith("sealed("):
                return f"The encrypted content for item {item['id']} could not be verified."
            after = items[at + 1].get("type", "message") if at + 1 < len(items) else None
            if after not in ("message", "function_call", "reasoning"):
                return f"Item '{item['id']}' of type 'reasoning' was provided without its required "
    return f"No tool output found for function call {min(pending)}." if pending else None


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a message or an item; none where it holds a string."""
    content = message.get("content")
    return content if isinstance(content, list) else []


def paper_in(file: dict[str, Any]) -> Paper:
    """Raises ValueError, LookupError for what is none."""
    head, _, data = file["file_data"].partition(",")
    if head != "data:application/pdf;base64":
        raise ValueError(head)
    return paper(file["filename"], data)


def _refuse_file(file: dict[str, Any]) -> str | None:
    if wrong := _unknown(file, ("filename", "file_data", "file_id", "file_url")):
        return f"Unknown parameter: '{wrong}'."
    try:
        paper_in(file)
    except LookupError as lacks:
        return f"Missing required parameter: {lacks}."
    except ValueError as wrong:
        return (
            "Expected a base64-encoded data URL with an application/pdf MIME type (e.g. "
            f"'data:application/pdf;base64,aGVsbG8='), but got {wrong}."
        )
    return None


def _unknown(given: dict[str, Any], known: Collection[str]) -> str | None:
    return next((key for key in given if key not in known), None)
