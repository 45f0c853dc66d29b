"""A request in the words of Gemini's `generateContent`.

https://ai.google.dev/api/generate-content. What is mapped, beside the conversation
(gemini_turns.py) and schemas (gemini_schema.py):

- Effort, for a model that takes degrees, is `thinkingLevel`; for one that takes a number of tokens,
  `thinkingBudget`, where `none` is 0. Thoughts are asked for in summary where the client wants the
  model to think.
- Tools with `strict` are called in mode VALIDATED, which keeps to their schemas.
- A seed is taken modulo 2^31.
- That no two tools be called at once cannot be said.
"""

from __future__ import annotations

import re
from typing import Any

from server.catalogue.cloud import CloudModel, Feature
from server.chat.checks import invalid
from server.chat.request import ChatRequest
from server.chat.tools import Tool
from server.providers.ability import cannot, check_ability, check_said, output_limit
from server.providers.effort import asked_budget, asked_effort, nearest_effort
from server.providers.gemini_schema import binding, describing
from server.providers.gemini_turns import system_and_contents

_FEATURES: frozenset[Feature] = frozenset(
    (
        "tools",
        "parallel_tools",
        "tool_choice",
        "schema",
        "json",
        "thinking",
        "n",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "penalties",
    )
)
_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_TOOL_NAME = re.compile(r"[a-zA-Z_].*")
_MOST_STOPS = 5
_MODES = {"none": "NONE", "required": "ANY", "auto": "AUTO"}


def gemini_body(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    """Raises RequestError, naming the field, for what cannot be said."""
    sampling = check_ability(request, model, _FEATURES)
    degrees = any(one != "none" for one in model.efforts)
    system, contents = system_and_contents(request.messages, model.name, signed=degrees)
    check_said(contents, model)
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if request.tool_use.tools:
        body |= _tools(request, model)
    config = _config(request, model, sampling)
    thinking = _thinking(request, model, config["maxOutputTokens"])
    if thinking:
        config["thinkingConfig"] = thinking
    body["generationConfig"] = config
    return body


def _tools(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    use = request.tool_use
    if request.parallel_tool_calls is False and use.choice != "none":
        what = "cannot be kept from calling several tools at once"
        raise cannot(model, "parallel_tool_calls", what)
    declared = [_declaration(tool, f"tools[{index}]") for index, tool in enumerate(use.tools)]
    mode = _MODES[use.choice]
    if mode == "AUTO" and any(tool["function"].get("strict") for tool in use.tools):
        mode = "VALIDATED"
    tools: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]}
    if mode != "AUTO":
        tools["toolConfig"] = {"functionCallingConfig": {"mode": mode}}
    return tools


def _declaration(tool: Tool, place: str) -> dict[str, Any]:
    function = tool["function"]
    name = function["name"]
    if not _TOOL_NAME.fullmatch(name):
        why = f"models of Gemini's take no tool whose name begins as '{name}' does"
        raise invalid(f"{place}.function.name", why, "Begin it with a letter or an underscore")
    declared: dict[str, Any] = {"name": name}
    if function.get("description"):
        declared["description"] = function["description"]
    schema = function.get("parameters", {})
    if schema.get("properties") or schema.get("additionalProperties"):  # else there are none
        at = f"{place}.function.parameters"
        typed = {"type": "object", **schema}
        strict = function.get("strict")
        declared["parametersJsonSchema"] = (
            binding(typed, at, f"the tool '{name}'") if strict else describing(typed)
        )
    return declared


def _config(request: ChatRequest, model: CloudModel, sampling: dict[str, float]) -> dict[str, Any]:
    config: dict[str, Any] = {
        _NAMES[name]: value for name, value in sampling.items() if name != "top_k" or value > 0
    }
    config["maxOutputTokens"] = output_limit(request, model)
    if request.n > 1:
        config["candidateCount"] = request.n
    if request.seed is not None:
        config["seed"] = request.seed % 2**31
    if len(request.stop) > _MOST_STOPS:
        raise invalid("stop", f"models of Gemini's take {_MOST_STOPS} at most", "Send fewer")
    if request.stop:
        config["stopSequences"] = list(request.stop)
    form = request.response_format
    if form is not None:
        config["responseMimeType"] = "application/json"
        if form["type"] == "json_schema":
            place = "response_format.json_schema.schema"
            schema = binding(form["json_schema"]["schema"], place, "the answer")
            config["responseJsonSchema"] = schema
    return config


def _thinking(request: ChatRequest, model: CloudModel, max_tokens: int) -> dict[str, Any]:
    shown = {"includeThoughts": True} if request.thinking else {}
    effort = asked_effort(request)
    degrees = [one for one in model.efforts if one != "none"]
    if effort is None or not (degrees or model.thinking_budget):
        return shown
    if degrees and (model.thinking_budget is None or request.thinking_budget is None):
        chosen = nearest_effort(effort, degrees)
        return {**shown, "thinkingLevel": chosen.upper()}
    if effort == "none" and "none" in model.efforts:
        return {"thinkingBudget": 0}
    return {**shown, "thinkingBudget": asked_budget(request, model, max_tokens)}
