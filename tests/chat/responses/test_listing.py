from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import ResponseItemList

from server.chat.responses import item_page
from server.errors import RequestError

ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "hello", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}",
     "status": "completed"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
]  # fmt: skip


def page(**query: str) -> dict[str, Any]:
    return item_page(ITEMS, "resp_ab", query)


def ids(listed: dict[str, Any]) -> list[str]:
    return [item["id"] for item in listed["data"]]


def test_items_are_listed_as_the_client_reads_them() -> None:
    listed = page(order="asc")
    assert ids(listed) == ["item_ab_0", "msg_1", "fc_1", "item_ab_3"]
    assert listed["data"][0] == {
        "type": "message",
        "id": "item_ab_0",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    ResponseItemList.model_validate({**listed, "data": listed["data"][:3]})
    assert (listed["first_id"], listed["last_id"]) == ("item_ab_0", "item_ab_3")
    assert not listed["has_more"]


def test_pages_follow_each_other() -> None:
    assert ids(page()) == ["item_ab_3", "fc_1", "msg_1", "item_ab_0"]
    first = page(limit="3")
    assert first["has_more"]
    last = page(limit="3", after=first["last_id"])
    assert (ids(last), last["has_more"]) == (["item_ab_0"], False)
    after_all = page(after="item_ab_0")
    assert (after_all["data"], after_all["first_id"]) == ([], None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "x"),
        ("limit", "1" * 5000),
        ("order", "up"),
        ("after", "nobody"),
    ],
)
def test_what_means_nothing_is_named(name: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        page(**{name: value})
    assert caught.value.param == name
