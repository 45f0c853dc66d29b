"""What is done with every field of a body of /v1/messages: accepted, ignored or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.chat.anthropic.messages import parse_system, parse_turns
from server.chat.anthropic.tools import parse_choice, parse_tools
from server.chat.checks import (
    INT31,
    array,
    boolean,
    choice,
    integer,
    invalid,
    mapping,
    number,
    only,
    string,
)
from server.chat.fields import MAX_STOP_CHARACTERS, MAX_STOPS, Field
from server.chat.schema import parse_response_format
from server.errors import NoThreads

_stop_string = string(MAX_STOP_CHARACTERS, shortest=1)
_thinking_type = choice("adaptive", "enabled", "disabled", "between_tools")
_display = choice("summarized", "omitted")
_budget = integer(1024, INT31)
_effort = choice("low", "medium", "high", "xhigh", "max")
_format_type = choice("json_schema")


def _stops(value: Any, name: str) -> tuple[str, ...]:
    stops = array(value, name, longest=MAX_STOPS)
    return tuple(_stop_string(one, f"{name}[{index}]") for index, one in enumerate(stops))


def _thinking(value: Any, name: str) -> dict[str, Any]:
    given = mapping(value, name)
    only(given, name, frozenset(("type", "budget_tokens", "display")))
    kind = _thinking_type(given.get("type"), f"{name}.type")
    if given.get("display") is not None:
        _display(given["display"], f"{name}.display")
    if kind == "enabled":
        _budget(given.get("budget_tokens"), f"{name}.budget_tokens")
    elif given.get("budget_tokens") is not None:
        raise invalid(f"{name}.budget_tokens", f"it has no meaning with type '{kind}'")
    return given


def _output_config(value: Any, name: str) -> dict[str, Any]:
    given = mapping(value, name)
    only(given, name, frozenset(("effort", "format")))
    config: dict[str, Any] = {}
    if given.get("effort") is not None:
        config["effort"] = _effort(given["effort"], f"{name}.effort")
    if given.get("format") is not None:
        config["format"] = _format(given["format"], f"{name}.format")
    return config


def _format(value: Any, name: str) -> dict[str, Any] | None:
    form = mapping(value, name)
    _format_type(form.get("type"), f"{name}.type")
    only(form, name, frozenset(("type", "schema", "name")))
    schema = mapping(form.get("schema"), f"{name}.schema")
    return parse_response_format({"type": "json_schema", "json_schema": {"schema": schema}}, name)


def _no_threads(value: Any, name: str) -> Any:
    raise NoThreads(
        "No conversation is kept", next_step=f"Send all of it, without '{name}'", param=name
    )


def _accepted(name: str, note: str, check: Any) -> Field:
    return Field(name, "accepted", note, check)


def _ignored(name: str, note: str) -> Field:
    return Field(name, "ignored", note)


def _refused(name: str, note: str, *neutral: Any) -> Field:
    return Field(name, "refused", note, neutral=neutral)


_PROMPT = (
    _accepted("model", "a name from /v1/models", string(256, shortest=1)),
    _accepted("messages", "1 to 10,000; see below", parse_turns),
    _accepted("system", "a string or text blocks", parse_system),
    _accepted("tools", "up to 512 tools of the client's own; see below", parse_tools),
    _accepted("tool_choice", "auto, any, tool or none; `disable_parallel_tool_use`", parse_choice),
    _accepted("thinking", "adaptive, enabled, disabled or between_tools", _thinking),
    _accepted("output_config", "`effort`, and `format` with a JSON schema", _output_config),
    _ignored("cache_control", "prompts are cached by their beginning, without marks"),
    _ignored("context_management", "the conversation stays as it was sent"),
    _refused("mcp_servers", "offer what they can do as `tools`", []),
    _refused("speed", "there is one speed", "standard"),
    Field("thread", "refused", "no conversation is kept; send all of its turns", _no_threads),
    _refused("compaction", "ask a model for a summary, as of any other text"),
)

_ANSWER = (
    _accepted("max_tokens", "1 or more; required", integer(1, INT31)),
    _accepted("stream", "true or false", boolean),
    _accepted("stop_sequences", f"up to {MAX_STOPS} strings", _stops),
    _accepted("temperature", "0 to 1", number(0, 1)),
    _accepted("top_p", "above 0, to 1", number(0, 1, above_low=True)),
    _accepted("top_k", "0 (off) or more", integer(0, INT31)),
    _accepted("task_type", "a hint for routing: coding, reasoning, ...", string(64)),
    _ignored("metadata", "nothing is kept or done with it, and no provider sees it"),
    _ignored("service_tier", "there is one"),
    _ignored("diagnostics", "there are none to give"),
    _ignored("user_profile_id", "nothing is kept or done with it"),
    _refused("container", "there are no containers; offer what runs code as a tool"),
    _refused("inference_geo", "where a model runs is a matter of routes, not of requests"),
    _refused("billing_policy", "who pays is a matter of keys, not of requests"),
    _refused("fallback_credit_token", "there are none here"),
    _refused("fallbacks", "what follows a refusal is a matter of routes, not of requests"),
)

WORDS = {
    "stop": "stop_sequences",
    "reasoning_effort": "thinking",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format.json_schema.schema": "output_config.format.schema",
    "response_format": "output_config.format",
    ".function.parameters": ".input_schema",
}
"""See server.chat.words."""

MESSAGES: Mapping[str, Field] = {field.name: field for field in (*_PROMPT, *_ANSWER)}
COUNT: Mapping[str, Field] = {field.name: field for field in _PROMPT}
"""Of /v1/messages/count_tokens."""
