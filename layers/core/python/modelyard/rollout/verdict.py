"""The verdict: everything that was observed and the policy in, promote, continue or abort out.

A pure function: no clock, no AWS, no state. Asked every minute or once, over ten records or a million, it aborts a
harmless challenger at most as often as ``1 - confidence`` says, over all looks together (`sequential`, `judging`).

::

    observations = Observations(champion=3, challenger=4)
    observations.add(records)             # as captured, of all steps of this rollout so far
    observations.add_labels(labels)       # where some came
    found = verdict(observations, policy, since="2026-11-21T12:00:00Z", frozen=found_before.frozen)

**Abort** asks for certainty: some interval lies wholly beyond its limit. **Promote** asks for enough samples, for no
such interval, and for every check that has its samples to be within its limit as measured. It does not ask to be sure
of each: to be sure that a PSI is below 0.2 takes thousands of requests, and a rollout that never ends protects nobody.
Errors are the exception, because a fault in one request of a hundred shows in none of the first fifty. Anything else
is **continue**. Where labels say surely that the challenger is better, it may disagree with the champion: that is how
it is better. What labels decide, they decide for the slices whose labels do not say the opposite.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from modelyard.rollout.causes import diagnose
from modelyard.rollout.checks import look_at
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import Check
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
from modelyard.rollout.slicing import Frozen, freeze

Outcome = Literal["promote", "continue", "abort"]
DISAGREEING = ("agreement", "classes", "shift", "score_shift")
"""What a better challenger may do."""
LEAST_SHARE = 0.05
"""A slice that holds less of the requests than this is not waited for."""


class Samples(msgspec.Struct, frozen=True):
    """What the verdict rests on.

    Attributes:
        pairs: Requests that both versions were asked.
        pair_rows: Their rows.
        champion_arm: Requests that the champion answered beside a canary.
        challenger_arm: Requests that were the challenger's to answer.
        labels: Rows with a label.
        counted: Requests of this step, of which ``min_samples`` are asked for.
        duplicates: Records that came more than once and count once.
        ignored: Records of other versions, or of the champion alone outside a canary.
        bad: Records and labels that could not be read, by what was wrong with them.
    """

    pairs: int
    pair_rows: int
    champion_arm: int
    challenger_arm: int
    labels: int
    counted: int
    duplicates: int
    ignored: int
    bad: dict[str, int]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and why. JSON-ready: `msgspec.json.encode` writes it, and no number in it is NaN or infinite.

    Attributes:
        decision: promote (this step is passed), continue (wait for more), or abort (back to the champion).
        cause: What is wrong with the challenger, a code of `modelyard.rollout.causes.CAUSES`; None unless it aborts.
        explanation: The cause as one sentence with numbers; None unless it aborts.
        reasons: Sentences with numbers, the deciding ones first.
        checks: Everything that was looked at, slices too.
        samples: What it rests on.
        frozen: What was frozen at the first look; handed to the next one, it is never computed again.
    """

    decision: Outcome
    cause: str | None
    explanation: str | None
    reasons: list[str]
    checks: list[Check]
    samples: Samples
    frozen: Frozen | None


def verdict(
    observations: Observations, policy: Policy, *, since: str | None = None, frozen: Frozen | None = None
) -> Verdict:
    """Look at everything that a rollout has captured so far.

    Args:
        observations: Of the whole rollout, not of one step: what is wrong in shadow counts in the canary as well.
        policy: The limits; the same at every look.
        since: When the present step began, as records write it; ``min_samples`` counts from there. None counts all.
        frozen: ``Verdict.frozen`` of an earlier look, or made from the champion's traffic before the rollout.
    """
    frozen = frozen or freeze(observations, policy.slices)
    look = Look(observations, policy, frozen, since)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # answers of 1e300 are compared as well
        checks = _overruled(look_at(look))
        samples = _samples(observations, since)
        beyond = [check for check in checks if check.state == "beyond" and not check.overruled]
        if beyond:
            cause, explanation = diagnose(look, beyond)
            said = [explanation, *(check.said for check in beyond if check.said != explanation)]
            return _verdict("abort", said, checks, samples, frozen, cause=cause, explanation=explanation)
    open_ones = [check for check in checks if _holds_up(check, samples)]
    if samples.counted < policy.min_samples:
        reason = f"{samples.counted:,} requests of this step so far; at least {policy.min_samples:,} are asked for"
        return _verdict("continue", [reason, *(check.said for check in open_ones)], checks, samples, frozen)
    if frozen is None:
        reason = "the champion has not answered its first 100 rows yet"
        return _verdict("continue", [reason, *(check.said for check in open_ones)], checks, samples, frozen)
    if open_ones:
        return _verdict("continue", [_waits_for(check) for check in open_ones], checks, samples, frozen)
    return _verdict("promote", [check.said for check in checks if check.column is None], checks, samples, frozen)


def _verdict(
    decision: Outcome,
    reasons: list[str],
    checks: list[Check],
    samples: Samples,
    frozen: Frozen | None,
    *,
    cause: str | None = None,
    explanation: str | None = None,
) -> Verdict:
    return Verdict(
        decision=decision,
        cause=cause,
        explanation=explanation,
        reasons=reasons,
        checks=checks,
        samples=samples,
        frozen=frozen,
    )


def _overruled(checks: Sequence[Check]) -> list[Check]:
    """Where labels say surely that the challenger is better, it may disagree, but in slices where they do not."""
    told = [check for check in checks if check.name == "quality"]
    better = any(check.column is None and check.high is not None and check.high < 0 for check in told)
    if not better:
        return list(checks)
    worse = {(check.column, check.value) for check in told if check.statistic is not None and check.statistic > 0}
    return [
        msgspec.structs.replace(check, overruled=True)
        if check.name in DISAGREEING
        and check.state in ("beyond", "unclear")
        and (check.column is None or (check.column, check.value) not in worse)
        else check
        for check in checks
    ]


def _holds_up(check: Check, samples: Samples) -> bool:
    """Whether a step cannot end while a check is as it is."""
    if check.overruled or check.state in ("within", "off"):
        return False
    if check.state == "unclear":
        return True
    if check.column is not None:
        return check.samples >= LEAST_SHARE * max(1, samples.pairs + samples.challenger_arm)
    return check.name in ("errors", "agreement", "shift", "score_shift", "latency")


def _waits_for(check: Check) -> str:
    if check.state == "waiting":
        return f"{check.samples:,} of {check.needed:,} samples: {check.said}"
    return f"not surely beyond the limit, but not within it either: {check.said}"


def _samples(observations: Observations, since: str | None) -> Samples:
    pairs, arm = observations.pairs, observations.challenger_arm
    return Samples(
        pairs=len(pairs),
        pair_rows=len(pairs.of),
        champion_arm=len(observations.champion_arm),
        challenger_arm=len(arm),
        labels=len(observations.labels),
        counted=int(pairs.since(since).sum() + arm.since(since).sum()),
        duplicates=observations.duplicates,
        ignored=observations.ignored,
        bad=dict(sorted(observations.bad.items())),
    )
