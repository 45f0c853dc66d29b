"""The table of fields against its own bounds, and against the OpenAI client's types."""

from __future__ import annotations

import itertools
import typing
from typing import Any

import pytest
from openai.types import completion_create_params as completion_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.shared.reasoning_effort import ReasoningEffort

from server.chat.fields import CHAT, COMPLETIONS, EFFORTS, Field, Reader, fields_table
from server.errors import RequestError

chat = Reader(CHAT)
completions = Reader(COMPLETIONS)


@pytest.mark.parametrize(
    ("types", "fields"),
    [
        (
            (chat_params.CompletionCreateParamsBase, chat_params.CompletionCreateParamsStreaming),
            CHAT,
        ),
        (
            (
                completion_params.CompletionCreateParamsBase,
                completion_params.CompletionCreateParamsStreaming,
            ),
            COMPLETIONS,
        ),
    ],
)
def test_every_field_of_the_openai_client_has_a_row(
    types: tuple[type, ...], fields: dict[str, Field]
) -> None:
    theirs = {name for one in types for name in one.__annotations__}
    assert theirs - set(fields) == set()


def test_every_effort_of_the_openai_client_is_known() -> None:
    (literal, _) = typing.get_args(ReasoningEffort)
    assert set(EFFORTS) == set(typing.get_args(literal))


@pytest.mark.parametrize("fields", [CHAT, COMPLETIONS])
def test_a_row_is_checked_exactly_if_it_is_accepted(fields: dict[str, Field]) -> None:
    for field in fields.values():
        assert (field.check is not None) == (field.policy == "accepted")
        assert field.note


ACCEPTED: list[tuple[Reader, str, list[Any]]] = [
    (chat, "model", ["m", "x" * 256]),
    (chat, "stream", [True, False]),
    (chat, "max_tokens", [1, 2**31 - 1]),
    (chat, "max_completion_tokens", [1, 2**31 - 1]),
    (chat, "n", [1, 16]),
    (chat, "seed", [0, -1, 2**63 - 1, -(2**63)]),
    (chat, "temperature", [0, 0.0, 1, 2, 2.0]),
    (chat, "top_p", [0.0001, 1, 1.0]),
    (chat, "presence_penalty", [-2, 0, 2.0]),
    (chat, "frequency_penalty", [-2, 0, 2.0]),
    (chat, "repetition_penalty", [0.01, 1, 2]),
    (chat, "top_k", [-1, 0, 20]),
    (chat, "min_p", [0, 0.5, 1]),
    (chat, "logprobs", [True, False]),
    (chat, "top_logprobs", [0, 20]),
    (chat, "parallel_tool_calls", [True, False]),
    (chat, "enable_thinking", [True, False]),
    (chat, "task_type", ["coding"]),
    (chat, "logit_bias", [{}, {"0": -100, "248319": 100.0}]),
    (completions, "logprobs", [0, 20]),
]


@pytest.mark.parametrize(
    ("reader", "name", "value"),
    [(reader, name, value) for reader, name, values in ACCEPTED for value in values],
)
def test_what_is_within_the_bounds_is_kept(reader: Reader, name: str, value: Any) -> None:
    assert reader.read({name: value}) == {name: value}


TRANSLATED: list[tuple[str, Any, Any]] = [
    ("stop", "a", ("a",)),
    ("stop", ["a", "b"], ("a", "b")),
    ("stop", [], ()),
    ("stream_options", {}, False),
    ("stream_options", {"include_usage": True, "include_obfuscation": False}, True),
    ("stream_options", {"include_usage": None}, False),
    ("reasoning_effort", "none", "none"),
    ("reasoning_effort", "minimal", "minimal"),
    ("reasoning_effort", "low", "low"),
    ("reasoning_effort", "xhigh", "xhigh"),
    ("reasoning", {"effort": "none"}, "none"),
    ("reasoning", {"enabled": True}, True),
    ("reasoning", {"effort": "high", "enabled": False}, "high"),
    ("chat_template_kwargs", {"enable_thinking": False}, False),
    ("chat_template_kwargs", {}, None),
    ("response_format", {"type": "text"}, None),
]


@pytest.mark.parametrize(("name", "value", "kept"), TRANSLATED)
def test_what_is_spelled_in_several_ways_is_kept_in_one(name: str, value: Any, kept: Any) -> None:
    assert chat.read({name: value}) == {name: kept}


