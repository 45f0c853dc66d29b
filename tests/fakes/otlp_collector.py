"""An OpenTelemetry collector, played: OTLP over HTTP with protobuf, read by its own definitions.

    python -m tests.fakes.otlp_collector [--port 0]

It prints `{"url": ..., "control": ...}`. At `url` it takes `POST /v1/traces`; at `control`:

    GET    /requests   every export so far: headers (lower case) and spans, with name, kind,
                       ids (hex), times (nanoseconds), attributes, events, status and resource
    DELETE /requests   forgets them
    POST   /faults     a JSON list of statuses, for the next exports

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from typing import Any

import orjson
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PROTOBUF = "application/x-protobuf"


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes_of(pairs: list[KeyValue]) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def told(span: Span, resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "began": span.start_time_unix_nano,
        "ended": span.end_time_unix_nano,
        "attributes": attributes_of(list(span.attributes)),
        "events": [{"name": one.name, "time": one.time_unix_nano} for one in span.events],
        "status": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
        "resource": resource,
    }


class Collector:
    def __init__(self) -> None:
        self.exports: list[dict[str, Any]] = []
        self.faults: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("content-type") != PROTOBUF:
            return web.Response(status=415)
        sent = ExportTraceServiceRequest.FromString(await request.read())
        spans = [
            told(span, attributes_of(list(group.resource.attributes)))
            for group in sent.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        status = self.faults.pop(0) if self.faults else 200
        self.exports.append({"headers": headers, "spans": spans, "status": status})
        body = ExportTraceServiceResponse().SerializeToString() if status == 200 else b""
        return web.Response(status=status, body=body, content_type=PROTOBUF)

    async def requests(self, _: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.exports), content_type="application/json")

    async def forget(self, _: web.Request) -> web.Response:
        self.exports.clear()
        return web.json_response({})

    async def plan(self, request: web.Request) -> web.Response:
        self.faults += map(int, await request.json())
        return web.json_response({})


async def listening(routes: list[web.RouteDef], port: int) -> str:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", port))
    await web.SockSite(runner, listener).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def run(port: int) -> None:
    collector = Collector()
    url = await listening([web.post("/v1/traces", collector.take)], port)
    control = await listening(
        [
            web.get("/requests", collector.requests),
            web.delete("/requests", collector.forget),
            web.post("/faults", collector.plan),
        ],
        0,
    )
    print(orjson.dumps({"url": url, "control": control}).decode(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Plays an OpenTelemetry collector.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1 (default: any free one)")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(parser.parse_args().port))
