"""A workflow on a virtual clock, to which uploads are delivered late, often and in any order.

Claims, turns, the end of a run and the registry are the real ones. What takes long is stood in for: a file is valid
unless it says that it is not, and a training is a list of what it learnt from.
"""

import datetime as dt
import functools
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from modelyard.ports import every
from modelyard.registry import Run
from modelyard.retraining.claiming import claim_trigger
from modelyard.retraining.concluding import conclude_run
from modelyard.retraining.costs import usd_of
from modelyard.retraining.dataset import newest
from modelyard.retraining.turn_steps import take_turn
from modelyard.training.plan import Plan
from tests.fakes.front_door import FrontDoor
from tests.fakes.state_machine import Execution, Function, StateMachine
from tests.fakes.states_language import StateError
from tests.fakes.trigger_events import s3_event

SECONDS = {"Validate the data": 4, "Prepare the data": 8, "Train the candidates": 240, "Is it better?": 20}
RETRIED = "Lambda.ServiceException"


def definition(plan: Plan) -> dict[str, Any]:
    """The story of ``stacks/retraining_workflow.py`` in short. A test of the stacks takes that one."""
    run = {"run_id.$": "$$.Execution.Name", "plan": msgspec.to_builtins(plan)}
    retry = [{"ErrorEquals": [RETRIED], "IntervalSeconds": 2, "MaxAttempts": 4, "BackoffRate": 2}]
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Record the failure", "ResultPath": "$.error"}]

    def task(step: str, then: str, into: str, *names: str) -> dict[str, Any]:
        said = {"Type": "Task", "Resource": f"arn:aws:lambda:eu-west-1:111122223333:function:{step}", "Next": then}
        given = {**run, **{f"{name}.$": f"$.{name}" for name in names}}
        return said | {"Parameters": given, "ResultPath": f"$.{into}", "Retry": retry, "Catch": catch}

    def conclude(status: str, then: str) -> dict[str, Any]:
        whole = task("Conclude", then, "conclusion")
        return whole | {"Parameters": {**run, "status": status, "state.$": "$"}, "Catch": []}

    def choice(variable: str, default: str, **rules: str) -> dict[str, Any]:
        found = [{"Variable": variable, "StringEquals": said, "Next": then} for said, then in rules.items()]
        return {"Type": "Choice", "Choices": found, "Default": default}

    begin = {"event.$": "$", "validation": {"status": "none"}}
    return {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Parameters": begin, "Next": "Claim the trigger"},
            "Claim the trigger": task("Claim", "What came?", "claim", "event"),
            "What came?": choice("$.claim.status", "Done", claimed="Is there a file?", superseded="Record the rest"),
            "Is there a file?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.claim.object.key", "IsPresent": True, "Next": "Validate the data"}],
                "Default": "Take a turn",
            },
            "Validate the data": task("Validate", "Is the data usable?", "validation", "claim"),
            "Is the data usable?": choice("$.validation.status", "Record the rejection", valid="Take a turn"),
            "Take a turn": task("Turn", "Is it its turn?", "turn", "claim", "validation"),
            "Is it its turn?": choice("$.turn.status", "Record the rest", go="Prepare the data", wait="Wait"),
            "Wait": {"Type": "Wait", "SecondsPath": "$.turn.wait_s", "Next": "Take a turn"},
            "Prepare the data": task("Prepare", "Train the candidates", "prepared"),
            "Train the candidates": task("Train", "Make it the champion", "training", "prepared"),
            "Make it the champion": task("Promote", "Done", "promoted", "prepared", "training"),
            "Record the rejection": conclude("rejected", "Done"),
            "Record the rest": conclude("quiet", "Done"),
            "Record the failure": conclude("failed", "Failed"),
            "Done": {"Type": "Succeed"},
            "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
        },
    }


@dataclass
class Training:
    """What a training learnt from, and when."""

    run_id: str
    began: dt.datetime
    learnt: dict[str, str]
    ended: dt.datetime | None = None


