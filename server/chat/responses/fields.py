"""What is done with every field of a body of /v1/responses: accepted, ignored or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.chat.checks import (
    INT31,
    array,
    boolean,
    choice,
    integer,
    invalid,
    mapping,
    missing,
    number,
    only,
    string,
)
from server.chat.fields import EFFORTS, Field, accepted, ignored, refused
from server.chat.messages import MAX_MESSAGES
from server.chat.schema import parse_response_format
from server.chat.tools import MAX_TOOLS
from server.errors import RequestError

MAX_METADATA = 16

_effort = choice(*EFFORTS)
_summary = choice("auto", "concise", "detailed")
_format = choice("text", "json_object", "json_schema")
_verbosity = choice("low", "medium", "high")
_key, _value = string(64, shortest=1), string(512)
_include = choice(
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)


def as_here(error: RequestError) -> RequestError:
    """An error about chat completions' tools and formats, in the places of this API."""
    what, param = error.what, error.param or ""
    for there in (".json_schema", ".function", ".allowed_tools"):
        what, param = what.replace(there, ""), param.replace(there, "")
    return type(error)(what, why=error.why, next_step=error.next_step, param=param or None)


def _input(value: Any, name: str) -> list[Any]:
    """Items; a string is what the user says. What they say is read with those before them."""
    if type(value) is str:
        return [{"type": "message", "role": "user", "content": value}]
    return array(value, name, shortest=1, longest=MAX_MESSAGES)


def _tools(value: Any, name: str) -> list[Any]:
    """As they were given: what they are is read with those that stand in the input (toolbox.py)."""
    return array(value, name, longest=MAX_TOOLS)


def _text(value: Any, name: str) -> dict[str, Any] | None:
    """The forced format; None: there is none."""
    given = mapping(value, name)
    only(given, name, frozenset(("format", "verbosity")))
    if given.get("verbosity") is not None:
        _verbosity(given["verbosity"], f"{name}.verbosity")
    if given.get("format") is None:
        return None
    place = f"{name}.format"
    form = mapping(given["format"], place)
    if _format(form.get("type"), f"{place}.type") != "json_schema":
        return parse_response_format(form, place)
    for key in ("name", "schema"):
        if key not in form:
            raise missing(f"{place}.{key}")
    try:
        return parse_response_format({"type": "json_schema", "json_schema": form}, place)
    except RequestError as error:
        raise as_here(error) from None


def _reasoning(value: Any, name: str) -> dict[str, Any]:
    given = mapping(value, name)
    only(given, name, frozenset(("effort", "summary", "generate_summary", "context")))
    if given.get("effort") is not None:
        _effort(given["effort"], f"{name}.effort")
    for key in ("summary", "generate_summary"):
        if given.get(key) is not None:
            _summary(given[key], f"{name}.{key}")
    return given


def _metadata(value: Any, name: str) -> dict[str, Any]:
    given = mapping(value, name)
    if len(given) > MAX_METADATA:
        raise invalid(name, f"it has more than {MAX_METADATA} entries")
    for key, one in given.items():
        _key(key, f"{name} (a key)")
        _value(one, f"{name}.{key}")
    return given


def _included(value: Any, name: str) -> frozenset[str]:
    given = array(value, name, longest=64)
    return frozenset(_include(one, f"{name}[{index}]") for index, one in enumerate(given))


def _stream_options(value: Any, name: str) -> None:
    given = mapping(value, name)
    only(given, name, frozenset(("include_obfuscation",)))
    if given.get("include_obfuscation") is not None:
        boolean(given["include_obfuscation"], f"{name}.include_obfuscation")


def _as_given(value: Any, name: str) -> Any:
    return value


_FIELDS = (
    accepted("model", "a name from /v1/models", string(256, shortest=1)),
    accepted("input", "a string or items; see below", _input),
    accepted("instructions", "the system prompt, of this request alone", string(16 * 2**20)),
    accepted("stream", "true or false", boolean),
    accepted("stream_options", "nothing is obfuscated", _stream_options),
    accepted("max_output_tokens", "1 or more", integer(1, INT31)),
    accepted("temperature", "0 to 2", number(0, 2)),
    accepted("top_p", "above 0, to 1", number(0, 1, above_low=True)),
    accepted("top_logprobs", "0 to 20; not with tools", integer(0, 20)),
    accepted("tools", "up to 512 of the client's own: functions, `custom`, namespaces", _tools),
    accepted("tool_choice", "none, auto, required, a tool or `allowed_tools`", _as_given),
    accepted("parallel_tool_calls", "true or false", boolean),
    accepted("text", "`format`: text, json_object or json_schema; not with tools", _text),
    accepted("reasoning", "`effort`; with `summary` thinking is given as such", _reasoning),
    accepted("include", "encrypted reasoning always is; `...output_text.logprobs`", _included),
    accepted("previous_response_id", "of one that is still kept here", string(256, shortest=1)),
    accepted("store", "false: nothing is kept for `previous_response_id`", boolean),
    accepted("metadata", f"up to {MAX_METADATA} strings; given back", _metadata),
    accepted("task_type", "a hint for routing: coding, reasoning, ...", string(64)),
    ignored("user", "nothing is kept or done with it"),
    ignored("client_metadata", "nothing is kept or done with it"),
    ignored("safety_identifier", "nothing is kept or done with it"),
    ignored("service_tier", "there is one"),
    ignored("prompt_cache_key", "prompts are cached by their beginning, without a key"),
    ignored("prompt_cache_options", "prompts are cached by their beginning"),
    ignored("prompt_cache_retention", "the cache lives as long as its slot"),
    ignored("max_tool_calls", "it bounds tools that OpenAI runs; there are none here"),
    refused("truncation", "a conversation that is too long is refused", "disabled"),
    refused("background", "answer by answer, while the client is there", False),
    refused("conversation", "use `previous_response_id`, or send all items"),
    refused("prompt", "no prompts are kept here"),
    refused("context_management", "the conversation stays as it was sent", []),
    refused("moderation", "there is no moderation here"),
    refused("image", "images are not compressed"),
    refused("access_programs", "there are none here"),
)

WORDS = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema.schema": "text.format.schema",
    "response_format": "text.format",
    "logprobs": "include",
    ".function": "",
}
"""See server.chat.words."""

RESPONSES: Mapping[str, Field] = {field.name: field for field in _FIELDS}
