"""A request in the words of Anthropic's Messages API, version 2026-10-21.

https://platform.claude.com/docs/en/api/messages. What is mapped, beside the conversation (see
anthropic_turns.py):

- `max_tokens`, which the API must have, is the model's most where the client set no limit.
- Effort, for a model that takes degrees: `thinking: adaptive` and `output_config.effort`; `none` is
  `disabled`, and `minimal`, of a model that has it, `between_tools`. For a model that takes a
  number of tokens: `thinking: enabled` with that budget. Thoughts are asked for in summary, as
  otherwise newer models send none of their text.
- A model that is made to call a tool is told not to think, where it can be: some do by default,
  and the API does not take both.
- A model with a budget goes on without thinking where it is in the midst of calls that it did not
  begin with thinking of its own (another model did, or the client kept none of it): the API
  refuses to take it up there.
- Sampling is no longer part of the API: a model that takes it still is asked in version 2023-06-01.
- Caching is asked for, to the end of the prompt, where the prompt will likely come again, longer:
  with tools, or from the second answer on. What the client marked is not looked at.
- A conversation with calls but no tools to call gets those that it names, and the choice `none`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.catalogue.cloud import CloudModel, Feature
from server.chat.checks import invalid
from server.chat.messages import Message
from server.chat.request import ChatRequest
from server.chat.tools import Tool
from server.providers.ability import check_ability, check_said, output_limit
from server.providers.anthropic_turns import signed, system_and_turns
from server.providers.effort import asked_budget, asked_effort, nearest_effort
from server.providers.schemas import Schema, bound, subschemas

_FEATURES: frozenset[Feature] = frozenset(
    ("tools", "parallel_tools", "tool_choice", "schema", "thinking", "stop", "temperature", "top_k")
)
"""There is no JSON without a schema (`json`), and one choice only."""
_UNBOUND = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_UNBOUND |= {"minLength", "maxLength", "maxItems", "uniqueItems", "contains", "prefixItems", "not"}
_UNBOUND |= {"minProperties", "maxProperties", "patternProperties", "propertyNames", "if", "then"}
_UNBOUND |= {"else", "dependentRequired", "dependentSchemas", "unevaluatedProperties"}
_COMBINED = ("anyOf", "oneOf", "allOf")


def anthropic_body(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    """Raises RequestError, naming the field, for what cannot be said."""
    sampling = check_ability(request, model, _FEATURES)
    max_tokens = output_limit(request, model)
    system, turns = system_and_turns(request.messages, model.name)
    check_said(turns, model)
    body: dict[str, Any] = {"model": model.name, "max_tokens": max_tokens, "stream": True}
    if system:
        body["system"] = system
    body["messages"] = turns
    body |= _tools(request)
    body |= _thinking(request, model, max_tokens)
    if request.response_format is not None:
        body.setdefault("output_config", {})["format"] = _format(request)
    if request.stop:
        body["stop_sequences"] = _stop(request.stop)
    body |= _sampling(sampling, "budget_tokens" in body.get("thinking", {}))
    if _recurs(request) and model.price.rate.cache_write is not None:
        body["cache_control"] = {"type": "ephemeral"}
    return body


def _tools(request: ChatRequest) -> dict[str, Any]:
    use = request.tool_use
    if not use.tools:
        names = dict.fromkeys(
            call["function"]["name"]
            for message in request.messages
            for call in message.get("tool_calls", ())
        )
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
        return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(use.tools)]
    choice: dict[str, Any] = {"type": {"required": "any"}.get(use.choice, use.choice)}
    if use.choice == "required" and len(tools) == 1:
        choice = {"type": "tool", "name": tools[0]["name"]}
    if request.parallel_tool_calls is False and use.choice != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}


def _tool(tool: Tool, place: str) -> dict[str, Any]:
    function = tool["function"]
    name, what = function["name"], f"the tool '{function['name']}'"
    place += ".function.parameters"
    schema: Schema = {"type": "object", **function.get("parameters", {})}
    combined = next((key for key in _COMBINED if key in schema), None)
    if combined is not None:
        raise invalid(
            f"{place}.{combined}",
            f"the parameters of {what} are a combination ('{combined}'), which this model's API "
            "does not take",
            "Say it below a property, or ask for another model",
        )
    written = {"name": name, "input_schema": schema}
    if "description" in function:
        written["description"] = function["description"]
    if function.get("strict"):
        written["strict"] = True
        written["input_schema"] = _closed(bound(schema, place, what, _lacks))
    return written


def _format(request: ChatRequest) -> dict[str, Any]:
    form = request.response_format
    assert form is not None
    place = "response_format.json_schema.schema"
    schema = bound(form["json_schema"]["schema"], place, "the answer", _lacks)
    return {"type": "json_schema", "schema": _closed(schema)}


def _lacks(node: Schema) -> str | None:
    """Of https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
    if node.get("minItems", 0) not in (0, 1):
        return "minItems"
    if node.get("additionalProperties", False) is not False:
        return "additionalProperties"
    return next((key for key in node if key in _UNBOUND), None)


