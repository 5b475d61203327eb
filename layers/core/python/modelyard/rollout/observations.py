"""What a rollout captured, as columns: records and labels in any order, one table for pairs and one for each arm.

The rule: nothing that is read here raises. A record that cannot be read is counted under what is wrong with it, and
the verdict is about the others. A prediction id counts once, whatever the order; tables are in the order of time, with
the prediction id where times are equal, so that what depends on order (drift, memory) does not depend on how files
were listed.

A *request* is the unit of every statistic: rows of one request come from one caller and one moment, and a challenger
that raises for one row of a thousand fails a request once and not a thousand times.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.metrics import Floats, Rows
from modelyard.rollout.answers import FORMS, PROBLEMS, Answer, failed_answer, read_answer

Flags = NDArray[np.bool_]
Entry = bytes | str | Mapping[str, Any]
MOST_ROWS_OF_A_REQUEST = 100_000
"""Of a batch; more would be read for minutes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One captured request, read.

    Attributes:
        key: Its time and its prediction id: the order of requests, and what tells them apart.
        instances: Its rows.
        champion: The champion's answers, one a row; None where it was not asked or nothing is known.
        challenger: The challenger's.
        champion_ms: How long the champion took, NaN where that is not known.
        challenger_ms: How long the challenger took.
        code: The code with which the challenger failed; None where it answered.
        message: Its message.
        process: The process that answered; "" where that is not known.
        memory_mb: What the challenger has added to that process's memory so far; NaN where that is not known.
        rss_mb: What that process holds.
        redacted: Inputs whose values are not in ``instances``, where null stands for them.
    """

    key: tuple[str, str]
    instances: list[Any]
    champion: list[Answer] | None = None
    challenger: list[Answer] | None = None
    champion_ms: float = math.nan
    challenger_ms: float = math.nan
    code: str | None = None
    message: str | None = None
    process: str = ""
    memory_mb: float = math.nan
    rss_mb: float = math.nan
    redacted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Side:
    """One version's answers, a row each.

    Attributes:
        form: Index into `FORMS`.
        key: The answer's key, as a number of `Observations.names`.
        number: The answer's number, NaN where there is none.
        problem: Index into `PROBLEMS`; 0 where a caller could use it.
        kind: The answer's kind, as a number of `Observations.kinds`.
        answers: The answers themselves.
    """

    form: NDArray[np.int8]
    key: Rows
    number: Floats
    problem: NDArray[np.int8]
    kind: Rows
    answers: list[Answer]


@dataclass(slots=True)
class Table:
    """Requests of one kind in the order of time, and their rows.

    Attributes:
        requests: The requests.
        of: The request of each row, as an index.
        inputs: A number for each row that equal instances share.
        missing: Whether a row has a missing input.
        champion: The champion's answers to the rows; None in the challenger's arm.
        challenger: The challenger's; None in the champion's arm.
    """

    requests: list[Request] = field(default_factory=list)
    of: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    inputs: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    missing: Flags = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    champion: Side | None = None
    challenger: Side | None = None

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def instances(self) -> list[Any]:
        """The rows themselves."""
        return [instance for request in self.requests for instance in request.instances]

    def since(self, time: str | None) -> Flags:
        """Which requests came at a time or later."""
        return np.array([time is None or request.key[0] >= time for request in self.requests], dtype=np.bool_)

    def milliseconds(self) -> tuple[Floats, Floats]:
        """What champion and challenger took for each request."""
        pairs = [(request.champion_ms, request.challenger_ms) for request in self.requests]
        found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return found[:, 0], found[:, 1]


class Observations:
    """Records and labels of one rollout, as they come.

    Args:
        champion: The version that callers are answered by.
        challenger: The version that is judged.
        of_classes: The policy's, where one is known: whether a whole number is a label.
    """

    def __init__(self, *, champion: int, challenger: int, of_classes: bool = False) -> None:
        self.champion = champion
        self.challenger = challenger
        self.of_classes = of_classes
        self.names: dict[str, int] = {}
        self.kinds: dict[Any, int] = {}
        self.bad: Counter[str] = Counter()
        self.duplicates = 0
        self.ignored = 0
        self.labels: dict[tuple[str, int], tuple[str, Any]] = {}
        self._seen: set[str] = set()
        self._lists: dict[str, list[Request]] = {"pairs": [], "champion": [], "challenger": []}
        self._tables: dict[str, Table] = {name: Table() for name in self._lists}
        self._of: dict[str, str] = {}
        self.places: dict[tuple[str, str], tuple[Any, Rows]] = {}

    def add(self, records: Iterable[Entry]) -> Self:
        """Take captured records: lines of JSON, or what they hold."""
        for entry in records:
            self._add(entry)
        return self

    def add_labels(self, labels: Iterable[Entry]) -> Self:
        """Take labels; of several for one row the newest counts, and of equally new ones the larger text."""
        for entry in labels:
            label = _decoded(entry)
            match label:
                case {"prediction_id": str(identity), "label": bool() | int() | float() | str() as value}:
                    row, time = label.get("row", 0), label.get("time", "")
                    if not isinstance(row, int) or isinstance(row, bool) or row < 0:
                        self.bad["label: the row is no index"] += 1
                    elif isinstance(value, float) and not math.isfinite(value):
                        self.bad["label: the value is not finite"] += 1
                    else:
                        new = str(time), value
                        old = self.labels.get((identity, row))
                        if old is None or (old[0], repr(old[1])) < (new[0], repr(new[1])):
                            self.labels[identity, row] = new
                case _:
                    self.bad["label: no prediction_id or no label"] += 1
        return self

    @property
    def pairs(self) -> Table:
        """Requests that both versions answered."""
        return self._table("pairs")

    @property
    def champion_arm(self) -> Table:
        """Requests that the champion answered beside a canary."""
        return self._table("champion")

    @property
    def challenger_arm(self) -> Table:
        """Requests that were the challenger's to answer."""
        return self._table("challenger")

    # -- reading ------------------------------------------------------------------------------------------------------

    def _add(self, entry: Entry) -> None:
        record = _decoded(entry)
        if not isinstance(record, Mapping):
            self.bad["record: not a JSON object"] += 1
            return
        time, identity = record.get("time"), record.get("prediction_id")
        if not isinstance(time, str) or not isinstance(identity, str) or not identity:
            self.bad["record: no time or no prediction_id"] += 1
            return
        if identity in self._seen:
            self._again(identity, time, record)
            return
        found = self._read((time, identity), record)
        if isinstance(found, str):
            self.bad[found] += 1
            return
        self._seen.add(identity)
        if found is None:
            self.ignored += 1
            return
        self._of[identity] = found[0]
        self._insert(*found)

    def _again(self, identity: str, time: str, record: Mapping[str, Any]) -> None:
        """A prediction id that is known: one of the two counts, the same one in whatever order they came."""
        self.duplicates += 1
        name = self._of.get(identity)
        found = self._read((time, identity), record)
        if found is None or isinstance(found, str):
            return
        if name is None:  # what came first was of no use
            self._of[identity] = found[0]
            self.ignored -= 1
            self._insert(*found)
            return
        old = next(request for request in self._lists[name] if request.key[1] == identity)
        if (_order(found[1]), found[0]) >= (_order(old), name):
            return
        self._lists[name].remove(old)
        self._forget(name)
        self._of[identity] = found[0]
        self._insert(*found)

    def _insert(self, name: str, request: Request) -> None:
        into = self._lists[name]
        if not into or into[-1].key <= request.key:
            into.append(request)
            return
        insort(into, request, key=lambda one: one.key)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._tables[name] = Table()
        self.places = {key: kept for key, kept in self.places.items() if key[0] != name}

    def _read(self, key: tuple[str, str], record: Mapping[str, Any]) -> tuple[str, Request] | str | None:
        """Which table a record belongs to, and what it says; why it cannot be read; None for one of no use."""
        version, instances = record.get("version"), record.get("instances")
        if not isinstance(version, int) or isinstance(version, bool):
            return "record: no version"
        if not isinstance(instances, list) or not 0 < len(instances) <= MOST_ROWS_OF_A_REQUEST:
            return "record: no instances"
        rows = len(instances)
        shadow, failed = record.get("shadow"), record.get("failed")
        predictions, took = record.get("predictions"), _measured(record.get("latency_ms"))
        process = record.get("process")
        process = process if isinstance(process, Mapping) else {}
        bare = Request(
            key=key,
            instances=instances,
            process=process["id"] if isinstance(process.get("id"), str) else "",
            redacted=_names(record.get("redacted")),
            memory_mb=_measured(process.get("shadow_rss_mb"), least=-1e300),
            rss_mb=_measured(process.get("rss_mb")),
        )
        if version == self.champion and isinstance(failed, Mapping) and failed.get("version") == self.challenger:
            return "challenger", _failed(bare, _said(failed, "code") or "failed", _said(failed, "message"))
        if version == self.challenger:
            return "challenger", replace(bare, challenger=self._answers(predictions, rows), challenger_ms=took)
        if version != self.champion:
            return None
        if not isinstance(predictions, list) or len(predictions) != rows:
            return "record: the champion's predictions are not one for each instance"
        answered = replace(bare, champion=self._answers(predictions, rows), champion_ms=took)
        if isinstance(shadow, Mapping) and shadow.get("version") == self.challenger:
            code = _said(shadow, "code")
            if code is not None:
                return "pairs", _failed(answered, code, _said(shadow, "message"))
            if shadow.get("predictions") is None:
                return None  # it was not asked: the request could not be read a second time
            own = self._answers(shadow.get("predictions"), rows)
            return "pairs", replace(answered, challenger=own, challenger_ms=_measured(shadow.get("latency_ms")))
        return ("champion", answered) if record.get("mode") == "canary" else None

    def _answers(self, predictions: Any, rows: int) -> list[Answer]:
        if not isinstance(predictions, list) or len(predictions) != rows:
            return [Answer("none", problem="wrong_shape")] * rows
        return [read_answer(prediction, of_classes=self.of_classes) for prediction in predictions]

    # -- columns ------------------------------------------------------------------------------------------------------

    def _table(self, name: str) -> Table:
        table, requests = self._tables[name], self._lists[name]
        done = len(table.requests)
        if done < len(requests):
            new = requests[done:]
            counts = np.array([len(request.instances) for request in new], dtype=np.int64)
            inputs = [_input(request, row) for request in new for row in range(len(request.instances))]
            missing = [_lacks(instance, request.redacted) for request in new for instance in request.instances]
            table = Table(
                requests=list(requests),
                of=np.concatenate([table.of, np.repeat(np.arange(done, len(requests)), counts)]),
                inputs=np.concatenate([table.inputs, np.array(inputs, dtype=np.int64)]),
                missing=np.concatenate([table.missing, np.array(missing, dtype=np.bool_)]),
                champion=self._side(table.champion, [request.champion for request in new]),
                challenger=self._side(table.challenger, [request.challenger for request in new]),
            )
            self._tables[name] = table
        return table

    def _side(self, side: Side | None, new: list[list[Answer] | None]) -> Side | None:
        answers = [answer for one in new if one is not None for answer in one]
        if not answers:
            return side
        names, kinds = self.names, self.kinds
        found = Side(
            form=np.array([FORMS.index(answer.form) for answer in answers], dtype=np.int8),
            key=np.array([names.setdefault(answer.key, len(names)) for answer in answers], dtype=np.int64),
            number=np.array([answer.number for answer in answers]),
            problem=np.array([PROBLEMS.index(answer.problem) for answer in answers], dtype=np.int8),
            kind=np.array([kinds.setdefault(answer.kind, len(kinds)) for answer in answers], dtype=np.int64),
            answers=answers,
        )
        if side is None:
            return found
        return Side(
            form=np.concatenate([side.form, found.form]),
            key=np.concatenate([side.key, found.key]),
            number=np.concatenate([side.number, found.number]),
            problem=np.concatenate([side.problem, found.problem]),
            kind=np.concatenate([side.kind, found.kind]),
            answers=side.answers + answers,
        )


