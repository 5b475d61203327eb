"""A rollout as people and programs see it: one document for the command line, its JSON, and the control plane.

The rule: it is made from the records alone, and the token by which a waiting execution goes on is not in it.
"""

import datetime as dt
from typing import Any

import msgspec

from modelyard.deployment import Deployment, shares_of
from modelyard.ports import ArtifactStore
from modelyard.rollout.record import Approval, Rollout, Said
from modelyard.times import parse_stamp


def document_key(rollout: Rollout) -> str:
    """Where the newest verdict on a rollout lies, with all its checks."""
    return f"rollouts/{rollout.model}/{rollout.rollout_id}.json"


def verdict_document(artifacts: ArtifactStore, rollout: Rollout) -> dict[str, Any] | None:
    """The newest verdict as the judge wrote it; None before the first."""
    there = artifacts.get(document_key(rollout))
    if there is None:
        return None
    found: dict[str, Any] = msgspec.json.decode(there.body)
    return found


def told(rollout: Rollout, live: Deployment | None, now: dt.datetime, verdict: dict[str, Any] | None) -> dict[str, Any]:
    """The document.

    Args:
        rollout: The record.
        live: What answers now.
        now: The time, for what is left of it.
        verdict: The newest verdict's document; None where there is none yet.
    """
    present, seen = rollout.present, rollout.seen
    return {
        "model": rollout.model,
        "rollout_id": rollout.rollout_id,
        "version": rollout.version,
        "champion": rollout.champion,
        "status": _status(rollout),
        "outcome": rollout.outcome,
        "cause": rollout.cause,
        "reason": rollout.reason,
        "started_at": rollout.started_at,
        "started_by": rollout.started_by,
        "end": _said(rollout.end),
        "steps": _steps(rollout),
        "step": None if present is None or rollout.has_ended else _step(rollout, now),
        "traffic": {} if live is None else {str(version): share for version, share in shares_of(live).items()},
        "mode": None if live is None else live.mode,
        "paused": _said(rollout.paused),
        "approval": _approval(rollout.approval),
        "deadline": rollout.deadline or None,
        "hours_left": None if rollout.has_ended or not rollout.deadline else _left_s(rollout.deadline, now) / 3600,
        "looks": rollout.looks,
        "verdict": None
        if seen is None
        else {
            "at": seen.at,
            "decision": seen.decision,
            "cause": seen.cause,
            "reasons": list(seen.reasons),
            "requests": seen.requests,
            "counted": seen.counted,
            "waits_for": seen.waits_for,
            "next_look_s": seen.wait_s - int((now - parse_stamp(seen.at)).total_seconds()),
            "checks": _checks(rollout, verdict),
        },
    }


def _status(rollout: Rollout) -> str:
    """In one word."""
    if rollout.outcome is not None:
        return rollout.outcome
    if rollout.paused is not None:
        return "paused"
    if rollout.approval is not None and rollout.approval.answer is None:
        return "waiting"
    return "starting" if rollout.phase < 0 else "running"


def _steps(rollout: Rollout) -> list[dict[str, Any]]:
    """All of them, the promotion too, and how far it came."""
    found = []
    for number, phase in enumerate(rollout.phases):
        state = "done" if number < rollout.phase else "ahead"
        if number == rollout.phase:
            state = "done" if rollout.outcome == "promoted" else "ended" if rollout.has_ended else "now"
        found.append({"mode": phase.mode, "share": phase.share, "minutes": phase.minutes, "state": state})
    if found:
        found.append(
            {"mode": "live", "share": 100, "minutes": 0, "state": "done" if rollout.outcome == "promoted" else "ahead"}
        )
    return found


def _step(rollout: Rollout, now: dt.datetime) -> dict[str, Any]:
    present = rollout.present
    assert present is not None  # noqa: S101 - its caller asks
    taken = (now - parse_stamp(rollout.since)).total_seconds() / 60
    return {
        "number": rollout.phase + 1,
        "of": len(rollout.phases) + 1,
        "mode": present.mode,
        "share": present.share,
        "since": rollout.since,
        "minutes": present.minutes,
        "minutes_left": max(0.0, present.minutes - taken),
        "requests": present.requests,
    }


def _checks(rollout: Rollout, verdict: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The verdict's checks, if they are of this attempt."""
    if verdict is None or verdict.get("attempt") != rollout.attempt:
        return []
    return list((verdict.get("verdict") or {}).get("checks") or [])


def _said(said: Said | None) -> dict[str, Any] | None:
    return None if said is None else {"at": said.at, "by": said.by, "reason": said.reason}


def _approval(approval: Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    return {"asked_at": approval.asked_at, "answer": approval.answer, "answered": _said(approval.answered)}


def _left_s(until: str, now: dt.datetime) -> float:
    return max(0.0, (parse_stamp(until) - now).total_seconds())