REFUSED: list[tuple[Reader, str, Any, str, str]] = [
    (chat, "model", "", "model", "1 to 256 characters"),
    (chat, "model", "x" * 257, "model", "1 to 256 characters"),
    (chat, "model", 1, "model", "expected a string, but got an integer"),
    (chat, "stream", 1, "stream", "expected a boolean, but got an integer"),
    (chat, "stream", "true", "stream", "expected a boolean, but got a string"),
    (chat, "max_tokens", 0, "max_tokens", "expected an integer >= 1, but got 0"),
    (chat, "max_tokens", 2**31, "max_tokens", "<= 2147483647"),
    (chat, "max_tokens", 1.0, "max_tokens", "expected an integer, but got a decimal"),
    (chat, "max_tokens", True, "max_tokens", "expected an integer, but got a boolean"),
    (chat, "max_completion_tokens", "1", "max_completion_tokens", "got a string"),
    (chat, "n", 0, "n", ">= 1"),
    (chat, "n", 17, "n", "<= 16"),
    (chat, "seed", 2**63, "seed", "<= 9223372036854775807"),
    (chat, "seed", 1e30, "seed", "got a decimal"),
    (chat, "temperature", -0.1, "temperature", "expected a number >= 0, but got -0.1"),
    (chat, "temperature", 2.1, "temperature", "expected a number <= 2, but got 2.1"),
    (chat, "temperature", "1", "temperature", "expected a number, but got a string"),
    (chat, "temperature", False, "temperature", "expected a number, but got a boolean"),
    (chat, "top_p", 0, "top_p", "expected a number > 0"),
    (chat, "top_p", 1.01, "top_p", "<= 1"),
    (chat, "presence_penalty", 2.5, "presence_penalty", "<= 2"),
    (chat, "frequency_penalty", -3, "frequency_penalty", ">= -2"),
    (chat, "repetition_penalty", 0, "repetition_penalty", "> 0"),
    (chat, "top_k", -2, "top_k", ">= -1"),
    (chat, "min_p", 1.1, "min_p", "<= 1"),
    (chat, "top_logprobs", 21, "top_logprobs", "<= 20"),
    (chat, "logprobs", 1, "logprobs", "a boolean"),
    (completions, "logprobs", True, "logprobs", "an integer"),
    (completions, "logprobs", 21, "logprobs", "<= 20"),
    (chat, "stop", 1, "stop", "a string or an array of strings"),
    (chat, "stop", "", "stop", "1 to 1024"),
    (chat, "stop", ["a", 1], "stop[1]", "got an integer"),
    (chat, "stop", ["a"] * 17, "stop", "0 to 16 items"),
    (chat, "stop", "x" * 1025, "stop", "1 to 1024"),
    (chat, "logit_bias", [], "logit_bias", "expected an object"),
    (chat, "logit_bias", {"a": 1}, "logit_bias", "'a' is not a token id"),
    (chat, "logit_bias", {"-1": 1}, "logit_bias", "'-1' is not a token id"),
    (chat, "logit_bias", {"9" * 30: 1}, "logit_bias", "is not a token id"),
    (chat, "logit_bias", {"²": 1}, "logit_bias", "is not a token id"),
    (chat, "logit_bias", {"1": 101}, "logit_bias.1", "<= 100"),
    (chat, "logit_bias", {"1": False}, "logit_bias.1", "a number"),
    (chat, "logit_bias", {str(i): 1 for i in range(1025)}, "logit_bias", "1024"),
    (chat, "stream_options", True, "stream_options", "an object"),
    (chat, "stream_options", {"x": 1}, "stream_options.x", "Unknown parameter"),
    (chat, "stream_options", {"include_usage": 1}, "stream_options.include_usage", "boolean"),
    (chat, "reasoning_effort", "huge", "reasoning_effort", "'huge' is not supported"),
    (chat, "reasoning", {"max_tokens": 1}, "reasoning.max_tokens", "Unknown parameter"),
    (chat, "reasoning", {"effort": 1}, "reasoning.effort", "a string"),
    (chat, "reasoning", {"enabled": 1}, "reasoning.enabled", "a boolean"),
    (chat, "enable_thinking", "false", "enable_thinking", "a boolean"),
    (
        chat,
        "chat_template_kwargs",
        {"enable_thinking": "false"},
        "chat_template_kwargs.enable_thinking",
        "a boolean",
    ),
    (
        chat,
        "chat_template_kwargs",
        {"chat_template": "{{ x }}"},
        "chat_template_kwargs.chat_template",
        "only 'enable_thinking' may be set",
    ),
    (
        chat,
        "chat_template_kwargs",
        {"enable_thinking": True, "tools": []},
        "chat_template_kwargs.tools",
        "only 'enable_thinking' may be set",
    ),
    (chat, "parallel_tool_calls", "no", "parallel_tool_calls", "a boolean"),
    (chat, "task_type", 1, "task_type", "a string"),
    (chat, "modalities", ["text", "audio"], "modalities", "answers are text"),
    (chat, "audio", {"voice": "x"}, "audio", "answers are text"),
    (chat, "web_search_options", {}, "web_search_options", "no web search"),
    (chat, "moderation", {}, "moderation", "no moderation"),
    (chat, "functions", [{"name": "f"}], "functions", "use 'tools'"),
    (chat, "function_call", "auto", "function_call", "use 'tool_choice'"),
    (completions, "best_of", 2, "best_of", "use 'n'"),
    (completions, "best_of", True, "best_of", "use 'n'"),
    (completions, "echo", True, "echo", "the engine cannot"),
    (completions, "echo", 0, "echo", "the engine cannot"),
    (completions, "suffix", "x", "suffix", "the engine cannot"),
]


