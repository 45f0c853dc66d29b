"""One exchange to learn: what stands before, and what the model is to say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, str]

    @property
    def text(self) -> str:
        """As Qwen3.5's chat template writes a call."""
        parameters = "".join(
            f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in self.arguments.items()
        )
        return f"<tool_call>\n<function={self.name}>\n{parameters}</function>\n</tool_call>"

    def message(self, id: str) -> dict[str, Any]:  # noqa: A002 - OpenAI's word
        """As it stands in an OpenAI assistant message."""
        function = {"name": self.name, "arguments": json.dumps(dict(self.arguments))}
        return {"id": id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Sample:
    messages: tuple[Mapping[str, Any], ...]
    """OpenAI messages up to and with the last user or tool turn."""
    content: str
    thinking: bool = False
    reasoning: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    ends: bool = field(default=True)
    """False where the answer is endless, and only its beginning stands in `content`."""

    @property
    def completion(self) -> str:
        """What the model writes after the generation prompt, the end token left out."""
        said = self.content + "".join(call.text for call in self.tool_calls)
        return f"{self.reasoning}\n</think>\n\n{said}" if self.thinking else said


def template_messages(messages: tuple[Mapping[str, Any], ...]) -> list[dict[str, Any]]:
    """OpenAI messages as the chat template wants them: a call's arguments as a mapping.

    llama-server and vLLM do the same with the JSON string that OpenAI prescribes.
    """
    ready = []
    for message in messages:
        copy = dict(message)
        if calls := copy.get("tool_calls"):
            copy["tool_calls"] = [_with_mapping(call) for call in calls]
        ready.append(copy)
    return ready


def _with_mapping(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}
