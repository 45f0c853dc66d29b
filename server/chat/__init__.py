"""The request view: requests checked and frozen, engine bodies, answers and streams. No I/O."""

from server.chat.engine_body import engine_body
from server.chat.engine_error import engine_error
from server.chat.json_body import parse_json
from server.chat.reply import Reply, finish_reply
from server.chat.request import ChatRequest, CompletionRequest, parse_chat, parse_completion
from server.chat.sse import StreamFilter, sse_comment, sse_error
from server.chat.usage import Usage

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "Reply",
    "StreamFilter",
    "Usage",
    "engine_body",
    "engine_error",
    "finish_reply",
    "parse_chat",
    "parse_completion",
    "parse_json",
    "sse_comment",
    "sse_error",
]
