"""The first steps of the workflow in memory: events come in, are claimed, and their runs ask for the turn."""

import json
from typing import Any

import msgspec

from modelyard.retraining.claiming import claim_trigger
from modelyard.retraining.turn_steps import take_turn
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan
from tests.fakes.registries import Yard
from tests.fakes.trigger_events import s3_event
from tests.fakes.uploads import InMemoryUploads


class FrontDoor:
    """A registry, its buckets, a plan, and the steps that a run begins with.

    Args:
        plan: The model's plan; may be replaced at any time.
        registry: Settings of the registry, such as its clock.
    """

    def __init__(self, plan: Plan, **registry: Any) -> None:
        self.yard = Yard()
        self.uploads = InMemoryUploads()
        self.registry = self.yard.registry(actor="arn:aws:sts::111122223333:assumed-role/train/run", **registry)
        self.workbench = Workbench(registry=self.registry, artifacts=self.yard.artifacts, uploads=self.uploads)
        self.plan = plan

    def parts(self, run_id: str, **more: Any) -> dict[str, Any]:
        """What every step gets."""
        return {"plan": msgspec.to_builtins(self.plan), "run_id": run_id, **more}

    def upload(self, content: bytes, name: str = "2012.csv") -> dict[str, Any]:
        """Put a file into the bucket; the event that says so."""
        key = f"{self.plan.model}/{name}"
        version_id = self.uploads.put(key, content)
        return s3_event(key=key, size=len(content), version_id=version_id)

    def claim(self, event: Any, run_id: str = "run-1") -> dict[str, Any]:
        """The claim step."""
        return as_json(claim_trigger(self.workbench, as_json(self.parts(run_id, event=event))))

    def ask(self, claim: dict[str, Any], run_id: str = "run-1", *, rows: int | None = None) -> dict[str, Any]:
        """The turn step, for a file of so many rows."""
        validation = None if rows is None else {"status": "valid", "rows": rows}
        event = self.parts(run_id, claim=claim, validation=validation, turn=None)
        return as_json(take_turn(self.workbench, as_json(event)))


def as_json(document: dict[str, Any]) -> dict[str, Any]:
    """What arrives of a document that travels as JSON."""
    arrived: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return arrived
