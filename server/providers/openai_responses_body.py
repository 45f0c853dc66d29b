"""A request in the words of OpenAI's Responses API.

https://platform.openai.com/docs/api-reference/responses. What is mapped:

- Nothing is kept there (`store: false`): reasoning comes back encrypted and goes out again, to the
  model whose it is, with the answer that it belongs to (`reasoning_details` of format
  "openai-responses": `id` and `data` are the item's, `index` its place in the output, `at` the
  characters of text before it).
- The system prompt is `instructions`. An answer's text and calls are items of their own.
- Reasoning is told in summary where the client asks for thinking; to think without a degree is
  `medium`.
- Tools are not strict, and schemas neither, unless the client says so; what OpenAI could not hold
  the model to is then refused (openai_schemas.py).
- A limit below the API's least is refused: the answer would be longer than was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from server.catalogue.cloud import CloudModel, Feature
from server.chat.checks import invalid
from server.chat.documents import file_name
from server.chat.messages import Message
from server.chat.reasoning_details import in_order
from server.chat.request import ChatRequest
from server.chat.tools import Tool
from server.providers.ability import check_ability, output_limit
from server.providers.call_ids import identified
from server.providers.openai_body import wanted_effort
from server.providers.openai_schemas import check_strict

FORMAT = "openai-responses"
LEAST_TOKENS = 16

_FEATURES: frozenset[Feature] = frozenset(get_args(Feature)) - frozenset(
    ("n", "seed", "stop", "top_k", "penalties", "logit_bias")
)
"""There is one choice only, and no seed, stop sequences, penalties or biases."""


def responses_body(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    """Raises RequestError, naming the field, for what cannot be said."""
    sampling = check_ability(request, model, _FEATURES)
    system, items = _system_and_items(request.messages, model.name)
    include = ["reasoning.encrypted_content"] if "thinking" in model.features else []
    body: dict[str, Any] = {
        "model": model.name,
        "input": items,
        "stream": True,
        "store": False,
        **sampling,
    }
    if system:
        body["instructions"] = system
    if request.max_tokens is not None:
        body["max_output_tokens"] = _limit(request, model)
    _check_strictness(request)
    if reasoning := _reasoning(request, model):
        body["reasoning"] = reasoning
    if request.tool_use.tools:
        body["tools"] = [_tool(tool) for tool in request.tool_use.tools]
        body["tool_choice"] = _tool_choice(request)
        if request.parallel_tool_calls is not None and "parallel_tools" in model.features:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["text"] = {"format": _format(request.response_format)}
    if request.top_logprobs is not None:
        body["top_logprobs"] = request.top_logprobs
        include.append("message.output_text.logprobs")
    if include:
        body["include"] = include
    return body


def _limit(request: ChatRequest, model: CloudModel) -> int:
    limit = output_limit(request, model)
    if limit < LEAST_TOKENS:
        why = f"models behind OpenAI's Responses API take {LEAST_TOKENS} tokens at least"
        raise invalid("max_tokens", why, "Allow more, or ask for another model")
    return limit


def _reasoning(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    reasoning: dict[str, Any] = {}
    effort = wanted_effort(request, model)
    if effort is not None:
        reasoning["effort"] = effort
    if request.thinking:
        reasoning["summary"] = "auto"
    return reasoning


def _check_strictness(request: ChatRequest) -> None:
    """Raises RequestError for a strict schema that OpenAI cannot hold a model to."""
    form = (request.response_format or {}).get("json_schema", {})
    if form.get("strict"):
        place = "response_format.json_schema.schema"
        check_strict(form["schema"], place, "the answer")
    for index, tool in enumerate(request.tool_use.tools):
        function = tool["function"]
        if function.get("strict"):
            place = f"tools[{index}].function.parameters"
            schema = {"type": "object", **function.get("parameters", {})}
            check_strict(schema, place, f"the tool '{function['name']}'")


def _tool(tool: Tool) -> dict[str, Any]:
    function = tool["function"]
    written = {"type": "function", "strict": False, "parameters": {"type": "object"}, **function}
    written["parameters"] = {"type": "object", "properties": {}, **written["parameters"]}
    return written


def _tool_choice(request: ChatRequest) -> Any:
    use = request.tool_use
    if use.choice == "required" and len(use.tools) == 1:
        return {"type": "function", "name": use.names[0]}
    return use.choice


def _format(form: Mapping[str, Any]) -> dict[str, Any]:
    if "json_schema" not in form:
        return dict(form)
    return {"type": "json_schema", "name": "answer", "strict": False, **form["json_schema"]}


def _system_and_items(messages: Sequence[Message], model: str) -> tuple[str, list[dict[str, Any]]]:
    system = ""
    items: list[dict[str, Any]] = []
    for message in identified(messages):
        role = message["role"]
        if role == "system":
            system = message["content"]
        elif role == "assistant":
            items += _assistant(message, model)
        elif role == "tool":
            answer = {"call_id": message["tool_call_id"], "output": message["content"]}
            items.append({"type": "function_call_output", **answer})
        else:
            items.append({"role": "user", "content": _content(message["content"])})
    return system, items


def _content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "text":
            parts.append({"type": "input_text", "text": part["text"]})
        elif part["type"] == "document":
            document = part["document"]
            file = {"filename": file_name(document), "file_data": document["url"]}
            if "detail" in document:
                file["detail"] = document["detail"]
            parts.append({"type": "input_file", **file})
        else:
            image = part["image_url"]
            detail = image.get("detail", "auto")
            parts.append({"type": "input_image", "image_url": image["url"], "detail": detail})
    return parts


def _assistant(message: Message, model: str) -> Iterator[dict[str, Any]]:
    for kind, piece in in_order(message, FORMAT, model):
        if kind == "text":
            yield {"role": "assistant", "content": piece}
        elif kind == "call":
            yield {"type": "function_call", "call_id": piece["id"], **piece["function"]}
        elif "data" in piece and "id" in piece:
            sealed = {"id": piece["id"], "encrypted_content": piece["data"], "summary": []}
            yield {"type": "reasoning", **sealed}
