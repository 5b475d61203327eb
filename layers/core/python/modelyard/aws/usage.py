"""What CloudWatch counted of an endpoint's requests: the metrics that the audit line carries, hour by hour."""

import datetime as dt
from typing import Any

from modelyard.aws.failures import aws_errors
from modelyard.serving.audit import NAMESPACE

HOUR_S = 3600
STATISTICS = {
    "requests": ("latency_ms", "SampleCount"),
    "latency_sum": ("latency_ms", "Sum"),
    "p50": ("latency_ms", "p50"),
    "p99": ("latency_ms", "p99"),
    "rows": ("instances", "Sum"),
    "most_rows": ("instances", "Maximum"),
}
"""What is asked for, by the name that it has in the answer: a metric and its statistic."""


def hourly_usage(client: Any, model: str, *, until: dt.datetime, days: int) -> list[dict[str, float]]:
    """The hours in which a model was asked, oldest first, each with a value for every name of ``STATISTICS``.

    Args:
        client: A low-level CloudWatch client.
        model: The model's name.
        until: The end of the period, in UTC; whole hours before it count.
        days: How long the period is.
    """
    end = until.replace(minute=0, second=0, microsecond=0)
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": NAMESPACE,
                    "MetricName": metric,
                    "Dimensions": [{"Name": "model", "Value": model}],
                },
                "Period": HOUR_S,
                "Stat": statistic,
            },
        }
        for name, (metric, statistic) in STATISTICS.items()
    ]
    hours: dict[dt.datetime, dict[str, float]] = {}
    asked = {"MetricDataQueries": queries, "StartTime": end - dt.timedelta(days=days), "EndTime": end}
    with aws_errors(f"read the metrics of {model}"):
        while True:
            answer = client.get_metric_data(**asked)
            for series in answer.get("MetricDataResults", []):
                for moment, value in zip(series["Timestamps"], series["Values"], strict=True):
                    hours.setdefault(moment, dict.fromkeys(STATISTICS, 0.0))[series["Id"]] = value
            if not answer.get("NextToken"):
                return [hours[moment] for moment in sorted(hours)]
            asked["NextToken"] = answer["NextToken"]
