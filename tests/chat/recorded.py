"""The recordings of a real llama-server; record.py made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from server.chat import ChatRequest, CompletionRequest, parse_chat, parse_completion

FOLDER = Path(__file__).parent / "recordings"
NAMES = sorted(path.name.removesuffix(".request.json") for path in FOLDER.glob("*.request.json"))


@dataclass(frozen=True)
class Recording:
    name: str
    client: dict[str, Any]
    """What the client sent, without `stream`."""
    sse: bytes
    json: bytes | None
    """None where the engine is always asked for a stream, for several choices."""

    def request(self, **more: Any) -> ChatRequest | CompletionRequest:
        parse = parse_chat if "messages" in self.client else parse_completion
        return parse({**self.client, **more})

    def streamed(self, *, usage: bool = True) -> ChatRequest | CompletionRequest:
        return self.request(stream=True, stream_options={"include_usage": usage})


def recording(name: str) -> Recording:
    path = FOLDER / f"{name}.json"
    return Recording(
        name,
        orjson.loads((FOLDER / f"{name}.request.json").read_bytes()),
        (FOLDER / f"{name}.sse").read_bytes(),
        path.read_bytes() if path.exists() else None,
    )


def events(stream: bytes) -> list[Any]:
    """The JSON of every data event; the text itself of [DONE]; comments are skipped."""
    assert stream == b"" or stream.endswith(b"\n\n")
    datas = [event[6:] for event in stream.split(b"\n\n") if event.startswith(b"data: ")]
    return [data.decode() if data == b"[DONE]" else orjson.loads(data) for data in datas]
