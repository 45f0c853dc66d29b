"""How requests end before their time: refused, or because the client leaves."""

from __future__ import annotations

import asyncio
import re

import pytest

from server.demo import question, questions
from tests.integration.asking import CONTEXT, Subject, chat

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WHAT = question("what-is-holdfast")
ENDLESS = next(one for one in questions() if not one.ends)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_is_told_in_numbers(stream: bool, subject: Subject) -> None:
    prompt = [{"role": "user", "content": "x y " * CONTEXT}]
    asked = await subject.ask(**chat(WHAT, messages=prompt, stream=stream))
    assert (asked.status, asked.error["code"]) == (400, "context_length_exceeded")
    told = asked.error["message"]
    assert f"maximum context length is {CONTEXT} tokens" in told
    if subject.differs("counts until it is too much"):
        assert f"the prompt has at least {CONTEXT + 1}." in told
    else:
        (needed,) = re.findall(r"the prompt has (\d+)\.", told)
        assert int(needed) > 2 * CONTEXT


async def test_tokens_that_do_not_exist_are_the_clients_fault(subject: Subject) -> None:
    asked = await subject.ask(prompt=[2**31 - 1, 1])
    assert (asked.status, asked.error["type"]) == (400, "invalid_request_error")
    assert "token ids" in asked.error["message"]


async def test_a_context_that_is_full_ends_the_answer(subject: Subject) -> None:
    choice = await subject.answer(prompt=[5] * (CONTEXT - 6), max_tokens=64, temperature=0)
    assert choice["finish_reason"] == "length"
    assert CONTEXT - 1 <= choice["usage"]["total_tokens"] <= CONTEXT


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_is_worked_for_no_longer(stream: bool, subject: Subject) -> None:
    limit = CONTEXT - 300
    asked = chat(ENDLESS, max_tokens=limit, stream=stream)
    wrote = []
    for _ in range(5):  # a strained machine may not let us leave before half of it is written
        before = await subject.generated()
        request = asyncio.create_task(subject.ask(**asked))
        await _until(subject, working=True)
        request.cancel()  # which closes the connection
        await _until(subject, working=False)
        wrote.append(await subject.generated() - before)
        if wrote[-1] < limit / 2:
            break
    assert min(wrote) < limit / 2
    assert (await subject.answer(**chat(WHAT)))["message"]["content"] == WHAT.content


async def _until(subject: Subject, *, working: bool) -> None:
    async with asyncio.timeout(60):
        while bool(await subject.working()) is not working:
            await asyncio.sleep(0.01)
