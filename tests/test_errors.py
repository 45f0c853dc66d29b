import inspect

import pytest

from server import errors
from server.errors import ConfigError, HoldfastError, Overloaded

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, HoldfastError)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_stands_in_the_tree_of_the_docstring(kind: type[HoldfastError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_status_and_an_exit_code_of_its_fault(kind: type[HoldfastError]) -> None:
    assert 400 <= kind.status < 600
    assert 1 <= kind.exit_code <= 6
    assert (kind.fault == "client") == (kind.status in range(400, 429))


def test_a_sentence_says_what_why_and_the_next_step() -> None:
    error = HoldfastError("it broke", why="it was old", next_step="Buy a new one")
    assert error.sentence == "it broke: it was old. Buy a new one."
    assert str(error) == error.sentence
    assert HoldfastError("it broke", next_step="Was it this?").sentence == "it broke. Was it this?"


def test_the_openai_body_has_exactly_the_four_fields() -> None:
    body = Overloaded("too busy", param="model", retry_after=3).openai_body()
    assert body == {
        "error": {
            "message": "Too busy.",
            "type": "rate_limit_error",
            "param": "model",
            "code": "rate_limit_exceeded",
        }
    }


def test_a_name_at_the_beginning_of_a_message_stays_as_it_is() -> None:
    body = HoldfastError("qwen3.5-9b:q8_0 is loading").openai_body()
    assert body["error"]["message"] == "qwen3.5-9b:q8_0 is loading."


def test_a_config_error_tells_all_its_problems() -> None:
    error = ConfigError("models.toml has 2 errors", problems=("a is wrong", "b is missing"))
    assert "a is wrong; b is missing" in str(error)


def test_anthropics_clients_get_the_code_as_a_detail() -> None:
    told = errors.ModelNotFound("there is no such model").anthropic_body("req_1")
    assert told == {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "There is no such model.",
            "details": {"error_code": "model_not_found"},
        },
        "request_id": "req_1",
    }
    assert "details" not in errors.RequestError("no").anthropic_body("req_1")["error"]
