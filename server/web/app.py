"""The ASGI application: its table of routes, and what becomes of every error."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from server.errors import EngineUnready, HoldfastError, MethodNotAllowed, NotFound
from server.ledger.keys import KeyBook
from server.web.admin import Admin
from server.web.auth import Client, authenticate
from server.web.exchange import Exchange, Receive, Scope, Send
from server.web.openai import OpenAI

log = logging.getLogger("holdfast.web")

Open = Callable[[Exchange], Awaitable[None]]
Guarded = Callable[[Exchange, Client], Awaitable[None]]
T = TypeVar("T")

STALL_LIMIT = 30.0
"""Seconds for which a client may leave a write unread before its request is given up, so that a
slow reader cannot hold an engine's slot for ever."""
_STALL_CHECK = 5.0
_MODEL_PREFIX = "/v1/models/"


class App:
    """Routes are held in one table by path and method, so that nothing else decides who may ask."""

    def __init__(self, book: KeyBook, openai: OpenAI, admin: Admin) -> None:
        self._book = book
        self._openai = openai
        self._admin = admin
        self._active: dict[Exchange, asyncio.Task[Any]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._open: dict[str, dict[str, Open]] = {
            "/livez": {"GET": admin.livez},
            "/readyz": {"GET": admin.readyz},
        }
        self._guarded: dict[str, dict[str, Guarded]] = {
            "/v1/models": {"GET": openai.models},
            "/v1/chat/completions": {"POST": openai.chat_completions},
            "/v1/completions": {"POST": openai.completions},
        }
        self._owner: dict[str, dict[str, Open]] = {"/admin/ps": {"GET": admin.ps}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected ASGI scope {scope['type']!r}")
        exchange = Exchange(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        self._active[exchange] = task
        self._idle.clear()
        try:
            await self._handle(exchange)
        except HoldfastError as error:
            await exchange.fail(error)
        except asyncio.CancelledError:
            if exchange.abort_reason is not None:
                await exchange.fail(exchange.abort_reason)
            elif not exchange.disconnected:
                raise
        except Exception:
            await exchange.fail(_incident())
        finally:
            del self._active[exchange]
            if not self._active:
                self._idle.set()

    @property
    def active(self) -> int:
        """How many requests are being answered."""
        return len(self._active)

    async def idle(self) -> None:
        """Return when no request is being answered."""
        await self._idle.wait()

    def abort_all(self, reason: HoldfastError) -> None:
        """Cancel every request under way; each client is told `reason`."""
        for exchange, task in self._active.items():
            exchange.abort_reason = reason
            task.cancel()

    async def watch_for_stalls(self) -> None:
        """Give up requests whose client has stopped reading. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_STALL_CHECK)
            now = time.monotonic()
            for exchange, task in list(self._active.items()):
                since = exchange.sending_since
                if since is not None and now - since > STALL_LIMIT:
                    exchange.disconnected = True
                    task.cancel()

    async def _handle(self, exchange: Exchange) -> None:
        path = exchange.scope["path"]
        if (guarded := self._guarded.get(path)) is not None:
            handler = _method(guarded, exchange)
            await handler(exchange, authenticate(self._book, exchange.headers, exchange.peer))
        elif (opened := self._open.get(path)) is not None:
            await _method(opened, exchange)(exchange)
        elif (owned := self._owner.get(path)) is not None and exchange.over_unix_socket:
            await _method(owned, exchange)(exchange)
        elif path.startswith(_MODEL_PREFIX) and len(path) > len(_MODEL_PREFIX):
            describe = _method({"GET": self._openai.model}, exchange)
            client = authenticate(self._book, exchange.headers, exchange.peer)
            await describe(exchange, client, path.removeprefix(_MODEL_PREFIX))
        else:
            raise NotFound(
                f"there is no route {exchange.scope['method']} {path[:128]}",
                next_step="Inference is at /v1/chat/completions and /v1/completions",
            )


def shutting_down() -> EngineUnready:
    return EngineUnready(
        "Holdfast is shutting down", next_step="Send the request again later", retry_after=5
    )


def _method(handlers: dict[str, T], exchange: Exchange) -> T:
    """The handler for the exchange's method; HEAD is a GET whose body the server leaves out."""
    method = exchange.scope["method"]
    handler = handlers.get("GET" if method == "HEAD" else method)
    if handler is None:
        exchange.answer_headers.append((b"allow", ", ".join(handlers).encode()))
        raise MethodNotAllowed(
            f"{method} is not allowed on {exchange.scope['path']}",
            next_step=f"Use {' or '.join(handlers)}",
        )
    return handler


def _incident() -> HoldfastError:
    """Log the exception in hand under a number, and give the client that number alone."""
    incident = secrets.token_hex(4)
    log.exception("incident %s", incident)
    return HoldfastError(
        "Holdfast made an error",
        why=f"incident {incident}",
        next_step="The server's log has the details under that number; please report it",
    )
