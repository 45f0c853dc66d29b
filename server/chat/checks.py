"""Checks of one request value: right type, within bounds, or a RequestError in OpenAI's words.

A check is called with the value and the name that the client knows it by, such as `temperature` or
`messages[2].content`, and returns the value (in the form used from there on).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from server.errors import RequestError

INT31 = 2**31 - 1

Checked = TypeVar("Checked")
Check = Callable[[Any, str], Checked]

_JSON_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def json_type(value: object) -> str:
    """`"an integer"`, `"an array"`, ...: what a JSON value is, as error messages say it."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


def wrong_type(name: str, expected: str, value: object) -> RequestError:
    return RequestError(
        f"Invalid type for '{name}'",
        why=f"expected {expected}, but got {json_type(value)} instead",
        param=name,
    )


def invalid(name: str, why: str, next_step: str = "") -> RequestError:
    return RequestError(f"Invalid '{name}'", why=why, next_step=next_step, param=name)


def missing(name: str) -> RequestError:
    return RequestError(f"Missing required parameter: '{name}'", param=name)


def integer(low: int, high: int) -> Check[int]:
    def check(value: Any, name: str) -> int:
        if type(value) is not int:
            raise wrong_type(name, "an integer", value)
        if value < low:
            raise invalid(name, f"expected an integer >= {low}, but got {value} instead")
        if value > high:
            raise invalid(name, f"expected an integer <= {high}, but got {value} instead")
        return value

    return check


def number(low: float, high: float, *, above_low: bool = False) -> Check[float]:
    """`low <= value <= high`, or `low < value` where `above_low` is set."""

    def check(value: Any, name: str) -> float:
        if type(value) is not float and type(value) is not int:
            raise wrong_type(name, "a number", value)
        if not (value > low if above_low else value >= low):  # said so that NaN fails, too
            sign = ">" if above_low else ">="
            raise invalid(name, f"expected a number {sign} {low:g}, but got {value:g} instead")
        if value > high:
            raise invalid(name, f"expected a number <= {high:g}, but got {value:g} instead")
        return value

    return check


def boolean(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise wrong_type(name, "a boolean", value)
    return value


def string(longest: int, *, shortest: int = 0) -> Check[str]:
    def check(value: Any, name: str) -> str:
        if type(value) is not str:
            raise wrong_type(name, "a string", value)
        if not shortest <= len(value) <= longest:
            raise invalid(
                name,
                f"expected a string of {shortest} to {longest} characters, "
                f"but got one of {len(value)} instead",
            )
        return value

    return check


def choice(*values: str) -> Check[str]:
    def check(value: Any, name: str) -> str:
        if type(value) is not str:
            raise wrong_type(name, "a string", value)
        if value not in values:
            supported = ", ".join(f"'{one}'" for one in values)
            raise RequestError(
                f"Invalid value for '{name}'",
                why=f"'{value[:64]}' is not supported",
                next_step=f"Supported values are: {supported}",
                param=name,
            )
        return value

    return check


def array(value: Any, name: str, *, shortest: int = 0, longest: int) -> list[Any]:
    if type(value) is not list:
        raise wrong_type(name, "an array", value)
    if not shortest <= len(value) <= longest:
        raise invalid(
            name,
            f"expected an array of {shortest} to {longest} items, but got {len(value)} instead",
        )
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise wrong_type(name, "an object", value)
    return value


def only(value: dict[str, Any], name: str, known: frozenset[str], why: str = "") -> None:
    """Refuses the first key of `value` that is not among `known`, by its full name."""
    for key in value:
        if key not in known:
            path = f"{name}.{key[:64]}"
            raise RequestError(f"Unknown parameter: '{path}'", why=why, param=path)
