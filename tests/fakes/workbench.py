"""The workbench of the retraining steps in memory, and a walk through them as the workflow takes it."""

import copy
import dataclasses
import datetime as dt
import json
from typing import Any

from modelyard.retraining.concluding import NOTHING, conclude_run
from modelyard.retraining.evaluating import evaluate_challenger
from modelyard.retraining.preparing import prepare_rows
from modelyard.retraining.registering import promote_challenger, register_challenger
from modelyard.retraining.training_step import train_candidates
from modelyard.retraining.turn_steps import take_turn
from modelyard.retraining.validating import validate_upload
from modelyard.retraining.workbench import Step
from modelyard.training.plan import Plan
from tests.fakes.front_door import FrontDoor
from tests.fakes.trigger_events import manual_input

LARGEST_STATE = 256 * 1024
"""Bytes that Step Functions takes as a state, or as the input of a task."""
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:Retraining:"
MOST_LOOKS = 100

State = dict[str, Any]


class Bench(FrontDoor):
    """A registry, its buckets, and a plan.

    Each step is a method that takes the workflow's state, calls the step with what ``stacks/retraining_workflow.py``
    gives it, puts the answer into the state and returns it. `run` takes them all.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.redrives = 0

    def with_memory(self, megabytes: int) -> None:
        """Steps have this much from now on."""
        self.workbench = dataclasses.replace(self.workbench, memory_mb=megabytes)

    def document(self, key: str) -> dict[str, Any]:
        """A JSON object of the artifact bucket."""
        return json.loads(self.yard.artifacts.objects[key], parse_constant=_no_json)  # type: ignore[no-any-return]

    def report(self, state: State) -> dict[str, Any]:
        """The document of a run, wherever its state says that it is."""
        steps = ("promoted", "conclusion", "evaluation", "prepared")
        found = [key for step in steps if (key := (state.get(step) or {}).get("report_key"))]
        return self.document(found[0])

    # -- the steps ----------------------------------------------------------------------------------------------------

    def claimed(self, event: Any, run_id: str = "run-1") -> State:
        """The state after the claim step."""
        return {**self._begin(event), "claim": self.claim(event, run_id)}

    def validate(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """The step after it."""
        return self._step(validate_upload, state, "validation", run_id, claim=state["claim"])

    def accept(self, content: bytes, name: str = "2012.csv", run_id: str = "run-1") -> State:
        """Upload, claim, validate: the state after that."""
        state = self.claimed(self.upload(content, name), run_id)
        self.validate(state, run_id)
        return state

    def by_hand(self, run_id: str = "run-1", **changes: Any) -> State:
        """The state of a run that a person started, when it has its turn."""
        state = self.claimed(manual_input(**changes), run_id)
        self.turn(state, run_id)
        return state

    def turn(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Ask whose turn it is, once."""
        given = {"claim": state["claim"], "validation": state["validation"], "turn": state["turn"]}
        return self._step(take_turn, state, "turn", run_id, **given)

    def prepare(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Prepare the data."""
        given = {"claim": state["claim"], "validation": state["validation"]}
        return self._step(prepare_rows, state, "prepared", run_id, **given)

    def train(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Train on Lambda."""
        return self._step(train_candidates, state, "training", run_id, job=state["prepared"]["job"])

    def train_without(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Train without the newest file."""
        given = {"job": state["prepared"]["ablation"]["job"], "training": state["training"]}
        return self._step(train_candidates, state, "without", run_id, **given)

    def evaluate(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Evaluate against the champion."""
        without = state.get("without", NOTHING)
        return self._step(evaluate_challenger, state, "evaluation", run_id, **_trained(state), without=without)

    def register(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Register the version."""
        given = {**_trained(state), "evaluation": state["evaluation"], "execution": EXECUTION + run_id}
        return self._step(register_challenger, state, "registered", run_id, **given)

    def promote(self, state: State, run_id: str = "run-1") -> dict[str, Any]:
        """Make it the champion."""
        given = {**_trained(state), "evaluation": state["evaluation"], "registered": state["registered"]}
        return self._step(promote_challenger, state, "promoted", run_id, **given)

    def conclude(self, state: State, status: str, run_id: str = "run-1") -> dict[str, Any]:
        """Record how a run ended otherwise."""
        given = {"status": status, "state": copy.deepcopy(state), "execution": self.execution(run_id)}
        return self._step(conclude_run, state, "conclusion", run_id, **given)

    def execution(self, run_id: str) -> dict[str, Any]:
        """What Step Functions says about an execution."""
        return {"Id": EXECUTION + run_id, "Name": run_id, "RedriveCount": self.redrives}

    # -- the workflow -------------------------------------------------------------------------------------------------

    def run(self, event: dict[str, Any], run_id: str) -> State:
        """The whole workflow, with the choices of ``stacks/retraining_workflow.py``; an error ends it as a failure."""
        return self._walk(self._begin(event), run_id, "claim")

    def go_on(self, state: State, run_id: str) -> State:
        """The workflow from its turn on."""
        return self._walk(copy.deepcopy(state), run_id, "turn")

    def redrive(self, state: State, run_id: str) -> State:
        """A run that failed, taken up as Step Functions does: the state again that failed."""
        self.redrives += 1
        state = copy.deepcopy(state)
        given = {"conclusion": state["conclusion"], "execution": self.execution(run_id)}
        return self._walk(state, run_id, self._step(conclude_run, state, "resume", run_id, **given)["from"])

    def _begin(self, event: Any) -> State:
        return {
            "event": copy.deepcopy(event), "validation": NOTHING, "turn": NOTHING, "resume": {"from": "prepared"}
        }  # fmt: skip

    def _walk(self, state: State, run_id: str, begins: str) -> State:
        try:
            end = self._steps(state, run_id, begins)
        except Exception as error:  # noqa: BLE001 - what Step Functions catches too
            cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []})
            state["error"] = {"Error": type(error).__name__, "Cause": cause}
            end = "failed"
        if end not in {"nothing to do", "promoted"}:
            self.conclude(state, end, run_id)
        return sent(state)

    def _steps(self, state: State, run_id: str, begins: str) -> str:
        if begins == "claim":
            state["claim"] = self.claim(state["event"], run_id)
            if state["claim"]["status"] != "claimed":
                return "quiet" if state["claim"]["status"] == "superseded" else "nothing to do"
            begins = "turn" if state["claim"]["object"] is None else "validation"
        if begins == "validation" and self.validate(state, run_id)["status"] != "valid":
            return "quiet" if state["validation"]["status"] == "duplicate" else "rejected"
        for _ in range(MOST_LOOKS):
            if self.turn(state, run_id)["status"] != "wait":
                break
            self.yard.clock.now += dt.timedelta(seconds=state["turn"]["wait_s"])
        if state["turn"]["status"] != "go":
            return "quiet"
        return self._from_the_turn_on(state, run_id, state["resume"]["from"])

    def _from_the_turn_on(self, state: State, run_id: str, begins: str) -> str:
        begins = begins if begins in {"training", "evaluation", "registered", "promoted"} else "prepared"
        if begins == "prepared":
            status = self.prepare(state, run_id)["status"]
            if status != "prepared":
                return "quiet" if status == "unchanged" else "rejected"
        if begins in {"prepared", "training"}:
            if self.train(state, run_id)["status"] != "trained":
                return "rejected"
            if (state["prepared"]["ablation"] or {}).get("job"):
                self.train_without(state, run_id)
        if begins in {"prepared", "training", "evaluation"} and not self.evaluate(state, run_id)["passed"]:
            return "rejected"
        if begins != "promoted" or not self.plan.automatic:
            answer = self.register(state, run_id)
            if answer.get("status") == "conflict":
                return self._from_the_turn_on(state, run_id, "evaluation")
        if self.plan.automatic:
            answer = self.promote(state, run_id)
            if answer.get("status") == "conflict":
                return self._from_the_turn_on(state, run_id, "evaluation")
        return "promoted" if self.plan.automatic else "registered"

    def _step(self, step: Step, state: State, into: str, run_id: str, /, **given: Any) -> dict[str, Any]:
        state[into] = sent(step(self.workbench, sent(self.parts(run_id, **given))))
        sent(state)
        return state[into]  # type: ignore[no-any-return]


def _trained(state: State) -> State:
    return {part: state[part] for part in ("claim", "prepared", "training")}


def sent(document: dict[str, Any]) -> dict[str, Any]:
    """What arrives of a document that travels as JSON through Step Functions, which refuses NaN and what is large."""
    text = json.dumps(document, allow_nan=False)  # ASCII: the most that its text can take
    assert len(text) <= LARGEST_STATE, f"a state of {len(text):,} bytes"
    return json.loads(text)  # type: ignore[no-any-return]


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} stands in a JSON document")
