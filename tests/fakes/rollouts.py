"""A rollout on a virtual clock: the synthesized workflow, the real steps and registry, and an endpoint that answers.

The endpoint is a loop: every few seconds some requests come, are answered by whom the registry says, and are captured.
What a version answers is a function of a number.
"""

import datetime as dt
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from modelyard.deployment import Deployment
from modelyard.errors import ModelyardError
from modelyard.ports import every
from modelyard.registry import Registry
from modelyard.rollout.judging_step import judge_rollout
from modelyard.rollout.plan import RolloutPlan
from modelyard.rollout.record import Rollout
from modelyard.rollout.steps import ask_person, begin_rollout, conclude_rollout, move_traffic, promote_challenger
from modelyard.rollout.workbench import RolloutBench
from modelyard.serving.capture import capture_key, capture_prefix
from modelyard.times import stamp
from modelyard.traffic import POINTS, points_of
from tests.fakes.broken_stores import Death, Outage
from tests.fakes.registries import Yard
from tests.fakes.state_machine import Execution, Function, StateMachine
from tests.fakes.states_language import StateError

MODEL = "tested"
STEPS: dict[str, Callable[[RolloutBench, dict[str, Any]], dict[str, Any]]] = {
    "Begin": begin_rollout,
    "Move": move_traffic,
    "Judge": judge_rollout,
    "Ask": ask_person,
    "Promote": promote_challenger,
    "Conclude": conclude_rollout,
}
Answers = Callable[[float], Any]


def same(value: float) -> Any:
    """What the champion answers, and a challenger that is just as good."""
    share = round(0.05 + 0.9 * value, 6)
    return {"label": "yes" if share >= 0.5 else "no", "probabilities": {"no": round(1 - share, 6), "yes": share}}


def swapped(value: float) -> Any:
    """The classes are named the other way round."""
    return same(1 - value)


def raising(value: float) -> Any:
    """Raises for one request of ten."""
    if value > 0.9:
        raise ModelyardError("no answer above 0.9", code="model_failed")
    return same(value)


class FiringAlarms:
    """Alarms that a test turns on."""

    def __init__(self) -> None:
        self.now: tuple[str, ...] = ()

    def firing(self) -> tuple[str, ...]:
        return self.now


