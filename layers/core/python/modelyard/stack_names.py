"""Names that the stacks give and the CLI looks for: stacks and their outputs. Nothing else has a fixed name."""

PROJECT = "Modelyard"

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
