"""Gemini's protocol against a program that plays it, which the official SDK takes for it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from server.chat.request import ChatRequest
from server.errors import (
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.gemini import PROTOCOL
from tests.chat import papers
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.providers.calling import answered, conversed, events_of
from tests.providers.clouds import ask, assistant, call, image, model, png, result, tool, user

pytestmark = pytest.mark.integration

LEVELS = model(name="gemini-3.5-flash", efforts=("minimal", "low", "medium", "high"))
BUDGETS = model(name="gemini-2.5-flash", efforts=("none",), thinking_budget=(1, 24_576))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = tool(description="Says it.", parameters=SCHEMA)


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeCloud]:
    with running_cloud("gemini_api", "--key", "key") as running:
        yield running


@pytest.fixture(scope="module")
def sdk(cloud: FakeCloud) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=cloud.url)
    with genai.Client(api_key="key", http_options=options) as client:
        yield client


def declared() -> types.Tool:
    function = types.FunctionDeclaration(
        name="weather", description="Says it.", parameters_json_schema=SCHEMA
    )
    return types.Tool(function_declarations=[function])


def test_the_sdk_gets_embeddings_and_reads_papers(sdk: genai.Client) -> None:
    asked: list[Any] = [types.Content(parts=[types.Part(text=text)]) for text in ("a b", "c")]
    config = types.EmbedContentConfig(output_dimensionality=4)
    for name, told in (("gemini-embedding-2", 3), ("gemini-embedding-001", None)):
        made = sdk.models.embed_content(model=name, contents=asked, config=config)
        assert [len(one.values or ()) for one in made.embeddings or ()] == [4, 4]
        usage = made.usage_metadata
        assert (None if usage is None else usage.prompt_token_count) == told
    with pytest.raises(errors.ClientError, match="at most 100 requests"):
        sdk.models.embed_content(model="gemini-embedding-001", contents=asked * 51)
    parts = [
        types.Part(text="a.pdf"),
        types.Part.from_bytes(data=papers.pdf(3), mime_type="application/pdf"),
        types.Part(text="\n#fake read"),
    ]
    said = types.Content(role="user", parts=parts)
    read = sdk.models.generate_content(model="gemini-x", contents=[said])
    assert read.text == "a.pdf has 3 pages"


def test_the_sdk_takes_it_for_the_api(sdk: genai.Client) -> None:
    config = types.GenerateContentConfig(
        tools=[declared()],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True),
    )
    said = '#fake think Hm.\n#fake call weather {"city": "Bonn"}'
    question = types.Content(role="user", parts=[types.Part(text=said)])
    whole = sdk.models.generate_content(model="gemini-x", contents=[question], config=config)
    assert whole.function_calls is not None
    assert whole.function_calls[0].args == {"city": "Bonn"}
    streamed = list(
        sdk.models.generate_content_stream(model="gemini-x", contents=[question], config=config)
    )
    calls = [one for chunk in streamed for one in chunk.function_calls or ()]
    assert calls == whole.function_calls
    assert whole.candidates is not None
    answer = whole.candidates[0].content
    assert answer is not None
    back = types.Content(
        role="user",
        parts=[
            types.Part(
                function_response=types.FunctionResponse(
                    id=calls[0].id, name="weather", response={"output": "sunny"}
                )
            )
        ],
    )
    final = sdk.models.generate_content(
        model="gemini-x", contents=[question, answer, back], config=config
    )
    assert final.text == "The tools said sunny"
    assert final.usage_metadata is not None
    assert sdk.models.count_tokens(model="gemini-x", contents="hi").total_tokens
    assert next(iter(sdk.models.list())).name == "models/gemini-3.5-flash"


@pytest.mark.parametrize(
    ("contents", "config", "says"),
    [
        ([{"role": "user", "parts": []}], {}, "must not be empty"),
        (
            [{"role": "model", "parts": [{"function_call": {"name": "f", "args": {}}}]}],
            {},
            "missing a thought_signature",
        ),
        (
            [{"role": "user", "parts": [{"function_response": {"name": "f", "response": {}}}]}],
            {},
            "number of function response parts",
        ),
        (
            [{"role": "user", "parts": [{"text": "hi"}]}],
            {"response_mime_type": "application/json", "response_json_schema": {"minLength": 1}},
            "minLength",
        ),
        (
            [{"role": "user", "parts": [{"text": "hi"}]}],
            {"stop_sequences": list("abcdef")},
            "at most 5",
        ),
    ],
)
def test_it_takes_no_more_than_the_api(
    sdk: genai.Client, contents: Any, config: Any, says: str
) -> None:
    with pytest.raises(errors.ClientError, match=says):
        sdk.models.generate_content(model="gemini-x", contents=contents, config=config)


PICTURE = png()
SAME: list[tuple[str, ChatRequest, list[Any], dict[str, Any]]] = [
    ("the least", ask(max_tokens=50), [{"role": "user", "parts": [{"text": "hi"}]}], {}),
    (
        "a system prompt, sampling, stops",
        ask(
            {"role": "system", "content": "be brief"},
            user("hi"),
            stop=["x"],
            max_tokens=50,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            seed=7,
            presence_penalty=0.5,
        ),
        [{"role": "user", "parts": [{"text": "hi"}]}],
        {
            "system_instruction": {"parts": [{"text": "be brief"}]},
            "stop_sequences": ["x"],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "seed": 7,
            "presence_penalty": 0.5,
        },
    ),
    (
        "an image",
        ask(user([{"type": "text", "text": "see"}, image(PICTURE)]), max_tokens=50),
        [
            {
                "role": "user",
                "parts": [
                    {"text": "see"},
                    {
                        "inline_data": {
                            "mime_type": "image/png",
                            "data": base64.b64decode(PICTURE.partition(",")[2]),
                        }
                    },
                ],
            }
        ],
        {},
    ),
    (
        "tools and what they said",
        ask(
            user("What is it?"),
            assistant("Looking.", tool_calls=[call("c1", arguments='{"city": "Bonn"}')]),
            result("c1", "sunny"),
            user("And?"),
            tools=[WEATHER],
            tool_choice="required",
            max_tokens=50,
        ),
        [
            {"role": "user", "parts": [{"text": "What is it?"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Looking."},
                    {
                        "function_call": {"id": "c1", "name": "weather", "args": {"city": "Bonn"}},
                        "thought_signature": base64.urlsafe_b64decode(
                            "skip_thought_signature_validator"
                        ),
                    },
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "function_response": {
                            "id": "c1",
                            "name": "weather",
                            "response": {"output": "sunny"},
                        }
                    }
                ],
            },
            {"role": "user", "parts": [{"text": "And?"}]},
        ],
        {
            "tools": [declared()],
            "tool_config": {"function_calling_config": {"mode": "ANY"}},
            "automatic_function_calling": {"disable": True},
        },
    ),
    (
        "thinking",
        ask(reasoning_effort="high", max_tokens=50),
        [{"role": "user", "parts": [{"text": "hi"}]}],
        {"thinking_config": {"include_thoughts": True, "thinking_level": "HIGH"}},
    ),
    (
        "a schema",
        ask(
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
            max_tokens=50,
        ),
        [{"role": "user", "parts": [{"text": "hi"}]}],
        {"response_mime_type": "application/json", "response_json_schema": SCHEMA},
    ),
]


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """The SDK gives the system prompt a role, and writes base64 for URLs."""
    body.get("systemInstruction", {}).pop("role", None)
    for content in body["contents"]:
        for part in content["parts"]:
            for holder, key in ((part, "thoughtSignature"), (part.get("inlineData", {}), "data")):
                if key in holder:
                    holder[key] = holder[key].translate(str.maketrans("-_", "+/"))
    return body


@pytest.mark.parametrize(
    ("request_", "contents", "config"), [c[1:] for c in SAME], ids=[c[0] for c in SAME]
)
def test_it_gets_what_the_sdk_would_send(
    cloud: FakeCloud,
    sdk: genai.Client,
    request_: ChatRequest,
    contents: Any,
    config: dict[str, Any],
) -> None:
    cloud.requests(clear=True)
    assert list(events_of(cloud, PROTOCOL, request_, LEVELS))
    given = types.GenerateContentConfig(max_output_tokens=50, **config)
    list(sdk.models.generate_content_stream(model=LEVELS.name, contents=contents, config=given))
    ours, theirs = cloud.requests()
    assert plain(ours["body"]) == plain(theirs["body"])
    assert ours["path"] == theirs["path"]
    assert ours["headers"]["x-goog-api-key"] == theirs["headers"]["x-goog-api-key"]


@pytest.mark.parametrize("of", [LEVELS, BUDGETS], ids=["levels", "budget"])
def test_thinking_goes_on_over_turns_and_tools(cloud: FakeCloud, of: Any) -> None:
    calls = conversed(cloud, PROTOCOL, of, WEATHER)["contents"][1]["parts"]
    assert "thoughtSignature" in calls[0]
    assert "thoughtSignature" not in calls[1]


def test_a_conversation_that_another_model_began_goes_on(cloud: FakeCloud) -> None:
    said = [user("a"), assistant(None, tool_calls=[call("toolu_1")]), result("toolu_1", "fine")]
    answer = answered(cloud, PROTOCOL, ask(*said, tools=[WEATHER]), LEVELS)
    assert answer.choice().text == "The tools said fine"


def test_usage_counts_what_was_cached(cloud: FakeCloud) -> None:
    said = user("#fake cached 20\n" + "x" * 400)
    usage = answered(cloud, PROTOCOL, ask(said), LEVELS).usage
    assert usage is not None
    assert usage.cached_tokens == 20
    assert usage.prompt_tokens > 100


def test_how_answers_end(cloud: FakeCloud) -> None:
    for said, expected in {"length": "length", "content_filter": "content_filter"}.items():
        answer = answered(cloud, PROTOCOL, ask(user(f"#fake end {said}")), LEVELS)
        assert answer.choice().reason == expected
    refused = answered(cloud, PROTOCOL, ask(user("#fake refuse No.")), LEVELS).choice()
    assert (refused.text, refused.reason) == ("", "content_filter")
    two = answered(cloud, PROTOCOL, ask(user("#fake text hi"), n=2), LEVELS)
    assert [choice.text for choice in two.choices.values()] == ["hi", "hi"]
    with pytest.raises(ProviderError, match="MALFORMED_FUNCTION_CALL"):
        answered(cloud, PROTOCOL, ask(user("#fake end MALFORMED_FUNCTION_CALL")), LEVELS)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", ProviderBusy),
        ("quota", ProviderRefused),
        ("401", ProviderRefused),
        ("400", RequestError),
        ("context", ContextExceeded),
        ("500", ProviderError),
        ("503", ProviderBusy),
        ("503 at=before-first-token", ProviderBusy),
        ("500 at=mid-stream", ProviderError),
        ("503 at=at-end", ProviderBusy),
        ("bad-json at=before-first-token", ProviderError),
        ("bad-json at=mid-stream", ProviderError),
        ("bad-json at=at-end", ProviderError),
    ],
)
def test_faults(cloud: FakeCloud, fault: str, expected: type[HoldfastError]) -> None:
    request = ask(user(f"#fake long 20\n#fake fault {fault}"))
    with pytest.raises(HoldfastError) as caught:
        list(events_of(cloud, PROTOCOL, request, LEVELS))
    assert type(caught.value) is expected
    if fault == "429":
        assert caught.value.retry_after == 7


def test_a_wrong_key_is_refused(cloud: FakeCloud) -> None:
    with pytest.raises(ProviderRefused, match="key"):
        list(events_of(cloud, PROTOCOL, ask(), LEVELS, key="other"))
