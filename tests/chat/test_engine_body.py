from __future__ import annotations

from typing import Any

import pytest

from server.catalogue import Model
from server.chat.engine_body import engine_body
from server.chat.request import ChatRequest, CompletionRequest, parse_chat, parse_completion
from server.errors import RequestError
from tests.chat import papers
from tests.chat.pictures import png, url, webp_lossy

TOOL = {"type": "function", "function": {"name": "f"}}


def chat(**fields: Any) -> ChatRequest:
    return parse_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def completion(**fields: Any) -> CompletionRequest:
    return parse_completion({"model": "m", "prompt": "hi", **fields})


def looking(picture: str) -> ChatRequest:
    part = {"type": "image_url", "image_url": {"url": picture}}
    return chat(messages=[{"role": "user", "content": [part]}])


def test_the_whole_body_of_a_plain_chat(model: Model) -> None:
    defaults = model.sampling["thinking"]
    assert engine_body(chat(max_tokens=16), model=model, has_mmproj=False) == {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 16,
        "chat_template_kwargs": {"enable_thinking": True},
        "reasoning_format": "deepseek",
        "temperature": defaults.temperature,
        "top_p": defaults.top_p,
        "top_k": defaults.top_k,
        "min_p": defaults.min_p,
        "presence_penalty": defaults.presence_penalty,
        "repeat_penalty": defaults.repetition_penalty,
        "cache_prompt": True,
    }


@pytest.mark.parametrize("asked", [None, True, False])
def test_thinking_is_always_said(model: Model, small_model: Model, asked: bool | None) -> None:
    for served, default in ((model, True), (small_model, False)):
        request = chat() if asked is None else chat(enable_thinking=asked)
        body = engine_body(request, model=served, has_mmproj=False)
        thinking = default if asked is None else asked
        assert body["chat_template_kwargs"] == {"enable_thinking": thinking}
        mode = served.sampling["thinking" if thinking else "non_thinking"]
        assert body["temperature"] == mode.temperature
        assert body["presence_penalty"] == mode.presence_penalty


def test_what_the_client_gives_stands_and_the_rest_is_the_models(model: Model) -> None:
    request = chat(temperature=0.25, top_k=-1, repetition_penalty=1.25, frequency_penalty=0.5)
    body = engine_body(request, model=model, has_mmproj=False)
    assert body["temperature"] == 0.25
    assert body["top_k"] == 0
    assert body["repeat_penalty"] == 1.25
    assert body["frequency_penalty"] == 0.5
    assert body["top_p"] == model.sampling["thinking"].top_p
    assert "repetition_penalty" not in body


def test_greedy_is_greedy(model: Model) -> None:
    body = engine_body(chat(temperature=0), model=model, has_mmproj=False)
    given = {"temperature", "top_p", "top_k", "min_p", "presence_penalty", "repeat_penalty"}
    assert given & set(body) == {"temperature"}
    body = engine_body(chat(temperature=0.0, presence_penalty=1), model=model, has_mmproj=False)
    assert body["presence_penalty"] == 1


def test_images_have_settings_of_their_own(small_model: Model) -> None:
    body = engine_body(looking(url(png(2, 2))), model=small_model, has_mmproj=True)
    assert body["temperature"] == small_model.sampling["non_thinking_vision"].temperature
    assert body["temperature"] != small_model.sampling["non_thinking"].temperature


def test_without_an_mmproj_images_are_refused(model: Model) -> None:
    with pytest.raises(RequestError, match="cannot see images") as caught:
        engine_body(looking(url(png(2, 2))), model=model, has_mmproj=False)
    assert caught.value.status == 400
    assert model.id in caught.value.what
    assert "mmproj" in caught.value.sentence


def test_documents_are_refused(model: Model) -> None:
    file = {"type": "file", "file": {"file_data": papers.url(papers.pdf())}}
    request = chat(messages=[{"role": "user", "content": [file]}])
    with pytest.raises(RequestError, match="engines read no documents") as caught:
        engine_body(request, model=model, has_mmproj=True)
    assert caught.value.param == "messages"


def test_webp_is_refused(model: Model) -> None:
    with pytest.raises(RequestError, match="Send PNG or JPEG"):
        engine_body(looking(url(webp_lossy(2, 2), "webp")), model=model, has_mmproj=True)


def test_streams_always_count_their_tokens(model: Model) -> None:
    for fields in ({}, {"stream_options": {"include_usage": False}}):
        body = engine_body(chat(stream=True, **fields), model=model, has_mmproj=False)
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}


def test_several_choices_are_streamed_and_bounded_by_the_slots(model: Model) -> None:
    body = engine_body(chat(n=3), model=model, has_mmproj=False, slots=4)
    assert (body["n"], body["stream"]) == (3, True)
    with pytest.raises(RequestError, match="runs with 2 slots") as caught:
        engine_body(chat(n=3), model=model, has_mmproj=False, slots=2)
    assert caught.value.param == "n"
    assert "n" not in engine_body(chat(n=1), model=model, has_mmproj=False, slots=1)


@pytest.mark.parametrize(
    ("seed", "sent"),
    [
        (0, 0),
        (7, 7),
        (2**32 - 2, 2**32 - 2),
        (2**32 - 1, 0),
        (-1, 2**32 - 2),
        (2**63 - 1, (2**63 - 1) % (2**32 - 1)),
    ],
)
def test_a_seed_is_always_one(model: Model, seed: int, sent: int) -> None:
    assert engine_body(chat(seed=seed), model=model, has_mmproj=False)["seed"] == sent