def _decoded(entry: Entry) -> Any:
    if isinstance(entry, Mapping):
        return entry
    try:
        return msgspec.json.decode(entry)
    except (ValueError, TypeError, RecursionError):  # of which msgspec's own errors and bad UTF-8 are cases
        return None


def _failed(request: Request, code: str, message: str | None) -> Request:
    """The request with no answer of the challenger."""
    failing = [failed_answer(code)] * len(request.instances)
    return replace(request, challenger=failing, code=code, message=message)


def _said(part: Mapping[str, Any], name: str) -> str | None:
    value = part.get(name)
    return value if isinstance(value, str) else None


def _measured(value: Any, *, least: float = 0.0) -> float:
    """A measured number that is finite and no smaller, or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if least <= value < 1e300 else math.nan


def _names(value: Any) -> frozenset[str]:
    return frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _input(request: Request, row: int) -> int:
    """What equal inputs share; of an instance with redacted values nobody knows what it equals."""
    instance = request.instances[row]
    if request.redacted and (not isinstance(instance, Mapping) or not request.redacted.isdisjoint(instance)):
        return hash((request.key[1], row))
    try:
        return hash(msgspec.json.encode(instance, order="sorted"))
    except (TypeError, ValueError, OverflowError):
        return hash(repr(instance))


def _lacks(instance: Any, redacted: frozenset[str]) -> bool:
    if isinstance(instance, Mapping):
        return any(value is None and name not in redacted for name, value in instance.items())
    return isinstance(instance, Iterable) and not isinstance(instance, str) and any(one is None for one in instance)


def _order(request: Request) -> tuple[str, str]:
    return request.key[0], repr((request.champion, request.challenger, request.code, request.instances))
