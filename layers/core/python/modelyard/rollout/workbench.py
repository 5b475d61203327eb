"""What the steps of a rollout work with: the registry, the artifact bucket, the endpoint's alarms, the time."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from modelyard.ports import ArtifactStore
from modelyard.registry import Registry
from modelyard.times import utc_now


class Alarms(Protocol):
    """The endpoint's own alarms."""

    def firing(self) -> tuple[str, ...]:
        """The names of those that fire now; without enough data an alarm is quiet."""
        ...


class NoAlarms:
    """Of an environment that has none."""

    def firing(self) -> tuple[str, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class RolloutBench:
    """Everything outside that a step touches."""

    registry: Registry
    artifacts: ArtifactStore
    alarms: Alarms = field(default_factory=NoAlarms)
    clock: Callable[[], dt.datetime] = utc_now
