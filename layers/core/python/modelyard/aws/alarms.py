"""The alarms of an endpoint, as CloudWatch sees them now."""

from collections.abc import Sequence
from typing import Any

from modelyard.aws.failures import aws_errors

MOST_NAMES = 100
"""In one call."""


class CloudWatchAlarms:
    """Alarms by their names.

    Args:
        client: A low-level CloudWatch client.
        names: At most ``MOST_NAMES``.
    """

    def __init__(self, client: Any, names: Sequence[str]) -> None:
        self._client = client
        self._names = tuple(names)

    def firing(self) -> tuple[str, ...]:
        """The names of those that fire now; without enough data an alarm is quiet."""
        if not self._names:
            return ()
        with aws_errors("look at the endpoint's alarms"):
            answer = self._client.describe_alarms(AlarmNames=list(self._names), MaxRecords=MOST_NAMES)
        return tuple(
            sorted(alarm["AlarmName"] for alarm in answer.get("MetricAlarms", []) if alarm["StateValue"] == "ALARM")
        )
