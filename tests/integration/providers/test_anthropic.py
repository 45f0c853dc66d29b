"""Anthropic's protocol against a program that plays it, which the official SDK takes for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from server.chat.request import ChatRequest
from server.errors import (
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.anthropic import PROTOCOL
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.providers.calling import answered, conversed, events_of
from tests.providers.clouds import (
    MODEL,
    ask,
    assistant,
    call,
    image,
    model,
    png,
    result,
    tool,
    user,
)

pytestmark = pytest.mark.integration

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = tool(description="Says it.", parameters=SCHEMA)
BUDGETS = model(efforts=("none",), thinking_budget=(1024, 32_000))


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeCloud]:
    with running_cloud("anthropic_api", "--key", "key") as running:
        yield running


@pytest.fixture(scope="module")
def sdk(cloud: FakeCloud) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="key", base_url=cloud.url, max_retries=0)


ANTHROPIC_TOOL: Any = {"name": "weather", "description": "Says it.", "input_schema": SCHEMA}


def test_the_sdk_takes_it_for_the_api(sdk: anthropic.Anthropic) -> None:
    said = '#fake think Hm.\n#fake text Looking.\n#fake call weather {"city": "Bonn"}'
    asked: Any = {
        "model": "claude-x",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": said}],
        "tools": [ANTHROPIC_TOOL],
        "thinking": {"type": "adaptive", "display": "summarized"},
    }
    whole = sdk.messages.create(**asked)
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use"]
    assert whole.stop_reason == "tool_use"
    with sdk.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    shown = [block.to_dict(exclude_unset=True) for block in whole.content]
    assert [block.to_dict(exclude_unset=True) for block in streamed.content] == shown
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    counted = sdk.messages.count_tokens(model="claude-x", messages=asked["messages"])
    assert counted.input_tokens > 0
    assert sdk.models.list().data[0].id == "claude-opus-5-5"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "first message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"extra_body": {"temperature": 1}}, "temperature: Extra inputs"),
        ({"extra_body": {"seed": 1}}, "seed: Extra inputs"),
        ({"tool_choice": {"type": "auto"}}, "while providing `tools`"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            "must be greater than `thinking.budget_tokens`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result",
             "tool_use_id": "a"}]}]},
            "unexpected `tool_use_id`",
        ),
        (
            {"messages": [{"role": "user", "content": "a"},
             {"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}]}]},
            "signature: Field required",
        ),
        (
            {"messages": [{"role": "user", "content": "a"},
             {"role": "assistant", "content": [{"type": "thinking", "thinking": "a",
              "signature": "forged"}]}]},
            "Invalid `signature`",
        ),
    ],
)  # fmt: skip
def test_it_takes_no_more_than_the_api(
    sdk: anthropic.Anthropic, fields: dict[str, Any], says: str
) -> None:
    asked = {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(anthropic.BadRequestError, match=says):
        sdk.messages.create(**{**asked, **fields})


TURNS = [
    user("What is it?"),
    assistant("Looking.", tool_calls=[call("c1", arguments='{"city": "Bonn"}')]),
    result("c1", "sunny"),
    user("And?"),
]
ANTHROPIC_TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bonn"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
            {"type": "text", "text": "And?"},
        ],
    },
]
HI: Any = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
PICTURE = png()
SAME: list[tuple[str, ChatRequest, dict[str, Any]]] = [
    ("the least", ask(max_tokens=50), {}),
    (
        "a system prompt, stops",
        ask({"role": "system", "content": "be brief"}, user("hi"), stop=["x"], max_tokens=50),
        {"system": "be brief", "stop_sequences": ["x"]},
    ),
    (
        "an image",
        ask(user([{"type": "text", "text": "see"}, image(PICTURE)]), max_tokens=50),
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": PICTURE.partition(",")[2],
                            },
                        },
                    ],
                }
            ]
        },
    ),
    (
        "tools and what they said",
        ask(*TURNS, tools=[WEATHER], parallel_tool_calls=False, max_tokens=50),
        {
            "messages": ANTHROPIC_TURNS,
            "tools": [ANTHROPIC_TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    (
        "thinking",
        ask(reasoning_effort="high", max_tokens=50),
        {
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "high"},
        },
    ),
    (
        "a schema",
        ask(
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
            max_tokens=50,
        ),
        {
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": {**SCHEMA, "additionalProperties": False},
                }
            }
        },
    ),
]


@pytest.mark.parametrize(("request_", "asked"), [c[1:] for c in SAME], ids=[c[0] for c in SAME])
def test_it_gets_what_the_sdk_would_send(
    cloud: FakeCloud, sdk: anthropic.Anthropic, request_: ChatRequest, asked: dict[str, Any]
) -> None:
    cloud.requests(clear=True)
    assert list(events_of(cloud, PROTOCOL, request_, MODEL))
    given = {"model": "model-1", "max_tokens": 50, "messages": HI, **asked}
    list(sdk.messages.create(**given, stream=True))
    ours, theirs = cloud.requests()
    assert ours["body"] == theirs["body"]
    for name in ("anthropic-version", "content-type"):
        assert ours["headers"][name] == theirs["headers"][name]
    assert ours["path"] == theirs["path"]


@pytest.mark.parametrize("of", [MODEL, BUDGETS], ids=["degrees", "budget"])
def test_thinking_goes_on_over_turns_and_tools(cloud: FakeCloud, of: Any) -> None:
    sent = conversed(cloud, PROTOCOL, of, WEATHER)
    assert sent["messages"][1]["content"][0]["type"] == "thinking"


def test_an_older_version_is_asked_for_sampling(cloud: FakeCloud) -> None:
    request = ask(user("#fake text cold"), temperature=0, top_k=5)
    assert answered(cloud, PROTOCOL, request, MODEL).choice().text == "cold"


def test_usage_counts_what_was_cached(cloud: FakeCloud) -> None:
    said = user("#fake cached 20\n" + "x" * 400)
    usage = answered(cloud, PROTOCOL, ask(said), MODEL).usage
    assert usage is not None
    assert usage.cached_tokens == 20
    assert usage.prompt_tokens > 100


def test_how_answers_end(cloud: FakeCloud) -> None:
    ends = {"length": "length", "stop": "stop"}
    for said, expected in ends.items():
        answer = answered(cloud, PROTOCOL, ask(user(f"#fake end {said}")), MODEL)
        assert answer.choice().reason == expected
    refused = answered(cloud, PROTOCOL, ask(user("#fake refuse I will not.")), MODEL).choice()
    assert (refused.refusal, refused.reason) == ("I will not.", "content_filter")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429 retry_after=7", ProviderBusy),
        ("429", ProviderBusy),
        ("quota", ProviderRefused),
        ("401", ProviderRefused),
        ("400", RequestError),
        ("context", ContextExceeded),
        ("500", ProviderError),
        ("503", ProviderBusy),
        ("529", ProviderBusy),
        ("529 at=before-first-token", ProviderBusy),
        ("500 at=mid-stream", ProviderError),
        ("529 at=at-end", ProviderBusy),
        ("bad-json at=before-first-token", ProviderError),
        ("bad-json at=mid-stream", ProviderError),
        ("bad-json at=at-end", ProviderError),
    ],
)
def test_faults(cloud: FakeCloud, fault: str, expected: type[HoldfastError]) -> None:
    request = ask(user(f"#fake long 20\n#fake fault {fault}"))
    with pytest.raises(HoldfastError) as caught:
        list(events_of(cloud, PROTOCOL, request, MODEL))
    assert type(caught.value) is expected
    if "retry_after" in fault:
        assert caught.value.retry_after == 7


def test_a_wrong_key_is_refused(cloud: FakeCloud) -> None:
    with pytest.raises(ProviderRefused, match="key"):
        list(events_of(cloud, PROTOCOL, ask(), MODEL, key="other"))
