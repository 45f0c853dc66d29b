"""Traces for an OpenTelemetry collector: spans by OpenTelemetry's SDK, told by the one way out.

The SDK samples, names the service and bounds what a span holds, as its OTEL_* variables say. Its
exporter is not used, as that would open connections of its own: of it only the encoder is. Spans
are made once a request is over, so that nothing of this is in its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from server.errors import ConfigError
from server.routing.means import Means
from server.routing.outbox import Outbox, Receiver
from server.routing.trace import Span, Trace, spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span as OpenSpan
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace import Tracer as Maker

_BATCH: Final = 200
_SERVICE: Final = "holdfast"


def installed() -> bool:
    """Whether OpenTelemetry is, without loading it."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


class Tracer:
    """Tell it of each request that is over; `outbox` delivers what it makes of them.

    Raises ConfigError where OpenTelemetry is not installed.
    """

    def __init__(self, means: Callable[[], Means], receiver: Receiver) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise ConfigError(
                "traces are switched on (OTEL_*), and OpenTelemetry is not installed",
                next_step="Run scripts/setup --otel, or set OTEL_TRACES_EXPORTER=none",
            ) from None

        def encode(batch: Sequence[ReadableSpan]) -> bytes:
            body: bytes = encode_spans(batch).SerializeToString()
            return body

        self._means = means
        self.outbox: Outbox[ReadableSpan] = Outbox(
            "traces",
            "the traces",
            means,
            lambda: receiver,
            encode,
            most=_BATCH,
            every=receiver.every,
        )
        self._maker = _maker(self.outbox.put)
        self._extract = TraceContextTextMapPropagator().extract

    @property
    def local_only(self) -> bool:
        """Whether a request of which nothing is known yet is to stay here."""
        return self._means().router.policy == "local-only"

    def finish(self, trace: Trace) -> None:
        """Tell of a request that is over, unless it is to stay here."""
        if trace.private or not self.outbox.open:
            return
        from opentelemetry.trace import set_span_in_context

        context = self._extract(trace.parent)
        whole, *parts = spans(trace)
        root = self._maker.start_span(
            whole.name, context, _kind(whole), whole.attributes, start_time=whole.began
        )
        if root.is_recording():
            below = set_span_in_context(root, context)
            for part in parts:
                span = self._maker.start_span(
                    part.name, below, _kind(part), part.attributes, start_time=part.began
                )
                _end(span, part)
        _end(root, whole)


def _maker(ended: Callable[[ReadableSpan], None]) -> Maker:
    """Makes spans, and tells of each that is to be kept when it has ended. Its provider is nobody
    else's: nothing that other libraries trace comes this way."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    class Ended(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.context is not None and span.context.trace_flags.sampled:
                ended(span)

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(Ended())
    return provider.get_tracer(_SERVICE)


def _end(span: OpenSpan, told: Span) -> None:
    from opentelemetry.trace import StatusCode

    if told.first_token is not None:
        span.add_event("first token", timestamp=told.first_token)
    if told.failed:
        span.set_status(StatusCode.ERROR)
    span.end(told.ended)


def _kind(span: Span) -> SpanKind:
    from opentelemetry.trace import SpanKind

    return SpanKind[span.kind.upper()]
