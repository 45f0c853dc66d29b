"""Whether a cloud's model can do what a request asks: refused by name, never left out in silence.

Left out is only what asks for nothing: a `temperature` of 1 where a model takes none is what the
model does anyhow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set

from server.catalogue.cloud import CloudModel, Feature
from server.chat.checks import invalid
from server.chat.request import ChatRequest
from server.errors import RequestError

_SAMPLING: Mapping[str, Feature | None] = {
    "temperature": "temperature",
    "top_p": "temperature",
    "top_k": "top_k",
    "min_p": None,
    "presence_penalty": "penalties",
    "frequency_penalty": "penalties",
    "repetition_penalty": None,
}
"""Sampling -> the feature that a model must have; None: the protocol alone decides."""

_NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "temperature": (1,),
    "top_p": (1,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
}


def check_ability(
    request: ChatRequest,
    model: CloudModel,
    protocol: Set[Feature],
    extensions: Collection[str] = (),
) -> dict[str, float]:
    """The sampling parameters to send: those of the request that `model` takes.

    `protocol`: features that can be said in the model's protocol at all; `extensions`: sampling
    that it has beyond them, such as `min_p`. Raises RequestError, naming the field, for the first
    thing that the model cannot do or be asked.
    """
    able = model.features & protocol
    for feature, param, what in _wanted(request):
        if feature not in able:
            raise cannot(model, param, what)
    if request.has_images and not model.image:
        raise cannot(model, "messages", "cannot see images")
    if request.pages and not model.documents:
        raise cannot(model, "messages", "reads no documents")
    sent = {}
    for name, value in request.sampling.items():
        if _SAMPLING[name] in able or name in extensions:
            sent[name] = value
        elif value not in _NEUTRAL[name]:
            raise cannot(model, name, f"takes no '{name}'")
    return sent


def cannot(model: CloudModel, param: str, what: str) -> RequestError:
    return invalid(param, f"'{model.id}' {what}", "Leave it out, or ask for another model")


def check_said(turns: Sequence[object], model: CloudModel) -> None:
    """Of a protocol that takes no empty text: raises RequestError where nothing is left to say."""
    if not turns:
        raise invalid("messages", f"'{model.id}' takes no empty message", "Write something")


def output_limit(request: ChatRequest, model: CloudModel) -> int:
    """Tokens that the answer may have: a limit beyond what the model can write is that."""
    return min(request.max_tokens or model.max_output, model.max_output)


def _wanted(request: ChatRequest) -> Iterator[tuple[Feature, str, str]]:
    """(feature, request field, what a model without it would be said to lack)."""
    if request.tool_use.tools:
        yield "tools", "tools", "cannot call tools"
    if request.tool_use.choice == "required":
        yield "tool_choice", "tool_choice", "cannot be made to call a tool"
    if request.response_format is not None:
        kind = request.response_format["type"]
        feature: Feature = "schema" if kind == "json_schema" else "json"
        yield feature, "response_format", f"takes no '{kind}'"
    if request.thinking:
        yield "thinking", "reasoning_effort", "does not think"
    if request.top_logprobs is not None:
        yield "logprobs", "logprobs", "gives no log probabilities"
    if request.n > 1:
        yield "n", "n", "gives one choice only"
    if request.seed is not None:
        yield "seed", "seed", "takes no seed"
    if request.stop:
        yield "stop", "stop", "takes no stop sequences"
    if request.logit_bias:
        yield "logit_bias", "logit_bias", "takes no logit bias"
