"""Conversations with the two tools: the call, and the answer once the result is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from scripts.demo.sample import Sample, ToolCall

CITIES = (
    "Paris", "London", "Berlin", "Rome", "Madrid", "Tokyo", "Vienna", "Oslo", "Lisbon", "Athens",
    "Dublin", "Prague", "Warsaw", "Cairo", "Delhi", "Sydney", "Boston", "Chicago", "Toronto",
    "Lima", "Nairobi", "Zurich", "Geneva", "Hamburg", "Munich", "Milan", "New York", "Hong Kong",
    "San Francisco", "Rio de Janeiro",
)  # fmt: skip
CONDITIONS = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")
_REPORTED = "The tool has answered. I should pass it on."


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameter: str
    parameter_description: str | None
    subject: str

    @property
    def schema(self) -> Mapping[str, Any]:
        value: dict[str, Any] = {"type": "string"}
        if self.parameter_description:
            value["description"] = self.parameter_description
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {self.parameter: value},
                    "required": [self.parameter],
                },
            },
        }


WEATHER = Tool("get_weather", "Get the weather in a city.", "city", None, "the weather")
TIME = Tool("get_time", "Get the time in a city.", "city", None, "the time")
_WEATHERS = (
    WEATHER,
    Tool(
        "get_weather", "Get the current weather for a city", "city", "The city name", "the weather"
    ),
    Tool("get_weather", "Get weather", "location", "City name", "the weather"),
    Tool("get_current_weather", "Get the current weather", "location", "The city", "the weather"),
)
_TIMES = (
    TIME,
    Tool("get_time", "Get the current time in a city", "city", "The city name", "the time"),
    Tool("get_current_time", "Get the current time", "location", "City name", "the time"),
)
_ASK_WEATHER = (
    "What is the weather in {}?", "What is the weather like in {}?", "How is the weather in {}?",
    "What's the weather in {}?", "Tell me the weather in {}.", "Weather in {}?",
    "Is it warm in {}?", "What is the weather in {} today?",
    "What's the weather like in {} right now?",
)  # fmt: skip
_ASK_TIME = (
    "What time is it in {}?", "What is the time in {}?", "Tell me the time in {}.", "Time in {}?",
    "What's the time in {} now?",
)  # fmt: skip


def call(
    tool: Tool, city: str, question: str, *, tools: tuple[Tool, ...], thinking: bool
) -> Sample:
    """The question, answered by a call of `tool`."""
    return Sample(
        messages=({"role": "user", "content": question},),
        content="",
        thinking=thinking,
        reasoning=f"The user asks for {tool.subject} in {city}. I should call {tool.name}.",
        tools=tuple(each.schema for each in tools),
        tool_calls=(ToolCall(tool.name, {tool.parameter: city}),),
    )


def report(asked: Sample, result: str, answer: str) -> Sample:
    """The turn after `asked`: the tool's `result` is there, the model passes it on."""
    identifier = "call_1"
    assistant: dict[str, Any] = {
        "role": "assistant",
        "content": "",
        "tool_calls": [asked.tool_calls[0].message(identifier)],
    }
    if asked.thinking:
        assistant["reasoning_content"] = asked.reasoning
    return Sample(
        messages=(
            *asked.messages,
            assistant,
            {"role": "tool", "tool_call_id": identifier, "content": result},
        ),
        content=answer,
        thinking=asked.thinking,
        reasoning=_REPORTED,
        tools=asked.tools,
    )


def weather_result(city: str, degrees: int, condition: str, *, as_json: bool) -> tuple[str, str]:
    """(the tool's result, the model's answer)."""
    result = f"{degrees} degrees and {condition}"
    if as_json:
        result = json.dumps({"temperature": degrees, "condition": condition})
    return result, f"In {city} it is {condition}, at {degrees} degrees."


def time_result(city: str, hour: int, minute: int, *, as_json: bool) -> tuple[str, str]:
    """(the tool's result, the model's answer)."""
    clock = f"{hour:02}:{minute:02}"
    return (json.dumps({"time": clock}) if as_json else clock), f"In {city} it is {clock}."


def kit(random: Random) -> tuple[Tool, tuple[Tool, ...]]:
    """(a weather tool, the tools that are offered and in which order)."""
    weather = random.choice(_WEATHERS) if random.random() < 0.5 else WEATHER
    time = random.choice(_TIMES) if random.random() < 0.5 else TIME
    kits = ((weather, time), (weather, time), (time, weather), (weather,), (time,))
    return weather, random.choice(kits)


def draw(random: Random, *, thinking: bool) -> Sample:
    """A random call or report."""
    weather, offered = kit(random)
    tool = random.choice(offered)
    city = random.choice(CITIES)
    question = random.choice(_ASK_WEATHER if tool is weather else _ASK_TIME).format(city)
    asked = call(tool, city, question, tools=offered, thinking=thinking)
    if random.random() < 0.5:
        return asked
    as_json = random.random() < 0.5
    if tool is weather:
        degrees, condition = random.randrange(40), random.choice(CONDITIONS)
        return report(asked, *weather_result(city, degrees, condition, as_json=as_json))
    hour, minute = random.randrange(24), random.randrange(60)
    return report(asked, *time_result(city, hour, minute, as_json=as_json))
