from __future__ import annotations

from typing import Any

from anthropic.pagination import SyncPage
from anthropic.types import ModelInfo
from openai.types import Model

from server.chat.anthropic import model_fields, page_fields


def test_one_list_serves_both_kinds_of_clients() -> None:
    told = model_fields("Qwen3.5 9B", 1_790_000_000, context=32_768)
    entry: dict[str, Any] = {
        "id": "qwen3.5-9b",
        "object": "model",
        "created": 1_790_000_000,
        "owned_by": "holdfast",
        **told,
    }
    known = ModelInfo.model_validate(entry)
    assert known.display_name == "Qwen3.5 9B"
    assert known.created_at.timestamp() == 1_790_000_000
    assert (known.max_input_tokens, known.max_tokens) == (32_768, 32_768)
    assert Model.model_validate(entry).id == "qwen3.5-9b"
    page = SyncPage[ModelInfo].model_validate({"data": [entry], **page_fields(["qwen3.5-9b"])})
    assert not page.has_more
    assert (page.first_id, page.last_id) == ("qwen3.5-9b", "qwen3.5-9b")


def test_an_empty_list() -> None:
    assert page_fields([]) == {"has_more": False, "first_id": None, "last_id": None}
