"""Is the place where a model runs the cheap one for its traffic?

The comparison is between Lambda and instances. Serverless is never the cheaper one: a GB and second costs half as much
again as Lambda's, and the way in comes on top. Async is cheaper than realtime where work comes in heaps, and answers
later, which is for the user to choose.
"""

from modelyard.placement.bill import Assumptions, BreakEven, Case, Work, break_even
from modelyard.placement.finding import Finding
from modelyard.placement.known import Known, Usage
from modelyard.placement.prices import HOURS_OF_A_MONTH, Instance, Prices
from modelyard.spec_server import Target

WORTH = 0.9
"""A move is advised where it costs at most this share: a cent is no reason to keep machines."""


def cost(known: Known, prices: Prices, assumptions: Assumptions) -> Finding | None:
    """What the measured traffic costs where the model is, and where it could be; None without measured traffic."""
    usage = known.usage
    if usage is None or known.gpu or known.target not in ("lambda", "sagemaker-realtime"):
        return None
    case = cheapest(known, prices, assumptions, work_of(known, usage), usage.busiest_per_s)
    here, there = _targets(known.target)
    usd = {target: _month(case, target, usage) for target in (here, there)}
    even = break_even(case)
    lines = (
        f"{usage.requests:,.0f} requests in {usage.days:g} days = {usage.per_s:,.2f} a second, "
        f"{usage.busiest_per_s:,.2f} in the busiest hour; mean {usage.mean_ms:,.1f} ms",
        *even.lines,
        *(f"a month on {target}: {usd[target]:,.2f} USD{_with(case, target, usage)}" for target in (here, there)),
        f"{prices.label}; without data transfer, logs and cold starts",
    )
    if usd[there] <= WORTH * usd[here]:
        says = f"costs {usd[here]:,.2f} USD a month on {here} and would cost {usd[there]:,.2f} on {there}"
        return Finding("cost", says, lines, move_to=there)
    return Finding("cost", f"costs {usd[here]:,.2f} USD a month on {here}; {_until(even, there)}", lines, warns=False)


def work_of(known: Known, usage: Usage) -> Work:
    """A request as it was measured; of a model that is on SageMaker, as a function of its memory would answer it."""
    return Work(usage.mean_ms, known.memory_mb, known.architecture)


def cheapest(known: Known, prices: Prices, assumptions: Assumptions, work: Work, requests_per_s: float) -> Case:
    """The case with the instance that the spec names, or else the one that carries the traffic for the least."""
    if known.instance is not None and known.instance in prices.instances:
        return Case(work, prices.instances[known.instance], prices, assumptions)
    cases = [Case(work, instance, prices, assumptions) for instance in cpu_instances(prices)]
    return min(
        cases, key=lambda case: (case.instances(requests_per_s) * case.instance.usd_per_hour, case.instance.name)
    )


def cpu_instances(prices: Prices) -> list[Instance]:
    """Those without a GPU; how fast a model is on one nobody knows before it ran there."""
    return [instance for instance in prices.instances.values() if not instance.gpu]


def _targets(target: Target) -> tuple[Target, Target]:
    return (target, "sagemaker-realtime" if target == "lambda" else "lambda")


def _month(case: Case, target: Target, usage: Usage) -> float:
    """A month of the mean traffic, with the instances that the busiest hour takes."""
    found = case.month_usd(target, usage.per_s)
    assert found is not None  # noqa: S101 - only serverless has none
    more = case.instances(usage.busiest_per_s) - case.instances(usage.per_s)
    return found if target == "lambda" else found + more * case.instance.usd_per_hour * HOURS_OF_A_MONTH


def _with(case: Case, target: Target, usage: Usage) -> str:
    return (
        ""
        if target == "lambda"
        else f", with {case.instances(usage.busiest_per_s)} x {case.instance.name} all the time"
    )


def _until(even: BreakEven, there: Target) -> str:
    if there == "lambda":
        return "Lambda would not be a tenth cheaper"
    if even.requests_per_s is None:
        return "no instance would be cheaper"
    return f"an instance is cheaper from {even.requests_per_s:,.1f} requests a second, day and night"
