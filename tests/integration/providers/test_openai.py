"""OpenAI's two protocols against a program that plays them, which the official SDK takes for it.

The SDK also talks to a small translator in place of the web layer: what it sends is parsed, asked
of either protocol, and the answer encoded for it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from server.chat.answer import answer_of
from server.chat.request import ChatRequest
from server.errors import (
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers import PROTOCOLS
from server.providers.provider import CloudProtocol
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.fakes.faults import PLACES
from tests.integration.providers.calling import answered, conversed, events_of
from tests.integration.providers.translator import Translator
from tests.providers.clouds import (
    MODEL,
    ask,
    assistant,
    call,
    image,
    png,
    result,
    tool,
    user,
)

pytestmark = pytest.mark.integration

CHAT, RESPONSES = PROTOCOLS["openai"], PROTOCOLS["openai-responses"]
both = pytest.mark.parametrize("protocol", [CHAT, RESPONSES], ids=["chat", "responses"])
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = tool(description="Says it.", parameters=SCHEMA)
PICTURE = png()
CREATED = 1_790_000_000


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeCloud]:
    with running_cloud("openai_api", "--key", "key") as running:
        yield dataclasses.replace(running, url=f"{running.url}/v1")


@pytest.fixture(scope="module")
def sdk(cloud: FakeCloud) -> openai.OpenAI:
    return openai.OpenAI(api_key="key", base_url=cloud.url, max_retries=0)


def test_the_sdk_takes_it_for_the_api(sdk: openai.OpenAI) -> None:
    said: Any = [{"role": "user", "content": '#fake text Looking.\n#fake call weather {"a": 1}'}]
    asked: Any = {"model": "gpt-5", "messages": said, "tools": [WEATHER]}
    whole = sdk.chat.completions.create(**asked)
    assert whole.choices[0].finish_reason == "tool_calls"
    with sdk.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    for one in (whole, streamed):
        message = one.choices[0].message
        assert message.content == "Looking."
        assert message.tool_calls is not None
        (call,) = message.tool_calls
        assert call.type == "function"
        assert call.function.arguments == '{"a": 1}'
    assert streamed.usage == whole.usage
    with sdk.responses.stream(model="gpt-5", input="#fake think Hm.\n#fake text Hi.") as events:
        response = events.get_final_response()
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text == "Hi."
    vectors = sdk.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=4)
    assert [len(one.embedding) for one in vectors.data] == [4, 4]
    assert "gpt-5" in [one.id for one in sdk.models.list()]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"extra_body": {"min_p": 0.5}}, "min_p"),
        ({"messages": [{"role": "user", "content": "a", "cache_control": {}}]}, "cache_control"),
        ({"messages": [result("x")]}, "must be a response to"),
        ({"messages": [assistant(None, tool_calls=[call("x")]), user("a")]}, "did not have"),
        ({"messages": [assistant(None)]}, "got null"),
        ({"tool_choice": "auto"}, "only allowed when"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "name"),
    ],
)
def test_it_takes_no_more_than_the_api(
    sdk: openai.OpenAI, fields: dict[str, Any], says: str
) -> None:
    asked: Any = {"model": "gpt-5", "messages": [user("hi")], **fields}
    with pytest.raises(openai.BadRequestError, match=says):
        sdk.chat.completions.create(**asked)


SEALED: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed(a)"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"extra_body": {"seed": 1}}, "seed"),
        ({"max_output_tokens": 5}, "minimum value"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": ""}]}, "No tool"),
        ({"input": [{**SEALED, "encrypted_content": "forged"}]}, "could not be verified"),
        ({"input": [SEALED]}, "without its required"),
    ],
)
def test_its_responses_take_no_more_than_the_api(
    sdk: openai.OpenAI, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        sdk.responses.create(**{"model": "gpt-5", "input": "hi", **fields})


TURNS = [
    user("What is it?"),
    assistant("Looking.", tool_calls=[call("c1", arguments='{"city": "Bonn"}')]),
    result("c1", "sunny"),
    user("And?"),
]
SEEN = user([{"type": "text", "text": "see"}, image(PICTURE)])
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
SYSTEM = {"role": "system", "content": "be brief"}
SAME: list[tuple[str, ChatRequest, dict[str, Any], dict[str, Any]]] = [
    ("the least", ask(), {}, {}),
    ("a system prompt", ask(SYSTEM, user("hi")), {"messages": [SYSTEM, user("hi")]},
     {"instructions": "be brief"}),
    ("an image", ask(SEEN), {"messages": [SEEN]},
     {"input": [user([{"type": "input_text", "text": "see"},
                      {"type": "input_image", "image_url": PICTURE, "detail": "auto"}])]}),
    ("tools and what they said",
     ask(*TURNS, tools=[WEATHER], parallel_tool_calls=False),
     {"messages": TURNS, "tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False},
     {"input": [
         user("What is it?"), assistant("Looking."),
         {"type": "function_call", "call_id": "c1", "name": "weather",
          "arguments": '{"city": "Bonn"}'},
         {"type": "function_call_output", "call_id": "c1", "output": "sunny"}, user("And?")],
      "tools": [{"type": "function", "strict": False, **WEATHER["function"]}],
      "tool_choice": "auto", "parallel_tool_calls": False}),
    ("thinking", ask(reasoning_effort="high", max_tokens=50),
     {"reasoning_effort": "high", "max_completion_tokens": 50},
     {"reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 50}),
    ("a schema", ask(response_format=FORM), {"response_format": FORM},
     {"text": {"format": {"type": "json_schema", **FORM["json_schema"]}}}),  # type: ignore[dict-item]
    ("sampling", ask(temperature=0.5, top_p=0.5), {"temperature": 0.5, "top_p": 0.5},
     {"temperature": 0.5, "top_p": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "chat", "responses"), [c[1:] for c in SAME], ids=[c[0] for c in SAME]
)
def test_it_gets_what_the_sdk_would_send(
    cloud: FakeCloud,
    sdk: openai.OpenAI,
    request_: ChatRequest,
    chat: dict[str, Any],
    responses: dict[str, Any],
) -> None:
    cloud.requests(clear=True)
    for protocol in (CHAT, RESPONSES):
        assert list(events_of(cloud, protocol, request_, MODEL))
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    given = {"model": "model-1", "messages": [user("hi")], **more, **chat}
    list(sdk.chat.completions.create(**given))
    more = {"stream": True, "store": False, "include": ["reasoning.encrypted_content"]}
    list(sdk.responses.create(**{"model": "model-1", "input": [user("hi")], **more, **responses}))
    ours, other_ours, theirs, other_theirs = cloud.requests()
    for mine, its in ((ours, theirs), (other_ours, other_theirs)):
        assert mine["body"] == its["body"]
        assert mine["path"] == its["path"]
        for name in ("authorization", "content-type"):
            assert mine["headers"][name] == its["headers"][name]


@both
def test_a_conversation_goes_on_over_turns_and_tools(
    cloud: FakeCloud, protocol: CloudProtocol
) -> None:
    sent = conversed(cloud, protocol, MODEL, WEATHER)
    if protocol is RESPONSES:
        assert sent["input"][1]["encrypted_content"] == "sealed(Hm, déjà vu.)"


@both
def test_how_answers_end(cloud: FakeCloud, protocol: CloudProtocol) -> None:
    for reason in ("length", "stop"):
        answer = answered(cloud, protocol, ask(user(f"#fake end {reason}")), MODEL)
        assert answer.choice().reason == reason
    refused = answered(cloud, protocol, ask(user("#fake refuse I will not.")), MODEL).choice()
    assert refused.refusal == "I will not."
    cached = answered(cloud, protocol, ask(user("#fake cached 20\n" + "x" * 400)), MODEL)
    assert cached.usage is not None
    assert cached.usage.cached_tokens == 20


def test_several_choices_and_log_probabilities(cloud: FakeCloud) -> None:
    answer = answered(cloud, CHAT, ask(user("#fake text a b"), n=2, logprobs=True), MODEL)
    assert [one.text for one in answer.choices.values()] == ["a b", "a b"]
    assert [one["token"] for one in answer.choices[1].logprobs] == ["a", " b"]


FAULTS: list[tuple[str, type[HoldfastError]]] = [
    ("429 retry_after=7", ProviderBusy),
    ("429", ProviderBusy),
    ("quota", ProviderRefused),
    ("401", ProviderRefused),
    ("400", RequestError),
    ("context", ContextExceeded),
    ("500", ProviderError),
    ("503", ProviderBusy),
    ("529", ProviderBusy),
    ("429 at=before-first-token", ProviderBusy),
    ("quota at=mid-stream", ProviderRefused),
    ("500 at=mid-stream", ProviderError),
    ("context at=at-end", ContextExceeded),
    ("bad-json at=before-first-token", ProviderError),
    ("bad-json at=mid-stream", ProviderError),
    ("bad-json at=at-end", ProviderError),
]


@both
@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_faults(
    cloud: FakeCloud, protocol: CloudProtocol, fault: str, expected: type[HoldfastError]
) -> None:
    request = ask(user(f"#fake long 20\n#fake fault {fault}"))
    with pytest.raises(HoldfastError) as caught:
        list(events_of(cloud, protocol, request, MODEL))
    assert type(caught.value) is expected
    if "retry_after" in fault:
        assert caught.value.retry_after == 7


@both
@pytest.mark.parametrize("place", PLACES)
def test_an_answer_that_ends_too_early_is_never_whole(
    cloud: FakeCloud, protocol: CloudProtocol, place: str
) -> None:
    request = ask(user(f"#fake long 20\n#fake fault short at={place}"))
    assert not answer_of(events_of(cloud, protocol, request, MODEL)).ended


@pytest.fixture
def through(cloud: FakeCloud, protocol: CloudProtocol) -> openai.OpenAI:
    client = openai.DefaultHttpxClient(transport=Translator(cloud, protocol))
    return openai.OpenAI(
        api_key="key", base_url="http://holdfast/v1", max_retries=0, http_client=client
    )


def without_times(completion_: Any) -> Any:
    given = completion_.to_dict()
    return [
        {
            key: value
            for key, value in {**choice["message"], "reason": choice["finish_reason"]}.items()
            if value is not None and key not in ("annotations", "reasoning_details", "parsed")
        }
        for choice in given["choices"]
    ]


@both
@pytest.mark.parametrize(
    "said",
    [
        "hi",
        "#fake think Hm.\n#fake text It is.",
        '#fake call weather {"city": "Bonn"}\n#fake call weather {}',
        "#fake long 30",
        "#fake refuse No.",
    ],
)
def test_the_sdk_gets_chat_completions(
    through: openai.OpenAI, protocol: CloudProtocol, said: str
) -> None:
    asked: Any = {
        "model": "m",
        "messages": [user(said)],
        "tools": [WEATHER],
        "reasoning_effort": "high",
    }
    whole = through.chat.completions.create(**asked)
    with through.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    shown = without_times(streamed)
    for message in shown:
        for one in message.get("tool_calls", ()):
            one["function"].pop("parsed_arguments", None)
            one.pop("index", None)
    expected = without_times(whole)
    for one in (*shown, *expected):
        one.setdefault("content", "")
    assert shown == expected
    assert streamed.usage == whole.usage


@both
def test_the_sdk_gets_responses_and_goes_on_from_them(
    through: openai.OpenAI, protocol: CloudProtocol
) -> None:
    tools: Any = [{"type": "function", "strict": False, **WEATHER["function"]}]
    asked: Any = {"model": "m", "tools": tools, "reasoning": {"effort": "low", "summary": "auto"}}
    prompt = '#fake think Hm.\n#fake call weather {"city": "Bonn"}'
    with through.responses.stream(input=prompt, **asked) as stream:
        first = stream.get_final_response()
    called = first.output[-1]
    assert called.type == "function_call"
    assert called.arguments == '{"city": "Bonn"}'
    told: Any = {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
    second = through.responses.create(input=[told], previous_response_id=first.id, **asked)
    assert second.output_text == "The tools said sunny"
    third = through.responses.create(
        input="#fake text Bye.", previous_response_id=second.id, **asked
    )
    assert third.output_text == "Bye."
    by_hand: Any = [
        {"role": "user", "content": prompt},
        *(item.to_dict(exclude_unset=True) for item in first.output),
        told,
    ]
    again = through.responses.create(input=by_hand, store=False, **asked)
    assert again.output_text == "The tools said sunny"
    with pytest.raises(openai.BadRequestError, match="not found"):
        through.responses.create(input="hi", previous_response_id="resp_x", **asked)


@both
def test_the_sdk_gets_embeddings(through: openai.OpenAI, protocol: CloudProtocol) -> None:
    plain = through.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    packed = through.embeddings.create(model="m", input=["a", "b"])
    assert [one.embedding for one in plain.data] == [one.embedding for one in packed.data]
    assert plain.usage.prompt_tokens == 2


@both
def test_the_sdk_gets_errors_as_openai_has_them(
    through: openai.OpenAI, protocol: CloudProtocol
) -> None:
    asked: Any = {"model": "m", "messages": [user("#fake fault context")]}
    with pytest.raises(openai.BadRequestError) as caught:
        through.chat.completions.create(**asked)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="min_p"):
        through.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], extra_body={"min_p": 0.5}
        )
