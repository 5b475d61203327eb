"""What starts the workflow: S3's events as EventBridge sends them, a schedule's, an alarm's and a person's input."""

import json
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).parents[1] / "events"


def s3_event(name: str = "s3_object_created", **stored: Any) -> dict[str, Any]:
    """An event of the files, with changes to ``detail.object``; a value of None takes the field out."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    described = event["detail"]["object"]
    described.update({key.replace("_", "-"): value for key, value in stored.items()})
    event["detail"]["object"] = {key: value for key, value in described.items() if value is not None}
    return event


def alarm_event(kind: str = "Drift", **changes: Any) -> dict[str, Any]:
    """An alarm about the model, as the bus carries it; ``detail`` is changed key by key."""
    event: dict[str, Any] = json.loads((EVENTS / "modelyard_alarm.json").read_text())
    detail = event["detail"] | changes.pop("detail", {})
    return event | {"detail-type": f"{kind} alarm", "detail": detail} | changes


def schedule_input(index: Any = 0, time: Any = "2026-11-23T03:00:00Z") -> dict[str, Any]:
    """What the scheduler starts the workflow with."""
    return {"trigger": "schedule", "index": index, "time": time}


def manual_input(**changes: Any) -> dict[str, Any]:
    """What ``modelyard train`` starts the workflow with."""
    by = "arn:aws:sts::111122223333:assumed-role/team/ana"
    return {"trigger": "manual", "by": by, "reason": "the sensor was replaced", "ablate": False} | changes
