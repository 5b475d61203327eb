"""Ask both versions the same requests again, one after the other, and write down what a shadow would have.

The rule: what the champion does not answer here is held against nobody: it is left out and counted. What the candidate
does not answer is a record like any other, and what would harm an endpoint (it ends its process, or does not end by
itself) also ends the replay, as it would end a trial. Who is asked first changes from request to request, so that
neither has the other's warm processor for itself.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from modelyard.errors import ConflictError
from modelyard.replay.captured import Record
from modelyard.replay.process import CRASHED, OUT_OF_MEMORY, Lost
from modelyard.replay.subject import Answered, Failure, Loaded
from modelyard.rollout.answers import CODES
from modelyard.rollout.observed import Given

CHAMPION, CANDIDATE = 1, 2
"""What records call the two; the candidate may have no number yet, or be the champion with other code."""

MOST_LOST = 3
"""Processes that a candidate may take with it before nothing more is asked of it."""

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""How far numbers may be apart that are the same on another machine."""

REDACTED = "inputs were redacted that are never missing otherwise"
REDACTED_AND_ASKED = "inputs were redacted, and asked as missing"
CHAMPION_FAILS = "the champion does not answer here ({})"
OTHER_VERSION = "version {} answered, and the champion does not ({})"
NOT_CAPTURED = "answered by another version than the champion"
NOT_REACHED = "not asked any more, because the candidate was given up"


class Asked(Protocol):
    """A version that answers: `modelyard.replay.process.Process`, or a fake."""

    def start(self) -> Loaded:
        """Load it."""
        ...

    def ask(self, body: bytes) -> Answered | Lost:
        """Have it answer one request, as a caller sends it."""
        ...


@dataclass(slots=True)
class Replayed:
    """What came of it.

    Attributes:
        records: Lines of JSON, as captured of a shadow.
        left_out: Requests without a record, by why.
        noted: Requests with one of which something is to be known.
        compared: Requests that the champion answered when they were captured, and could be compared with here.
        same: How many of those it answered the same.
        given: Why the candidate was given up.
    """

    records: list[bytes] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    same: int = 0
    given: Given | None = None


