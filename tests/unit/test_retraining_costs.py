"""What a run costs at the most, what it cost, and what a month comes to."""

from typing import Any

import msgspec
import pytest

from modelyard.retraining import costs
from modelyard.retraining.costs import INSTANCE_HOUR, month_on_paper, per_hour, training_usd, usd_of, worst_case
from modelyard.training.plan import Plan
from tests.fakes.training_data import weather_plan


def plan(**training: Any) -> Plan:
    whole = weather_plan()
    return msgspec.structs.replace(whole, training=msgspec.structs.replace(whole.training, **training))


def state(**parts: Any) -> dict[str, Any]:
    return {
        "prepared": {"status": "prepared", "where": "lambda"},
        "training": {"status": "trained", "seconds": 100.0},
    } | parts


def test_a_function_costs_its_memory_times_its_seconds() -> None:
    usd = training_usd(plan(memory_mb=2048), where="lambda", seconds=300)
    assert usd == pytest.approx(2 * 300 * 0.0000133334 + 0.0000002)
    assert training_usd(plan(memory_mb=2048), where="lambda", seconds=5000) == pytest.approx(0.0240003, rel=1e-4)
    assert training_usd(plan(), where="local", seconds=5000) == 0


def test_an_instance_costs_its_seconds_by_the_table_or_by_the_spec() -> None:
    assert training_usd(plan(instance="ml.m5.xlarge"), where="sagemaker", seconds=3600) == pytest.approx(0.23)
    own = plan(instance="ml.m5.xlarge", usd_per_hour=0.257)
    assert training_usd(own, where="sagemaker", seconds=1800) == pytest.approx(0.1285)
    assert training_usd(plan(instance="ml.zz9.large"), where="sagemaker", seconds=1) is None
    assert per_hour("ml.zz9.large", 4.0) == 4.0


@pytest.mark.parametrize(
    ("instance", "usd"),
    [("ml.m5.large", 0.115), ("ml.m5.4xlarge", 0.922), ("ml.c5.xlarge", 0.204), ("ml.c5.4xlarge", 0.816)],
)
def test_the_table_says_what_aws_lists(instance: str, usd: float) -> None:
    assert INSTANCE_HOUR[instance] == usd


def test_larger_instances_of_a_family_cost_more() -> None:
    for family in ("m5", "c5", "r5", "m7i", "c7i"):
        prices = [INSTANCE_HOUR[f"ml.{family}.{size}"] for size in ("large", "xlarge", "2xlarge", "4xlarge")]
        assert prices == sorted(prices)
        assert prices[3] == pytest.approx(8 * prices[0], rel=0.01)


def test_the_worst_case_is_more_than_any_training_can_cost() -> None:
    small = plan(memory_mb=3008, timeout_s=600)
    trained = training_usd(small, where="lambda", seconds=600)
    worst = worst_case(small)
    assert trained is not None
    assert worst is not None
    assert trained < worst < trained + 0.05


def test_where_the_place_is_not_known_yet_the_dearer_one_counts() -> None:
    either = worst_case(plan(instance="ml.m5.4xlarge", timeout_s=900))
    there = worst_case(plan(where="sagemaker", instance="ml.m5.4xlarge", timeout_s=900))
    here = worst_case(plan(where="lambda", timeout_s=900))
    assert either == there
    assert there is not None
    assert here is not None
    assert there > here


def test_an_instance_of_unknown_price_has_no_worst_case() -> None:
    assert worst_case(plan(where="sagemaker", instance="ml.zz9.large")) is None
    assert worst_case(plan(instance="ml.zz9.large")) is None
    assert worst_case(plan(instance="ml.zz9.large", usd_per_hour=1.0)) is not None


def test_a_run_cost_what_its_training_took_and_a_little_for_the_steps() -> None:
    document = msgspec.to_builtins(plan(memory_mb=2048))
    trained = training_usd(plan(memory_mb=2048), where="lambda", seconds=100)
    usd = usd_of(document, state())
    assert usd is not None
    assert trained is not None
    assert trained < usd < trained + 0.01
    worst = worst_case(plan(memory_mb=2048))
    assert worst is not None
    assert usd < worst


def test_a_training_on_sagemaker_costs_the_instance() -> None:
    document = msgspec.to_builtins(plan(instance="ml.m5.xlarge"))
    there = usd_of(document, state(prepared={"where": "sagemaker"}, training={"seconds": 3600}))
    assert there == pytest.approx(0.23, abs=0.01)


@pytest.mark.parametrize(
    "parts",
    [
        {"prepared": None, "training": None},
        {"training": None},
        {"training": {"status": "none"}},
        {"training": {"status": "trained"}},
    ],
    ids=["no turn", "it ended in its training", "nothing trained", "a training that does not say"],
)
def test_what_the_state_does_not_say_is_not_guessed(parts: dict[str, Any]) -> None:
    assert usd_of(msgspec.to_builtins(plan()), state(**parts)) is None


def test_a_run_that_did_not_train_cost_its_steps() -> None:
    document = msgspec.to_builtins(plan())
    for parts in ({"prepared": {"status": "unchanged"}}, {"prepared": {"status": "refused"}}):
        usd = usd_of(document, state(**parts, training=None))
        assert usd is not None
        assert 0 < usd < 0.01


def test_of_a_plan_that_nobody_understands_the_cost_is_not_known() -> None:
    assert usd_of({"model": "tested"}, state()) is None


def test_a_month_of_daily_retraining_costs_cents() -> None:
    month = month_on_paper(plan(memory_mb=3008), seconds=120)
    assert month.runs == 30
    assert month.transitions == 30 * costs.TRANSITIONS
    assert month.transitions_usd == pytest.approx(0.015)
    assert month.usd == pytest.approx(month.transitions_usd + month.functions_usd + month.training_usd)
    assert 0.1 < month.usd < 0.3
    waiting = month_on_paper(plan(memory_mb=3008), seconds=120, looks=100)
    assert waiting.transitions == 30 * (costs.TRANSITIONS + 300)
    assert waiting.usd > month.usd
    there = month_on_paper(plan(instance="ml.m5.xlarge"), seconds=3600, where="sagemaker")
    assert there.training_usd == pytest.approx(30 * 0.23)
