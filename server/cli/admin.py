"""Questions to the running Holdfast of a home, over its admin socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from server.errors import ConfigError, EngineError, EngineUnready, HoldfastError, RequestError

TIMEOUT = 5.0
"""Seconds for an answer that needs no engine."""


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, route: str) -> bytes:
    """The JSON that the socket at `path` answers. Raises as `ask` does."""
    return ask(path, "GET", route, None, TIMEOUT)


def post(path: Path, route: str, values: Any, *, timeout: float | None = TIMEOUT) -> bytes:
    """The JSON that it answers to these values; `timeout` None: however long it takes.

    Raises as `ask` does.
    """
    return ask(path, "POST", route, _body(values), timeout)


def ask(path: Path, method: str, route: str, body: bytes | None, timeout: float | None) -> bytes:
    """The body of a good answer.

    Raises EngineUnready where no Holdfast runs for this home, and what it said where it refuses:
    RequestError, ConfigError or else EngineError, for the exit code of what is wrong.
    """
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, route, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError as error:
        raise EngineUnready(
            f"the running Holdfast has not answered within {timeout:g} s",
            next_step="Look at its log",
        ) from error
    except (OSError, HTTPException) as error:
        raise _nobody(path) from error
    finally:
        connection.close()
    if response.status >= 400:
        raise _refusal(answer, response.status)
    return answer


def follow(path: Path, route: str, values: Any) -> Iterator[dict[str, Any]]:
    """What it tells of long work: how far it is whenever that changes, then `{"done": ...}`.

    Raises as `ask` does.
    """
    import orjson

    connection = _UnixConnection(path, None)
    try:
        connection.request("POST", f"{route}?follow=1", _body(values))
        response = connection.getresponse()
        if response.getheader("content-type") == "application/json":
            answer = response.read()
            if response.status >= 400:
                raise _refusal(answer, response.status)
            yield {"done": orjson.loads(answer)}
            return
        for line in response:
            if line.startswith(b"data: "):
                event = orjson.loads(line.removeprefix(b"data: "))
                if "error" in event:
                    raise _refusal(line.removeprefix(b"data: "), response.status)
                yield event
                if "done" in event:
                    return
        raise EngineUnready("the running Holdfast has ended", next_step="Look at its log")
    except (OSError, HTTPException) as error:
        raise _nobody(path) from error
    finally:
        connection.close()


def _body(values: Any) -> bytes:
    """Raises ConfigError for an argument whose bytes are no text."""
    import orjson

    try:
        return orjson.dumps(values)
    except TypeError as error:
        raise ConfigError("an argument is not UTF-8 text") from error


def _nobody(path: Path) -> EngineUnready:
    return EngineUnready(
        "no Holdfast is running for this home",
        why=f"nothing answers on {path}",
        next_step="Start one with `holdfast serve`, or name its --home",
    )


def _refusal(answer: bytes, status: int) -> HoldfastError:
    """The error that it answered with, in OpenAI's shape."""
    import orjson

    try:
        error = orjson.loads(answer)["error"]
        said = str(error["message"]).removesuffix(".")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return EngineError(f"the running Holdfast answered {status}")
    if error.get("type") == RequestError.type:
        return RequestError(said)
    return ConfigError(said) if error.get("code") == ConfigError.code else EngineError(said)
