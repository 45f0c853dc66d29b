"""What goes wrong at a cloud, as the exceptions and retries of the official SDKs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.fakes.cloud_running import FakeCloud
from tests.integration.clouds import Clouds, gateway
from tests.integration.running import Holdfast

pytestmark = pytest.mark.integration

MODEL = "openai/gpt-5"
PLAIN = """
[router]
retries = 0
breaker_failures = 1000
"""
"""Holdfast itself tries once."""
Ask = Callable[[str, int, bool], Any]
"""With a text, retries of the SDK's own, and whether the answer is to be a stream."""


class FailedError(Exception):
    """The Responses API says so in its last event, and its SDK raises nothing."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("sdk"), played, PLAIN) as running:
        yield running


@pytest.fixture
def cloud(played: Clouds) -> Iterator[FakeCloud]:
    played.openai.requests(clear=True)
    yield played.openai
    played.mend()


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture(params=["chat", "responses", "messages"])
def ask(request: pytest.FixtureRequest, node: Holdfast) -> Ask:
    def asking(text: str, retries: int, stream: bool) -> Any:
        if request.param == "messages":
            claude = anthropic.Anthropic(
                base_url=node.root, api_key="none", max_retries=retries, timeout=60
            )
            answer: Any = claude.messages.create(
                model=MODEL, max_tokens=64, messages=messages(text), stream=stream
            )
        else:
            client = node.client(max_retries=retries, timeout=60)
            if request.param == "chat":
                answer = client.chat.completions.create(
                    model=MODEL, messages=messages(text), stream=stream
                )
            else:
                answer = client.responses.create(model=MODEL, input=text, stream=stream)
        if not stream:
            return answer
        events = list(answer)
        if getattr(events[-1], "type", None) == "response.failed":
            raise FailedError
        return events

    return asking


@pytest.mark.parametrize(
    ("fault", "stream", "status", "times"),
    [
        ("400", False, 400, 1),
        ("context", True, 400, 1),
        ("401", True, 502, 1),
        ("quota", False, 502, 1),
        ("500", True, 502, 2),
        ("529", False, 503, 2),
    ],
)
def test_only_what_may_pass_is_asked_again(
    cloud: FakeCloud, ask: Ask, fault: str, stream: bool, status: int, times: int
) -> None:
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as told:
        ask(f"#fake fault {fault}", 1, stream)
    error: Any = told.value
    sdk: Any = openai if isinstance(error, openai.APIError) else anthropic
    assert isinstance(error, sdk.BadRequestError if status == 400 else sdk.InternalServerError)
    assert error.status_code == status
    assert len(cloud.requests()) == times


def test_retry_after_is_heeded(cloud: FakeCloud, ask: Ask) -> None:
    cloud.faults("429 retry_after=1")
    assert ask("Hello", 1, False)
    assert len(cloud.requests()) == 2


@pytest.mark.parametrize("fault", ["cut", "500", "429", "short"])
def test_an_answer_that_breaks_is_told_and_not_asked_again(
    cloud: FakeCloud, ask: Ask, fault: str
) -> None:
    text = f"#fake long 8\n#fake pace 0.01\n#fake fault {fault} at=mid-stream"
    with pytest.raises((openai.APIError, anthropic.APIError, FailedError)):
        ask(text, 2, True)
    assert len(cloud.requests()) == 1


def test_what_a_model_cannot_do_is_told_by_the_name_it_was_asked_by(node: Holdfast) -> None:
    client = node.client(timeout=60)
    chats: list[dict[str, Any]] = [{"seed": 1}, {"stop": ["x"]}, {"n": 2}, {"logit_bias": {"1": 1}}]
    for asked in chats:
        (name,) = asked
        with pytest.raises(openai.BadRequestError, match=name) as told:
            client.chat.completions.create(model=MODEL, messages=messages("x"), **asked)
        assert told.value.param == name
    with pytest.raises(openai.BadRequestError, match="'max_output_tokens'") as told:
        client.responses.create(model=MODEL, input="x", max_output_tokens=5)
    assert told.value.param == "max_output_tokens"
    claude = anthropic.Anthropic(base_url=node.root, api_key="none", timeout=60)
    with pytest.raises(anthropic.BadRequestError, match="'stop_sequences'"):
        claude.messages.create(
            model=MODEL, max_tokens=64, messages=messages("x"), stop_sequences=["x"]
        )
