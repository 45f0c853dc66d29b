"""The fixed questions: enough of each kind, and consistent in themselves."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from server import demo
from server.demo import Question

QUESTIONS = demo.questions()


def test_there_are_enough_of_each_kind() -> None:
    plain = [q for q in QUESTIONS if not q.thinking and not q.tools and len(q.messages) == 1]
    assert len({q.prompt for q in plain}) >= 60
    assert sum(q.thinking for q in QUESTIONS) >= 10
    assert {c.name for q in QUESTIONS for c in q.tool_calls} == {"get_weather", "get_time"}
    assert any(q.messages[-1]["role"] == "tool" for q in QUESTIONS)
    assert any(q.messages[0]["role"] == "system" for q in QUESTIONS)
    assert any(sum(m["role"] == "user" for m in q.messages) > 1 for q in QUESTIONS)
    assert any(q.ends and q.tokens >= 250 for q in QUESTIONS)


def test_ids_are_unique() -> None:
    assert len({q.id for q in QUESTIONS}) == len(QUESTIONS)


def test_a_question_is_found_by_its_id() -> None:
    assert demo.question("what-is-holdfast").prompt == "What is Holdfast?"
    with pytest.raises(KeyError):
        demo.question("no-such-question")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.id)
def test_the_raw_completion_is_its_parts_in_qwens_format(
    question: Question, tokenizer: Tokenizer
) -> None:
    text = question.content
    for call in question.tool_calls:
        parameters = "".join(
            f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in call.arguments.items()
        )
        text += f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"
    if question.thinking:
        text = f"{question.reasoning}\n</think>\n\n{text}"
    else:
        assert question.reasoning is None
    assert question.completion == text
    assert question.tokens == len(tokenizer.encode(text).ids) + question.ends


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.tool_calls], ids=lambda q: q.id)
def test_a_call_fits_the_schema_that_was_offered(question: Question) -> None:
    offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in question.tools}
    for call in question.tool_calls:
        schema = offered[call.name]
        assert set(schema["required"]) <= set(call.arguments) <= set(schema["properties"])
