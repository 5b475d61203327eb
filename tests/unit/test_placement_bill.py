"""What a request and a month cost on each target: every figure done again by hand."""

import dataclasses

import pytest

from modelyard.errors import UsageError
from modelyard.placement import Assumptions, Case, Prices, Work, break_even
from modelyard.placement.prices import HOURS_OF_A_MONTH, vcpus_of

PLAIN = Assumptions(utilisation=0.5, way_in_mb=512, hop_ms=10)


def case(ms: float = 50, memory_mb: int = 1769, *, cpu_ms: float | None = None, instance: str = "ml.c5.large") -> Case:
    prices = Prices()
    return Case(Work(ms, memory_mb, cpu_ms=cpu_ms), prices.instance(instance), prices, PLAIN)


def test_a_million_requests_on_lambda_cost_what_the_price_list_says() -> None:
    # FACTS: at 1,769 MB a millisecond is 0.029 USD a million on x86; on Arm a fifth less.
    a_ms = [
        Case(Work(ms, 1769, architecture), Prices().instance("ml.c5.large"), Prices(), PLAIN).lambda_usd * 1e6
        for architecture in ("x86_64", "arm64")
        for ms in (1.0, 2.0)
    ]
    assert a_ms[1] - a_ms[0] == pytest.approx(0.0288, abs=1e-4)
    assert a_ms[3] - a_ms[2] == pytest.approx(0.0230, abs=1e-4)
    assert a_ms[0] == pytest.approx(0.20 + 0.0288, abs=1e-4)


def test_the_way_in_is_paid_while_it_waits() -> None:
    assert case(ms=50).way_in_usd * 1e6 == pytest.approx(0.20 + 0.060 * 0.5 * 13.3334, rel=1e-6)


def test_instances_are_counted_by_the_processors_that_requests_take() -> None:
    one = case(ms=50)  # 1 vCPU for 50 ms: 2 x 0.5 / 0.05
    assert one.carries == pytest.approx(20)
    assert [one.instances(rate) for rate in (0, 20, 20.1, 41)] == [1, 1, 2, 3]
    assert case(ms=50, cpu_ms=10).carries == pytest.approx(100)


def test_a_function_with_less_than_a_processor_keeps_less_than_one_busy() -> None:
    assert Work(100, 885).processor_ms == pytest.approx(50, abs=0.1)
    assert Work(100, 1769).processor_ms == 100
    # 2,600 MB pay for 1.47 processors, and the engine has one thread.
    assert Work(100, 2600).processor_ms == 100
    assert Work(100, 3538).processor_ms == 200


def test_at_the_break_even_both_cost_the_same_and_above_it_the_instance_costs_less() -> None:
    found = case(ms=50, memory_mb=2600, cpu_ms=25)
    rate = break_even(found).requests_per_s
    assert rate is not None
    assert rate < found.carries
    here, there = (found.month_usd(target, rate) for target in ("lambda", "sagemaker-realtime"))
    assert here == pytest.approx(there, rel=1e-9)
    for factor, cheaper in ((0.9, "lambda"), (1.1, "sagemaker-realtime")):
        months = {target: found.month_usd(target, rate * factor) or 0 for target in ("lambda", "sagemaker-realtime")}
        assert min(months, key=lambda target: months[target]) == cheaper


def test_two_instances_that_are_always_there_double_the_break_even() -> None:
    one = case(ms=50, memory_mb=2600, cpu_ms=25)
    two = Case(one.work, one.instance, one.prices, dataclasses.replace(PLAIN, least_instances=2))
    assert (break_even(two).requests_per_s or 0) == pytest.approx(2 * (break_even(one).requests_per_s or 0))


def test_where_an_instance_is_never_cheaper_the_reason_is_said() -> None:
    assert "carries" in break_even(case(ms=50)).lines[-1]
    cheap = break_even(case(ms=5, memory_mb=256))
    assert cheap.requests_per_s is None
    assert "The way in alone" in cheap.lines[-1]


def test_the_lines_show_every_number_of_the_sum() -> None:
    lines = break_even(case(ms=50, memory_mb=2600, cpu_ms=25)).lines
    assert len(lines) == 4
    for line, numbers in zip(
        lines,
        (
            ("0.20", "50.0 ms", "2,600/1,024", "0.0000133334", "1.893"),
            ("0.20", "+ 10) ms", "512/1,024", "0.600"),
            ("2 vCPUs", "50%", "25.0 ms", "40.0 requests"),
            ("1 x 0.102 USD", "3,600 s", "1.293 USD", "21.9 requests a second on ml.c5.large"),
        ),
        strict=True,
    ):
        for number in numbers:
            assert number in line, line


def test_a_month_is_730_hours_and_every_target_pays_the_http_api() -> None:
    found, seconds = case(ms=50), HOURS_OF_A_MONTH * 3600
    assert found.month_usd("lambda", 2) == pytest.approx(2 * seconds * (found.lambda_usd + 1e-6))
    assert found.month_usd("sagemaker-realtime", 0) == pytest.approx(0.102 * HOURS_OF_A_MONTH)
    assert found.month_usd("sagemaker-async", 0) == 0


def test_serverless_takes_the_next_memory_that_there_is_and_costs_more_than_lambda() -> None:
    assert [case(memory_mb=size).serverless_mb for size in (128, 1024, 1769, 6144, 6145)] == [
        1024, 1024, 2048, 6144, None,
    ]  # fmt: skip
    assert case(memory_mb=6145).month_usd("sagemaker-serverless", 1) is None
    for ms, memory_mb in ((1, 1024), (50, 1769), (5000, 6144)):
        found = case(ms=ms, memory_mb=memory_mb)
        assert (found.serverless_usd or 0) > found.lambda_usd


@pytest.mark.parametrize(
    ("name", "vcpus"),
    [("ml.t3.medium", 2), ("ml.c5.large", 2), ("ml.g5.xlarge", 4), ("ml.m5.12xlarge", 48), ("ml.c7i.48xlarge", 192)],
)
def test_the_size_of_an_instance_says_its_processors(name: str, vcpus: int) -> None:
    assert vcpus_of(name) == vcpus


@pytest.mark.parametrize(
    "name", ["", "c5.large", "ml.c5", "ml.c5.huge", "ml.c5.0xlarge", "ml.c5.999xlarge", "ml.c5.²xlarge"]
)
def test_a_name_without_a_size_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no instance whose size"):
        vcpus_of(name)


def test_a_price_that_the_user_knows_is_taken_and_named() -> None:
    told = Prices().with_hourly("ml.c6i.large", 0.11)
    assert told.instance("ml.c6i.large").usd_per_hour == 0.11
    assert "ml.c6i.large as you said" in told.label
    assert "November 2026" in Prices().label
    with pytest.raises(UsageError, match="price table has no"):
        Prices().instance("ml.c6i.large")


def test_burstable_instances_are_not_offered() -> None:
    assert not [name for name in Prices().instances if ".t3." in name]
