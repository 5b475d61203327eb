"""Step Functions with a virtual clock: runs a synthesized definition, many executions at once, in an order of a seed.

It knows Task, Choice, Wait, Pass, Succeed and Fail; Retry, Catch, timeouts, task tokens; history events, the size of a
state, and redrive. A task takes effect at one moment while it runs, so executions interleave between steps and not
inside of them.
"""

import datetime as dt
import heapq
import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.states_language import StateError, filled, found, holds, matches, placed, sent

LARGEST_STATE = 256 * 1024
MOST_EVENTS = 25_000

Function = Callable[[dict[str, Any]], Any]


@dataclass
class Execution:
    """One execution. ``status``: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED; ``path``: the states it entered."""

    name: str
    input: dict[str, Any]
    started: dt.datetime
    status: str = "RUNNING"
    state: str = ""
    data: Any = None
    output: Any = None
    error: str | None = None
    cause: str | None = None
    ended: dt.datetime | None = None
    events: int = 1
    transitions: int = 0
    redrives: int = 0
    path: list[str] = field(default_factory=list)
    tries: dict[int, int] = field(default_factory=dict)
    epoch: int = 0  # what was scheduled in an earlier epoch happens no more

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status == "RUNNING"


class StateMachine:
    """A definition and its executions.

    Args:
        definition: The Amazon States Language document.
        functions: What a task calls: by a part of its resource (a Lambda function's logical id has the step's name with
            a capital), or by ``service:action`` as in ``sagemaker:createTrainingJob.sync``.
        seconds: How long a task takes, by the name of its state.
        seed: Decides among what happens at the same time, and when in its time a task takes effect.

    Attributes:
        now: The virtual time.
        told: What ``events:putEvents`` sent, entry by entry.
        largest: Bytes of the largest state.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        functions: Mapping[str, Function],
        *,
        seconds: Callable[[str], float] = lambda _: 1.0,
        seed: int = 0,
    ) -> None:
        self.definition, self._functions, self._seconds = definition, functions, seconds
        self.now = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
        self.random = random.Random(seed)  # noqa: S311 - the order of a test
        self.executions: dict[str, Execution] = {}
        self.told: list[dict[str, Any]] = []
        self.largest = 0
        self._waiting: dict[str, Callable[[Any], None]] = {}
        self._agenda: list[tuple[dt.datetime, float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._kinds: dict[str, Callable[[Execution, Mapping[str, Any]], None]] = {
            "Task": self._task,
            "Pass": self._pass,
            "Wait": self._wait,
            "Choice": self._choice,
            "Succeed": lambda execution, state: self._succeed(execution, self._given(execution, state)),
            "Fail": self._fail,
        }

    def clock(self) -> dt.datetime:
        """The virtual time, for whatever asks for the time."""
        return self.now

    # -- from outside -------------------------------------------------------------------------------------------------

    def at(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        when = self.now + dt.timedelta(seconds=delay_s)
        heapq.heappush(self._agenda, (when, self.random.random(), next(self._numbers), act))

    def start(self, name: str, given: dict[str, Any]) -> Execution | None:
        """Start an execution; a name that is taken starts nothing."""
        if name in self.executions:
            return None
        execution = Execution(name, sent(given), self.now)
        self.executions[name] = execution
        self._begin(execution, self.definition["StartAt"], execution.input)
        return execution

    def run(self, *, until: dt.datetime | None = None) -> None:
        """Let time pass until nothing is left to happen, or until then."""
        while self._agenda and (until is None or self._agenda[0][0] <= until):
            self.now, _, _, act = heapq.heappop(self._agenda)
            act()
        if until is not None:
            self.now = max(self.now, until)

    def abort(self, execution: Execution) -> None:
        """Stop an execution where it is: no Catch, no record. What it called has its effect all the same."""
        self._end(execution, "ABORTED")

    def redrive(self, execution: Execution) -> None:
        """Run the state again that failed, was stopped or ran out of time, with what it got then."""
        if execution.status not in {"FAILED", "ABORTED", "TIMED_OUT"}:
            raise ValueError(f"execution {execution.name} is {execution.status}: not redrivable")
        execution.status, execution.error, execution.cause, execution.ended = "RUNNING", None, None, None
        execution.redrives += 1
        execution.events += 1
        self._begin(execution, execution.state, execution.data)

    def send_task_success(self, token: str, output: Any) -> bool:
        """Let the task with this token go on with this result; whether it still waits."""
        go_on = self._waiting.pop(token, None)
        if go_on is None:
            return False
        self.at(0, lambda: go_on(sent(output)))
        return True

    # -- one execution ------------------------------------------------------------------------------------------------

    def _begin(self, execution: Execution, state: str, data: Any) -> None:
        execution.epoch += 1
        limit = self.definition.get("TimeoutSeconds")
        if limit is not None:
            self._later(execution, limit, lambda: self._end(execution, "TIMED_OUT", "States.Timeout"))
        self._enter(execution, state, data)

    def _later(self, execution: Execution, delay_s: float, act: Callable[[], None]) -> None:
        epoch = execution.epoch
        self.at(delay_s, lambda: act() if execution.running and execution.epoch == epoch else None)

    def _end(self, execution: Execution, status: str, error: str | None = None, cause: str | None = None) -> None:
        execution.status, execution.error, execution.cause = status, error, cause
        execution.ended = self.now
        execution.events += 1

    def _enter(self, execution: Execution, name: str, data: Any) -> None:
        state = self.definition["States"][name]
        execution.state, execution.data, execution.tries = name, data, {}
        execution.path.append(name)
        execution.events += 1
        execution.transitions += 1
        if execution.events > MOST_EVENTS:
            self._end(execution, "FAILED", "States.Runtime", f"more than {MOST_EVENTS} events")
            return
        self._guarded(execution, state, lambda: self._kinds[state["Type"]](execution, state))

    def _guarded(self, execution: Execution, state: Mapping[str, Any], act: Callable[[], None]) -> None:
        try:
            act()
        except StateError as problem:
            try:
                self._failed(execution, state, problem)
            except StateError as worse:  # what the Catch would put into the state does not fit
                self._end(execution, "FAILED", worse.name, worse.cause)

    def _leave(self, execution: Execution, state: Mapping[str, Any], result: Any) -> None:
        """Put the result where ResultPath says and go on with Next."""
        data = placed(execution.data, state.get("ResultPath", "$"), result)
        data = self._checked(found(state.get("OutputPath", "$"), data, self._context(execution)))
        execution.events += 1
        if state.get("End"):
            self._succeed(execution, data)
        else:
            self._enter(execution, state["Next"], data)

    def _succeed(self, execution: Execution, data: Any) -> None:
        execution.output = data
        self._end(execution, "SUCCEEDED")

    def _failed(self, execution: Execution, state: Mapping[str, Any], problem: StateError) -> None:
        """Retry, catch, or end."""
        for number, retry in enumerate(state.get("Retry", ())):
            if not matches(retry["ErrorEquals"], problem.name):
                continue
            tried = execution.tries.get(number, 0)
            if tried < retry.get("MaxAttempts", 3):
                execution.tries[number] = tried + 1
                execution.transitions += 1
                wait = retry.get("IntervalSeconds", 1) * retry.get("BackoffRate", 2.0) ** tried
                wait = min(wait, retry.get("MaxDelaySeconds", wait))
                again = lambda: self._guarded(execution, state, lambda: self._task(execution, state))  # noqa: E731
                self._later(execution, wait, again)
                return
            break
        said = {"Error": problem.name, "Cause": problem.cause}
        for catch in state.get("Catch", ()):
            if matches(catch["ErrorEquals"], problem.name):
                data = self._checked(placed(execution.data, catch.get("ResultPath", "$"), said))
                execution.events += 1
                self._enter(execution, catch["Next"], data)
                return
        self._end(execution, "FAILED", problem.name, problem.cause)

    # -- the kinds of states ------------------------------------------------------------------------------------------

    def _task(self, execution: Execution, state: Mapping[str, Any]) -> None:
        token = f"token-{next(self._numbers)}" if state["Resource"].endswith(".waitForTaskToken") else None
        given = self._given(execution, state, token)
        service, function, payload = self._called(state["Resource"], given)
        duration = self._seconds(execution.state)
        limit = state.get("TimeoutSeconds", 99_999_999)
        execution.events += 3  # scheduled, started, and how it ended
        answer: list[Any] = []

        def take_effect() -> None:
            if answer:
                return
            try:
                answer.append(sent(function(sent(payload))))
            except StateError as problem:
                answer.append(problem)
            except Exception as error:  # noqa: BLE001 - what Lambda catches too
                cause = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
                answer.append(StateError(type(error).__name__, json.dumps(cause)))

        def answered() -> Any:
            take_effect()  # at the same time, and drawn to come later
            if isinstance(answer[0], StateError):
                raise answer[0]
            return answer[0]

        def done() -> None:
            result = answered()
            if service == "lambda:invoke":
                result = {"Payload": result, "StatusCode": 200}
            selector = state.get("ResultSelector")
            result = result if selector is None else filled(selector, result, self._context(execution))
            self._leave(execution, state, self._checked(result))

        def timed_out() -> None:
            raise StateError("States.Timeout")

        def go_on(result: Any) -> None:
            self._later(
                execution, 0, lambda: self._guarded(execution, state, lambda: self._leave(execution, state, result))
            )

        self.at(self.random.random() * duration, take_effect)  # also when the execution is stopped meanwhile
        if token is not None:
            self._waiting[token] = go_on

            def called() -> None:
                try:
                    answered()
                except StateError:
                    self._waiting.pop(token, None)
                    raise

            self._later(execution, duration, lambda: self._guarded(execution, state, called))
            entered = execution.transitions

            def give_up() -> None:
                if self._waiting.pop(token, None) is not None and execution.transitions == entered:
                    self._guarded(execution, state, timed_out)

            self._later(execution, limit, give_up)
            return
        ends = done if duration <= limit else timed_out
        self._later(execution, min(duration, limit), lambda: self._guarded(execution, state, ends))

    def _called(self, resource: str, given: Any) -> tuple[str, Function, Any]:
        """Which service a task calls, what stands for it here, and with what."""
        service = resource.split(":::")[1].removesuffix(".waitForTaskToken") if ":::" in resource else "lambda"
        if service == "events:putEvents" and service not in self._functions:
            return service, self._put_events, given
        if service in self._functions:
            return service, self._functions[service], given
        name, payload = (given["FunctionName"], given.get("Payload", {})) if ":::" in resource else (resource, given)
        stands = [key for key in self._functions if key in str(name)]
        if len(stands) != 1 or not service.startswith("lambda"):
            raise LookupError(f"{resource} calls {name}, for which {stands or 'nothing'} stands here")
        return service, self._functions[stands[0]], payload

    def _put_events(self, given: dict[str, Any]) -> dict[str, Any]:
        self.told += given["Entries"]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": str(len(self.told))} for _ in given["Entries"]]}

    def _pass(self, execution: Execution, state: Mapping[str, Any]) -> None:
        given = self._given(execution, state)
        self._leave(execution, state, sent(state.get("Result", given)))

    def _wait(self, execution: Execution, state: Mapping[str, Any]) -> None:
        given = self._given(execution, state)
        if "Timestamp" in state or "TimestampPath" in state:
            text = state.get("Timestamp") or found(state["TimestampPath"], given, self._context(execution))
            seconds = (dt.datetime.fromisoformat(text) - self.now).total_seconds()
        else:
            seconds = (
                state["Seconds"] if "Seconds" in state else found(state["SecondsPath"], given, self._context(execution))
            )
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise StateError("States.Runtime", f"a wait of {seconds!r} seconds")
        leave = lambda: self._leave(execution, {**state, "ResultPath": None}, None)  # noqa: E731
        self._later(execution, max(0, seconds), lambda: self._guarded(execution, state, leave))

    def _choice(self, execution: Execution, state: Mapping[str, Any]) -> None:
        given = self._given(execution, state)
        context = self._context(execution)
        follows = (rule["Next"] for rule in state["Choices"] if holds(rule, given, context))
        following = next(follows, state.get("Default"))
        if following is None:
            raise StateError("States.NoChoiceMatched", execution.state)
        execution.events += 1
        self._enter(execution, following, found(state.get("OutputPath", "$"), given, context))

    def _fail(self, execution: Execution, state: Mapping[str, Any]) -> None:
        error, cause = (
            found(state[f"{what}Path"], execution.data, {}) if f"{what}Path" in state else state.get(what)
            for what in ("Error", "Cause")
        )
        self._end(execution, "FAILED", error, cause)

    # -- data ---------------------------------------------------------------------------------------------------------

    def _given(self, execution: Execution, state: Mapping[str, Any], token: str | None = None) -> Any:
        """What a state gets: its input, or what Parameters make of it."""
        context = {**self._context(execution), **({} if token is None else {"Task": {"Token": token}})}
        given = found(state.get("InputPath", "$"), execution.data, context)
        return given if state.get("Parameters") is None else filled(state["Parameters"], given, context)

    def _context(self, execution: Execution) -> dict[str, Any]:
        return {
            "Execution": {
                "Id": f"arn:aws:states:eu-west-1:111122223333:execution:Retraining:{execution.name}",
                "Name": execution.name,
                "Input": execution.input,
                "StartTime": execution.started.isoformat(),
                "RedriveCount": execution.redrives,
            },
            "State": {"Name": execution.state, "EnteredTime": self.now.isoformat()},
        }

    def _checked(self, data: Any) -> Any:
        size = len(json.dumps(data, allow_nan=False))
        self.largest = max(self.largest, size)
        if size > LARGEST_STATE:
            raise StateError("States.DataLimitExceeded", f"a state of {size:,} bytes")
        return data
