"""What people's programs see of a budget that is nearly spent."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.integration.clouds import clouds, gateway

pytestmark = pytest.mark.integration

LIMITS = """
[router.limits]
day = "0.1 USD"
"""


@pytest.mark.parametrize("stream", [False, True])
def test_a_bounded_answer_says_so(tmp_path: Path, stream: bool) -> None:
    """The longest answer of the model would cost 0.64 USD."""
    body = {
        "model": "openai/gpt-5",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": stream,
    }
    with clouds() as played, gateway(tmp_path, played, LIMITS) as node:
        url = node.url + "/chat/completions"
        answer = httpx2.post(url, json=body, timeout=60)
        assert answer.status_code == 200
        bound = int(answer.headers["x-holdfast-max-tokens"])
        assert 1024 <= bound <= 5000
        (sent,) = played.openai.requests()
        assert sent["body"]["max_output_tokens"] == bound
        limited = httpx2.post(url, json=body | {"max_tokens": 50}, timeout=60)
        assert limited.status_code == 200
        assert "x-holdfast-max-tokens" not in limited.headers
