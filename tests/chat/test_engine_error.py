from __future__ import annotations

import orjson
import pytest

from server.chat.engine_error import engine_error
from server.errors import (
    ContextExceeded,
    DoesNotFit,
    EngineError,
    EngineUnready,
    HoldfastError,
    RequestError,
)

CANARY = "/srv/models/secret.gguf sk-canary"


def answer(code: int, message: str, kind: str = "invalid_request_error", **more: object) -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message, "type": kind, **more}})


def test_context_exceeded_gives_the_numbers() -> None:
    error = engine_error(
        400,
        answer(
            400,
            "request (9021 tokens) exceeds the available context size (2048 tokens), try "
            "increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=9021,
            n_ctx=2048,
        ),
    )
    assert type(error) is ContextExceeded
    assert "maximum context length is 2048 tokens" in error.sentence
    assert "9021" in error.sentence
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")


def test_context_exceeded_without_numbers_is_still_that() -> None:
    error = engine_error(400, answer(400, "x", "exceed_context_size_error"))
    assert type(error) is ContextExceeded


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, answer(503, "Loading model", "unavailable_error"), EngineUnready),
        (400, answer(400, "Failed to load image or audio file"), RequestError),
        (500, answer(500, "Failed to load image"), RequestError),
        (400, answer(400, "Prompt contains invalid tokens"), RequestError),
        (400, answer(400, "Field 'n': Value must be between 1 <= value <= 4"), RequestError),
        (500, answer(500, "JSON schema error at #: unrecognized type x"), RequestError),
        (400, answer(400, "JSON schema conversion failed:\nInvalid pattern"), RequestError),
        (400, answer(400, "Failed to initialize samplers: failed to parse grammar"), RequestError),
        (400, answer(400, CANARY), RequestError),
        (
            500,
            answer(500, "The model produced output that does not match the expected x format"),
            EngineError,
        ),
        (500, answer(500, CANARY, "server_error"), EngineError),
        (500, answer(500, "decode() failed: std::bad_alloc", "server_error"), DoesNotFit),
        (400, answer(400, "std::bad_alloc"), DoesNotFit),
        (500, b"Internal Server Error", EngineError),
        (500, b"", EngineError),
        (500, b"[]", EngineError),
        (500, b'{"error": "text"}', EngineError),
        (500, b'{"error": {"message": 7}}', EngineError),
        (501, answer(501, "This feature is disabled", "not_supported_error"), EngineError),
        (
            501,
            answer(501, "This server does not support embeddings. Start it with `--embeddings`"),
            RequestError,
        ),
        (400, answer(400, "Input content cannot be empty"), RequestError),
        (404, answer(404, "File Not Found", "not_found_error"), EngineError),
        (401, answer(401, "Invalid API Key", "authentication_error"), EngineError),
    ],
)
def test_each_complaint_has_an_error(status: int, body: bytes, kind: type[HoldfastError]) -> None:
    error = engine_error(status, body)
    assert type(error) is kind
    assert CANARY not in error.sentence
    assert error.openai_body()["error"]["message"]


def test_what_is_wrong_with_a_schema_is_said_on_one_short_line() -> None:
    message = "JSON schema error at #/properties/a: unrecognized type\nnope " + "x" * 1000
    error = engine_error(400, answer(400, message))
    assert "#/properties/a: unrecognized type nope" in error.sentence
    assert "\n" not in error.sentence
    assert len(error.sentence) < 500


# ---- vLLM's words (0.32) ----


def test_vllm_tells_a_prompt_that_is_too_long() -> None:
    message = (
        "This model's maximum context length is 2048 tokens. However, your prompt contains at "
        "least 2049 input tokens, which exceeds this limit even without any output tokens. Please "
        "reduce the length of the input prompt. (parameter=input_tokens, value=2049)"
    )
    error = engine_error(400, answer(400, message, "BadRequestError", param="input_tokens"))
    assert type(error) is ContextExceeded
    assert error.what == "This model's maximum context length is 2048 tokens"
    assert error.why == "the prompt has at least 2049"
    assert error.param == "messages"


@pytest.mark.parametrize(
    ("message", "what", "why"),
    [
        (
            "Failed to transform json schema into a grammar: [07:51:28] /project/cpp/a.cc:4944: "
            'Unsupported type "nope"',
            "A JSON schema of the request cannot be enforced",
            'Failed to transform json schema into a grammar: Unsupported type "nope"',
        ),
        (
            "The provided JSON schema contains features not supported by xgrammar.",
            "A JSON schema of the request cannot be enforced",
            "The provided JSON schema contains features not supported by xgrammar.",
        ),
        (
            "Grammar error: Pointer '/nope' does not exist",
            "A JSON schema of the request cannot be enforced",
            "Grammar error: Pointer '/nope' does not exist",
        ),
        (
            "Token id 2147483647 is out of vocabulary",
            "The prompt holds token ids that do not exist",
            "",
        ),
        ("demo is not a multimodal model", "This build cannot see images", ""),
        (f"1 validation error: {CANARY}", "The engine refused this request", ""),
    ],
)
def test_vllm_complains_of_a_request(message: str, what: str, why: str) -> None:
    error = engine_error(400, answer(400, message, "BadRequestError"))
    assert type(error) is RequestError
    assert (error.what, error.why) == (what, why)


def test_vllm_fails() -> None:
    message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
    error = engine_error(500, answer(500, message, "InternalServerError"))
    assert type(error) is EngineError
    assert "EngineCore" not in error.sentence
