"""What capture, shadow and verdicts add to the bill, on paper: a million requests in a day, at three rates of sampling.

Prices are AWS's list prices; sizes and times are measured here: the bytes of a captured record, how long the
environment is awake after an answer (`capture.py`'s own measurement, in short), and how long a look of the judge takes
with as many records as it keeps. The rest is counted: files, looks, states, requests to S3.

    python benchmarks/rollout/cost.py [--quick] [--json]
"""

import datetime as dt
import statistics
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.rollout.capture import after_the_answer  # noqa: E402
from modelyard.retraining.costs import LAMBDA_GB_SECOND, LAMBDA_REQUEST, STATE_TRANSITION  # noqa: E402
from modelyard.rollout.deciding import next_look_s  # noqa: E402
from modelyard.rollout.observations import Observations  # noqa: E402
from modelyard.rollout.observed import MOST_ROWS  # noqa: E402
from modelyard.rollout.plan import RolloutPlan, Step  # noqa: E402
from modelyard.rollout.plan import Shadow as ShadowPlan  # noqa: E402
from modelyard.rollout.policy import Policy  # noqa: E402
from modelyard.rollout.record import Rollout  # noqa: E402
from modelyard.rollout.verdict import verdict  # noqa: E402
from modelyard.serving.capture import BATCH_AGE_S, BATCH_RECORDS  # noqa: E402
from modelyard.times import stamp  # noqa: E402
from tests.fakes.captures import CHALLENGER, CHAMPION, pairs  # noqa: E402

S3_PUT = S3_LIST = 0.005 / 1000
S3_GET = 0.0004 / 1000
S3_GB_MONTH = 0.023
DYNAMODB_WRITE = 0.705 / 1_000_000
METRIC_MONTH = 0.30
"""USD, eu-west-1, November 2026; Lambda (Arm) and Step Functions as in `modelyard.retraining.costs`.

- S3 Standard: https://aws.amazon.com/s3/pricing/
- DynamoDB on demand: https://aws.amazon.com/dynamodb/pricing/on-demand/
- CloudWatch, the first tier; by the hour: https://aws.amazon.com/cloudwatch/pricing/
"""

REQUESTS, DAY_S = 1_000_000, 86_400
SHARES = (0.01, 0.1, 1.0)
MEMORY_MB, JUDGE_MB = 1769, 3008
KEPT_DAYS = 30
"""How long a captured record lies in the bucket in this table; `capture_days` of an environment says when it goes."""

STATES_OF_A_LOOK = 3
WRITES_OF_A_LOOK = 2
"""Of 1 KB; what the judge notes of a look is one item of two."""

DOCUMENTS_OF_A_LOOK = 2
METRICS_BY_ARM = 6
"""Latency, errors and fallbacks of two versions."""


@dataclass(frozen=True)
class Measured:
    """What the paper rests on."""

    record_bytes: float
    pair_bytes: float
    capture_s: float
    shadow_s: float
    look_s: dict[int, float]

    def look(self, records: float) -> float:
        """Seconds of a look at so many records, on a straight line through what was measured."""
        (few, low), (many, high) = min(self.look_s.items()), max(self.look_s.items())
        return low + (high - low) * (records - few) / (many - few)


def measure(quick: bool) -> Result:
    found = measured(quick)
    papers = {share: on_paper(found, share) for share in SHARES}
    figures = {f"{share:.0%} {name}": round(usd, 4) for share, paper in papers.items() for name, usd in paper.items()}
    rows = [[name, *(f"{paper[name]:.3f}" for paper in papers.values())] for name in papers[1.0]]
    base = REQUESTS * (LAMBDA_REQUEST + 0.005 * MEMORY_MB / 1024 * LAMBDA_GB_SECOND)
    notes = (
        f"USD for {REQUESTS:,} requests in a day. A record has {found.record_bytes:,.0f} bytes, with a shadow's answer "
        f"{found.pair_bytes:,.0f}; keeping one takes {found.capture_s * 1000:.2f} ms of the environment, a shadow of a "
        f"small model {found.shadow_s * 1000:.2f} ms more; a look at {max(found.look_s):,} records takes "
        f"{max(found.look_s.values()):.1f} s. Lambda asks {base:.2f} USD for the million itself, at 5 ms each."
    )
    figures |= {"record bytes": found.record_bytes, "look s": max(found.look_s.values()), "million usd": base}
    return Result(f"{table(['', *(f'{share:.0%}' for share in SHARES)], rows)}\n\n{notes}", figures)