@pytest.mark.parametrize(("reader", "name", "value", "param", "says"), REFUSED)
def test_what_is_beyond_the_bounds_is_refused_by_name(
    reader: Reader, name: str, value: Any, param: str, says: str
) -> None:
    with pytest.raises(RequestError) as caught:
        reader.read({name: value})
    assert caught.value.param == param
    assert says in caught.value.sentence
    assert caught.value.status == 400


def test_every_accepted_and_refused_field_stands_in_a_table_above() -> None:
    tested = {name for _, name, _ in ACCEPTED} | {name for name, _, _ in TRANSLATED}
    refused = {name for _, name, *_ in REFUSED}
    elsewhere = {"messages", "tools", "tool_choice", "response_format", "prompt"}
    for field in (*CHAT.values(), *COMPLETIONS.values()):
        if field.policy == "accepted" and field.name not in elsewhere:
            assert field.name in tested
            assert field.name in refused
        if field.policy == "refused":
            assert field.name in refused


@pytest.mark.parametrize(
    "name",
    [
        "grammar", "json_schema", "n_discard", "n_keep", "n_predict", "id_slot", "cache_prompt",
        "lora", "samplers", "chat_template", "repeat_penalty", "ignore_eos", "response_fields",
        "reasoning_format", "continue_final_message", "add_generation_prompt", "prompt_embeds",
        "mm_processor_kwargs", "guided_regex", "structured_outputs", "api_base", "base_url",
        "", "Temperature", "__proto__",
    ],
)  # fmt: skip
def test_whatever_else_an_engine_knows_is_refused_by_name(name: str) -> None:
    anything: list[Any] = [None, 1, {}]
    for reader, value in itertools.product((chat, completions), anything):
        with pytest.raises(RequestError) as caught:
            reader.read({name: value})
        assert f"Unrecognized request argument supplied: {name}" in caught.value.what


def test_a_long_unknown_name_is_not_echoed_whole() -> None:
    with pytest.raises(RequestError) as caught:
        chat.read({"x" * 100_000: 1})
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize("reader", [chat, completions])
def test_null_is_as_good_as_not_given(reader: Reader) -> None:
    fields = CHAT if reader is chat else COMPLETIONS
    assert reader.read(dict.fromkeys(fields)) == {}


@pytest.mark.parametrize("fields", [CHAT, COMPLETIONS])
def test_what_is_ignored_is_ignored_whatever_it_holds(fields: dict[str, Field]) -> None:
    reader = Reader(fields)
    anything: list[Any] = ["x", 1, True, [], {"a": [1]}]
    for field in fields.values():
        if field.policy == "ignored":
            for value in anything:
                assert reader.read({field.name: value}) == {}


def test_refused_fields_pass_where_they_ask_for_nothing() -> None:
    assert chat.read({"modalities": ["text"], "functions": []}) == {}
    assert completions.read({"best_of": 1, "echo": False, "suffix": ""}) == {}


def test_the_documentation_has_every_field() -> None:
    table = fields_table(CHAT)
    assert all(f"| `{name}` |" in table for name in CHAT)
    assert table.count("\n") == len(CHAT) + 2
