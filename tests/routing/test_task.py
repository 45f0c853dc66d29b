"""The classifier's table: what people ask, and what kind of work it is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from server.chat import parse_chat, parse_completion
from server.routing.task import GUESSED, infer

TABLE = {
    "coding": """
        Write a Python function that merges two sorted lists
        Fix this: Traceback (most recent call last): File "a.py", line 3
        Refactor this class so that it has no global state
        ```js\\nlet a = 1\\n``` why is it undefined?
        #include <stdio.h> int main() { return 0; }
        Why does SELECT * FROM users take so long?
        Add a unit test for the parser and debug it
        My Dockerfile fails to build, here is the error
        What is the regex for an IPv4 address?
        用Python写一个排序函数 代码
        """,
    "translation": """
        Translate the following sentence into German: good morning
        Please translate: der Hund schläft
        Übersetze das ins Englische
        翻译成英文: 你好
        翻訳してください
        """,
    "summarization": """
        Summarize the following article in three sentences
        Give me the TL;DR of this thread
        What are the key points of this report? A summary please
        总结这篇文章
        """,
    "classification": """
        Classify this review as positive or negative
        Is this spam? Answer yes or no
        What is the sentiment of: I loved it
        Categorize this ticket as one of the following: billing, bug, question
        分类: 苹果, 香蕉
        """,
    "extraction": """
        Extract all names and dates from the text below
        Return the invoice number and the total as JSON
        List the entities of this paragraph, all fields
        提取所有日期
        """,
    "reasoning": """
        Prove that the square root of two is irrational
        Solve for x: 3x + 5 = 20, step by step
        Calculate the probability of two sixes
        Derive the equation of motion of a pendulum
        证明根号二是无理数
        """,
    "writing": """
        Write a short story about a lighthouse
        Write me a poem on autumn
        Rephrase this paragraph so that it is friendlier
        Draft a blog post, an essay of 500 words, on patience
        """,
    "chat": """
        Hello!
        What is the capital of France?
        How are you today?
        Tell me about the history of Rome
        What should I cook tonight?
        谢谢你
        .
        """,
}
ROWS = [(task, line.strip()) for task, lines in TABLE.items() for line in lines.strip().split("\n")]


def chat(text: Any, **more: Any) -> Any:
    return parse_chat({"model": "auto", "messages": [{"role": "user", "content": text}], **more})


@pytest.mark.parametrize(("task", "text"), ROWS)
def test_what_people_ask(task: str, text: str) -> None:
    assert infer(chat(text.replace("\\n", "\n"))) == task


def test_every_task_has_rows() -> None:
    assert {task for task, _ in ROWS} == set(GUESSED)


@pytest.mark.parametrize(
    ("more", "task"),
    [
        ({"max_tokens": 5}, "chat"),
        ({"response_format": {"type": "json_object"}}, "extraction"),
        ({"enable_thinking": True}, "chat"),
    ],
)
def test_what_is_asked_for_beside_the_words_counts(more: dict[str, Any], task: str) -> None:
    assert infer(chat("Hello there", **more)) == task


def test_a_few_tokens_and_a_label_are_a_classification() -> None:
    assert infer(chat("Pick the label", max_tokens=3)) == "classification"


def test_only_the_beginning_and_the_end_are_looked_at() -> None:
    filler = "and so it went on, day after day. " * 500
    assert infer(chat(f"Translate this: {filler}")) == "translation"
    assert infer(chat(f"{filler} Now translate this")) == "translation"
    assert infer(chat(f"{filler} translate {filler}")) == "chat"


def test_the_last_of_the_user_counts() -> None:
    request = parse_chat(
        {
            "model": "auto",
            "messages": [
                {"role": "user", "content": "Translate this"},
                {"role": "assistant", "content": "Gern"},
                {"role": "user", "content": [{"type": "text", "text": "Prove it"}]},
            ],
        }
    )
    assert infer(request) == "reasoning"


def test_a_bare_prompt_is_looked_at_and_token_ids_are_not() -> None:
    assert infer(parse_completion({"model": "m", "prompt": "def add(a, b): # python"})) == "coding"
    assert infer(parse_completion({"model": "m", "prompt": [1, 2, 3], "max_tokens": 90})) == "chat"
