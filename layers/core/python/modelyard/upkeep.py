"""What keeps the registry in order by itself: following the table's stream, and reporting what a sweep would remove.

The stream says that a model's record or deployment changed; what it changed to is read from the table. So events may be
repeated, late or out of order, and each outcome is that of the newest state.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from modelyard.errors import ModelyardError
from modelyard.registry import Registry, Sweep, keys
from modelyard.times import parse_stamp

REPORTS = "sweeps/"
"""Where reports of sweeps lie in the artifact bucket; they expire."""

Say = Callable[[str], None]


def follow(registry: Registry, event: dict[str, Any], say: Say) -> dict[str, list[dict[str, str]]]:
    """Publish the pointer and bring the search index up to date, for every model that a batch of changes is about.

    Args:
        registry: Over the table that the stream belongs to.
        event: What Lambda passes on from a DynamoDB stream; the keys are enough.
        say: Writes one line to the log.

    Returns:
        Lambda's partial batch response: the first change of each model that failed, so that it is delivered again.
    """
    failures = []
    for model, (sequence, is_live_changed) in _changed(event.get("Records", [])).items():
        line: dict[str, Any] = {"model": model, "change": sequence}
        try:
            if is_live_changed:
                pointer = registry.publish_pointer(model)
                line["revision"] = None if pointer is None else pointer.revision
            line["index_writes"] = registry.index(model)
        except ModelyardError as failed:
            line |= {"level": "ERROR", "code": failed.code, "error": failed.message}
            failures.append({"itemIdentifier": sequence})
        say(json.dumps(line))
    return {"batchItemFailures": failures}


def _changed(records: Iterable[dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    """Each model that changed, with its first change's sequence number, and whether what is live changed."""
    changed: dict[str, tuple[str, bool]] = {}
    for pk, sk, sequence in _keys_of(records):
        if pk.startswith(keys.partition("")) and sk in {keys.MODEL, keys.DEPLOYMENT}:
            model = pk.removeprefix(keys.partition(""))
            first, is_live_changed = changed.get(model, (sequence, False))
            changed[model] = (first, is_live_changed or sk == keys.DEPLOYMENT)
    return changed


def _keys_of(records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for record in records:
        change = record.get("dynamodb", {})
        key = change.get("Keys", {})
        yield key.get("pk", {}).get("S", ""), key.get("sk", {}).get("S", ""), change.get("SequenceNumber", "")


def report_orphans(registry: Registry, *, older_than: dt.timedelta, say: Say) -> dict[str, Any]:
    """Look for what a sweep would remove, store that, and say it in a line with metrics.

    Returns:
        ``report``, its key in the artifact bucket; ``orphans`` and ``bytes``.
    """
    found = registry.sweep(older_than=older_than)
    key = f"{REPORTS}{found.at}.json"
    registry.artifacts.put_if_absent(key, msgspec.json.encode(found), content_type="application/json")
    say(_metrics_line(found))
    return {"report": key, "orphans": len(found.orphans), "bytes": found.size}


def latest_report(registry: Registry) -> Sweep | None:
    """The newest stored report, or None."""
    newest = max((line.key for line in registry.artifacts.listing(REPORTS)), default=None)
    found = None if newest is None else registry.artifacts.get(newest)
    return None if found is None else msgspec.json.decode(found.body, type=Sweep)


def _metrics_line(sweep: Sweep) -> str:
    """The log line of a report, with CloudWatch metrics in it (embedded metric format)."""
    metrics = [{"Name": "OrphanedObjects", "Unit": "Count"}, {"Name": "OrphanedBytes", "Unit": "Bytes"}]
    directive = {"Namespace": "Modelyard", "Dimensions": [[]], "Metrics": metrics}
    milliseconds = int(parse_stamp(sweep.at).timestamp() * 1000)
    return json.dumps(
        {
            "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
            "OrphanedObjects": len(sweep.orphans),
            "OrphanedBytes": sweep.size,
            "examined": sweep.examined,
            "named": sweep.named,
            "unfinished": len(sweep.unfinished),
        }
    )
