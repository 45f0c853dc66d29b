"""Every request field that Holdfast knows, and what becomes of it: the table of the boundary.

Nothing that is not in this table reaches an engine, and what is `accepted` is checked and written
anew. `ignored` fields change nothing that could be kept or generated here; `refused` ones would,
so that taking them silently would be a lie. A field whose value is null counts as not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.chat.checks import (
    INT31,
    Check,
    array,
    boolean,
    choice,
    integer,
    invalid,
    mapping,
    number,
    only,
    string,
    wrong_type,
)
from server.chat.messages import parse_messages
from server.chat.prompt import parse_prompt
from server.chat.schema import parse_response_format
from server.chat.tools import parse_tools
from server.errors import RequestError

MAX_N = 16
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1024
MAX_LOGIT_BIASES = 1024

EFFORTS: Mapping[str, bool] = {
    "none": False,
    "minimal": False,
    "low": True,
    "medium": True,
    "high": True,
    "xhigh": True,
    "max": True,
}
"""`reasoning_effort` -> thinking on or off. Qwen3.5 has no degrees between; clouds may."""

_effort = choice(*EFFORTS)
_stop_string = string(MAX_STOP_CHARACTERS, shortest=1)
_bias = number(-100, 100)


def _stop(value: Any, name: str) -> tuple[str, ...]:
    if type(value) is str:
        return (_stop_string(value, name),)
    if type(value) is not list:
        raise wrong_type(name, "a string or an array of strings", value)
    stops = array(value, name, longest=MAX_STOPS)
    return tuple(_stop_string(one, f"{name}[{index}]") for index, one in enumerate(stops))


def _logit_bias(value: Any, name: str) -> dict[str, float]:
    biases = mapping(value, name)
    if len(biases) > MAX_LOGIT_BIASES:
        raise invalid(name, f"it has more than {MAX_LOGIT_BIASES} entries")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdigit() and len(token) <= 10):
            raise invalid(name, f"'{token[:32]}' is not a token id", "Use ids as keys")
        _bias(bias, f"{name}.{token}")
    return biases


def _stream_options(value: Any, name: str) -> bool:
    """Whether usage is to be sent at the end."""
    known = frozenset(("include_usage", "include_obfuscation"))
    only(mapping(value, name), name, known)
    for key, one in value.items():
        if one is not None:
            boolean(one, f"{name}.{key}")
    return bool(value.get("include_usage"))


def _template_kwargs(value: Any, name: str) -> bool | None:
    """Template variables can rewrite the whole prompt (CVE-2025-62426): one of them is known."""
    why = "of the chat template's variables only 'enable_thinking' may be set"
    only(mapping(value, name), name, frozenset(("enable_thinking",)), why)
    thinking = value.get("enable_thinking")
    return None if thinking is None else boolean(thinking, f"{name}.enable_thinking")


def _reasoning(value: Any, name: str) -> str | bool | None:
    """The effort, or else whether to think at all."""
    only(mapping(value, name), name, frozenset(("effort", "enabled")))
    if value.get("effort") is not None:
        return _effort(value["effort"], f"{name}.effort")
    enabled = value.get("enabled")
    return None if enabled is None else boolean(enabled, f"{name}.enabled")


def _as_given(value: Any, name: str) -> Any:
    return value


Policy = Literal["accepted", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    policy: Policy
    note: str
    """For the documentation: the bounds, or why it is ignored or refused (and what to use)."""
    check: Check[Any] | None = None
    """Of an accepted field; returns the value as the request keeps it."""
    neutral: tuple[Any, ...] = ()
    """Values of a refused field that ask for nothing and are let pass."""


def accepted(name: str, note: str, check: Check[Any]) -> Field:
    return Field(name, "accepted", note, check)


def ignored(name: str, note: str) -> Field:
    return Field(name, "ignored", note)


def refused(name: str, note: str, *neutral: Any) -> Field:
    return Field(name, "refused", note, neutral=neutral)


_BOTH = (
    accepted("model", "a name from /v1/models", string(256, shortest=1)),
    accepted("stream", "true or false", boolean),
    accepted("stream_options", "`include_usage`; only with `stream: true`", _stream_options),
    accepted("max_tokens", "1 or more", integer(1, INT31)),
    accepted("n", f"1 to {MAX_N}, and at most the engine's slots", integer(1, MAX_N)),
    accepted("stop", f"a string, or up to {MAX_STOPS} of them", _stop),
    accepted("seed", "any 64-bit integer", integer(-(2**63), 2**63 - 1)),
    accepted("temperature", "0 to 2; 0 is greedy: no defaults of the model then", number(0, 2)),
    accepted("top_p", "above 0, to 1", number(0, 1, above_low=True)),
    accepted("presence_penalty", "-2 to 2", number(-2, 2)),
    accepted("frequency_penalty", "-2 to 2", number(-2, 2)),
    accepted("logit_bias", "token id -> -100 to 100", _logit_bias),
    accepted("top_k", "-1 or 0 (off), or more; an extension, as in vLLM", integer(-1, INT31)),
    accepted("min_p", "0 to 1; an extension, as in vLLM", number(0, 1)),
    accepted(
        "repetition_penalty",
        "above 0, to 2; an extension, as in vLLM",
        number(0, 2, above_low=True),
    ),
    accepted("task_type", "a hint for routing: coding, reasoning, ...", string(64)),
    ignored("user", "nothing is kept or done with it"),
)

_CHAT_ONLY = (
    accepted("messages", "1 to 10,000; see below", parse_messages),
    accepted("max_completion_tokens", "1 or more; the newer `max_tokens`", integer(1, INT31)),
    accepted("tools", "up to 512 functions and `custom` tools", parse_tools),
    accepted("tool_choice", "none, auto, required, a named tool or `allowed_tools`", _as_given),
    accepted("parallel_tool_calls", "true or false", boolean),
    accepted(
        "response_format", "text, json_object or json_schema; not with tools", parse_response_format
    ),
    accepted("logprobs", "true or false; not with tools in a stream", boolean),
    accepted("top_logprobs", "0 to 20; needs `logprobs: true`", integer(0, 20)),
    accepted("reasoning_effort", "none, minimal: no thinking; low and above: thinking", _effort),
    accepted("reasoning", "`effort` or `enabled`; an extension, as at OpenRouter", _reasoning),
    accepted(
        "chat_template_kwargs",
        "`enable_thinking` alone; an extension, as in vLLM",
        _template_kwargs,
    ),
    accepted("enable_thinking", "true or false; an extension, as at Alibaba Cloud", boolean),
    ignored("metadata", "nothing is stored"),
    ignored("store", "nothing is stored"),
    ignored("service_tier", "there is one"),
    ignored("safety_identifier", "nothing is kept or done with it"),
    ignored("prompt_cache_key", "prompts are cached by their beginning, without a key"),
    ignored("prompt_cache_options", "prompts are cached by their beginning"),
    ignored("prompt_cache_retention", "the cache lives as long as its slot"),
    ignored("prediction", "it could only save time"),
    ignored("verbosity", "Qwen3.5 has no such control; say it in the prompt"),
    refused("modalities", 'answers are text; only ["text"] is let pass', ["text"]),
    refused("audio", "answers are text"),
    refused("web_search_options", "there is no web search; offer one as a tool"),
    refused("moderation", "there is no moderation here"),
    refused("functions", "use `tools`", []),
    refused("function_call", "use `tool_choice`"),
)

_COMPLETIONS_ONLY = (
    accepted("prompt", "a string or an array of token ids; one prompt per request", parse_prompt),
    accepted("logprobs", "0 to 20", integer(0, 20)),
    refused("best_of", "use `n` and choose; only 1 is let pass", 1),
    refused("echo", "the engine cannot; only false is let pass", False),
    refused("suffix", "the engine cannot; only an empty one is let pass", ""),
)

CHAT: Mapping[str, Field] = {field.name: field for field in (*_CHAT_ONLY, *_BOTH)}
COMPLETIONS: Mapping[str, Field] = {field.name: field for field in (*_COMPLETIONS_ONLY, *_BOTH)}


class Reader:
    """Reads the given fields of one endpoint's requests."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._checks = {field.name: field.check for field in fields.values() if field.check}

    def read(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Name -> checked value of every accepted field that is given. Raises RequestError."""
        given = {}
        for name, value in body.items():
            check = self._checks.get(name)
            if check is None:
                self._pass_over(name, value)
            elif value is not None:
                given[name] = check(value, name)
        return given

    def _pass_over(self, name: str, value: Any) -> None:
        field = self._fields.get(name)
        if field is None:
            raise _unknown(name)
        if field.policy == "refused" and value is not None and not _among(value, field.neutral):
            raise RequestError(
                f"Unsupported parameter: '{name}'", why=field.note.replace("`", "'"), param=name
            )


def _among(value: Any, neutral: tuple[Any, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in neutral)


def _unknown(name: str) -> RequestError:
    shown = name[:64]
    return RequestError(
        f"Unrecognized request argument supplied: {shown}",
        next_step="The README lists the fields that are known; settings of an engine are not",
        param=shown,
    )


def fields_table(fields: Mapping[str, Field]) -> str:
    """The fields as a Markdown table, for the documentation."""
    order: tuple[Policy, ...] = ("accepted", "ignored", "refused")
    rows = sorted(fields.values(), key=lambda field: (order.index(field.policy), field.name))
    lines = ["| field | | what is taken, or why not |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.policy} | {row.note} |" for row in rows]
    return "\n".join(lines) + "\n"