def on_paper(found: Measured, share: float) -> dict[str, float]:
    """USD by what they are for."""
    records = REQUESTS * share
    looks = looks_of_a_day()
    files = files_of_a_day(records)
    kept = min(records, MOST_ROWS)
    # The records come evenly, so a look has half of them on average.
    judge_s = found.look(kept / 2)
    parts = {
        "capture: time of the function": records * found.capture_s * MEMORY_MB / 1024 * LAMBDA_GB_SECOND,
        "capture: files written": files * S3_PUT,
        f"capture: {KEPT_DAYS} days in the bucket": records * found.pair_bytes / 1e9 * S3_GB_MONTH * KEPT_DAYS / 30,
        "shadow: time of the function": records * found.shadow_s * MEMORY_MB / 1024 * LAMBDA_GB_SECOND,
        "trial: metrics by version": METRICS_BY_ARM * METRIC_MONTH / 30,
        "verdict: states": looks * STATES_OF_A_LOOK * STATE_TRANSITION,
        "verdict: time of the judge": looks * (judge_s * JUDGE_MB / 1024 * LAMBDA_GB_SECOND + LAMBDA_REQUEST),
        "verdict: files listed and read": looks * 3 * 2 * S3_LIST + files * S3_GET,
        "verdict: written down": looks * (DOCUMENTS_OF_A_LOOK * S3_PUT + WRITES_OF_A_LOOK * DYNAMODB_WRITE),
    }
    return {**parts, "**together**": sum(parts.values())}


def files_of_a_day(records: float) -> float:
    """How many files one environment writes: at so many records, or seconds after the first of them."""
    gap_s = DAY_S / records
    return DAY_S / min(BATCH_RECORDS * gap_s, BATCH_AGE_S + gap_s)


def looks_of_a_day() -> int:
    """Of a rollout whose shadow and three steps take six hours each."""
    start = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    plan = RolloutPlan(
        model="m", shadow=ShadowPlan(360, 10_000_000), steps=(Step(5, 360), Step(25, 360), Step(50, 360))
    )
    now, looks = start, 0
    for number, phase in enumerate(plan.phases):
        began = now
        while (now - began).total_seconds() < phase.minutes * 60:
            now += dt.timedelta(seconds=next_look_s(_at(plan, number, start, began, looks), now))
            looks += 1
    return looks


def _at(plan: RolloutPlan, number: int, start: dt.datetime, began: dt.datetime, looks: int) -> Rollout:
    return Rollout(
        model="m", rollout_id="r", version=2, champion=1, deployed=1, started_at=stamp(start), started_by="b",
        reason="", plan=plan, phase=number, since=stamp(began), looks=looks,
        deadline=stamp(start + dt.timedelta(hours=plan.longest_hours)),
    )  # fmt: skip


def measured(quick: bool) -> Measured:
    """Sizes and times of this machine."""
    held = after_the_answer(50 if quick else 1000)
    sizes = (500, 2_000) if quick else (2_000, MOST_ROWS)
    records = pairs(max(sizes))
    alone = [{key: value for key, value in record.items() if key != "shadow"} for record in records[:500]]
    return Measured(
        record_bytes=statistics.fmean(len(msgspec.json.encode(record)) + 1 for record in alone),
        pair_bytes=statistics.fmean(len(msgspec.json.encode(record)) + 1 for record in records[:500]),
        capture_s=max(0.0, held["capture"] - held["off"]) / 1000,
        shadow_s=max(0.0, held["shadow"] - held["capture"]) / 1000,
        look_s={size: look_s(records[:size]) for size in sizes},
    )


def look_s(records: list[dict[str, Any]]) -> float:
    """Seconds that a look at so many records takes: read what is kept, judge, keep it again."""
    lines = [msgspec.json.encode(record) for record in records]
    packed = zlib.compress(msgspec.json.encode([msgspec.Raw(line) for line in lines]), 1)
    began = time.perf_counter()
    kept = msgspec.json.decode(zlib.decompress(packed), type=list[msgspec.Raw])
    seen = Observations(champion=CHAMPION, challenger=CHALLENGER)
    seen.add(bytes(record) for record in kept)
    verdict(seen, Policy(slices=("kind",)))
    zlib.compress(msgspec.json.encode(kept), 1)
    return time.perf_counter() - began


if __name__ == "__main__":
    run(__doc__.splitlines()[0], measure)
