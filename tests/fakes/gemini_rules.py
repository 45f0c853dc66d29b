"""What Gemini's `generateContent` does not take, in its own words.

The checks are those of the API that a gateway can run into: fields that it does not know, answers
of tools that do not belong to calls, calls that it has not signed, schemas beyond its part of JSON
Schema. `signature` is how the fake signs, so that it knows its own again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from tests.fakes.documents import Paper, paper

UNSIGNED = "skip_thought_signature_validator"
_FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig",
           "safetySettings", "cachedContent"}  # fmt: skip
_CONFIG = {"temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences",
           "presencePenalty", "frequencyPenalty", "seed", "responseMimeType", "responseSchema",
           "responseJsonSchema", "thinkingConfig", "responseLogprobs", "logprobs"}  # fmt: skip
_PART = {"text", "inlineData", "functionCall", "functionResponse", "thought", "thoughtSignature"}
_LEVELS = {"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"}
_SCHEMA = {"$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum",
           "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf",
           "properties", "additionalProperties", "required", "propertyOrdering"}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")

Json = dict[str, Any]


_OPEN = {"parametersJsonSchema", "responseJsonSchema", "args", "response"}
"""What is the client's own, names and all."""


def camel(value: Any) -> Any:
    """A body with its fields in camel case: the API takes `inline_data` for `inlineData`."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    written = {}
    for key, one in value.items():
        first, *rest = key.split("_")
        name = first + "".join(word.capitalize() for word in rest)
        written[name] = one if name in _OPEN else camel(one)
    return written


class RefusedError(Exception):
    """`str()` of it is the API's message."""


def signature(model: str, said: str) -> str:
    """Of what `model` said or called; another model does not take it."""
    return base64.b64encode(hashlib.sha256(f"{model} {said}".encode()).digest()).decode()


def check(model: str, body: Json) -> None:
    """Raises RefusedError. Models whose name begins with gemini-2 take budgets, others levels."""
    _extra(body, _FIELDS, "")
    levels = not model.startswith("gemini-2")
    _check_config(body.get("generationConfig", {}), levels=levels)
    for tool in body.get("tools", []):
        for one in tool.get("functionDeclarations", []):
            _extra(one, {"name", "description", "parameters", "parametersJsonSchema"}, "tools")
            if not _NAME.fullmatch(one["name"]):
                raise RefusedError(
                    "GenerateContentRequest.tools[0].function_declarations[0].name: Invalid "
                    "function name. Must start with a letter or an underscore."
                )
            _check_schema(one.get("parametersJsonSchema", {}))
    _check_contents(body.get("contents", []), model, signed=levels)


def check_embeddings(model: str, body: Json) -> None:
    """Of batchEmbedContents. Raises RefusedError."""
    _extra(body, {"requests"}, "")
    asked = body.get("requests", [])
    if not 0 < len(asked) <= 100:
        raise RefusedError(
            "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"
        )
    for one in asked:
        _extra(one, {"model", "content", "taskType", "title", "outputDimensionality"}, "requests")
        if one.get("model") != f"models/{model}":
            raise RefusedError(
                "* BatchEmbedContentsRequest.requests[0].model: must match the parent model"
            )
        for part in one["content"]["parts"]:
            _extra(part, {"text"}, "requests[0].content.parts")
        if not any(part["text"] for part in one["content"]["parts"]):
            raise RefusedError("* EmbedContentRequest.content: contains an empty Part.")
        if not 1 <= one.get("outputDimensionality", 1) <= 3072:
            raise RefusedError("output_dimensionality must be between 1 and 3072")


def _check_config(config: Json, *, levels: bool) -> None:
    _extra(config, _CONFIG, "generation_config")
    thinking = config.get("thinkingConfig", {})
    _extra(thinking, {"includeThoughts", "thinkingBudget", "thinkingLevel"}, "thinking_config")
    if "thinkingLevel" in thinking and (not levels or thinking["thinkingLevel"] not in _LEVELS):
        raise RefusedError("Thinking level is not supported for this model.")
    if "thinkingLevel" in thinking and "thinkingBudget" in thinking:
        raise RefusedError("You can only set only one of thinking budget and thinking level.")
    if len(config.get("stopSequences", [])) > 5:
        raise RefusedError("The number of stop sequences must be at most 5.")
    if "responseJsonSchema" in config:
        if config.get("responseMimeType") != "application/json":
            raise RefusedError("response_mime_type must be application/json for a response schema")
        _check_schema(config["responseJsonSchema"])


def _check_schema(schema: Json) -> None:
    _extra(schema, _SCHEMA, "schema")
    if "$ref" in schema and any(not key.startswith("$") for key in schema):
        raise RefusedError("If `$ref` is set, no other fields may be set")
    for key in ("properties", "$defs"):
        for one in schema.get(key, {}).values():
            _check_schema(one)
    for one in (*schema.get("anyOf", []), *schema.get("oneOf", [])):
        _check_schema(one)
    if isinstance(schema.get("items"), dict):
        _check_schema(schema["items"])


def _check_contents(contents: list[Json], model: str, *, signed: bool) -> None:
    if not contents:
        raise RefusedError("* GenerateContentRequest.contents: contents is not specified")
    calls: list[Json] = []
    for index, content in enumerate(contents):
        if content.get("role") not in ("user", "model"):
            raise RefusedError("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise RefusedError(
                f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be "
                "empty."
            )
        for part in content["parts"]:
            _extra(part, _PART, f"contents[{index}].parts")
            if "inlineData" in part:
                _check_data(part["inlineData"])
        parts = content["parts"]
        responses = [one["functionResponse"] for one in parts if "functionResponse" in one]
        names = {one["name"] for one in calls}
        if len(responses) != len(calls) or {one["name"] for one in responses} - names:
            raise RefusedError(
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        parts = [one for one in content["parts"] if "functionCall" in one]
        if signed and parts:
            _check_signature(parts[0], model, index)
        calls = [one["functionCall"] for one in parts]


def paper_in(name: str, data: str) -> Paper:
    """Raises ValueError for what is none."""
    return paper(name, _plain(data))


def _check_data(given: Json) -> None:
    _extra(given, {"mimeType", "data"}, "inline_data")
    kind = given["mimeType"]
    if kind == "application/pdf":
        try:
            paper_in("", given["data"])
        except ValueError:
            raise RefusedError("The document has no pages.") from None
    elif kind not in ("image/png", "image/jpeg", "image/webp", "image/gif"):
        raise RefusedError(f"Unsupported MIME type: {kind}")


def _check_signature(part: Json, model: str, index: int) -> None:
    name = part["functionCall"]["name"]
    given = part.get("thoughtSignature")
    if given is None:
        raise RefusedError(
            "Function call is missing a thought_signature in functionCall parts. This is required "
            f"for tools to work correctly. Function call `default_api:{name}`, position {index}."
        )
    if _plain(given) not in (_plain(signature(model, name)), _plain(UNSIGNED)):
        raise RefusedError("Thought signature is not valid.")


def _plain(data: str) -> str:
    """Base64 is taken in either alphabet."""
    return data.translate(str.maketrans("-_", "+/"))


def _extra(value: Json, known: set[str], place: str) -> None:
    for key in value:
        if key not in known:
            at = f" at '{place}'" if place else ""
            raise RefusedError(
                f'Invalid JSON payload received. Unknown name "{key}"{at}: Cannot find field.'
            )