def _closed(schema: Schema) -> Schema:
    """Objects have no other members than those named; the API wants that to be said."""
    for node, _ in subschemas(schema, ""):
        if node.get("type") == "object" or "properties" in node:
            node["additionalProperties"] = False
    return schema


def _thinking(request: ChatRequest, model: CloudModel, max_tokens: int) -> dict[str, Any]:
    effort = asked_effort(request)
    degrees = [one for one in model.efforts if one != "none"]
    counted = model.thinking_budget is not None and (
        not degrees or request.thinking_budget is not None
    )
    if request.tool_use.choice == "required":
        if request.thinking:
            why = "a model of Anthropic's that thinks cannot be made to call a tool"
            raise invalid("tool_choice", why, "Send 'auto', or do not ask it to think")
        return {"thinking": {"type": "disabled"}} if "none" in model.efforts else {}
    if counted:
        if not request.thinking or _amid_calls(request.messages, model.name):
            off = effort is not None and "none" in model.efforts
            return {"thinking": {"type": "disabled"}} if off else {}
        budget = min(asked_budget(request, model, max_tokens), max_tokens - 1)
        assert model.thinking_budget is not None
        if budget < model.thinking_budget[0]:
            why = f"thinking takes {model.thinking_budget[0]} tokens of it at least"
            raise invalid("max_tokens", why, "Allow more, or do not ask the model to think")
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    on = {"thinking": {"type": "adaptive", "display": "summarized"}}
    if effort == "none" and "none" in model.efforts:
        return {"thinking": {"type": "disabled"}}
    if effort is None or not degrees:
        return on if request.thinking else {}
    chosen = nearest_effort(effort, degrees)
    if chosen == "minimal":
        return {"thinking": {"type": "between_tools"}}
    said = {"output_config": {"effort": chosen}}
    return {**on, **said} if request.thinking else said


def _amid_calls(messages: Sequence[Message], model: str) -> bool:
    """Whether tools have just answered calls of an answer without thinking that `model` signed."""
    answered = False
    for message in reversed(messages):
        if message["role"] == "assistant":
            return answered and not signed(message, model)
        answered = answered or message["role"] == "tool"
    return False


def _sampling(sampling: dict[str, float], thinks: bool) -> dict[str, float]:
    """The API takes a temperature up to 1, it or `top_p`, and neither beside thinking."""
    sent = {
        name: value
        for name, value in sampling.items()
        if not (value <= 0 if name == "top_k" else value == 1)
    }
    if thinks and sent:
        name = next(iter(sent))
        raise invalid(name, "a model of Anthropic's that thinks takes none", "Leave it out")
    if sent.get("temperature", 0) > 1:
        raise invalid("temperature", "models of Anthropic's take 0 to 1", "Lower it")
    if "temperature" in sent and "top_p" in sent:
        why = "models of Anthropic's take it or 'temperature', not both"
        raise invalid("top_p", why, "Leave out one of them")
    return sent


def _stop(stops: tuple[str, ...]) -> list[str]:
    if any(not stop.strip() for stop in stops):
        why = "models of Anthropic's do not stop at white space alone"
        raise invalid("stop", why, "Stop at a word, or ask for another model")
    return list(stops)


def _recurs(request: ChatRequest) -> bool:
    return bool(request.tool_use.tools) or any(
        message["role"] == "assistant" for message in request.messages
    )