def replay(
    records: Iterable[Record],
    *,
    champion: Asked | None,
    candidate: Asked,
    version: int | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Ask all of them.

    Args:
        records: In the order of time.
        champion: None takes the answers as they were captured.
        candidate: Who is judged.
        version: The champion's number, by which its captured answers are known.
        progress: Told how many requests are through.

    Raises:
        ConflictError: With code ``champion_fails`` when the champion does not load, or ends its process again and
            again: then nothing can be compared with it.
    """
    return _Replay(champion, candidate, version, progress).run(list(records))


class _Replay:
    def __init__(
        self, champion: Asked | None, candidate: Asked, version: int | None, progress: Callable[[int], None]
    ) -> None:
        self._champion = champion
        self._candidate = candidate
        self._version = version
        self._progress = progress
        self._found = Replayed()
        self._lost: list[Failure] = []
        self._champion_lost = 0
        self._nulls: set[str] | None = None

    def run(self, records: list[Record]) -> Replayed:
        found = self._found
        if not self._load():
            found.left_out[NOT_REACHED] = len(records)
            return found
        for place, record in enumerate(records):
            problem = self._unfit(record)
            if problem is None:
                problem = self._ask(record, candidate_first=place % 2 == 1)
            if problem is not None:
                found.left_out[problem] += 1
            self._progress(place + 1)
            if found.given is not None:
                rest = len(records) - place - 1
                found.left_out.update({NOT_REACHED: rest} if rest else {})
                break
        if found.given is None:
            found.given = self._given_by_what_was_lost()
        return found

    def _load(self) -> bool:
        """Load both; whether the candidate is there."""
        nulls: list[set[str]] = []
        if self._champion is not None:
            loaded = self._champion.start()
            if loaded.failed is not None:
                raise _champion_fails(loaded.failed)
            nulls.append(_nulls(loaded))
        loaded = self._candidate.start()
        if loaded.failed is not None:
            self._found.given = Given("not_loaded", f"it could not be loaded: {loaded.failed.message}")
            return False
        # A champion that is not asked answered what was not redacted.
        self._nulls = set.intersection(*nulls, _nulls(loaded)) if nulls else set()
        return True

    def _unfit(self, record: Record) -> str | None:
        """Why a request is not asked."""
        if self._champion is None and record.version != self._version:
            return NOT_CAPTURED
        if not record.redacted:
            return None
        if self._nulls is None or not set(record.redacted) <= self._nulls or _has_empty_rows(record):
            return REDACTED
        self._found.noted[REDACTED_AND_ASKED] += 1
        return None

    def _ask(self, record: Record, *, candidate_first: bool) -> str | None:
        """Ask both and keep the record; why there is none."""
        if self._champion is None:
            captured = Answered({"predictions": msgspec.Raw(record.predictions)}, {})
            self._keep(record, captured, self._second(record))
            return None
        if candidate_first:
            second = self._second(record)
            first = self._champion.ask(record.body)
        else:
            first = self._champion.ask(record.body)
            second = self._second(record)
        if isinstance(first, Lost):
            self._champion_lost += 1
            if self._champion_lost >= MOST_LOST:
                raise _champion_fails(first.failure)
            return CHAMPION_FAILS.format(first.failure.code)
        if first.failure is not None:
            if record.version == self._version:
                return CHAMPION_FAILS.format(first.failure.code)
            return OTHER_VERSION.format(record.version, first.failure.code)
        self._compare(record, first)
        self._keep(record, first, second)
        return None

    def _second(self, record: Record) -> Answered | Lost:
        answer = self._candidate.ask(record.body)
        if isinstance(answer, Lost):
            self._lost.append(answer.failure)
            if len(self._lost) >= MOST_LOST:
                self._found.given = self._given_by_what_was_lost()
        elif answer.given_up is not None:
            cause = CODES.get(answer.given_up.code, "raises")
            self._found.given = Given(cause, answer.given_up.message)
        return answer

    def _given_by_what_was_lost(self) -> Given | None:
        """A candidate that ends its process would end an endpoint's, with all that it answers: once is too often."""
        ended = [failure for failure in self._lost if failure.code in (CRASHED, OUT_OF_MEMORY)]
        if not ended and len(self._lost) < MOST_LOST:
            return None
        told = ended or self._lost
        cause = CODES.get(told[0].code, "raises")
        times = "once" if len(told) == 1 else f"{len(told)} times"
        return Given(cause, f"{told[0].message}; that happened {times}")

    def _compare(self, record: Record, first: Answered) -> None:
        """Whether the champion answers here as it did there."""
        if record.version != self._version or record.redacted or record.predictions == b"null":
            return
        self._found.compared += 1
        captured = msgspec.json.decode(record.predictions)
        self._found.same += alike(captured, first.shadow.get("predictions"))

    def _keep(self, record: Record, first: Answered, second: Answered | Lost) -> None:
        if isinstance(second, Lost):
            shadow: dict[str, Any] = {"code": second.failure.code, "message": second.failure.message}
            process = None
        else:
            shadow, process = second.shadow, second.process
        line = {
            "time": record.time,
            "version": CHAMPION,
            "prediction_id": record.prediction_id,
            "request_id": record.request_id,
            "instances": msgspec.Raw(record.instances),
            "predictions": first.shadow["predictions"],
            "latency_ms": first.shadow.get("latency_ms"),
            "mode": "shadow",
            "shadow": {"predictions": None, "latency_ms": None, **shadow, "version": CANDIDATE},
            "process": process,
        }
        self._found.records.append(msgspec.json.encode(line))


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(one, int) and isinstance(other, float):
        return alike(other, one)
    return bool(one == other)


def _nulls(loaded: Loaded) -> set[str]:
    """Inputs that may be missing: none of a model whose own code makes them, for nobody knows what that takes."""
    return set() if loaded.has_preprocess else set(loaded.nulls)


def _has_empty_rows(record: Record) -> bool:
    """Whether rows named no inputs, so that nothing of them was kept."""
    return any(instance is None for instance in msgspec.json.decode(record.instances, type=list[Any]))


def _champion_fails(failure: Failure) -> ConflictError:
    return ConflictError(
        f"the champion does not answer on this machine: {failure.message}",
        code="champion_fails",
        next_step="Correct what it lacks here, or run with --recorded: then its answers are those that were captured.",
    )
