"""The ASGI application: its table of routes, and what becomes of every error."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.errors import EngineUnready, HoldfastError, MethodNotAllowed, NotFound
from server.ledger.keys import KeyBook
from server.web.admin import Admin, livez
from server.web.anthropic import Anthropic
from server.web.auth import Client, authenticate, may_read
from server.web.connection import STALL_LIMIT
from server.web.cors import preflight, shared
from server.web.dialect import anthropic_form
from server.web.exchange import ErrorForm, Exchange, Receive, Scope, Send
from server.web.mirror import Mirror, hub_form
from server.web.mirror_path import PREFIX
from server.web.openai import OpenAI

log = logging.getLogger("holdfast.web")

Open = Callable[[Exchange], Awaitable[None]]
Guarded = Callable[[Exchange, Client], Awaitable[None]]
Below = Callable[[Exchange, Client, str], Awaitable[None]]
"""Is told what follows the prefix, too."""
T = TypeVar("T")

_STALL_CHECK = 5.0


@dataclass(frozen=True, slots=True)
class Branch:
    """All paths below a prefix. Its handlers, by method, get what follows the prefix."""

    handlers: Mapping[str, Below]
    form: ErrorForm | None = None
    """How errors are told; None: as elsewhere."""
    basic: bool = False
    """Whether a key may come as a password. See `authenticate`."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Handlers by path and method. Nothing else decides who may ask."""

    open: Mapping[str, Mapping[str, Open]]
    """For everybody."""
    guarded: Mapping[str, Mapping[str, Guarded]] = field(default_factory=dict)
    """With a key, once there is one."""
    below: Mapping[str, Branch] = field(default_factory=dict)
    """Likewise, by prefix."""
    owner: Mapping[str, Mapping[str, Open]] = field(default_factory=dict)
    """On the admin socket."""
    forms: Mapping[str, Callable[[str], ErrorForm]] = field(default_factory=dict)
    """How errors are told on a path, for the request of an id; elsewhere as OpenAI does, but to
    Anthropic's clients, which say in each request that they are."""

    def methods(self, path: str) -> tuple[str, ...]:
        """Those that the path can be asked with over the network; none: there is no such path."""
        exact = (*self.guarded.get(path, ()), *self.open.get(path, ()))
        if exact:
            return exact
        below = (b.handlers for p, b in self.below.items() if path.startswith(p) and path != p)
        return tuple(next(below, ()))


def node_routes(openai: OpenAI, anthropic: Anthropic, admin: Admin, mirror: Mirror) -> Routes:
    """What a whole Holdfast answers."""
    return Routes(
        open={"/livez": {"GET": livez}, "/readyz": {"GET": admin.readyz}},
        guarded={
            "/v1/models": {"GET": openai.models},
            "/v1/chat/completions": {"POST": openai.chat_completions},
            "/v1/completions": {"POST": openai.completions},
            "/v1/responses": {"POST": openai.responses},
            "/v1/embeddings": {"POST": openai.embeddings},
            "/v1/messages": {"POST": anthropic.messages},
            "/v1/messages/count_tokens": {"POST": anthropic.count_tokens},
            "/metrics": {"GET": admin.metrics},
        },
        forms=dict.fromkeys(("/v1/messages", "/v1/messages/count_tokens"), anthropic_form),
        below={
            "/v1/models/": Branch({"GET": openai.model}),
            "/v1/responses/": Branch({"GET": openai.stored.get, "DELETE": openai.stored.delete}),
            PREFIX: _hub(mirror),
        },
        owner={
            "/admin/ps": {"GET": admin.ps},
            "/admin/load": {"POST": admin.load},
            "/admin/unload": {"POST": admin.unload},
            "/admin/plan/apply": {"POST": admin.apply},
            "/admin/reload": {"POST": admin.reload},
            "/admin/route/explain": {"POST": admin.explain},
        },
    )


def mirror_routes(mirror: Mirror) -> Routes:
    """What `holdfast mirror serve` answers."""
    return Routes(open={"/livez": {"GET": livez}}, below={PREFIX: _hub(mirror)})


