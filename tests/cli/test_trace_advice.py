from __future__ import annotations

import pytest

from server.cli.trace_advice import trace_advice

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.mark.parametrize(
    ("environment", "installed", "cloud", "said"),
    [
        ({}, False, False, []),
        (ON, True, True, []),
        (ON, False, True, ["not installed"]),
        (ON, True, False, ["nothing may leave"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost"}, True, True, ["cannot be used"]),
        ({**ON, "OTEL_TRACES_EXPORTER": "none"}, False, True, []),
    ],
)
def test_what_is_said_of_traces(
    environment: dict[str, str], installed: bool, cloud: bool, said: list[str]
) -> None:
    found = list(trace_advice(environment, installed=installed, cloud=cloud))
    assert len(found) == len(said)
    for finding, words in zip(found, said, strict=True):
        assert words in finding.what
