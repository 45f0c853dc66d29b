"""What clients send and models say never stands in an engine's log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.supervised import PATIENCE, PROMPT, Make

pytestmark = pytest.mark.integration


TALK = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8}
SCHEMA = {"type": "object", "properties": {"canary": {"type": "string", "pattern": "canary"}}}
TOOL = {"type": "function", "function": {"name": "canary", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", TALK | {"stop": ["canary"]}),
        ("/v1/chat/completions", TALK | {"tools": [TOOL], "tool_choice": "required"}),
        (
            "/v1/chat/completions",
            TALK | {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        ),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": PROMPT * 500}]}),
        ("/v1/chat/completions", {"messages": "canary"}),
        ("/completion", {"prompt": PROMPT, "n_predict": 4, "grammar": 'root ::= "canary"'}),
        ("/completion", {"prompt": PROMPT, "n_predict": 4, "grammar": "canary ::= ("}),
        ("/completion", b'{"prompt": canary'),
    ],
)
async def test_no_text_of_a_client_stands_in_its_log(make: Make, path: str, body: Any) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with engine.session.post(path, data=data) as response:
        answer = await response.text()
        if response.status == 200:
            answer = (await response.json()).get("content") or "no answer to look for"
    await engine.stop(5)
    log = engine.log.path.read_text()
    assert "model loaded" in log
    assert "canary" not in log
    assert answer not in log