def _hub(mirror: Mirror) -> Branch:
    methods = dict.fromkeys(("GET", "POST"), mirror.answer)
    return Branch(methods, form=hub_form, basic=True)


class App:
    """Finds the handler of a request among `routes`, and tells the client of every error."""

    def __init__(self, book: KeyBook, routes: Routes) -> None:
        self._book = book
        self._routes = routes
        self._active: dict[Exchange, asyncio.Task[Any]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

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
            try:
                await exchange.fail(error)
            finally:
                _let_go(error)
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
            exchange.abort(reason)
            task.cancel()

    async def watch_for_stalls(self) -> None:
        """Give up downloads whose client has stopped reading. Runs until it is cancelled."""
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
        routes = self._routes
        headers = exchange.headers
        if (form := routes.forms.get(path)) is not None:
            exchange.form = form(exchange.request_id.decode())
        elif b"anthropic-version" in headers:
            exchange.form = anthropic_form(exchange.request_id.decode())
        if b"origin" in headers and may_read(self._book, headers):
            exchange.answer_headers += shared(headers[b"origin"])
        if exchange.scope["method"] == "OPTIONS":
            await self._tell_methods(exchange)
        elif (guarded := routes.guarded.get(path)) is not None:
            handler = _method(guarded, exchange)
            await handler(exchange, authenticate(self._book, headers, exchange.peer))
        elif (opened := routes.open.get(path)) is not None:
            await _method(opened, exchange)(exchange)
        elif (owned := routes.owner.get(path)) is not None and exchange.over_unix_socket:
            await _method(owned, exchange)(exchange)
        elif prefix := next((one for one in routes.below if path.startswith(one)), None):
            await self._handle_below(exchange, routes.below[prefix], path.removeprefix(prefix))
        else:
            raise _no_route(exchange, routes)

    async def _tell_methods(self, exchange: Exchange) -> None:
        """An answer to OPTIONS. A page that may not use the server is told so later, with its
        request: browsers show nothing of this answer."""
        methods = self._routes.methods(exchange.scope["path"])
        if not methods:
            raise _no_route(exchange, self._routes)
        allowed = (b"allow", ", ".join((*methods, "OPTIONS")).encode())
        await exchange.answer_empty((allowed, *preflight(exchange.headers, methods)))

    async def _handle_below(self, exchange: Exchange, branch: Branch, rest: str) -> None:
        if not rest:
            raise _no_route(exchange, self._routes)
        if branch.form is not None:
            exchange.form = branch.form
        client = authenticate(self._book, exchange.headers, exchange.peer, basic=branch.basic)
        await _method(branch.handlers, exchange)(exchange, client, rest)


def shutting_down() -> EngineUnready:
    return EngineUnready(
        "Holdfast is shutting down", next_step="Send the request again later", retry_after=5
    )


def _no_route(exchange: Exchange, routes: Routes) -> NotFound:
    path = exchange.scope["path"]
    next_step = "Inference is below /v1: /v1/chat/completions and others; the hub below /hf"
    if routes.methods(f"/v1{path}"):
        next_step = "Give your client a base URL that ends in /v1"
    elif path.startswith("/v1/v1/") and routes.methods(path.removeprefix("/v1")):
        next_step = "Give your client a base URL without /v1, which it adds itself"
    return NotFound(
        f"there is no route {exchange.scope['method']} {path[:128]}", next_step=next_step
    )


def _method(handlers: Mapping[str, T], exchange: Exchange) -> T:
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


def _let_go(error: BaseException | None) -> None:
    """Its frames know the request, and some of them the error: a circle, which would stay in memory
    until the collector of garbage comes by."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _incident() -> HoldfastError:
    """Log the exception in hand under a number, and give the client that number alone."""
    incident = secrets.token_hex(4)
    log.exception("incident %s", incident)
    return HoldfastError(
        "Holdfast made an error",
        why=f"incident {incident}",
        next_step="The server's log has the details under that number; please report it",
    )
