"""What a single value about clouds, routes and money may be; see `field`."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from server import settings, units
from server.catalogue.field import text, window

_CLOUD_URL = 'an address such as "https://api.openai.com/v1"'


class SecretError(ValueError):
    """What was expected of a value that must not be shown: a key may have been written there."""


def money(value: object) -> int:
    """Nano-USD, from a text with its unit."""
    expected = 'expected an amount with its unit, such as "5 USD"'
    return _amount(value, units.parse_money, 10**9 * units.USD, expected)


def price(value: object) -> int:
    """Nano-USD for a million tokens, from a text with its unit."""
    expected = 'expected a price with its unit, such as "0.40 USD/1M" for a million tokens'
    return _amount(value, units.parse_price, 10**6 * units.USD, expected)


def _amount(value: object, read: Callable[[str], int], most: int, expected: str) -> int:
    try:
        nano = read(value) if isinstance(value, str) else -1
    except ValueError as error:
        raise ValueError(str(error) if "decimals" in str(error) else expected) from None
    if nano < 0:
        raise ValueError(expected)
    if nano > most:
        raise ValueError(f"expected at most {units.format_money(most)}")
    return nano


def hours(value: object) -> tuple[datetime.time, datetime.time]:
    """As `window`, taken apart."""
    start, _, end = window(value).partition("-")
    return datetime.time.fromisoformat(start), datetime.time.fromisoformat(end)


def header(value: object) -> str:
    """The name of a request's header that a route may look at; none that carries a secret."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]{1,64}", value):
        raise ValueError("expected a header's name in lower case")
    if value in ("authorization", "proxy-authorization", "x-api-key", "cookie"):
        raise ValueError("it carries a secret; keys = [...] matches API keys by their ids")
    return value


HEADER_VALUE = text(
    r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?",
    "printable ASCII without blanks around it, at most 200 characters",
)
"""What a header can be equal to: blanks around a value are no part of it, and of other characters
nobody knows in which encoding they come."""


def variable(value: object) -> str:
    """The name of an environment variable; never its value."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z][A-Z0-9_]{0,99}", value):
        raise SecretError(
            'expected the name of an environment variable such as "OPENAI_API_KEY"; the key '
            "itself does not belong into a configuration file"
        )
    return value


def key_file(value: object) -> Path:
    """A file that holds a key: absolute or in the home folder, so that no key passes for one."""
    if not isinstance(value, str) or not re.fullmatch(r"~?/[^\x00-\x1f]{1,4000}", value):
        raise SecretError('expected the path of a file, from the root or from "~/"')
    return Path(value)


def credential(value: object) -> str:
    """The name of a systemd credential; never its value."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9._-]{0,63}", value):
        raise SecretError(
            'expected the name of a systemd credential, in lower case, such as "openai.key"'
        )
    return value


def cloud_url(value: object) -> str:
    """The address of an API: https, so that nobody on the way reads along."""
    if not isinstance(value, str):
        raise ValueError(f"expected {_CLOUD_URL}")
    if set("@?#") & set(value):
        raise SecretError(f'expected {_CLOUD_URL}, without a user, "?" or "#"')
    try:
        address = settings.endpoint(value)
    except ValueError:
        raise ValueError(f"expected {_CLOUD_URL}") from None
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("expected https: http is for addresses of this machine only")
    return address


def is_loopback(host: str) -> bool:
    """Whether it is this machine's own name or address, that nobody else can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
