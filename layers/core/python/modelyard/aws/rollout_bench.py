"""The workbench of a rollout's steps, from a function's environment."""

from collections.abc import Mapping

from modelyard.aws.alarms import CloudWatchAlarms
from modelyard.aws.clients import Clients
from modelyard.aws.registry import open_registry
from modelyard.rollout.workbench import NoAlarms, RolloutBench


def open_rollout_bench(environ: Mapping[str, str]) -> RolloutBench:
    """The registry (see ``open_registry``), and the alarms that ``MODELYARD_ALARMS`` names, separated by commas."""
    clients = Clients()
    registry = open_registry(environ, clients=clients)
    names = [name for name in environ.get("MODELYARD_ALARMS", "").split(",") if name]
    return RolloutBench(
        registry=registry,
        artifacts=registry.artifacts,
        alarms=CloudWatchAlarms(clients.client("cloudwatch"), names) if names else NoAlarms(),
    )
