"""The input of a kept response, listed page by page, newest first unless it is asked otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.chat.checks import choice, integer, invalid
from server.chat.responses.items import Item

_PLAIN = {"user": "input_text", "system": "input_text", "developer": "input_text"}
_limit = integer(1, 100)
_order = choice("asc", "desc")


def item_page(items: Sequence[Item], identifier: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of `items`, the input of the response `identifier`. Items that came without an id get
    one. Raises RequestError for `limit`, `order` and `after` that mean nothing."""
    wanted = query.get("limit", "20")
    number = wanted.isdecimal() and len(wanted) < 10  # of thousands of digits int() makes none
    limit = _limit(int(wanted) if number else wanted, "limit")
    listed = [_listed(item, f"{identifier}_{at}") for at, item in enumerate(items)]
    if _order(query.get("order", "desc"), "order") == "desc":
        listed.reverse()
    after = query.get("after")
    if after is not None:
        places = [at for at, item in enumerate(listed) if item["id"] == after]
        if not places:
            raise invalid("after", f"no item of the response has the id {after[:64]!r}")
        listed = listed[places[0] + 1 :]
    page = listed[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(listed) > len(page),
    }


def _listed(item: Item, name: str) -> Item:
    """As the API lists it: with an id, and a message's content as parts."""
    kind = item.get("type", "message")
    listed = {**item, "type": kind, "id": item.get("id") or f"item_{name.removeprefix('resp_')}"}
    if kind != "message":
        return listed
    if isinstance(item["content"], str):
        part = _PLAIN.get(item["role"], "output_text")
        more: Item = {"annotations": [], "logprobs": []} if part == "output_text" else {}
        listed["content"] = [{"type": part, "text": item["content"], **more}]
    return {"status": "completed", **listed}
