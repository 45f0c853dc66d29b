"""Clients of OpenAI's Responses API: their requests read, their answers written. No I/O."""

from server.chat.responses.encoder import ResponsesEncoder, whole_response
from server.chat.responses.fields import WORDS
from server.chat.responses.kept import Kept
from server.chat.responses.listing import item_page
from server.chat.responses.request import ResponsesRequest, parse_response

__all__ = [
    "WORDS",
    "Kept",
    "ResponsesEncoder",
    "ResponsesRequest",
    "item_page",
    "parse_response",
    "whole_response",
]
