"""From what was replayed to the verdict, and to one document for people and programs."""

from collections.abc import Sequence
from typing import Any

import msgspec

from modelyard.replay.asking import CANDIDATE, CHAMPION, Replayed
from modelyard.replay.captured import Captured
from modelyard.replay.period import Period
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
from modelyard.rollout.verdict import Verdict, verdict

FORMAT = 1
FAITHFUL = 0.99
"""Of the answers that the champion gave when they were captured, so many must come again for a word of warning to stay
out."""
FEWEST = 20


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a replay, as people know it.

    Attributes:
        name: ``version 4``, or the name of a file.
        version: Its number; None of a file.
        digest: SHA-256 of the ONNX file; None where only captured answers were used.
        recorded: Whether its answers are those that were captured.
    """

    name: str
    version: int | None = None
    digest: str | None = None
    recorded: bool = False


def judge(captured: Captured, replayed: Replayed, policy: Policy) -> Verdict:
    """The verdict of a rollout, of these records; a candidate that was given up is aborted in any case."""
    observations = Observations(champion=CHAMPION, challenger=CANDIDATE, of_classes=policy.of_classes)
    found = verdict(observations.add(replayed.records).add_labels(captured.labels), policy)
    given = replayed.given
    if given is None or found.decision == "abort":
        return found
    return msgspec.structs.replace(
        found, decision="abort", cause=given.cause, explanation=given.message, reasons=[given.message]
    )


def document(
    found: Verdict,
    *,
    model: str,
    candidate: Side,
    champion: Side,
    period: Period,
    captured: Captured,
    replayed: Replayed,
    policy: Policy,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that is known, JSON-ready."""
    times = [record.time for record in captured.records]
    return {
        "format": FORMAT,
        "model": model,
        "candidate": msgspec.to_builtins(candidate),
        "champion": msgspec.to_builtins(champion),
        "since": period.since or None,
        "until": period.until or None,
        "decision": found.decision,
        "cause": found.cause,
        "explanation": found.explanation,
        "reasons": found.reasons,
        "verdict": {name: value for name, value in msgspec.to_builtins(found).items() if name != "frozen"},
        "policy": msgspec.to_builtins(policy),
        "read": {
            "files": captured.files,
            "files_left": captured.files_left,
            "files_vanished": captured.vanished,
            "requests": captured.requests,
            "chosen": len(captured.records),
            "rows": captured.rows,
            "first": times[0] if times else None,
            "last": times[-1] if times else None,
            "versions": {str(version): count for version, count in captured.versions.items()},
            "labels": found.samples.labels,
            "bad": dict(sorted(captured.bad.items())),
        },
        "replayed": {
            "requests": len(replayed.records),
            "left_out": dict(sorted(replayed.left_out.items())),
            "noted": dict(sorted(replayed.noted.items())),
            "compared": replayed.compared,
            "same": replayed.same,
        },
        "remarks": [*remarks, *_doubts(replayed)],
    }


def _doubts(replayed: Replayed) -> list[str]:
    if replayed.compared < FEWEST or replayed.same >= FAITHFUL * replayed.compared:
        return []
    return [
        f"the champion answers {replayed.same:,} of {replayed.compared:,} requests here as it did when they were "
        "captured: this machine, its libraries or the model's own code are not those of the endpoint"
    ]
