"""Names that the stacks give and the CLI looks for: stacks and their outputs. Nothing else has a fixed name."""

import hashlib

PROJECT = "Modelyard"
_LONGEST_ENDPOINT = 63
"""Characters of an endpoint's name that SageMaker takes."""

ARTIFACT_BUCKET = "ArtifactBucket"
DATA_BUCKET = "DataBucket"
TABLE = "RegistryTable"
EVENT_BUS = "EventBus"
OPERATOR_POLICY = "OperatorPolicy"
API_URL = "Url"
"""Base URL of the first API; of the others ``Url1``, ``Url2``, …"""
CONTROL_FUNCTION = "ControlFunction"
CONTROL_POLICY = "ControlPolicy"
SWEEP_POLICY = "SweepPolicy"
REPLAY_POLICY = "ReplayPolicy"
REPORT_FUNCTION = "ReportFunction"
INVOKE_POLICY = "InvokePolicy"
PREDICT_FUNCTION = "PredictFunction"
SAGEMAKER_ENDPOINT = "SageMakerEndpoint"
SAGEMAKER_CONFIG = "SageMakerEndpointConfig"
"""Output with the name of the configuration that the endpoint was last given; what it runs may be another."""
ANSWERS_TOPIC, FAILURES_TOPIC = "AnswersTopic", "FailuresTopic"
"""Of an async endpoint: told of each answer, and of each request that got none."""
WORKFLOW = "Workflow"
LOGS = "Logs"
"""Prefix of outputs that name log groups: ``LogsPredict``, ``LogsControl``, ``LogsTrain``, …"""
ALARM = "Alarm"
"""Prefix of outputs that name an endpoint's alarms: ``AlarmErrorRate``, ``AlarmLatency``."""
RELEASE_OVERRIDE = "ReleaseOverride"
"""Output of an endpoint's stack whose last deployment left alarms out; see ``modelyard.release_override``."""
RELEASE_OVERRIDE_TAG = "release-override"
"""Of a deployment group that leaves alarms out: the id that the ledger knows the override by."""
ROLLOUT_ASKED_FOR = "Rollout Asked For"
"""Detail type of the event with which the control plane has a rollout begin that a caller has claimed."""


def registry_stack(environment: str) -> str:
    """Buckets, table, bus and topic that all models share."""
    return f"{PROJECT}-{environment}-Registry"


def upkeep_stack(environment: str) -> str:
    """What follows the registry's table, and the scheduled report."""
    return f"{PROJECT}-{environment}-Upkeep"


def api_stack(environment: str) -> str:
    """The HTTP API and the control plane."""
    return f"{PROJECT}-{environment}-Api"


def endpoint_stack(environment: str, model: str) -> str:
    """One model's endpoint."""
    return f"{PROJECT}-{environment}-Endpoint-{model.replace('_', '-')}"


def retraining_stack(environment: str, model: str) -> str:
    """One model's retraining workflow."""
    return f"{PROJECT}-{environment}-Retraining-{model.replace('_', '-')}"


def rollout_stack(environment: str, model: str) -> str:
    """One model's rollout workflow."""
    return f"{PROJECT}-{environment}-Rollout-{model.replace('_', '-')}"


def host_stack(environment: str, host: str) -> str:
    """The SageMaker endpoint of the models with one ``endpoint.host``."""
    return f"{PROJECT}-{environment}-Host-{host.replace('_', '-')}"


def server_stack(environment: str, model: str, host: str | None) -> str:
    """The stack that a model's SageMaker endpoint is in."""
    return endpoint_stack(environment, model) if host is None else host_stack(environment, host)


def sagemaker_endpoint(environment: str, kind: str, *, model: str, host: str | None) -> str:
    """What SageMaker calls the endpoint of a model, or of the models with one host.

    The one name here that CloudFormation does not make up: an alarm that takes a release back knows the endpoint by its
    name, and the endpoint knows the alarm, so one of the two names has to be there first. It says what kind of endpoint
    it is, because SageMaker does not turn one kind into another. 63 characters at most, and in lower case, as SageMaker
    writes it in ARNs.
    """
    whose = f"model-{model}" if host is None else f"host-{host}"
    name = f"{PROJECT.lower()}-{environment}-{kind}-{whose}".replace("_", "-")
    return name if len(name) <= _LONGEST_ENDPOINT else f"{name[: _LONGEST_ENDPOINT - 9]}-{_digest(name)}"


def sagemaker_endpoints(environment: str) -> str:
    """The names of all of an environment, as a policy writes them."""
    return f"{PROJECT.lower()}-{environment}-*"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
