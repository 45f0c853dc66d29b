"""Where OpenTelemetry's own variables send traces, and with which headers. Pure.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/. What they ask for and is not done here
is refused, never left undone in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from server.catalogue.cloud import KeySource
from server.catalogue.routing_field import cloud_url
from server.errors import ConfigError
from server.routing.outbox import EVERY, Receiver

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_DELAY = "OTEL_BSP_SCHEDULE_DELAY"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOBUF = "http/protobuf"
_DEFAULT = "http://localhost:4318"
_FILES = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_PREFIXES = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
"""What is said of traces alone counts before what is said of all signals."""
_NAME = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e]{0,8000}")


def receiver_of(environment: Mapping[str, str]) -> Receiver | None:
    """Who gets the traces; None: they are not switched on.

    They are where an endpoint is set or OTEL_TRACES_EXPORTER is `otlp`, unless that is `none` or
    OTEL_SDK_DISABLED is `true`. Raises ConfigError, naming the variable.
    """
    exporter = environment.get(_EXPORTER, "").strip().lower()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return None
    base, whole = (environment.get(name, "").strip() for name in (_ENDPOINT, _TRACES_ENDPOINT))
    if not (base or whole or exporter):
        return None
    if exporter not in ("", "otlp"):
        raise _wrong(_EXPORTER, "expected otlp or none")
    protocol = _said(environment, "PROTOCOL")
    if protocol and environment[protocol].strip() != _PROTOBUF:
        raise _wrong(protocol, f"expected {_PROTOBUF}, the only one that Holdfast speaks")
    for name in _FILES:
        if (variable := _said(environment, name)) is not None:
            raise _wrong(variable, "certificates are those of the system, or of SSL_CERT_FILE")
    variable = _TRACES_ENDPOINT if whole else _ENDPOINT
    try:
        url = cloud_url(whole or f"{(base or _DEFAULT).rstrip('/')}/v1/traces")
    except ValueError as error:
        raise _wrong(variable, str(error)) from None
    headers = _said(environment, "HEADERS")
    if headers is not None:
        try:
            headers_of(environment[headers].strip())
        except ValueError as error:
            raise _wrong(headers, str(error)) from None
    key = None if headers is None else KeySource(env=headers)
    return Receiver(url, key, headers_of, "application/x-protobuf", _every(environment))


def headers_of(text: str) -> Mapping[str, str]:
    """Of `name=value,name=value`, values being percent-encoded. Raises ValueError, which shows none
    of it: keys stand there."""
    expected = 'expected "name=value,name=value" with %20 for a space'
    found = {}
    if not text or " " in text:
        raise ValueError(expected)
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        value = unquote(value)
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(expected)
        found[name.lower()] = value
    return found


def _every(environment: Mapping[str, str]) -> float:
    """Seconds."""
    text = environment.get(_DELAY, "").strip()
    if not text:
        return EVERY
    if not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise _wrong(_DELAY, "expected milliseconds, from 1 to 9999999")
    return int(text) / 1000


def _said(environment: Mapping[str, str], name: str) -> str | None:
    """The variable that tells of `name`; None: none is set."""
    variables = (prefix + name for prefix in _PREFIXES)
    return next((one for one in variables if environment.get(one, "").strip()), None)


def _wrong(variable: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{variable} cannot be used: {expected}",
        next_step=f"Correct {variable}, or set {_EXPORTER}=none",
    )
