"""Clients that speak Anthropic's Messages API, such as Claude Code: their requests, and answers."""

from __future__ import annotations

from server.chat.anthropic.encoder import PING, MessagesEncoder, WholeMessage
from server.chat.anthropic.fields import WORDS
from server.chat.anthropic.models import model_fields, page_fields
from server.chat.anthropic.request import count_answer, parse_count, parse_message

__all__ = [
    "PING",
    "WORDS",
    "MessagesEncoder",
    "WholeMessage",
    "count_answer",
    "model_fields",
    "page_fields",
    "parse_count",
    "parse_message",
]
