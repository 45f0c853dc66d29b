"""A request in the words of OpenAI's chat completions, for OpenAI and all who speak as it does.

https://platform.openai.com/docs/api-reference/chat. What is mapped:

- A model that takes degrees of effort is told `max_completion_tokens` (OpenAI's that think take
  nothing else) and `reasoning_effort`; any other `max_tokens`, which every compatible endpoint
  knows. To think without a degree is `medium`.
- The system prompt's role is `system`; OpenAI takes it for `developer` where that is the name.
- Thinking of earlier turns goes back, as `reasoning_content`, to models that think and take no
  degrees (as DeepSeek's), for the turn at hand only: OpenAI's API has no place for it.
- A document without a name is called `document.pdf`. How closely to look at it cannot be said.
- A schema without a name is called `answer`. What `strict` takes differs between endpoints, which
  say it themselves.
- `parallel_tool_calls` is said where the model can call several at once.
- A limit beyond what the model can write is that; none is said where the client set none.
- Sampling is sent as it was given, where the model has the feature. What of it asks for nothing is
  left out elsewhere; see ability.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from server.catalogue.cloud import CloudModel, Effort, Feature
from server.chat.documents import file_name
from server.chat.messages import Message
from server.chat.request import ChatRequest
from server.providers.ability import check_ability, output_limit
from server.providers.call_ids import identified
from server.providers.effort import asked_effort, nearest_effort

_FEATURES: frozenset[Feature] = frozenset(get_args(Feature))


def openai_body(request: ChatRequest, model: CloudModel) -> dict[str, Any]:
    """Raises RequestError, naming the field, for what cannot be said."""
    sampling = check_ability(request, model, _FEATURES)
    keeps_thinking = "thinking" in model.features and not model.efforts
    body: dict[str, Any] = {
        "model": model.name,
        "messages": list(conversation(request.messages, keeps_thinking)),
        "stream": True,
        "stream_options": {"include_usage": True},
        **sampling,
    }
    if request.max_tokens is not None:
        limit = "max_completion_tokens" if model.efforts else "max_tokens"
        body[limit] = output_limit(request, model)
    effort = wanted_effort(request, model)
    if effort is not None:
        body["reasoning_effort"] = effort
    if request.tool_use.tools:
        body["tools"] = list(request.tool_use.tools)
        body["tool_choice"] = tool_choice(request)
        if request.parallel_tool_calls is not None and "parallel_tools" in model.features:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["response_format"] = _response_format(request)
    if request.top_logprobs is not None:
        body["logprobs"] = True
        if request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
    if request.n > 1:
        body["n"] = request.n
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = dict(request.logit_bias)
    return body


def wanted_effort(request: ChatRequest, model: CloudModel) -> Effort | None:
    """The degree to ask `model` for; None: nothing is to be said of it."""
    if not model.efforts:
        return None
    asked = asked_effort(request)
    if asked is None:
        if not request.thinking:
            return None
        asked = "medium"
    return nearest_effort(asked, model.efforts)


def tool_choice(request: ChatRequest) -> Any:
    """The word; a single tool that must be called is named, as the client will have done."""
    use = request.tool_use
    if use.choice == "required" and len(use.tools) == 1:
        return {"type": "function", "function": {"name": use.names[0]}}
    return use.choice


def conversation(messages: Sequence[Message], keeps_thinking: bool) -> Iterator[dict[str, Any]]:
    """The messages with the keys that the API knows, and an id for every call."""
    turn = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=0)
    for at, message in enumerate(identified(messages)):
        if message["role"] != "assistant":
            yield {**message, "content": _content(message["content"])}
            continue
        said: dict[str, Any] = {"role": "assistant", "content": message["content"]}
        if keeps_thinking and at > turn and message.get("reasoning_content"):
            said["reasoning_content"] = message["reasoning_content"]
        if "tool_calls" in message:
            said["content"] = message["content"] or None
            said["tool_calls"] = message["tool_calls"]
        yield said


def _content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [_file(one["document"]) if one["type"] == "document" else one for one in content]


def _file(document: dict[str, Any]) -> dict[str, Any]:
    file = {"filename": file_name(document), "file_data": document["url"]}
    return {"type": "file", "file": file}


def _response_format(request: ChatRequest) -> dict[str, Any]:
    form = dict(request.response_format or {})
    if "json_schema" in form:
        form["json_schema"] = {"name": "answer", **form["json_schema"]}
    return form
