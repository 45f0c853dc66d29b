"""Records what a real llama-server answers, for the tests beside this file.

    python tests/chat/record.py SOCKET

SOCKET is the UNIX socket of a llama-server with two slots or more. What its model says does not
matter, if only it is text; its chat template must be Qwen3.5's. For every request below,
`recordings/NAME.request.json` is what a client sends, and `NAME.sse` or `NAME.json` the engine's
own bytes.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from server.catalogue import load
from server.chat import engine_body, parse_chat, parse_completion
from server.settings import Settings

RECORDINGS = Path(__file__).parent / "recordings"

QUESTION = [{"role": "user", "content": "What is Holdfast?"}]
CLOCK = {"type": "function", "function": {"name": "now", "description": "The time"}}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {"messages": QUESTION, "enable_thinking": False, "max_tokens": 12},
    "thinking": {"messages": QUESTION, "enable_thinking": True, "max_tokens": 16},
    "tool": {
        "messages": [{"role": "user", "content": "What time is it?"}],
        "tools": [CLOCK],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "enable_thinking": False,
        "max_tokens": 200,
    },
    "two": {"messages": QUESTION, "enable_thinking": False, "n": 2, "max_tokens": 6},
    "logprobs": {
        "messages": QUESTION,
        "enable_thinking": False,
        "logprobs": True,
        "max_tokens": 3,
    },
    "top_logprobs": {
        "messages": QUESTION,
        "enable_thinking": False,
        "logprobs": True,
        "top_logprobs": 2,
        "max_tokens": 3,
    },
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "completion": {"prompt": "Holdfast", "max_tokens": 6},
    "completion_logprobs": {"prompt": "Holdfast", "logprobs": 2, "max_tokens": 3},
    "completion_two": {"prompt": "Holdfast", "n": 2, "logprobs": 0, "max_tokens": 3},
}


async def record(socket: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        model = load(Settings(home=Path(home), configs=())).models["demo"]
    RECORDINGS.mkdir(exist_ok=True)
    connector = aiohttp.UnixConnector(socket, force_close=True)
    async with aiohttp.ClientSession("http://engine", connector=connector) as session:
        # Pushed to begin a call, any model calls the one tool right: the grammar sees to it.
        begin = {"content": "<tool_call>", "parse_special": True}
        async with session.post("/tokenize", json=begin) as response:
            (token,) = (await response.json())["tokens"]
        CHATS["tool"]["logit_bias"] = {str(token): 100}
        for name, fields in {**CHATS, **COMPLETIONS}.items():
            client = {"model": "demo", "temperature": 0, **fields}
            parse: Any = parse_chat if name in CHATS else parse_completion
            (RECORDINGS / f"{name}.request.json").write_bytes(
                orjson.dumps(client, option=orjson.OPT_INDENT_2) + b"\n"
            )
            for stream in (False, True):
                request = parse({**client, "stream": stream})
                body = engine_body(request, model=model, has_mmproj=False)
                async with session.post(request.path, json=body) as response:
                    answer = await response.read()
                    assert response.status == 200, answer
                streamed = answer.startswith(b"data:")
                path = RECORDINGS / f"{name}.{'sse' if streamed else 'json'}"
                path.write_bytes(answer)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
