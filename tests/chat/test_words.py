from __future__ import annotations

import pytest

from server.chat.anthropic import WORDS as MESSAGES
from server.chat.checks import invalid
from server.chat.responses import WORDS as RESPONSES
from server.chat.words import Words, in_words
from server.errors import ContextExceeded, RequestError


@pytest.mark.parametrize(
    ("words", "there", "here"),
    [
        (MESSAGES, "stop", "stop_sequences"),
        (MESSAGES, "messages", "messages"),
        (MESSAGES, "max_tokens", "max_tokens"),
        (MESSAGES, "tools[2].function.parameters.anyOf", "tools[2].input_schema.anyOf"),
        (MESSAGES, "response_format", "output_config.format"),
        (MESSAGES, "response_format.json_schema.schema.a", "output_config.format.schema.a"),
        (RESPONSES, "max_tokens", "max_output_tokens"),
        (RESPONSES, "messages", "input"),
        (RESPONSES, "tools[0].function.parameters", "tools[0].parameters"),
        (RESPONSES, "response_format.json_schema.schema", "text.format.schema"),
        (RESPONSES, "stop", "stop"),
        ({}, "stop", "stop"),
        ({"stop": "halt"}, "stopper", "stopper"),
        ({"stop": "halt"}, "stop[1]", "halt[1]"),
    ],
)
def test_a_field_is_called_as_the_client_calls_it(words: Words, there: str, here: str) -> None:
    told = in_words(invalid(there, "why not", "Leave it out"), words)
    assert told.param == here
    assert told.sentence == f"Invalid '{here}': why not. Leave it out."


def test_all_else_of_an_error_stays() -> None:
    error = ContextExceeded("max_tokens is 9, and 5 is the most", param="max_tokens")
    told = in_words(error, RESPONSES)
    assert type(told) is ContextExceeded
    assert told.sentence == "max_output_tokens is 9, and 5 is the most."
    plain = RequestError("it is wrong")
    assert in_words(plain, RESPONSES) is plain
