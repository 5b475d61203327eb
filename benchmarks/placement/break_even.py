"""When an instance becomes cheaper than Lambda, on paper: a month by traffic, and the traffic by the time of a request.

Nothing is measured: the arithmetic is that of `modelyard place`, over the prices of its table.

    python benchmarks/placement/break_even.py [--quick] [--json]

Writes `docs/break_even.svg`, without ``--quick``.
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.picture import Curve, curves  # noqa: E402
from benchmarks.measuring.script import Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.placement import Assumptions, Case, Prices, Work, break_even  # noqa: E402

PICTURE = PROJECT / "docs" / "break_even.svg"
INSTANCE = "ml.c5.large"
SHOWN = Work(100, 4096, "x86_64", cpu_ms=100)
"""A function with the memory that a large model takes, whose request keeps one processor busy: it pays for 2.3. Where
all of the processor is in use, an instance is hardly ever cheaper."""

HIGHEST_USD, MOST_PER_S = 750, 24
TIMES_MS, MEMORIES_MB = (5, 20, 50, 100, 250, 1000), (512, 1024, 1769, 2600, 4096, 8192)


def measure(quick: bool) -> Result:
    case = case_of(SHOWN)
    even = break_even(case)
    title = f"{SHOWN.ms:g} ms of one processor: Lambda with {SHOWN.memory_mb:,} MB, and {INSTANCE}"
    picture = curves(
        title,
        [
            Curve("serverless", _months(case, "sagemaker-serverless")),
            Curve("Lambda", _months(case, "lambda")),
            Curve("realtime", _months(case, "sagemaker-realtime")),
        ],
        across="requests a second, day and night",
        up="USD a month",
        highest=HIGHEST_USD,
    )
    if not quick:
        PICTURE.write_text(picture, encoding="utf-8")
    report = "\n\n".join(
        [
            f"Requests a second from which on instances cost less than Lambda ({case.prices.label}):",
            table(["ms", *(f"{memory_mb:,} MB" for memory_mb in MEMORIES_MB)], list(map(_row, TIMES_MS))),
            "\n".join(even.lines),
        ]
    )
    return Result(report, {"break-even": even.requests_per_s or 0.0}, pictures={PICTURE.name: picture})


def case_of(work: Work) -> Case:
    """A request beside one small instance."""
    prices = Prices()
    return Case(work, prices.instance(INSTANCE), prices, Assumptions())


def _months(case: Case, target: str) -> list[tuple[float, float]]:
    """Points up to the edge of the picture; the steps of instances are so close to upright as the points are."""
    rates = [step / 20 for step in range(MOST_PER_S * 20 + 1)]
    months = [(rate, case.month_usd(target, rate) or 0.0) for rate in rates]  # type: ignore[arg-type]
    return [(rate, usd) for rate, usd in months if usd <= HIGHEST_USD]


def _row(ms: int) -> list[str]:
    found = [break_even(case_of(Work(ms, memory_mb, "x86_64"))).requests_per_s for memory_mb in MEMORIES_MB]
    return [f"{ms:,}", *("never" if rate is None else f"{rate:,.1f}" for rate in found)]


if __name__ == "__main__":
    run(__doc__.splitlines()[0], measure)
