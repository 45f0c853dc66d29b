"""What is worth knowing of traces before `holdfast serve` says so. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from server.errors import ConfigError
from server.hardware import Finding
from server.routing.otlp import receiver_of


def trace_advice(
    environment: Mapping[str, str], *, installed: bool, cloud: bool
) -> Iterator[Finding]:
    """`installed`: whether OpenTelemetry is; `cloud`: whether anything may leave at all."""
    never = "Holdfast does not start"
    try:
        receiver = receiver_of(environment)
    except ConfigError as error:
        yield Finding("warning", "configuration", error.what, never, error.next_step)
        return
    if receiver is None:
        return
    if not installed:
        what = "Traces are switched on (OTEL_*), and OpenTelemetry is not installed"
        yield Finding("warning", "configuration", what, never, "Run scripts/setup --otel")
    elif not cloud:
        what = "Traces are switched on (OTEL_*), and nothing may leave this machine"
        yield Finding("note", "configuration", what, "No trace is sent")
