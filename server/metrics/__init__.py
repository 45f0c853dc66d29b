"""What Prometheus is told. `Metrics` is all of it, `Series` names one kind of request."""

from server.metrics.metrics import CONTENT_TYPE, Breaker, Metrics
from server.metrics.tally import Operation, Series

__all__ = ["CONTENT_TYPE", "Breaker", "Metrics", "Operation", "Series"]