class RolloutYard:
    """A model with two versions or more, version 1 live, and its rollout workflow.

    Args:
        definition: The workflow's definition, about `MODEL`.
        plan: In the place of what the definition carries.
        answers: What each version answers.
        requests: Every `every_s` seconds.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        plan: RolloutPlan,
        *,
        answers: Mapping[int, Answers],
        requests: int = 20,
        every_s: float = 10,
        seed: int = 0,
    ) -> None:
        self.plan, self.answers, self.requests, self.every_s = plan, dict(answers), requests, every_s
        self.random = random.Random(seed)  # noqa: S311 - the requests of a test
        self.steps: dict[str, Function] = {name: self._step(name) for name in STEPS}
        self.machine = StateMachine(
            with_plan(definition, plan),
            {name: lambda event, name=name: self.steps[name](event) for name in STEPS},
            seed=seed,
        )
        self.yard = Yard()
        self.yard.artifacts.clock = self.machine.clock
        self.alarms = FiringAlarms()
        self.person = self.registry("arn:aws:iam::111122223333:user/ana")
        for number in self.answers:
            self.yard.add(MODEL, f"model {number}".encode())
        self.person.promote(MODEL, 1, reason="the first")
        self.watch: Callable[[], None] = lambda: None
        self._numbers = itertools.count()
        self._until: dt.datetime | None = None

    def registry(self, actor: str, outage: Outage | None = None) -> Registry:
        records, artifacts = self.yard.records, self.yard.artifacts
        outage = outage or Outage()
        return Registry(
            outage.over(records), outage.over(artifacts), actor=actor, clock=self.machine.clock, sleep=lambda _: None
        )

    def bench(self, outage: Outage | None = None) -> RolloutBench:
        registry = self.registry("arn:aws:sts::111122223333:assumed-role/rollout/step", outage)
        return RolloutBench(registry, registry.artifacts, self.alarms, self.machine.clock)

    def _step(self, name: str) -> Function:
        return lambda event: STEPS[name](self.bench(), event)

    def dies(self, name: str, outage: Callable[[], Outage]) -> None:
        """From now on this step runs over stores that ``outage`` harms; where the process dies, Lambda says so."""

        def called(event: dict[str, Any]) -> Any:
            try:
                return STEPS[name](self.bench(outage()), event)
            except Death:
                raise StateError("Runtime.ExitError", "signal: killed") from None

        self.steps[name] = called

    def repaired(self) -> None:
        self.steps |= {name: self._step(name) for name in STEPS}

    # -- the endpoint -------------------------------------------------------------------------------------------------

    def open(self, hours: float) -> None:
        """Let requests come for so long."""
        self._until = self.machine.now + dt.timedelta(hours=hours)
        self.machine.at(self.every_s, self._serve)

    def _serve(self) -> None:
        live = self.person.deployment(MODEL)
        assert live is not None
        lines: dict[int, list[bytes]] = {}
        for _ in range(self.requests):
            record = self._answered(live)
            lines.setdefault(record["version"], []).append(msgspec.json.encode(record))
        came = int(self.machine.now.timestamp() * 1e9)
        for version, found in lines.items():
            if live.mode != "live":
                key = capture_key(capture_prefix(MODEL, version, came), came)
                self.yard.artifacts.put_if_absent(key, b"\n".join(found), content_type="application/x-ndjson")
        self.watch()
        if self._until is not None and self.machine.now < self._until:
            self.machine.at(self.every_s, self._serve)

    def _answered(self, live: Deployment) -> dict[str, Any]:
        value, number = self.random.random(), next(self._numbers)
        record: dict[str, Any] = {
            "time": stamp(self.machine.now), "model": MODEL, "version": live.champion,
            "prediction_id": f"{self.random.getrandbits(64):016x}", "request_id": f"r{number}",
            "instances": [{"x": value}], "latency_ms": 1.0 + value / 10, "mode": live.mode,
            "process": {"id": "p", "rss_mb": 100.0, "shadow_rss_mb": 0.0},
        }  # fmt: skip
        arm = live.champion
        if live.mode == "canary" and self.random.random() * POINTS < points_of(live.split):
            assert live.challenger is not None
            arm = live.challenger
        try:
            record["predictions"], record["version"] = [self.answers[arm](value)], arm
        except ModelyardError as error:
            record["predictions"] = [self.answers[live.champion](value)]
            record["failed"] = {"version": arm, "code": error.code, "message": str(error)}
        if live.mode == "shadow":
            record["shadow"] = self._shadowed(live.challenger or 0, value)
        return record

    def _shadowed(self, version: int, value: float) -> dict[str, Any]:
        told = {"version": version, "predictions": None, "code": None, "message": None, "latency_ms": None}
        try:
            return {**told, "predictions": [self.answers[version](value)], "latency_ms": 1.0 + value / 10}
        except ModelyardError as error:
            return {**told, "code": error.code, "message": str(error)}

    # -- the world outside --------------------------------------------------------------------------------------------

    def start(self, version: int = 2, *, name: str = "rollout-1", reason: str = "it is better") -> Execution:
        """As a person starts it: the claim, then the execution."""
        rollout = self.person.start_rollout(MODEL, version, rollout_id=name, reason=reason)
        execution = self.machine.start(name, {"version": version, "rollout_id": rollout.rollout_id, "reason": reason})
        assert execution is not None
        return execution

    def run(self, hours: float) -> None:
        self.machine.run(until=self.machine.now + dt.timedelta(hours=hours))

    def rollout(self, name: str = "rollout-1") -> Rollout:
        found = self.person.rollout_called(MODEL, name)
        assert found is not None
        return found

    def live(self) -> Deployment:
        found = self.person.deployment(MODEL)
        assert found is not None
        return found

    def kinds(self) -> list[str]:
        """Kinds of the ledger's entries, oldest first, without what came before the rollout."""
        entries = list(every(lambda start: self.person.history(MODEL, limit=100, start=start)))
        return [entry.kind for entry in reversed(entries) if entry.kind != "registered" and entry.revision != 1]

    def told(self) -> list[str]:
        return [entry["DetailType"] for entry in self.machine.told]


def with_plan(definition: Mapping[str, Any], plan: RolloutPlan) -> dict[str, Any]:
    """The definition with another plan in every step."""
    found = msgspec.json.decode(msgspec.json.encode(definition))
    for state in found["States"].values():
        parameters = state.get("Parameters") or {}
        for part in (parameters, parameters.get("Payload") or {}):
            if isinstance(part, dict) and "plan" in part:
                part["plan"] = msgspec.to_builtins(plan)
    return found
