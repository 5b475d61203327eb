"""What SageMaker counts about an endpoint, and the alarms on it.

SageMaker has no metric of one fleet: while code is being released, the old machines and the new ones count together. A
metric of an endpoint knows it by name, so the alarms need no reference to the endpoint, and the endpoint can name them.
"""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from modelyard.spec import Model
from stacks.code_release import LEAST_CALLS, LEAST_FAILURES, METRICS_NAMESPACE, WINDOW

NAMESPACE = "AWS/SageMaker"
VARIANT = "AllTraffic"
"""The one production variant. Releases keep it: SageMaker moves traffic between fleets of one variant only."""

_FAILED, _COUNTED, _UNANSWERED, _SLOW = "failed", "counted", "unanswered", "slow"


class EndpointMetrics:
    """The metrics of one endpoint, in windows of five minutes.

    Args:
        endpoint: Its name.
        models: Those that it answers for.
    """

    def __init__(self, endpoint: str, models: Sequence[Model]) -> None:
        self._endpoint, self._models = endpoint, models

    def of_variant(self, name: str, statistic: str) -> cloudwatch.Metric:
        """One of SageMaker's metrics of the variant."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"EndpointName": self._endpoint, "VariantName": VARIANT},
            statistic=statistic,
            period=WINDOW,
        )

    def of_endpoint(self, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        """One of SageMaker's metrics of an async endpoint's queue."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"EndpointName": self._endpoint},
            statistic=statistic,
            period=period,
        )

    def failed_share(self, *, least: int = 1) -> cloudwatch.MathExpression:
        """Share of the requests that the container failed, or never answered.

        `Invocation5XXErrors` has a value, 0 or 1, for every request, so it also says how many there were; an async
        endpoint has no other count. What no container answered is counted by the audit line of the way in; where
        several models share an endpoint each has an alarm of its own for that, since an alarm takes ten metrics.

        Args:
            least: Fewer failures than these count as none.
        """
        metrics: dict[str, cloudwatch.IMetric] = {
            _FAILED: self.of_variant("Invocation5XXErrors", "Sum"),
            _COUNTED: self.of_variant("Invocation5XXErrors", "SampleCount"),
        }
        failures, calls = f"FILL({_FAILED}, 0)", f"FILL({_COUNTED}, 0)"
        if len(self._models) == 1:
            metrics[_UNANSWERED] = cloudwatch.Metric(
                namespace=METRICS_NAMESPACE,
                metric_name="errors",
                dimensions_map={"model": self._models[0].name},
                statistic="Sum",
                period=WINDOW,
            )
            failures, calls = (f"({part} + FILL({_UNANSWERED}, 0))" for part in (failures, calls))
        return cloudwatch.MathExpression(
            expression=f"IF({failures} >= {least}, {failures} / {calls}, 0)",
            using_metrics=metrics,
            period=WINDOW,
            label="share of failed requests",
        )

    def latency(self, statistic: str, *, least: int = 0) -> cloudwatch.MathExpression:
        """Time in the container, in ms; SageMaker counts microseconds.

        Args:
            statistic: Of the times, like ``p99``.
            least: With fewer requests than these it counts as none.
        """
        slow = f"{_SLOW} / 1000"
        return cloudwatch.MathExpression(
            expression=f"IF({_COUNTED} >= {least}, {slow}, 0)" if least else slow,
            using_metrics={
                _SLOW: self.of_variant("ModelLatency", statistic),
                **({_COUNTED: self.of_variant("ModelLatency", "SampleCount")} if least else {}),
            },
            period=WINDOW,
            label=f"{statistic} of the latency in ms",
        )

    @property
    def error_limit(self) -> float:
        """Share of failed requests that is too much; of several models the largest that one of them allows."""
        return max(model.spec.monitoring.error_rate for model in self._models)

    @property
    def latency_limit_ms(self) -> float:
        """Latency that is too much; an async endpoint whose spec does not say has its deadline."""
        return max(_latency_limit_ms(model) for model in self._models)


def _latency_limit_ms(model: Model) -> float:
    monitoring = model.spec.monitoring
    if model.spec.kind == "async" and "latency_p99_ms" not in monitoring.model_fields_set:
        return model.spec.timeout_s * 1000
    return monitoring.latency_p99_ms


def standing_alarms(scope: Construct, metrics: EndpointMetrics, *, what: str) -> list[cloudwatch.Alarm]:
    """``ErrorRate`` and ``Latency``, as every endpoint has them, by the names that overrides know."""
    return [
        _alarm(scope, name, metric, limit, windows=(2, 3), what=f"{what}: {said} above {limit:g}")
        for name, metric, limit, said in (
            ("ErrorRate", metrics.failed_share(), metrics.error_limit, "share of failed requests"),
            ("Latency", metrics.latency("p99"), metrics.latency_limit_ms, "99th percentile of latency in ms"),
        )
    ]


def release_alarms(scope: Construct, metrics: EndpointMetrics, *, what: str) -> list[cloudwatch.Alarm]:
    """``ReleaseErrors`` and ``ReleaseLatency``: quicker than the others, so that they end a release early."""
    return [
        _alarm(scope, name, metric, limit, windows=(1, 1), what=f"{what}, for releases of code: {said} above {limit:g}")
        for name, metric, limit, said in (
            ("ReleaseErrors", metrics.failed_share(least=LEAST_FAILURES), metrics.error_limit, "failed requests"),
            ("ReleaseLatency", metrics.latency("p90", least=LEAST_CALLS), metrics.latency_limit_ms, "latency in ms"),
        )
    ]


def _alarm(
    scope: Construct, name: str, metric: cloudwatch.IMetric, limit: float, *, windows: tuple[int, int], what: str
) -> cloudwatch.Alarm:
    breaching, looked_at = windows
    return cloudwatch.Alarm(
        scope,
        name,
        metric=metric,
        threshold=limit,
        evaluation_periods=looked_at,
        datapoints_to_alarm=breaching,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=what,
    )
