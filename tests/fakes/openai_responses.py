"""OpenAI's /v1/responses, played; see openai_api.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.fakes.openai_rules import paper_in, parts_of
from tests.fakes.script import Script, script_of, tokens

CREATED = 1_790_000_000
PAGE = 1000
"""Tokens of a page of a PDF; OpenAI publishes none."""


def script_of_response(body: dict[str, Any]) -> Script:
    given = body["input"]
    if isinstance(given, str):
        return script_of(body["model"], given, None, given)
    user, said = "", None
    for item in given:
        if item.get("role") == "user":
            user, said = _text(item["content"]), None
        elif item.get("type") == "function_call_output":
            output = _text(item["output"])
            said = f"{said} {output}" if said else output
    papers = [
        paper_in(part) for item in given for part in parts_of(item) if part["type"] == "input_file"
    ]
    return script_of(body["model"], user, said, orjson.dumps(given).decode(), papers, PAGE)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def response_of(
    body: dict[str, Any], script: Script, *, status: str | None = None, output: Any = None
) -> dict[str, Any]:
    """The answer; with `status` and `output`, as far as it has come."""
    ended = "incomplete" if script.end == "length" else "completed"
    whole = status is None
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": CREATED,
        "status": status or ended,
        "background": False,
        "error": None,
        "incomplete_details": (
            {"reason": "max_output_tokens"} if whole and ended == "incomplete" else None
        ),
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": f"{body['model']}-2026-08-07",
        "output": output if output is not None else [item for item, _ in _items(script)],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(script) if whole else None,
        "metadata": {},
    }


def _usage(script: Script) -> dict[str, Any]:
    return {
        "input_tokens": script.prompt_tokens,
        "input_tokens_details": {"cached_tokens": script.cached},
        "output_tokens": script.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
        "total_tokens": script.prompt_tokens + script.completion_tokens,
    }


def _items(script: Script) -> Iterator[tuple[dict[str, Any], str]]:
    """Each item of the output, and the text in it that a stream brings piece by piece."""
    if script.thinking:
        summary = {"type": "summary_text", "text": script.thinking}
        yield (
            {
                "id": "rs_fake",
                "type": "reasoning",
                "summary": [summary],
                "encrypted_content": f"sealed({script.thinking})",
            },
            script.thinking,
        )
    if script.text or script.refusal:
        part: dict[str, Any] = {"type": "refusal", "refusal": script.refusal}
        if script.text:
            part = {
                "type": "output_text",
                "text": script.text,
                "annotations": [],
                "logprobs": [],
            }
        yield (
            {
                "id": "msg_fake",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [part],
            },
            script.text or script.refusal,
        )
    for index, (name, arguments) in enumerate(script.calls):
        yield (
            {
                "id": f"fc_{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{index}",
                "name": name,
                "arguments": arguments,
            },
            arguments,
        )


def events_of(body: dict[str, Any], script: Script) -> Iterator[dict[str, Any]]:
    """The typed events of a stream, in their order."""
    for number, event in enumerate(_events(body, script)):
        yield {**event, "sequence_number": number}


def _events(body: dict[str, Any], script: Script) -> Iterator[dict[str, Any]]:
    begun = response_of(body, script, status="in_progress", output=[])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, (item, text) in enumerate(_items(script)):
        place = {"output_index": index, "item_id": item["id"]}
        empty = {**item, "status": "in_progress"}
        if item["type"] == "reasoning":
            empty = {"id": item["id"], "type": "reasoning", "summary": []}
        elif item["type"] == "message":
            empty["content"] = []
        else:
            empty["arguments"] = ""
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        yield from _inside(item, text, place)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    whole = response_of(body, script)
    yield {"type": f"response.{whole['status']}", "response": whole}


def _inside(item: dict[str, Any], text: str, place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if item["type"] == "function_call":
        kind = "response.function_call_arguments"
        for piece in tokens(text):
            yield {"type": f"{kind}.delta", **place, "delta": piece, "obfuscation": "x"}
        yield {"type": f"{kind}.done", **place, "arguments": text, "name": item["name"]}
        return
    if item["type"] == "reasoning":
        kind, place = "response.reasoning_summary", {**place, "summary_index": 0}
        part, name = item["summary"][0], "text"
        kinds = (f"{kind}_part.added", f"{kind}_text", f"{kind}_part.done")
    else:
        place = {**place, "content_index": 0}
        part = item["content"][0]
        name = "refusal" if part["type"] == "refusal" else "text"
        words = "response.refusal" if name == "refusal" else "response.output_text"
        kinds = ("response.content_part.added", words, "response.content_part.done")
    more: dict[str, Any] = {"logprobs": []} if kinds[1] == "response.output_text" else {}
    yield {"type": kinds[0], **place, "part": {**part, name: ""}}
    for piece in tokens(text):
        yield {"type": f"{kinds[1]}.delta", **place, "delta": piece, **more}
    yield {"type": f"{kinds[1]}.done", **place, name: text, **more}
    yield {"type": kinds[2], **place, "part": part}