@dataclass
class Yard:
    """A workflow over a registry and buckets, with one clock.

    ``mishaps`` is the share of calls whose answer is lost, or that do not arrive. ``story`` is the workflow's
    definition; the short one where it is left out.
    """

    plan: Plan
    seed: int
    mishaps: float = 0.0
    story: Mapping[str, Any] | None = None
    repair: Callable[[], None] = lambda: None
    trainings: list[Training] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps: dict[str, Function] = {
            "Claim": self.over(claim_trigger),
            "Turn": self.over(take_turn),
            "Validate": self.validate,
            "Prepare": self.prepare,
            "Train": self.train,
            "Evaluate": lambda _: {"passed": True, "reason": "better", "report_key": None},
            "Register": lambda _: {"version": 1, "created": True},
            "Promote": self.promote,
            "Conclude": self.over(conclude_run),
        }
        self.machine = StateMachine(
            definition(self.plan) if self.story is None else self.story,
            {name: self.unreliable(name) for name in self.steps},
            seconds=lambda state: self.machine.random.uniform(0.2, 2) * SECONDS.get(state, 0.5),
            seed=self.seed,
        )
        self.door = FrontDoor(self.plan, clock=self.machine.clock)
        self.registry, self.workbench, self.uploads = self.door.registry, self.door.workbench, self.door.uploads
        self.numbers = iter(range(1_000_000))

    def over(self, step: Callable[..., dict[str, Any]]) -> Function:
        return lambda event: step(self.workbench, event)

    def unreliable(self, name: str) -> Function:
        def called(event: dict[str, Any]) -> Any:
            luck = self.machine.random.random()
            if luck < self.mishaps / 2:
                raise StateError(RETRIED, "not sent")
            answer = self.steps[name](event)
            if luck < self.mishaps:
                raise StateError(RETRIED, "the answer is lost")
            return answer

        return called

    # -- the steps that are stood in for ------------------------------------------------------------------------------

    def validate(self, event: dict[str, Any]) -> dict[str, Any]:
        found = event["claim"]["object"]
        content = self.uploads.get(found["key"], found["version_id"])
        if content is None or content.startswith(b"bad"):
            return {"status": "invalid", "reason": "it says so"}
        self.registry.add_dataset_file(
            self.plan.model,
            **{part: found[part] for part in ("bucket", "key", "version_id", "size")},
            sha256=hashlib.sha256(content).hexdigest(),
            rows=10,
            run_id=event["run_id"],
        )
        return {"status": "valid", "rows": 10, "reason": ""}

    def prepare(self, event: dict[str, Any]) -> dict[str, Any]:
        files, _ = newest(self.uploads, self.registry.dataset_files(self.plan.model))
        learnt = {file.key: file.version_id for file in files}
        if not self.trainings or self.trainings[-1].run_id != event["run_id"]:
            self.trainings.append(Training(event["run_id"], self.machine.now, learnt))
        return {"status": "prepared", "job": event["run_id"], "where": "lambda", "ablation": None, "files": len(learnt)}

    def train(self, event: dict[str, Any]) -> dict[str, Any]:
        training = next(found for found in self.trainings if found.run_id == event["run_id"])
        training.ended = self.machine.now
        return {"status": "trained", "seconds": (self.machine.now - training.began).total_seconds()}

    def promote(self, event: dict[str, Any]) -> dict[str, Any]:
        self.registry.record_run(self.plan.model, event["run_id"], status="promoted")
        self.registry.release_turn(self.plan.model, event["run_id"], usd=usd_of(event["plan"], event))
        return {"reason": "better", "report_key": "reports/tested/run.json"}

    # -- the world outside --------------------------------------------------------------------------------------------

    def deliver(self, event: dict[str, Any]) -> Execution:
        """Start an execution as EventBridge does: a name of its own for every delivery."""
        execution = self.machine.start(f"run-{next(self.numbers):06d}", event)
        assert execution is not None
        return execution

    def upload(self, key: str, content: bytes) -> dict[str, Any]:
        """Put a file and say what S3 will tell."""
        version_id = self.uploads.put(key, content)
        return s3_event(key=key, size=len(content), version_id=version_id)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        return list(every(lambda start: self.registry.runs(self.plan.model, limit=500, start=start)))

    def newest_accepted(self) -> dict[str, str]:
        """The newest accepted version of each key, by the bucket's own order."""
        accepted = {(file.key, file.version_id) for file in self.registry.dataset_files(self.plan.model)}
        found: dict[str, str] = {}
        for key, version_id in accepted:
            if version_id > found.get(key, ""):  # the bucket of the tests counts up
                found[key] = version_id
        return found

    def overlaps(self) -> Iterator[tuple[Training, Training]]:
        for before, after in itertools.pairwise(self.trainings):
            if before.ended is not None and before.ended > after.began:
                yield before, after


def deliveries(yard: Yard, *, files: int, keys: int, times: int, over_s: float) -> dict[tuple[str, str], bytes]:
    """Upload files under few names, some overwritten at once; deliver each event often, late and in any order."""
    chance = random.Random(yard.seed)  # noqa: S311 - the order of a test
    uploaded: dict[tuple[str, str], bytes] = {}

    def put(number: int, key: str) -> None:
        content = f"{'bad' if chance.random() < 0.05 else ''}{number:x}".encode()
        event = yard.upload(key, content)
        uploaded[key, event["detail"]["object"]["version-id"]] = content
        late = chance.random() < 0.3
        for _ in range(chance.randint(1, 2 * times - 1)):
            delay = chance.choice((0.0, 1.0, chance.expovariate(1 / 60), chance.expovariate(1 / 1800)))
            yard.machine.at(delay + 120 * late, lambda: yard.deliver(event) and None)

    number = 0
    while number < files:
        at, key = chance.uniform(0, over_s), f"tested/{chance.randrange(keys)}.csv"
        for _ in range(chance.choice((1, 1, 4))):
            if number < files:
                yard.machine.at(at, functools.partial(put, number, key))
            at, number = at + chance.uniform(0, 60), number + 1
    return uploaded


def check_runs(yard: Yard, uploaded: dict[tuple[str, str], bytes]) -> None:
    runs = yard.runs()
    about = Counter((run.object["key"], run.object["version_id"]) for run in runs if run.object is not None)
    assert about == Counter(dict.fromkeys(uploaded, 1)), "one run for each object version, whatever was delivered"
    assert [run.run_id for run in runs if run.status == "running" or run.ended_at is None] == []
    assert list(yard.overlaps()) == [], "never two trainings at once"
    assert yard.trainings[-1].learnt == yard.newest_accepted(), "nothing accepted is left out, and nothing stale is in"
    assert yard.registry.turn(yard.plan.model).holder is None
    assert yard.registry.turn(yard.plan.model).waiter is None