def test_tools(model: Model) -> None:
    body = engine_body(chat(tools=[TOOL]), model=model, has_mmproj=False)
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == (
        [TOOL],
        "auto",
        True,
    )
    body = engine_body(
        chat(tools=[TOOL], tool_choice=TOOL, parallel_tool_calls=False),
        model=model,
        has_mmproj=False,
    )
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)


def test_log_probabilities_of_the_chosen_tokens_alone_are_asked_for_with_one(model: Model) -> None:
    body = engine_body(chat(logprobs=True), model=model, has_mmproj=False)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
    body = engine_body(chat(logprobs=True, top_logprobs=5), model=model, has_mmproj=False)
    assert body["top_logprobs"] == 5
    assert engine_body(completion(logprobs=0), model=model, has_mmproj=False)["logprobs"] == 1
    assert engine_body(completion(logprobs=3), model=model, has_mmproj=False)["logprobs"] == 3


def test_a_completion_does_not_think(model: Model) -> None:
    body = engine_body(completion(stop=["x"], max_tokens=9), model=model, has_mmproj=False)
    assert body["prompt"] == "hi"
    assert body["stop"] == ["x"]
    assert body["max_tokens"] == 9
    assert body["temperature"] == model.sampling["non_thinking"].temperature
    assert "chat_template_kwargs" not in body


def test_token_ids_need_a_text_only_engine(model: Model) -> None:
    request = completion(prompt=[1, 2])
    assert engine_body(request, model=model, has_mmproj=False)["prompt"] == [1, 2]
    with pytest.raises(RequestError, match="takes no token ids"):
        engine_body(request, model=model, has_mmproj=True)


# ---- vLLM's words for the same ----


def for_vllm(request: ChatRequest | CompletionRequest, model: Model, **more: Any) -> dict[str, Any]:
    return engine_body(request, model=model, has_mmproj=False, engine="vllm", **more)


def test_vllm_gets_no_field_that_it_would_not_know(model: Model) -> None:
    defaults = model.sampling["thinking"]
    assert for_vllm(chat(max_tokens=16), model) == {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 16,
        "chat_template_kwargs": {"enable_thinking": True},
        "temperature": defaults.temperature,
        "top_p": defaults.top_p,
        "top_k": defaults.top_k,
        "min_p": defaults.min_p,
        "presence_penalty": defaults.presence_penalty,
        "repetition_penalty": defaults.repetition_penalty,
    }
    assert for_vllm(completion(top_k=-1), model)["top_k"] == -1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"max_tokens": 10_000}, {"max_tokens": 2048}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0, "n": 2}, {"temperature": 1, "top_k": 1, "n": 2}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"logit_bias": {"7": 1, "2000000000": 5}}, {"logit_bias": {"7": 1}}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {}, "name": "x"},
                }
            },
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer"}}},
        ),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
    ],
)
def test_what_vllm_would_refuse_is_said_otherwise(
    model: Model, fields: dict[str, Any], told: dict[str, Any]
) -> None:
    body = for_vllm(chat(**fields), model, context=2048)
    if "json_schema" in (form := body.get("response_format", {})):
        assert form["json_schema"].pop("schema") == {}
    assert {key: body[key] for key in told} == told


def test_vllm_decodes_webp(model: Model) -> None:
    picture = looking(url(webp_lossy(8, 8), "webp"))
    assert engine_body(picture, model=model, has_mmproj=True, engine="vllm")["messages"]
    with pytest.raises(RequestError, match="cannot see images"):
        for_vllm(picture, model)


def test_an_engine_never_gets_what_only_clouds_understand(model: Model) -> None:
    detail = {"type": "reasoning.text", "format": "anthropic", "text": "hm", "signature": "abc"}
    picture = {"type": "image_url", "image_url": {"url": url(png(2, 2)), "detail": "low"}}
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    request = chat(
        messages=[
            {"role": "user", "content": [picture, {"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": "a", "reasoning_details": [detail]},
            {"role": "user", "content": "b"},
        ],
        tools=[tool],
        reasoning_effort="high",
    )
    body = engine_body(request, model=model, has_mmproj=True)
    seen, said, asked = body["messages"]
    assert seen["content"][0]["image_url"] == {"url": url(png(2, 2))}
    assert said == {"role": "assistant", "content": "a"}
    assert asked == {"role": "user", "content": "b"}
    assert body["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert "reasoning_effort" not in body

    schema = {"name": "n", "strict": True, "schema": {"type": "object"}}
    form = {"type": "json_schema", "json_schema": schema}
    body = engine_body(chat(response_format=form), model=model, has_mmproj=False)
    assert body["response_format"]["json_schema"] == {"schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"logprobs": True, "stream": True}, "logprobs", "with tools they are not available"),
        ({"logprobs": True, "n": 2}, "logprobs", "with tools they are not available"),
        (
            {"response_format": {"type": "json_object"}},
            "response_format",
            "no way to call a tool",
        ),
    ],
)
def test_what_an_engine_cannot_do_at_once_with_tools(
    model: Model, fields: dict[str, Any], param: str, says: str
) -> None:
    """Clouds can, so that the request itself is no fault."""
    with pytest.raises(RequestError) as caught:
        engine_body(chat(tools=[TOOL], **fields), model=model, has_mmproj=False)
    assert caught.value.param == param
    assert says in caught.value.sentence
