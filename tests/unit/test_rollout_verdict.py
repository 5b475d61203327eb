"""The verdict: what promotes, what waits, what aborts, and what it says."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from modelyard.rollout.judging import SHARES, Check
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
from modelyard.rollout.sequential import mean_intervals
from modelyard.rollout.shift import Binned
from modelyard.rollout.verdict import Verdict, verdict
from tests.fakes.captures import (
    CHALLENGER,
    CHAMPION,
    arm,
    classified,
    instances,
    measured,
    pair,
    pairs,
    scored,
    stamp,
)

QUICK = Policy(max_error_rate=0.02, min_samples=150)


def judged(records: list[dict[str, Any]], policy: Policy = QUICK, labels: Any = (), **more: Any) -> Verdict:
    made = Observations(champion=CHAMPION, challenger=CHALLENGER)
    return verdict(made.add(records).add_labels(labels), policy, **more)


def check(found: Verdict, name: str, **where: Any) -> Check:
    (one,) = [
        check
        for check in found.checks
        if check.name == name and all(getattr(check, key) == value for key, value in ({"column": None} | where).items())
    ]
    return one


def noisy(instance: dict[str, Any]) -> dict[str, Any]:
    """The same model with another seed: a few rows near the border fall on the other side."""
    return scored({"x": instance["x"] + 0.15 * math.sin(1000 * instance["x"])})


def otherwise(instance: dict[str, Any]) -> dict[str, Any]:
    return scored({"x": -instance["x"]})


def worse_in_a(instance: dict[str, Any]) -> dict[str, Any]:
    return otherwise(instance) if instance["kind"] == "a" else scored(instance)


def labels_of(records: list[dict[str, Any]], right: Any) -> list[dict[str, Any]]:
    return [
        {"prediction_id": record["prediction_id"], "row": row, "label": right(instance), "time": stamp(9_000)}
        for record in records
        for row, instance in enumerate(record["instances"])
    ]


def test_a_harmless_challenger_is_promoted_and_all_checks_are_told() -> None:
    found = judged(pairs(400, challenger=noisy))
    assert found.decision == "promote"
    assert found.cause is None
    assert {"errors", "agreement", "shift", "score_shift", "latency"} <= {check.name for check in found.checks}
    assert all(check.state == "within" for check in found.checks)
    assert any("agree on" in reason for reason in found.reasons)


def test_nothing_is_promoted_before_the_least_number_of_requests_of_this_step() -> None:
    records = pairs(400, challenger=noisy)
    assert judged(records[:140]).decision == "continue"
    since = records[300]["time"]
    found = judged(records, since=since)
    assert found.decision == "continue"
    assert found.samples.counted == 100
    assert found.reasons[0].startswith("100 requests of this step so far; at least 150 are asked for")


def test_few_errors_are_waited_for_as_long_as_the_limit_asks() -> None:
    found = judged(pairs(400, challenger=noisy), Policy())
    assert found.decision == "continue"
    errors = check(found, "errors")
    assert errors.state == "waiting"
    assert 700 < errors.needed < 1_200


def test_what_is_bad_from_before_this_step_still_counts() -> None:
    records = pairs(300, challenger=otherwise)
    assert judged(records, since=stamp(299)).decision == "abort"


def test_a_challenger_that_disagrees_aborts_with_cause_and_numbers() -> None:
    found = judged(pairs(200, challenger=otherwise))
    assert found.decision == "abort"
    assert found.cause == "swapped_classes"
    assert found.explanation == found.reasons[0]
    agreement = check(found, "agreement")
    assert agreement.state == "beyond"
    assert agreement.statistic == 0
    assert agreement.high is not None
    assert agreement.high < 0.8
    assert "at least 80 % is asked for" in agreement.said


def test_beyond_the_limit_as_measured_is_not_surely_beyond() -> None:
    def sometimes(instance: dict[str, Any]) -> dict[str, Any]:
        return otherwise(instance) if instance["y"] in (1.0, 2.0, 3.0) else scored(instance)

    found = judged(pairs(200, challenger=sometimes), Policy(max_error_rate=0.02, max_shift=None))
    agreement = check(found, "agreement")
    assert agreement.statistic is not None
    assert agreement.statistic < 0.8
    assert agreement.state == "unclear"
    assert found.decision == "continue"
    assert found.reasons[0].startswith("not surely beyond the limit, but not within it either")


def test_good_on_average_and_bad_on_one_slice_is_found() -> None:
    policy = Policy(min_agreement=0.6, slices=("kind",), max_shift=None)
    assert judged(pairs(300, challenger=worse_in_a), Policy(min_agreement=0.6, max_shift=None)).decision != "abort"
    found = judged(pairs(300, challenger=worse_in_a), policy)
    assert (found.decision, found.cause) == ("abort", "bad_slice")
    assert check(found, "agreement", column="kind", value="a").state == "beyond"
    assert check(found, "agreement", column="kind", value="b").state == "within"
    assert check(found, "agreement").state == "within"


def test_a_class_that_few_rows_have_is_not_lost_unnoticed() -> None:
    def of_ten(instance: dict[str, Any]) -> str:
        return f"{int(abs(instance['x']) * 1e4) % 10}"

    def without(instance: dict[str, Any]) -> str:
        return {"3": "5"}.get(of_ten(instance), of_ten(instance))

    policy = Policy(max_shift=None)
    found = judged(pairs(600, champion=of_ten, challenger=without), policy)
    assert check(found, "agreement").state == "within"
    lost = check(found, "classes", column="the champion's answer", value="3")
    assert (lost.state, lost.statistic, lost.limit) == ("beyond", 0, 0.25)
    assert check(found, "classes", column="the champion's answer", value="5").state == "within"
    assert (found.decision, found.cause) == ("abort", "class_dropped")
    better = judged(pairs(600, champion=of_ten, challenger=without), Policy(max_shift=None, min_agreement=None))
    assert {one.name for one in better.checks} & {"classes", "agreement"} == set()


def test_numbers_are_cut_at_quarters_and_missing_values_are_a_slice() -> None:
    records = pairs(200)
    for record in records[::5]:
        record["instances"][0]["x"] = None
    found = judged(records, Policy(slices=("x",)))
    assert found.frozen is not None
    assert len(found.frozen.cuts["x"].names) == 4
    assert check(found, "agreement", column="x", value="(missing)").samples == 40


def test_labels_decide_over_disagreement_where_the_challenger_is_surely_better() -> None:
    records = pairs(400, champion=worse_in_a, challenger=scored)
    assert judged(records).decision == "abort"
    right = labels_of(records, lambda instance: scored(instance)["label"])
    found = judged(records, labels=right)
    assert found.decision == "promote"
    assert check(found, "agreement").overruled
    assert check(found, "quality", side="pairs").high < 0
    wrong = labels_of(records, lambda instance: worse_in_a(instance)["label"])
    assert judged(records, labels=wrong).cause == "bad_slice"


def test_a_challenger_that_agrees_and_is_worse_by_labels_aborts() -> None:
    def worse(instance: dict[str, Any]) -> dict[str, Any]:
        return otherwise(instance) if instance["y"] == 3.0 else scored(instance)

    records = pairs(600, challenger=worse)
    found = judged(records, labels=labels_of(records, lambda instance: scored(instance)["label"]))
    assert found.decision == "abort"
    assert check(found, "quality", side="pairs").state == "beyond"
    assert check(found, "agreement").state == "within"


@pytest.mark.parametrize(
    ("metric", "shown"), [("rmse", "mean squared error (which stands in for rmse)"), ("mae", "mae")]
)
def test_numbers_have_a_quality_too(metric: str, shown: str) -> None:
    records = pairs(300, champion=measured, challenger=lambda one: measured(one) + 1.6 * math.sin(1_000 * one["x"]))
    policy = Policy(min_agreement=None, max_shift=None, metric=metric)
    found = judged(records, policy, labels=labels_of(records, measured))
    assert (found.decision, found.cause) == ("abort", "worse_by_labels")
    assert len(set(found.reasons)) == len(found.reasons), "what explains it is not said twice"
    assert shown.replace("mae", "mean absolute error") in check(found, "quality", side="pairs").said


def test_a_batch_that_fails_is_one_failure() -> None:
    rows = instances(60, rows=50)
    records = [pair(number, asked) for number, asked in enumerate(rows)]
    records[7]["shadow"] |= {"predictions": None, "code": "model_failed", "message": "no"}
    errors = check(judged(records), "errors")
    assert errors.said.startswith("1 of 60 requests")
    assert errors.state != "beyond"


def test_what_the_champion_fails_as_well_is_held_against_nobody() -> None:
    def broken(instance: dict[str, Any]) -> Any:
        return None if instance["y"] == 3.0 else scored(instance)

    assert judged(pairs(200, champion=broken, challenger=broken)).decision != "abort"
    assert judged(pairs(200, challenger=broken)).cause == "not_finite"


def test_a_canary_is_judged_by_its_arms() -> None:
    def canary(answer: Any, requests: int = 900, **more: Any) -> list[dict[str, Any]]:
        return [
            arm(number, asked, CHALLENGER, answer, **more) if number % 3 == 0 else arm(number, asked, CHAMPION)
            for number, asked in enumerate(instances(requests))
        ]

    assert judged(canary(noisy)).decision == "promote"
    assert judged(canary(lambda _: classified(0.9))).cause == "constant_answer"
    assert judged(canary(noisy, latency_ms=40.0)).cause == "slow"
    failed = {"version": CHALLENGER, "code": "model_failed", "message": "index 3"}
    records = canary(noisy, 300)
    for record in records[::10]:
        record.update(version=CHAMPION, failed=failed)
    found = judged(records)
    assert found.cause == "raises"
    assert "index 3" in found.reasons[0]


def test_answers_to_inputs_that_differ_only_in_what_was_redacted_are_not_unstable() -> None:
    records = []
    for number, asked in enumerate(instances(900)):
        record = arm(number, asked, CHALLENGER if number % 2 else CHAMPION, redacted=["x", "y"])
        record["instances"] = [{**one, "x": None, "y": None} for one in asked]
        records.append(record)
    found = judged(records)
    assert (found.decision, found.cause) == ("promote", None)


def test_a_garbage_collection_is_not_slow_and_twice_the_time_is() -> None:
    records = pairs(300)
    for record in records[::50]:
        record["shadow"]["latency_ms"] = 3_000.0
    found = judged(records)
    assert check(found, "latency").state == "within"
    assert check(found, "slow_tail").state == "within"
    assert judged(pairs(300, latency_ms=25.0)).cause == "slow"


def test_half_as_much_again_of_nearly_nothing_is_not_slow() -> None:
    records = pairs(300)
    for record in records:
        record["latency_ms"], record["shadow"]["latency_ms"] = 0.02, 0.06
    found = judged(records)
    assert check(found, "latency").statistic == pytest.approx(3)
    assert check(found, "latency").state == "within"


def with_memory(requests: int, held: Any) -> list[dict[str, Any]]:
    records = pairs(requests)
    for number, record in enumerate(records):
        record["process"] = {"id": "p", "rss_mb": 300.0, "shadow_rss_mb": held(number)}
    return records


def test_memory_that_grows_aborts_and_memory_that_was_taken_once_does_not() -> None:
    found = judged(with_memory(300, lambda number: 0.5 * number))
    assert (found.decision, found.cause) == ("abort", "memory_leak")
    assert judged(with_memory(300, lambda number: 200.0 if number > 10 else 0.0)).decision == "promote"
    still = judged(with_memory(300, lambda number: 0.2 * number))
    assert still.decision == "continue"
    assert "is still growing" in check(still, "memory").said


def test_frozen_is_handed_on_and_never_made_again() -> None:
    records = pairs(300)
    first = judged(records[:120])
    assert first.frozen is not None
    assert judged(records).frozen == first.frozen, "the same first rows"
    other = msgspec.structs.replace(first.frozen, slow_ms=0.5)
    assert judged(records, frozen=other).frozen == other
    assert judged(records[:90]).frozen is None


def test_what_may_go_wrong_is_shared_out_and_no_more() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)


def test_a_shift_has_an_interval_that_holds_the_truth() -> None:
    draw, wrong = np.random.default_rng(1), 0
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.25, 0.25, 0.25, 0.25])
    truth = float(((p - q) * np.log(p / q)).sum())
    for _ in range(200):
        binned = Binned(draw.multinomial(300, p).astype(float), draw.multinomial(300, q).astype(float))
        low, high = binned.interval(mean_intervals(binned.streams(0.1)))
        wrong += not low <= truth <= high
        assert low <= binned.psi() * 1.5 + 0.1
    assert wrong / 200 <= 0.1
    far = Binned(np.array([900.0, 50, 50]), np.array([50.0, 50, 900]))
    low, high = far.interval(mean_intervals(far.streams(0.05)))
    assert 1.5 < low < far.psi() < high
    assert 0.3 < far.jensen_shannon() < 1


def test_a_policy_refuses_what_it_does_not_know() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"confidence": 1.5}, Policy)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"min_sample": 3}, Policy)
    assert msgspec.convert({}, Policy) == Policy()
    assert Policy(min_agreement=0.1).slice_agreement == 0


def test_errors_of_a_canary_do_not_hide_behind_a_long_shadow_without_any() -> None:
    policy = msgspec.structs.replace(QUICK, max_error_rate=0.05)
    shadow = pairs(8_000)
    failing = {"failed": {"version": CHALLENGER, "code": "model_failed", "message": "no"}}
    canary = [
        arm(8_000 + number, asked, CHAMPION if number % 5 == 0 else CHALLENGER, **(failing if number % 5 == 0 else {}))
        for number, asked in enumerate(instances(200, seed=1))
    ]
    found = judged([*shadow, *canary], policy)
    assert check(found, "errors", side="all").state == "within"
    assert check(found, "errors", side="arms").state == "beyond"
    assert (found.decision, found.cause) == ("abort", "raises")
    assert "40 of 200 requests that the challenger was to answer got no valid answer" in " ".join(found.reasons)
    assert judged([*shadow, *canary[1:5]], policy).decision == "continue"
