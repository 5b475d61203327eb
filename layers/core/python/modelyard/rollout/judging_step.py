"""The judge: reads what was captured, asks for the verdict, writes both down, and says what comes next.

::

    captures, labels ──observed──► Observations ──verdict──► decision ──deciding──► continue, move, ask, promote, back

Nothing here changes any traffic. A look that dies is repeated, and comes to the same unless more has been captured.
"""

from typing import Any

import msgspec

from modelyard.ports import ArtifactStore
from modelyard.retraining.bounds import LONGEST_LINE, short
from modelyard.rollout import observed as reading
from modelyard.rollout.deciding import Next, decide
from modelyard.rollout.policy import Policy
from modelyard.rollout.record import MOST_REASONS, Rollout, Seen
from modelyard.rollout.steps import answer, ended_already, rollout_of
from modelyard.rollout.telling import document_key
from modelyard.rollout.verdict import Verdict, verdict
from modelyard.rollout.workbench import RolloutBench
from modelyard.times import stamp

MOST_LOOKS_LISTED = 200


def judge_rollout(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Look at a rollout once.

    Args:
        bench: Registry, artifact bucket, alarms, time.
        event: ``state`` with ``next``, by which the rollout is known; ``plan``; ``run_id``.

    Returns:
        ``status``: ``continue`` or ``waiting``, with ``wait_s``; ``move``, with ``phase``; ``ask``; ``promote``;
        ``back``, with ``outcome`` and ``cause``. ``reason``, in words.
    """
    rollout = rollout_of(bench, event)
    if rollout.has_ended:
        return ended_already(rollout)
    live = bench.registry.deployment(rollout.model)
    if live is None or live.revision != rollout.deployed:
        who = "nobody" if live is None else f"{live.changed_by} at {live.changed_at}: {live.reason or 'no reason'}"
        reason = short(f"what is live was changed by {who}")
        return answer(rollout, "back", outcome="superseded", cause="changed_by_others", reason=reason)
    now = bench.clock()
    seen, etag = reading.observe(bench.artifacts, rollout, now)
    policy = Policy() if rollout.plan is None else rollout.plan.policy
    found = verdict(reading.observations(rollout, seen), policy, since=rollout.since, frozen=seen.frozen)
    seen.frozen = seen.frozen or found.frozen
    reading.keep(bench.artifacts, rollout, seen, etag)
    firing, requests = bench.alarms.firing(), seen.requests.get(str(rollout.phase), 0)

    def following(fresh: Rollout) -> Next:
        return decide(fresh, found, now=now, requests=requests, given=seen.given, firing=firing)

    def noted(fresh: Rollout) -> Seen:
        return _seen(found, following(fresh), requests=requests, at=stamp(now))

    after = bench.registry.note_look(rollout.model, rollout.rollout_id, noted)
    _leave_document(bench.artifacts, after, found, seen)
    # Decided on the record as it was written: whoever paused it at this moment is heard.
    chosen = following(after)
    told = {name: value for name, value in msgspec.to_builtins(chosen).items() if value is not None}
    return answer(rollout, told.pop("status"), **{**told, "reason": short(chosen.reason)})


def _seen(found: Verdict, following: Next, *, requests: int, at: str) -> Seen:
    return Seen(
        at=at,
        decision=found.decision,
        cause=found.cause,
        reasons=tuple(short(reason, LONGEST_LINE) for reason in found.reasons[:MOST_REASONS]),
        requests=requests,
        counted=found.samples.counted,
        waits_for=short(following.reason, LONGEST_LINE) if following.status in ("continue", "waiting") else "",
        wait_s=following.wait_s,
    )


def _leave_document(artifacts: ArtifactStore, rollout: Rollout, found: Verdict, seen: reading.Observed) -> None:
    key, there = document_key(rollout), artifacts.get(document_key(rollout))
    looks: list[dict[str, Any]] = []
    if there is not None:
        try:
            looks = list(msgspec.json.decode(there.body).get("looks") or [])
        except (msgspec.DecodeError, AttributeError):
            looks = []
    assert rollout.seen is not None  # noqa: S101 - this look wrote it
    line = {
        "at": rollout.seen.at, "phase": rollout.phase, "decision": found.decision, "cause": found.cause,
        "counted": found.samples.counted,
    }  # fmt: skip
    looks = [*(look for look in looks if look.get("at") != line["at"]), line][-MOST_LOOKS_LISTED:]
    body = msgspec.json.encode(
        {
            "format": 1,
            "model": rollout.model,
            "rollout_id": rollout.rollout_id,
            "version": rollout.version,
            "champion": rollout.champion,
            "attempt": rollout.attempt,
            "phase": rollout.phase,
            "mode": None if rollout.present is None else rollout.present.mode,
            "share": None if rollout.present is None else rollout.present.share,
            "since": rollout.since,
            "at": rollout.seen.at,
            "verdict": {name: value for name, value in msgspec.to_builtins(found).items() if name != "frozen"},
            "policy": None if rollout.plan is None else rollout.plan.policy,
            "read": {
                "requests": seen.requests,
                "rows": seen.rows,
                "kept": len(seen.records),
                "labels": len(seen.labels),
                "skipped_files": seen.skipped,
                "unreadable_lines": seen.unreadable,
            },
            "looks": looks,
        }
    )
    if there is None:
        artifacts.put_if_absent(key, body, content_type="application/json")
    else:
        artifacts.put_if_match(key, body, etag=there.etag, content_type="application/json")
