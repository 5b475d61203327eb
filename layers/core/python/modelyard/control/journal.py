"""The control plane's log on Lambda: JSON lines on stdout, audit lines with their metrics."""

from dataclasses import asdict

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from modelyard.control.frame import AuditLine


class StructuredJournal:
    """A ``Journal`` of powertools' Logger and Metrics, named by POWERTOOLS_SERVICE_NAME.

    Tracing is left out: its client alone takes longer to import than everything else here.

    Args:
        namespace: Of the metrics, where POWERTOOLS_METRICS_NAMESPACE says nothing.
    """

    def __init__(self, *, namespace: str | None = None) -> None:
        self.logger = Logger()
        self._metrics = Metrics(namespace=namespace)

    def audit(self, line: AuditLine) -> None:
        """One line for people and queries, one for CloudWatch: latency and outcome by route."""
        self.logger.info("audit", extra={"kind": "audit", **asdict(line)})
        self._metrics.add_dimension("route", line.route)
        self._metrics.add_metric("latency_ms", MetricUnit.Milliseconds, line.latency_ms)
        self._metrics.add_metric("refused", MetricUnit.Count, int(400 <= line.status < 500))
        self._metrics.add_metric("errors", MetricUnit.Count, int(line.status >= 500))
        self._metrics.flush_metrics()

    def failure(self, error: Exception, *, request_id: str) -> None:
        """The cause of a 5xx, with its traceback."""
        self.logger.error("request failed", exc_info=error, extra={"kind": "failure", "request_id": request_id})
