"""The workbench of the retraining steps in memory, and a walk through them as the workflow takes it."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec

from modelyard.retraining.steps import claim_upload, conclude_run, validate_upload
from modelyard.retraining.training_step import train_candidates
from modelyard.retraining.verdict_steps import evaluate_challenger, promote_challenger, register_challenger
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan
from tests.fakes.registries import Yard
from tests.fakes.uploads import InMemoryUploads

EVENTS = Path(__file__).parents[1] / "events"
LARGEST_STATE = 256 * 1024
"""Bytes that Step Functions takes as a state, or as the input of a task."""
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:Retraining:"


def s3_event(name: str, **stored: Any) -> dict[str, Any]:
    """An event of the files, with changes to ``detail.object``; a value of None takes the field out."""
    event = json.loads((EVENTS / f"{name}.json").read_text())
    described = event["detail"]["object"]
    described.update({key.replace("_", "-"): value for key, value in stored.items()})
    event["detail"]["object"] = {key: value for key, value in described.items() if value is not None}
    return event  # type: ignore[no-any-return]


class Bench:
    """A registry, its buckets, and a plan."""

    def __init__(self, plan: Plan) -> None:
        self.yard = Yard()
        self.uploads = InMemoryUploads()
        self.registry = self.yard.registry(actor="arn:aws:sts::111122223333:assumed-role/train/run")
        self.workbench = Workbench(registry=self.registry, artifacts=self.yard.artifacts, uploads=self.uploads)
        self.plan = plan

    def with_memory(self, megabytes: int) -> None:
        """Steps have this much from now on."""
        self.workbench = dataclasses.replace(self.workbench, memory_mb=megabytes)

    def parts(self, run_id: str, **more: Any) -> dict[str, Any]:
        """What every step gets."""
        return {"plan": msgspec.to_builtins(self.plan), "run_id": run_id, **more}

    def upload(self, content: bytes, name: str = "2012.csv") -> dict[str, Any]:
        """Put a file into the bucket; the event that says so."""
        key = f"{self.plan.model}/{name}"
        version = self.uploads.put(key, content)
        return s3_event("s3_object_created", key=key, size=len(content), version_id=version)

    def claim(self, event: Any, run_id: str = "run-1") -> dict[str, Any]:
        """The claim step."""
        return _sent(claim_upload(self.workbench, _sent(self.parts(run_id, event=event))))

    def validate(self, found: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
        """The step after it."""
        return _sent(validate_upload(self.workbench, _sent(self.parts(run_id, object=found))))

    def accept(self, content: bytes, name: str = "2012.csv", run_id: str = "run-1") -> dict[str, Any]:
        """Upload, claim, validate: the state after that."""
        state: dict[str, Any] = {"claim": self.claim(self.upload(content, name), run_id)}
        state["validation"] = self.validate(state["claim"]["object"], run_id)
        return state

    def train(self, state: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
        """Train; the answer, which is in the state from then on."""
        given = self.parts(run_id, object=state["claim"]["object"], validation=state["validation"])
        state["training"] = _sent(train_candidates(self.workbench, _sent(given)))
        return state["training"]  # type: ignore[no-any-return]

    def evaluate(self, state: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
        """Evaluate; likewise."""
        given = self.parts(run_id, object=state["claim"]["object"], training=state["training"])
        state["evaluation"] = _sent(evaluate_challenger(self.workbench, _sent(given)))
        return state["evaluation"]  # type: ignore[no-any-return]

    def register(self, state: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
        """Register; likewise."""
        given = self.parts(
            run_id,
            object=state["claim"]["object"],
            training=state["training"],
            evaluation=state["evaluation"],
            execution=EXECUTION + run_id,
        )
        state["registered"] = _sent(register_challenger(self.workbench, _sent(given)))
        return state["registered"]  # type: ignore[no-any-return]

    def promote(self, state: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
        """Promote; likewise."""
        given = self.parts(run_id, evaluation=state["evaluation"], registered=state["registered"])
        state["promoted"] = _sent(promote_challenger(self.workbench, _sent(given)))
        return state["promoted"]  # type: ignore[no-any-return]

    def conclude(self, state: dict[str, Any], status: str, run_id: str = "run-1") -> dict[str, Any]:
        """Conclude; likewise."""
        state["conclusion"] = _sent(conclude_run(self.workbench, _sent(self.parts(run_id, status=status, state=state))))
        return state["conclusion"]  # type: ignore[no-any-return]

    def run(self, event: dict[str, Any], run_id: str) -> dict[str, Any]:
        """The whole workflow, with the choices of ``stacks/retraining_stack.py``; an error ends it as a failure."""
        state = copy.deepcopy(event)
        try:
            status = self._choose(state, run_id)
        except Exception as error:  # noqa: BLE001 - what Step Functions catches too
            cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []})
            state["error"] = {"Error": type(error).__name__, "Cause": cause}
            status = "failed"
        if status not in {"nothing to do", "promoted"}:
            self.conclude(state, status, run_id)
        return _sent(state)

    def _choose(self, state: dict[str, Any], run_id: str) -> str:
        state["claim"] = self.claim(copy.deepcopy(state), run_id)
        if state["claim"]["status"] != "claimed":
            return "nothing to do"
        state["validation"] = self.validate(state["claim"]["object"], run_id)
        if state["validation"]["status"] != "valid":
            return "duplicate" if state["validation"]["status"] == "duplicate" else "rejected"
        self.train(state, run_id)
        if not self.evaluate(state, run_id)["passed"]:
            return "rejected"
        self.register(state, run_id)
        if not self.plan.automatic:
            return "registered"
        self.promote(state, run_id)
        return "promoted"


def _sent(document: dict[str, Any]) -> dict[str, Any]:
    """What arrives of a document that travels as JSON through Step Functions, which refuses NaN and what is large."""
    text = json.dumps(document, allow_nan=False)  # ASCII: the most that its text can take
    assert len(text) <= LARGEST_STATE, f"a state of {len(text):,} bytes"
    return json.loads(text)  # type: ignore[no-any-return]
