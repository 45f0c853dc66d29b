"""What the fake providers have in common: two ports, a record of requests, and faults.

The program prints `{"url": ..., "control": ...}`. At `control`:

    GET    /requests   every request so far: path, headers (lower case), body, and how it ended:
                       "answered", "broken" (as planned), "left" (by the client) or "open"
    DELETE /requests   forgets them
    POST   /faults     plans faults, a JSON list of lines; see faults.py
    DELETE /faults     forgets those that are planned
    POST   /listener   {"open": false}: connections are refused until {"open": true}
    POST   /headers    what answers have beside their usual headers, or in their place; {}: nothing
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from tests.fakes.faults import Answer, Fault, Faults, Shape, play

Routes = Callable[["Cloud"], Iterable[web.AbstractRouteDef]]


class Cloud:
    """One provider that is played."""

    def __init__(self, shape: Shape, key: str | None) -> None:
        self.shape = self._usual = shape
        self.faults = Faults()
        self.requests: list[dict[str, Any]] = []
        self.key = key
        """The one that is accepted; None: any, or none."""
        self._app: web.AppRunner
        self._site: web.SockSite | None = None
        self._port = 0

    async def answer(
        self, request: web.Request, body: Any, answer: Answer, *, fault: str | None = None
    ) -> web.StreamResponse:
        """Records the request and answers it; `fault` is what its text asks for."""
        entry = self._record(request, body)
        meets = self._met(request, fault)
        if meets is not None and meets.kind == "refused":
            await self.listen(False)
        try:
            response = await play(request, answer, self.shape, meets)
            if response.prepared and not _closing(request):
                await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            entry["end"] = "left"
            raise
        entry["end"] = "broken" if _closing(request) else "answered"
        return response

    def refuse(self, request: web.Request, body: Any, error: Any, status: int) -> web.Response:
        """Records a request that the API does not take, and says so."""
        self._record(request, body)["end"] = "answered"
        return web.json_response(error, status=status, headers=self.shape.headers)

    def _record(self, request: web.Request, body: Any) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = {"path": request.path_qs, "headers": headers, "body": body, "end": "open"}
        self.requests.append(entry)
        return entry

    def _met(self, request: web.Request, line: str | None) -> Fault | None:
        sent = " ".join(request.headers.values()) + request.query_string
        if self.key is not None and self.key not in sent:
            return Fault("401")
        return self.faults.due(request.headers, line)

    async def start(self, routes: Routes, port: int) -> str:
        """The URL at which it listens from now on."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(routes(self))
        self._app = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._app.setup()
        self._port = port
        await self.listen(True)
        return f"http://127.0.0.1:{self._port}"

    async def listen(self, wanted: bool) -> None:
        """Takes connections, or refuses them; those that are open stay open."""
        if wanted and self._site is None:
            listener = socket.create_server(("127.0.0.1", self._port))
            self._port = listener.getsockname()[1]
            self._site = web.SockSite(self._app, listener)
            await self._site.start()
        elif not wanted and self._site is not None:
            site, self._site = self._site, None
            server = site._server
            assert server is not None
            server.close()  # site.stop() would wait for the connections
            self._app._unreg_site(site)

    async def control(self) -> str:
        """The URL of the control port."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/requests", self._told),
                web.delete("/requests", self._forget),
                web.post("/faults", self._plan),
                web.delete("/faults", self._mend),
                web.post("/listener", self._turn),
                web.post("/headers", self._head),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def _told(self, _: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.requests), content_type="application/json")

    async def _forget(self, _: web.Request) -> web.Response:
        self.requests.clear()
        return web.json_response({})

    async def _plan(self, request: web.Request) -> web.Response:
        self.faults.plan(await request.json())
        return web.json_response({})

    async def _mend(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({})

    async def _head(self, request: web.Request) -> web.Response:
        usual = {**self._usual.headers}
        self.shape = replace(self._usual, headers=usual | await request.json())
        return web.json_response({})

    async def _turn(self, request: web.Request) -> web.Response:
        await self.listen((await request.json())["open"])
        return web.json_response({})


def _closing(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def main(description: str, shape: Shape, routes: Routes) -> None:
    """Runs the program until it is ended."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1 (default: any free one)")
    parser.add_argument("--key", help="the API key that is accepted (default: any)")
    asked = parser.parse_args()

    async def run() -> None:
        cloud = Cloud(shape, asked.key)
        url, control = await cloud.start(routes, asked.port), await cloud.control()
        print(orjson.dumps({"url": url, "control": control}).decode(), flush=True)
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
