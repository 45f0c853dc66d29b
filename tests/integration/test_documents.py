"""PDFs through Holdfast: every dialect of clients, every cloud, and what no engine reads."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.chat.papers import pdf, url
from tests.fakes.cloud_running import FakeCloud
from tests.integration.clouds import MODELS, Clouds, gateway
from tests.integration.running import Holdfast, run

pytestmark = pytest.mark.integration

PAPER = pdf(3)
ASK = "What is in it?\n#fake read"
SAYS = "a.pdf has 3 pages"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("documents"), played) as running:
        yield running


def at(played: Clouds, model: str) -> FakeCloud:
    found = getattr(played, model.partition("/")[0])
    assert isinstance(found, FakeCloud)
    return found


def chat_parts() -> Any:
    file = {"filename": "a.pdf", "file_data": url(PAPER)}
    return [{"type": "file", "file": file}, {"type": "text", "text": ASK}]


def message_blocks() -> Any:
    data = base64.b64encode(PAPER).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    document = {"type": "document", "title": "a.pdf", "source": source}
    return [document, {"type": "text", "text": ASK}]


@pytest.mark.parametrize("model", MODELS)
def test_chat_completions_in_full_and_in_pieces(
    client: openai.OpenAI, node: Holdfast, played: Clouds, model: str
) -> None:
    said: Any = [{"role": "user", "content": chat_parts()}]
    raw = client.chat.completions.with_raw_response.create(model=model, messages=said)
    whole = raw.parse()
    assert whole.choices[0].message.content == SAYS
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > 3 * 500
    assert float(raw.headers["x-holdfast-cost-usd"]) > 0
    stream = client.chat.completions.create(model=model, messages=said, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    told = json.loads(run("usage", "egress", "--json", home=node.home).stdout)
    sent = at(played, model).requests()[-1]
    assert int(sent["headers"]["content-length"]) > len(url(PAPER))
    assert told[-1]["bytes"] == int(sent["headers"]["content-length"])


@pytest.mark.parametrize("model", MODELS)
def test_responses_and_their_continuation(client: openai.OpenAI, model: str) -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": url(PAPER)}
    parts: Any = [{"role": "user", "content": [file, {"type": "input_text", "text": ASK}]}]
    first = client.responses.create(model=model, input=parts)
    assert first.output_text == SAYS
    again = client.responses.create(model=model, input="#fake read", previous_response_id=first.id)
    assert again.output_text == SAYS, "the conversation is sent with its document"


@pytest.mark.parametrize("model", MODELS)
def test_anthropics_messages_and_what_they_count(claude: anthropic.Anthropic, model: str) -> None:
    said: Any = [{"role": "user", "content": message_blocks()}]
    answer = claude.messages.create(model=model, max_tokens=64, messages=said)
    assert [block.text for block in answer.content if block.type == "text"] == [SAYS]
    raw = claude.messages.with_raw_response.count_tokens(model=model, messages=said)
    assert raw.headers["x-holdfast-count"] == "estimate"
    assert 3 * 1500 < raw.parse().input_tokens < 3 * 3100
    assert answer.usage.input_tokens <= raw.parse().input_tokens, "estimated from above"


def test_engines_read_none(client: openai.OpenAI, played: Clouds) -> None:
    before = played.sent()
    said: Any = [{"role": "user", "content": chat_parts()}]
    with pytest.raises(openai.BadRequestError, match="engines read no documents") as here:
        client.chat.completions.create(model="demo", messages=said)
    assert "No model that may answer this reads documents" in here.value.message
    with pytest.raises(openai.BadRequestError, match="reads documents"):
        client.chat.completions.create(
            model="auto", messages=said, extra_headers={"x-holdfast-local-only": "true"}
        )
    assert played.sent() == before


def test_who_reads_is_listed(client: openai.OpenAI) -> None:
    listed = {one.id: one.model_dump() for one in client.models.list()}
    assert all("file" in listed[model]["input_modalities"] for model in MODELS)
    assert "file" not in listed["demo"]["input_modalities"]
