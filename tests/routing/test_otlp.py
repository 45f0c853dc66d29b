from __future__ import annotations

import pytest

from server.catalogue.cloud import KeySource
from server.errors import ConfigError
from server.routing.otlp import headers_of, receiver_of

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
HERE = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "box"}, None),
        ({BASE: HERE}, f"{HERE}/v1/traces"),
        ({BASE: f"{HERE}/"}, f"{HERE}/v1/traces"),
        ({BASE: "https://otel.example/otlp"}, "https://otel.example/otlp/v1/traces"),
        ({TRACES: f"{HERE}/in"}, f"{HERE}/in"),
        ({TRACES: f"{HERE}/in", BASE: "https://other.example"}, f"{HERE}/in"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none", BASE: HERE}, None),
        ({"OTEL_SDK_DISABLED": "true", BASE: HERE}, None),
        ({"OTEL_SDK_DISABLED": "false", BASE: HERE}, f"{HERE}/v1/traces"),
        ({BASE: "  "}, None),
        ({BASE: HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, f"{HERE}/v1/traces"),
    ],
)
def test_where_traces_go(environment: dict[str, str], url: str | None) -> None:
    receiver = receiver_of(environment)
    assert (receiver and receiver.url) == url


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({BASE: "http://otel.example:4318"}, (BASE, "https")),
        ({BASE: "collector:4318"}, (BASE, "address")),
        ({TRACES: "https://user:secret-1@otel.example"}, (TRACES, "without a user")),
        ({BASE: HERE, "OTEL_TRACES_EXPORTER": "zipkin"}, ("OTEL_TRACES_EXPORTER", "otlp or none")),
        (
            {BASE: HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ),
        (
            {BASE: HERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ),
        (
            {BASE: HERE, "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem"},
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "SSL_CERT_FILE"),
        ),
        ({BASE: HERE, HEADERS: "x-key secret-1"}, (HEADERS, "%20")),
        ({BASE: HERE, HEADERS: "x-key=secret-1,,"}, (HEADERS, "name=value")),
        ({BASE: HERE, HEADERS: "x-key=secret-1%0d%0ahost: x"}, (HEADERS, "name=value")),
        ({BASE: HERE, "OTEL_BSP_SCHEDULE_DELAY": "5s"}, ("OTEL_BSP_SCHEDULE_DELAY", "millisec")),
    ],
)
def test_what_cannot_be_done_is_told_with_its_variable(
    environment: dict[str, str], names: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        receiver_of(environment)
    assert all(name in caught.value.sentence for name in names)
    assert "secret-1" not in caught.value.sentence


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
)
def test_the_headers_key_is_looked_up_when_it_is_needed(variable: str) -> None:
    receiver = receiver_of({BASE: HERE, variable: "x-key=secret-1"})
    assert receiver is not None
    assert receiver.key == KeySource(env=variable)
    assert "secret-1" not in repr(receiver)


def test_the_interval_is_the_usual_variables() -> None:
    receiver = receiver_of({BASE: HERE, "OTEL_BSP_SCHEDULE_DELAY": "250"})
    assert receiver is not None
    assert receiver.every == 0.25


def test_headers_are_percent_decoded() -> None:
    text = "Authorization=Bearer%20a=b,X-Other=1"
    assert headers_of(text) == {"authorization": "Bearer a=b", "x-other": "1"}
