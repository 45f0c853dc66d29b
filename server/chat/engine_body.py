"""The body that an engine gets: built key by key from the frozen request, nothing passed through.

Sampling that the client left open is filled with the model's own defaults for the mode (thinking
or not, with images or without), so that an answer never depends on an engine's defaults. With
temperature 0 nothing is filled in: a penalty meant for sampling would change the greedy answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.catalogue import EngineName, Model, Sampling
from server.chat.checks import invalid
from server.chat.messages import Message
from server.chat.request import ChatRequest, CompletionRequest
from server.chat.schema import for_engines
from server.chat.tools import Tool
from server.errors import RequestError

_SEEDS = 2**32 - 1  # llama.cpp takes 2^32 - 1 itself for "no seed"; LLAMA_DEFAULT_SEED


def engine_body(
    request: ChatRequest | CompletionRequest,
    *,
    model: Model,
    has_mmproj: bool,
    slots: int | None = None,
    context: int | None = None,
    engine: EngineName = "llama-server",
) -> dict[str, Any]:
    """The body for the `engine`'s endpoint of the same path (`request.path`).

    Where `request.folds` the engine streams what the client wants whole; finish_reply puts it
    together.

    `slots` and `context` (tokens), where they are known, bound `n`, as the engine generates all
    choices at once, and the length of the answer. Raises RequestError for what this build cannot
    do: documents, images without an mmproj, WebP, too large an `n`, a forced format with tools.
    """
    if slots is not None and request.n > slots:
        raise invalid("n", f"'{model.id}' runs with {slots} slots, so {slots} is the most")
    if isinstance(request, ChatRequest):
        _check_combinations(request)
        thinking = model.thinking_default if request.thinking is None else request.thinking
        if request.image_types:
            _check_images(request.image_types, model, has_mmproj, engine)
        if request.pages:
            why = "engines read no documents"
            raise invalid("messages", why, "Send its text, or ask for a model that reads PDFs")
        body = _chat(request, thinking)
        defaults = _defaults(model, thinking, request.has_images)
    else:
        body = _completion(request, model, has_mmproj)
        defaults = _defaults(model, False, False)
    _fill_sampling(body, request.sampling, defaults)
    if request.stream or request.folds:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if request.n > 1:
        body["n"] = request.n
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed % _SEEDS
    if request.logit_bias:
        body["logit_bias"] = dict(request.logit_bias)
    if engine == "vllm":
        _say_to_vllm(body, model, context)
    else:
        _say_to_llama_server(body)
    return body


def _say_to_llama_server(body: dict[str, Any]) -> None:
    body["cache_prompt"] = True
    if "messages" in body:
        body["reasoning_format"] = "deepseek"  # thinking apart from the answer
    if "repetition_penalty" in body:
        body["repeat_penalty"] = body.pop("repetition_penalty")
    if body.get("top_k") == -1:  # vLLM's way to switch it off
        body["top_k"] = 0


def _say_to_vllm(body: dict[str, Any], model: Model, context: int | None) -> None:
    """It refuses four things that llama-server takes, and that mean something plain."""
    if context is not None and body.get("max_tokens", 0) > context:
        body["max_tokens"] = context
    if body.get("n", 1) > 1 and body.get("temperature") == 0:
        body |= {"temperature": 1, "top_k": 1}  # several greedy choices: the likeliest token each
    if "logit_bias" in body:
        vocabulary = model.architecture.vocab
        known = {key: bias for key, bias in body["logit_bias"].items() if int(key) < vocabulary}
        body["logit_bias"] = known
    form = body.get("response_format", {})
    if "json_schema" in form:
        body["response_format"] = {**form, "json_schema": {"name": "answer", **form["json_schema"]}}


def _chat(request: ChatRequest, thinking: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [_message(message) for message in request.messages],
        "chat_template_kwargs": {"enable_thinking": thinking},
    }
    if request.tool_use.tools:
        body["tools"] = [_tool(tool) for tool in request.tool_use.tools]
        body["tool_choice"] = request.tool_use.choice
        # OpenAI's default is true; the engine's depends on the template.
        body["parallel_tool_calls"] = request.parallel_tool_calls is not False
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    if request.top_logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = max(1, request.top_logprobs)  # 0 would give none at all
    return body


def _check_combinations(request: ChatRequest) -> None:
    """What an engine can do, but not at once; clouds can."""
    use = request.tool_use
    if request.response_format is not None and use.choice != "none":
        raise invalid(
            "response_format",
            "a forced format leaves this model no way to call a tool",
            "Leave out 'tools', or send tool_choice 'none'",
        )
    if request.top_logprobs is not None and use.tools and (request.stream or request.n > 1):
        raise invalid("logprobs", "with tools they are not available for a stream or for 'n' > 1")


def _message(message: Message) -> Message:
    """Without what only clouds understand."""
    if "reasoning_details" in message:
        return {key: value for key, value in message.items() if key != "reasoning_details"}
    if type(message["content"]) is list:
        parts = [_part(part) for part in message["content"]]
        return {**message, "content": parts}
    return message


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "image_url" and "detail" in part["image_url"]:
        return {"type": "image_url", "image_url": {"url": part["image_url"]["url"]}}
    return part


def _tool(tool: Tool) -> Tool:
    function = tool["function"]
    kept = {key: value for key, value in function.items() if key != "strict"}
    if "parameters" in kept:
        kept["parameters"] = for_engines(kept["parameters"])
    return {"type": "function", "function": kept}


def _response_format(form: Mapping[str, Any]) -> dict[str, Any]:
    if "json_schema" not in form:
        return dict(form)
    schema = for_engines(form["json_schema"]["schema"])
    return {"type": "json_schema", "json_schema": {"schema": schema}}


def _completion(request: CompletionRequest, model: Model, has_mmproj: bool) -> dict[str, Any]:
    if has_mmproj and not isinstance(request.prompt, str):
        raise invalid(
            "prompt", f"'{model.id}' runs with vision and takes no token ids", "Send a string"
        )
    prompt = request.prompt if isinstance(request.prompt, str) else list(request.prompt)
    body: dict[str, Any] = {"prompt": prompt}
    if request.logprobs is not None:
        body["logprobs"] = max(1, request.logprobs)  # 0 would give none at all
    return body


def _check_images(
    types: frozenset[str], model: Model, has_mmproj: bool, engine: EngineName
) -> None:
    if not has_mmproj:
        raise RequestError(
            f"The build of '{model.id}' that serves this request cannot see images",
            why="it has no vision projector (mmproj)" if engine == "llama-server" else "",
            next_step="Send text only, or ask for a build with an mmproj",
            param="messages",
        )
    if "webp" in types and engine == "llama-server":
        raise invalid("messages", "this engine cannot decode WebP images", "Send PNG or JPEG")


def _defaults(model: Model, thinking: bool, vision: bool) -> Sampling:
    mode = "thinking" if thinking else "non_thinking"
    if vision and f"{mode}_vision" in model.sampling:
        mode += "_vision"
    return model.sampling[mode]


def _fill_sampling(body: dict[str, Any], given: Mapping[str, float], defaults: Sampling) -> None:
    if given.get("temperature") != 0:
        body["temperature"] = defaults.temperature
        body["top_p"] = defaults.top_p
        body["top_k"] = defaults.top_k
        body["min_p"] = defaults.min_p
        body["presence_penalty"] = defaults.presence_penalty
        body["repetition_penalty"] = defaults.repetition_penalty
    body.update(given)
