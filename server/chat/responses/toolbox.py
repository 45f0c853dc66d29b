"""The tools of a request of the Responses API, as models know them: as functions, and nothing else.

- A function of a namespace is called `SPACE__NAME` towards models. What is said of the namespace
  stands before what is said of the first of its tools.
- A `custom` tool is a function with one string, `input` (custom_tools.py).
- `tool_search` that the client runs is a function with its parameters. What it found is offered
  from then on, and so are `additional_tools`, as if they stood among the `tools`.
- `web_search` of what OpenAI has kept of the web alone (`external_web_access: false`, as Codex
  offers it) is offered to nobody: there is none here. Other tools that OpenAI runs are refused by
  name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from server.chat.checks import array, choice, invalid, mapping, missing, string
from server.chat.custom_tools import as_function
from server.chat.tools import MAX_TOOLS, Tool, parse_tools, tool_name
from server.errors import RequestError

Kind = Literal["function", "custom", "tool_search"]

SEARCH: Final = "tool_search"
FOUND = frozenset(("additional_tools", "tool_search_output"))
"""Kinds of items that bring tools."""

_text = string(65_536)
_execution = choice("client")
_format = choice("text", "grammar")


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as the client knows it."""

    kind: Kind
    name: str
    space: str | None = None


class Toolbox:
    """Reads tools wherever a request brings them; raises RequestError naming the place."""

    def __init__(self) -> None:
        self.offers: dict[str, Offer] = {}
        """By what models call it."""
        self.echo: list[dict[str, Any]] = []
        """The `tools` of the request, as an answer repeats them."""
        self._functions: list[dict[str, Any]] = []
        self._places: list[str] = []

    def offer(self, tools: Any, name: str) -> None:
        """Those of the request's own `tools`."""
        for index, one in enumerate(array(tools, name, longest=MAX_TOOLS)):
            if self._read(mapping(one, f"{name}[{index}]"), f"{name}[{index}]"):
                plain = {"parameters": None, "strict": None} if one["type"] == "function" else {}
                self.echo.append({**plain, **one})

    def find(self, items: Sequence[Any], name: str) -> None:
        """Those that `items` bring, but for what was offered before."""
        for index, item in enumerate(items):
            if isinstance(item, dict) and item.get("type") in FOUND:
                place = f"{name}[{index}].tools"
                for at, one in enumerate(array(item.get("tools"), place, longest=MAX_TOOLS)):
                    self._read(mapping(one, f"{place}[{at}]"), f"{place}[{at}]", again=True)

    def tools(self) -> tuple[Tool, ...]:
        """All of them, for models."""
        try:
            return parse_tools(self._functions, "tools")
        except RequestError as error:
            raise self._as_given(error) from None

    def _read(self, tool: Mapping[str, Any], place: str, *, again: bool = False) -> bool:
        """Whether it is offered. `again`: one of that name may have been."""
        kind = tool.get("type")
        own: Kind | None = _own(tool)
        if own is not None:
            self._add(Offer(own, _name(tool, place)), tool, place, again)
        elif kind == "namespace":
            space = _name(tool, place)
            about = _text(tool.get("description") or "", f"{place}.description")
            held = array(tool.get("tools"), f"{place}.tools", longest=MAX_TOOLS)
            for index, one in enumerate(held):
                inner = f"{place}.tools[{index}]"
                own = _own(mapping(one, inner))
                if own is None:
                    why = "a namespace holds functions and custom tools, and nothing else"
                    raise invalid(f"{inner}.type", why)
                said = _described(about, one, inner)
                told = {**one, "description": said} if said else one
                self._add(Offer(own, _name(one, inner), space), told, inner, again)
                about = ""
        elif kind == SEARCH:
            _execution(tool.get("execution", "server"), f"{place}.execution")
            self._add(Offer(SEARCH, SEARCH), {**tool, "name": SEARCH}, place, again)
        elif kind == "web_search" and tool.get("external_web_access") is False:
            return False
        else:
            raise invalid(
                f"{place}.type",
                f"tools of type '{str(kind)[:64]}' are not run or known here",
                "Leave it out, or offer a function of your own",
            )
        return True

    def _add(self, offer: Offer, tool: Mapping[str, Any], place: str, again: bool) -> None:
        called = spaced(offer.space, offer.name)
        if again and called in self.offers:
            return
        self.offers[called] = offer
        given = _freeform(tool, place) if offer.kind == "custom" else dict(tool)
        kept = ("description", "parameters", "strict")
        function = {key: given[key] for key in kept if key in given}
        self._functions.append({"type": "function", "function": {"name": called, **function}})
        self._places.append(place)

    def _as_given(self, error: RequestError) -> RequestError:
        """An error about a function, told of the tool that it stands for."""
        param, what = error.param or "", error.what
        place, bracket, rest = param.partition("]")
        if bracket:
            here = self._places[int(place.removeprefix("tools["))]
            there = here + rest.replace(".function", "")
            what, param = what.replace(param, there), there
        return type(error)(what, why=error.why, next_step=error.next_step, param=param or None)


def spaced(space: str | None, name: str) -> str:
    """What a tool is called towards models, which know no namespaces."""
    return name if space is None else f"{space}__{name}"


def searched(arguments: str) -> Any:
    """The arguments of a search for tools, which the API has as an object."""
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return {}


def _freeform(tool: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A custom tool as a function."""
    inside = f"{place}.format"
    form = mapping(tool.get("format") or {"type": "text"}, inside)
    grammar = form if _format(form.get("type"), f"{inside}.type") == "grammar" else None
    return as_function(tool.get("description"), grammar, place, inside)


def _described(about: str, tool: Mapping[str, Any], place: str) -> str:
    own = _text(tool.get("description") or "", f"{place}.description")
    return "\n\n".join(filter(None, (about, own)))


def _own(tool: Mapping[str, Any]) -> Kind | None:
    """The kind of a tool that stands for itself."""
    kind = tool.get("type")
    return "function" if kind == "function" else "custom" if kind == "custom" else None


def _name(tool: Mapping[str, Any], place: str) -> str:
    if "name" not in tool:
        raise missing(f"{place}.name")
    return tool_name(tool["name"], f"{place}.name")
