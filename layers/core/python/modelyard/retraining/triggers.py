"""What starts a run: an event, and which of the model's triggers it sets off. Pure.

Four kinds of events reach the workflow: S3's (a file came), the schedule's, an alarm's from the bus, and a person's.
The first trigger that fits counts, in the order of ``model.toml``; for a file the one that says most about its name. A
file that no trigger waits for is training data all the same when it lies below ``<model>/`` and ends with ``.csv``: it
is accepted, and no training starts for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.errors import UsageError
from modelyard.names import ID_PATTERN, legible
from modelyard.retraining.bounds import LONGEST_LINE, file_name, short
from modelyard.times import as_stamp
from modelyard.training.plan import Plan, Trigger

Kind = Literal["upload", "labels", "schedule", "alarm", "manual", "collect"]

CREATED = "Object Created"
ALARMS = {"Drift alarm": "drift", "Quality alarm": "quality"}
"""Detail types of ``modelyard``'s events that may start a run."""
SOURCE = "modelyard"
COLLECTED_SUFFIX = ".csv"
LONGEST_KEY = 1024
"""Bytes of a key, and characters of a version id, that S3 allows."""


@dataclass(frozen=True, slots=True)
class Started:
    """What started a run: the trigger's place in the plan (None: there is none), its kind, and what to say about it.

    ``claim`` is an id that every delivery of the event has; None where the run itself is the event. A person may ask
    to ``ablate``, to hear what the newest file changed, or to train ``again`` though there is nothing new to learn.
    """

    index: int | None
    kind: Kind
    said: str
    claim: str | None = None
    ablate: bool = False
    again: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the workflow carries it."""
        return {"index": self.index, "kind": self.kind, "said": self.said, "ablate": self.ablate, "again": self.again}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that came, and what that starts. ``version_id`` is None when the event does not say."""

    bucket: str
    key: str
    version_id: str | None
    started: Started


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that starts nothing, and why."""

    reason: str


Recognised = Started | Arrival | Ignored


def recognise(plan: Plan, event: Any, *, bucket: str) -> Recognised:
    """What an event starts.

    Args:
        plan: The model's plan.
        event: The workflow's input as it came.
        bucket: The data bucket's name. It belongs to one account, so an event of another account is about another one.
    """
    if not isinstance(event, dict):
        return Ignored(f"not an S3 event: {type(event).__name__} instead of an object")
    said = event.get("trigger")
    if isinstance(said, str) and said in _BY_NAME:
        return _BY_NAME[said](plan, event)
    if event.get("source") == SOURCE or event.get("detail-type") in ALARMS:
        return _alarm(plan, event)
    return _upload(plan, event, bucket)


def trigger_of(plan: Plan, index: int | None) -> Trigger | None:
    """The trigger at this place; None where there is none, or no longer."""
    return plan.triggers[index] if index is not None and 0 <= index < len(plan.triggers) else None


def _schedule(plan: Plan, event: dict[str, Any]) -> Recognised:
    index = event.get("index")
    trigger = trigger_of(plan, index) if type(index) is int else None
    if trigger is None or trigger.kind != "schedule":
        return Ignored(f"the event names schedule {ascii(index)[:40]}, which is none of this model's; deploy its stack")
    try:
        time = as_stamp(str(event.get("time")), field="time")
    except UsageError:
        # The local scheduler does not fill in the time. Without one, each execution counts as an event of its own.
        return Started(index, "schedule", f"the schedule {_cron(trigger)}")
    return Started(index, "schedule", f"the schedule {_cron(trigger)}, due at {time[:19]}Z", f"schedule-{index}-{time}")


def _cron(trigger: Trigger) -> str:
    return f"{trigger.cron!r} ({trigger.timezone})"


def _manual(plan: Plan, event: dict[str, Any]) -> Recognised:
    by, reason = _words(event.get("by")) or "somebody", _words(event.get("reason"))
    said = f"{by} started it" + (f": {reason}" if reason else "")
    ablate, again = (event.get(wish) is True for wish in ("ablate", "again"))
    return Started(_first(plan, "manual"), "manual", short(said, LONGEST_LINE), ablate=ablate, again=again)


def _alarm(plan: Plan, event: dict[str, Any]) -> Recognised:
    kind = ALARMS.get(str(event.get("detail-type")))
    if kind is None or event.get("source") != SOURCE:
        what = f"{str(event.get('detail-type'))!r} from {str(event.get('source'))!r}"
        return Ignored(f"an event of type {what}, which starts no run")
    detail, identity = event.get("detail"), event.get("id")
    if not isinstance(detail, dict) or detail.get("model") != plan.model:
        return Ignored(f"the alarm is not about model {plan.model!r}")
    if not isinstance(identity, str) or not ID_PATTERN.fullmatch(identity) or len(identity) > 100:
        return Ignored("the alarm has no id, so it could start a run twice")
    index = _first(plan, "alarm", lambda trigger: kind in trigger.alarms)
    if index is None:
        return Ignored(f"no trigger of this model waits for a {kind} alarm")
    told = _words(detail.get("said"))
    said = f"{kind} alarm" + (f": {told}" if told else "")
    return Started(index, "alarm", short(said, LONGEST_LINE), f"alarm-{identity}")


def _upload(plan: Plan, event: dict[str, Any], ours: str) -> Recognised:
    place = _place(event)
    if isinstance(place, Ignored):
        return place
    bucket, key, version_id = place
    if bucket != ours:
        return Ignored(f"the event is about bucket {bucket!r}, not {ours!r}")
    if not key.startswith(f"{plan.model}/"):
        return Ignored(f"{key!r} is not below {plan.model + '/'!r}")
    index = _closest(plan, key)
    if index is not None and plan.triggers[index].kind == "labels":
        started = Started(index, "labels", f"new rows in {file_name(key)}")
    elif index is not None:
        started = Started(index, "upload", f"upload of {file_name(key)}")
    elif key.endswith(COLLECTED_SUFFIX):
        started = Started(None, "collect", f"upload of {file_name(key)}, for which no trigger waits")
    else:
        return Ignored(f"{key!r} is no training file: it ends with none of {_suffixes(plan)}")
    return Arrival(bucket, key, version_id, started)


def _closest(plan: Plan, key: str) -> int | None:
    """The trigger that a file sets off: of those that fit the one with the longest prefix and suffix, or the first."""
    fitting = [
        (-len((trigger.prefix or f"{plan.model}/") + trigger.suffix), index)
        for index, trigger in enumerate(plan.triggers)
        if trigger.kind in {"upload", "labels"} and _fits(plan, trigger, key)
    ]
    return min(fitting)[1] if fitting else None


def _fits(plan: Plan, trigger: Trigger, key: str) -> bool:
    prefix = trigger.prefix or f"{plan.model}/"
    long_enough = len(key) >= len(prefix) + len(trigger.suffix)  # they may not overlap, as in the rule's pattern
    return long_enough and key.startswith(prefix) and key.endswith(trigger.suffix)


def _suffixes(plan: Plan) -> str:
    found = [trigger.suffix for trigger in plan.triggers if trigger.kind in {"upload", "labels"}]
    return ", ".join(map(repr, dict.fromkeys([*found, COLLECTED_SUFFIX])))


def _first(plan: Plan, kind: Kind, fits: Callable[[Trigger], bool] = lambda _: True) -> int | None:
    found = (index for index, trigger in enumerate(plan.triggers) if trigger.kind == kind and fits(trigger))
    return next(found, None)


def _place(event: dict[str, Any]) -> tuple[str, str, str | None] | Ignored:
    """Bucket, key and version id of an S3 event. EventBridge does not encode keys."""
    if event.get("Event") == "s3:TestEvent":
        return Ignored("a test event of S3")
    kind = event.get("detail-type", CREATED)
    if kind != CREATED:
        return Ignored(f"an event of type {str(kind)!r}, not {CREATED!r}")
    try:
        detail = event["detail"]
        bucket, stored = detail["bucket"]["name"], detail["object"]
        key, version_id = stored["key"], stored.get("version-id") or None
    except KeyError as missing:
        return Ignored(f"not an S3 event: {missing} is missing")
    except (TypeError, AttributeError):
        return Ignored("not an S3 event: detail.bucket and detail.object are not objects")
    if not (_is_text(bucket) and _is_text(key) and (version_id is None or _is_text(version_id))):
        return Ignored(f"not an S3 event: bucket, key or version id is not text of 1 to {LONGEST_KEY:,} bytes")
    return bucket, key, version_id


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 < len(value.encode()) <= LONGEST_KEY
    except UnicodeEncodeError:
        return False


def _words(value: Any) -> str:
    """What somebody wrote, as one line that cannot be mistaken for another; empty where there is none."""
    return legible(short(value, LONGEST_LINE)) if isinstance(value, str) else ""


_BY_NAME: dict[str, Callable[[Plan, dict[str, Any]], Recognised]] = {"schedule": _schedule, "manual": _manual}
