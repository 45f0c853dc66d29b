"""Events -> the typed events of the Responses API, as plain objects.

- Nothing begins before something is said, so that an answer that breaks before leaves no trace.
- Text and thinking come item after item, each done before the next; calls that begin in a row are
  done together, since their arguments may come mixed.
- Thinking is an item's reasoning text, or its summary where the client asked for one. What its
  provider wants back is the item's `encrypted_content`, wrapped as in opaque.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.opaque import wrapped
from server.chat.responses import calls
from server.chat.responses.items import Item
from server.chat.responses.request import ResponsesRequest
from server.chat.responses.toolbox import Offer
from server.chat.usage import Usage
from server.errors import HoldfastError

Json = dict[str, Any]

_WORDS = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning_text": "response.reasoning_text",
    "summary_text": "response.reasoning_summary_text",
}
"""Kind of a part -> the events of its words."""
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_CODES = {400: "invalid_prompt", 429: "rate_limit_exceeded"}


class Output:
    """`identifier` is the response's (`resp_...`), `created` in seconds of the epoch."""

    def __init__(self, request: ResponsesRequest, identifier: str, created: int) -> None:
        self.items: list[Item] = []
        """Those that are done, and at the end all."""
        self.whole: Json = {}
        """The response, once it is whole."""
        self._request = request
        self._id = identifier
        self._created = created
        self._model = request.chat.model
        self._usage: Usage | None = None
        self._begun = False
        self._number = 0
        self._count = 0
        self._item: Item | None = None
        """The message or reasoning that is open."""
        self._pieces: list[str] = []
        """The words of its latest part, joined once that is done."""
        self._calls: dict[int, tuple[int, Item, list[str]]] = {}
        """Those that are open: index -> place in the output, item, pieces of the arguments."""
        self._finished = Finished("stop")

    def feed(self, event: Event) -> Iterator[Json]:
        match event:
            case Text():
                yield from self._words("message", "output_text", event.text)
            case Thinking():
                kind = "summary_text" if self._request.summary else "reasoning_text"
                yield from self._words("reasoning", kind, event.text)
            case Arguments():
                place, item, pieces = self._calls[event.index]
                pieces.append(event.text)
                if calls.streams(item):
                    kind = "response.function_call_arguments.delta"
                    yield self._event(kind, **_at(place, item), delta=event.text)
            case CallBegan():
                yield from self._call_began(event)
            case Refusal():
                yield from self._words("message", "refusal", event.text)
            case Logprobs():
                self._logprobs(event)
            case ThinkingDetail():
                yield from self._detail(event)
            case Began():
                self._model = event.model or self._model
            case Used():
                self._usage = event.usage
            case Finished():
                self._finished = event
            case Ended():
                yield from self._end()

    def fail(self, error: HoldfastError) -> Iterator[Json]:
        """The events that end a broken stream."""
        yield from self._begin()
        code = _CODES.get(error.status, "server_error")
        message = error.openai_body()["error"]["message"]
        told = {"code": code, "message": message}
        yield self._event("response.failed", response=self.response("failed", error=told))

    def response(self, status: str, **more: Any) -> Json:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": list(self.items),
            "usage": None,
            **self._request.echo,
            **more,
        }

    def _begin(self) -> Iterator[Json]:
        if not self._begun:
            self._begun = True
            for kind in ("response.created", "response.in_progress"):
                yield self._event(kind, response=self.response("in_progress"))

    def _words(self, item: str, part: str, text: str) -> Iterator[Json]:
        """A piece of the text of a part, in the item that is open, or in one that begins."""
        if self._item is None or self._item["type"] != item:
            yield from self._open(item)
        assert self._item is not None
        parts = self._item["summary" if part == "summary_text" else "content"]
        if not parts or parts[-1]["type"] != part:
            yield from self._part_done()
            parts.append(_part(part))
            yield self._part_event("added", _part(part))
        self._pieces.append(text)
        yield self._event(f"{_WORDS[part]}.delta", **self._inside(), delta=text, **_more(part))

    def _open(self, kind: str) -> Iterator[Json]:
        yield from self._close()
        yield from self._begin()
        if kind == "message":
            more: Json = {"role": "assistant", "content": [], "status": "in_progress"}
        else:
            more = {"summary": [], "content": [], "encrypted_content": None}
        prefix = "msg" if kind == "message" else "rs"
        self._item = {"id": f"{prefix}_{self._tail()}", "type": kind, **more}
        yield self._event(
            "response.output_item.added", output_index=self._count, item=_copy(self._item)
        )
        self._count += 1

    def _call_began(self, event: CallBegan) -> Iterator[Json]:
        yield from self._item_done()
        yield from self._begin()
        offer = self._request.offers.get(event.name) or Offer("function", event.name)
        item = calls.begun(offer, event.id, self._tail())
        self._calls[event.index] = (self._count, item, [])
        yield self._event("response.output_item.added", output_index=self._count, item=_copy(item))
        self._count += 1

    def _detail(self, event: ThinkingDetail) -> Iterator[Json]:
        if self._item is None or self._item["type"] != "reasoning":
            yield from self._open("reasoning")
        assert self._item is not None
        self._item["encrypted_content"] = wrapped(event.detail)
        yield from self._item_done()

    def _logprobs(self, event: Logprobs) -> None:
        if self._item is not None and self._item["content"]:
            part = self._item["content"][-1]
            top = self._request.chat.top_logprobs
            entries = [{**one, "top_logprobs": one["top_logprobs"][:top]} for one in event.content]
            part.setdefault("logprobs", []).extend(entries)

    def _part_done(self) -> Iterator[Json]:
        """Ends the part that is open, if there is one."""
        assert self._item is not None
        parts = self._item["content"] or self._item.get("summary")
        if not parts:
            return
        part = parts[-1]
        key, kind = _key(part["type"]), part["type"]
        part[key] = "".join(self._pieces)
        self._pieces = []
        more = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        said = {key: part[key], **more}
        yield self._event(f"{_WORDS[kind]}.done", **self._inside(), **said)
        yield self._part_event("done", dict(part))

    def _item_done(self) -> Iterator[Json]:
        if self._item is None:
            return
        yield from self._part_done()
        item, self._item = self._item, None
        if item["type"] == "message":
            item["status"] = "completed"
        self.items.append(item)
        place = self._count - 1
        yield self._event("response.output_item.done", output_index=place, item=_copy(item))

    def _close(self) -> Iterator[Json]:
        """Ends all that is open."""
        yield from self._item_done()
        for place, item, pieces in self._calls.values():
            for kind, said in calls.filled(item, "".join(pieces)):
                yield self._event(kind, **_at(place, item), **said)
            self.items.append(item)
            yield self._event("response.output_item.done", output_index=place, item=_copy(item))
        self._calls = {}

    def _end(self) -> Iterator[Json]:
        yield from self._begin()
        yield from self._close()
        reason = _INCOMPLETE.get(self._finished.reason)
        status = "completed" if reason is None else "incomplete"
        more: Json = {"usage": None if self._usage is None else _usage(self._usage)}
        if reason is not None:
            more["incomplete_details"] = {"reason": reason}
        self.whole = self.response(status, **more)
        yield self._event(f"response.{status}", response=self.whole)

    def _part_event(self, what: str, part: Json) -> Json:
        kind = "reasoning_summary" if part["type"] == "summary_text" else "content"
        return self._event(f"response.{kind}_part.{what}", **self._inside(), part=part)

    def _inside(self) -> Json:
        """Where the latest part of the item that is open stands."""
        assert self._item is not None
        summary = self._item.get("summary")
        index = {"summary_index": len(summary) - 1} if summary else None
        index = index or {"content_index": len(self._item["content"]) - 1}
        return {**_at(self._count - 1, self._item), **index}

    def _event(self, kind: str, **fields: Any) -> Json:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **fields}

    def _tail(self) -> str:
        return f"{self._id.removeprefix('resp_')}_{self._count}"


def _at(place: int, item: Item) -> Json:
    return {"output_index": place, "item_id": item["id"]}


def _key(part: str) -> str:
    return "refusal" if part == "refusal" else "text"


def _part(kind: str) -> Json:
    if kind == "output_text":
        return {"type": kind, "text": "", "annotations": [], "logprobs": []}
    return {"type": kind, _key(kind): ""}


def _more(part: str) -> Json:
    return {"logprobs": []} if part == "output_text" else {}


def _copy(item: Item) -> Item:
    """As it is now: what is open goes on to change."""
    return {key: list(value) if type(value) is list else value for key, value in item.items()}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
