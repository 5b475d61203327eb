"""What is wrong with a challenger is named: each cause from a challenger that is bad in that way."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from modelyard.contract.checking import Problem
from modelyard.rollout.causes import CAUSES
from modelyard.rollout.judging import percent
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
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
)

Change = Callable[[dict[str, Any], int], Any]
"""From an instance and the number of the request to the challenger's answer."""

DRAW = np.random.default_rng(0)
LUCK = DRAW.random(5_000).tolist()
DRAWN = DRAW.normal(size=5_000).tolist()


def judged(records: list[dict[str, Any]], **limits: Any) -> Verdict:
    return verdict(Observations(champion=CHAMPION, challenger=CHALLENGER).add(records), Policy(**limits))


def answered(change: Change, champion: Any = scored, requests: int = 400) -> list[dict[str, Any]]:
    return [
        pair(number, asked, champion, lambda one, number=number: change(one, number))
        for number, asked in enumerate(instances(requests))
    ]


def odds(instance: dict[str, Any], plus: float = 0.0, times: float = 1.0) -> dict[str, Any]:
    return classified(round(1 / (1 + math.exp(-(2 * times * instance["x"] + plus))), 6))


def spoilt(number: int, **shadow: Any) -> bool:
    del shadow
    return number % 25 == 3


CLASSES: dict[str, Change] = {
    "constant_answer": lambda _, __: classified(0.2),
    "swapped_classes": lambda one, _: scored({"x": -one["x"]}),
    "not_finite": lambda one, number: None if number % 9 == 0 else scored(one),
    "wrong_type": lambda one, _: scored(one)["label"],
    "probabilities_invalid": lambda one, _: {"label": "no", "probabilities": {"no": 1.4, "yes": 0.9}},
    "unknown_class": lambda one, _: {"label": "no", "probabilities": {"no": 0.5, "yes": 0.2, "perhaps": 0.3}},
    "class_missing": lambda one, _: {"label": "no", "probabilities": {"no": 1.0}},
    "shifted_scores": lambda one, _: odds(one, plus=3),
    "scaled_scores": lambda one, _: odds(one, times=0.2),
    "bad_slice": lambda one, _: scored({"x": -one["x"]}) if one["kind"] == "b" else scored(one),
    "unrelated_answers": lambda one, number: classified(LUCK[number]),
    "drifting": lambda one, number: odds(one, plus=0.02 * number),
}


@pytest.mark.parametrize("cause", CLASSES)
def test_the_cause_of_wrong_classes_is_named(cause: str) -> None:
    found = judged(answered(CLASSES[cause]))
    assert (found.decision, found.cause) == ("abort", cause)


NUMBERS: dict[str, Change] = {
    "constant_answer": lambda _, __: 10.0,
    "shifted_scores": lambda one, _: measured(one) + 4,
    "scaled_scores": lambda one, _: measured(one) * 2.54,
    "sign_flipped": lambda one, _: -measured(one),
    "transformed_scores": lambda one, _: math.log1p(measured(one)),
    "clipped_scores": lambda one, _: min(measured(one), 10.0),
    "rounded_scores": lambda one, _: 5.0 * round(measured(one) / 5),
    "not_finite": lambda one, number: "NaN" if number % 9 == 0 else measured(one),
    "wrong_type": lambda one, _: str(measured(one)),
    "stale_preprocessing": lambda one, _: measured(one) + 1.5 * one["y"],
    "unrelated_answers": lambda one, number: 10 + 4 * LUCK[number],
    "drifting": lambda one, number: measured(one) + 0.03 * number,
    "previous_answer": lambda one, number: measured(instances(400)[number - 1][0]) if number else measured(one),
}


@pytest.mark.parametrize("cause", [cause for cause in NUMBERS if cause != "previous_answer"])
def test_the_cause_of_wrong_numbers_is_named(cause: str) -> None:
    found = judged(answered(NUMBERS[cause], measured))
    assert (found.decision, found.cause) == ("abort", cause)


def test_the_answer_to_the_row_before_is_recognised() -> None:
    records = pairs(300, champion=measured, challenger=measured)
    for earlier, later in pairwise(records):
        later["shadow"]["predictions"] = earlier["predictions"]
    assert judged(records).cause == "previous_answer"


def test_swapped_classes_are_no_answers_to_the_row_before_however_little_agreement_is_asked_for() -> None:
    records = answered(CLASSES["swapped_classes"])
    assert judged(records, min_agreement=0.45).cause == "swapped_classes"


def batches(change: Callable[[list[float]], list[float]]) -> list[dict[str, Any]]:
    records = []
    for number in range(300):
        (asked,) = instances(1, number, rows=1 if number % 2 else 4)
        record = pair(number, asked, measured, measured)
        record["shadow"]["predictions"] = change(record["predictions"])
        records.append(record)
    return records


def test_what_batches_do_to_rows_is_recognised() -> None:
    assert judged(batches(lambda found: found[::-1])).cause == "rows_reordered"
    assert judged(batches(lambda found: [one + 3 * (len(found) > 1) for one in found])).cause == "batch_dependent"


def test_other_answers_to_the_same_input_are_unstable() -> None:
    asked = instances(40)
    records = [
        pair(number, asked[number % 40], measured, lambda one, number=number: measured(one) + LUCK[number])
        for number in range(300)
    ]
    assert judged(records).cause == "unstable"


def test_a_class_that_is_never_answered_is_told_from_a_constant_answer() -> None:
    names = ("a", "b", "c")

    def three(instance: dict[str, Any]) -> dict[str, Any]:
        place = int(np.clip(round(instance["x"]) + 1, 0, 2))
        return {"label": names[place], "probabilities": {name: 0.9 if name == names[place] else 0.05 for name in names}}

    def two(instance: dict[str, Any]) -> dict[str, Any]:
        found = three(instance)
        if found["label"] != "c":
            return {**found, "probabilities": {"a": 0.5, "b": 0.5, "c": 0.0} | {found["label"]: 0.5}}
        return {"label": "b", "probabilities": {"a": 0.4, "b": 0.6, "c": 0.0}}

    found = judged(answered(lambda one, _: two(one), three, 700))
    assert found.cause == "class_dropped"
    assert "never answers c" in found.reasons[0]


def failing(code: str, message: str, when: Callable[[int, dict[str, Any]], bool], **first: Any) -> Verdict:
    records = pairs(400)
    for number, record in enumerate(records):
        record["instances"][0].update({key: value for key, value in first.items() if number % 12 == 0})
        if when(number, record["instances"][0]):
            record["shadow"] |= {"predictions": None, "code": code, "message": message}
    return judged(records)


def test_the_cause_of_a_failure_is_its_code_and_what_the_requests_share() -> None:
    often = "model_failed", "index 5 is out of bounds"
    assert failing(*often, lambda number, _: number % 20 == 0).cause == "raises"
    assert failing(*often, lambda _, one: one["y"] is None, y=None).cause == "missing_values"
    assert failing(*often, lambda _, one: one["kind"] == "zz", kind="zz").cause == "category_unseen"
    assert failing("run_timeout", "", lambda number, _: number % 20 == 0).cause == "slow"
    assert failing("memory_budget", "", lambda number, _: number > 380).cause == "memory_leak"
    assert failing("time_budget", "", lambda number, _: number > 380).cause == "slow"
    assert failing("not_finite", "holds NaN", lambda number, _: number % 20 == 0).cause == "not_finite"
    assert failing("out_of_range", "'y' is 9", lambda number, _: number % 20 == 0).cause == "refuses_input"
    assert failing("not_loaded", "no such op", lambda number, _: number % 20 == 0).cause == "not_loaded"


@pytest.mark.parametrize("code", [*get_args(Problem), "wrong_type", "missing_field", "wrong_signature"])
def test_whatever_a_contract_or_a_signature_refuses_is_a_refusal(code: str) -> None:
    assert failing(code, "'y' is 9", lambda number, _: number % 20 == 0).cause == "refuses_input"


def test_an_answer_too_few_and_a_list_of_another_length_have_the_wrong_shape() -> None:
    records = pairs(100)
    for record in records:
        record["shadow"]["predictions"] = []
    assert judged(records).cause == "wrong_shape"
    lists = pairs(150, champion=lambda one: [one["x"], 1.0], challenger=lambda one: [one["x"]])
    assert judged(lists).cause == "wrong_shape"


def test_lists_are_compared_by_their_distance() -> None:
    def two(instance: dict[str, Any]) -> list[float]:
        return [3 * instance["x"], 1 - instance["x"]]

    assert judged(pairs(200, two, lambda one: [value + 0.01 for value in two(one)])).decision == "continue"
    assert judged(pairs(200, two, lambda one: [-value for value in two(one)])).decision == "abort"


def own_answer(instance: dict[str, Any]) -> dict[str, Any]:
    """What a model's own code may answer."""
    return {"digit": int(instance["y"]), "score": 0.5 + instance["x"] / 100}


OWN: dict[str, Change] = {
    "constant_answer": lambda one, _: {**own_answer(one), "score": 0.2},
    "shifted_scores": lambda one, _: {**own_answer(one), "score": own_answer(one)["score"] + 0.03},
    "swapped_classes": lambda one, _: {**own_answer(one), "digit": (int(one["y"]) + 1) % 9},
    "wrong_type": lambda one, _: {**own_answer(one), "digit": str(one["y"])},
}


@pytest.mark.parametrize("cause", OWN)
def test_the_cause_of_wrong_answers_of_a_models_own_code_is_named(cause: str) -> None:
    found = judged(answered(OWN[cause], own_answer))
    assert (found.decision, found.cause) == ("abort", cause)


def test_answers_of_a_models_own_code_may_differ_in_their_fractions_while_these_are_distributed_alike() -> None:
    near = judged(answered(lambda one, number: {**own_answer(one), "score": 0.5 + DRAWN[number] / 100}, own_answer))
    assert near.decision == "continue"
    states = {check.name: check.state for check in near.checks}
    assert (states["agreement"], states["score_shift"]) == ("within", "within")


TWO: dict[str, Change] = {
    "shifted_scores": lambda one, _: [value + 4 for value in two(one)],
    "scaled_scores": lambda one, _: [value * 3 for value in two(one)],
    "sign_flipped": lambda one, _: [-value for value in two(one)],
    "constant_answer": lambda _, __: [9.0, 30.0],
    "unrelated_answers": lambda _, number: [9 + 4 * LUCK[number], 27 + 9 * LUCK[-number]],
    "wrong_shape": lambda one, _: [two(one)],
}


def two(instance: dict[str, Any]) -> list[float]:
    """What a champion answers that gives two numbers."""
    return [measured(instance), 3 * measured(instance)]


@pytest.mark.parametrize("cause", TWO)
def test_the_cause_of_wrong_lists_of_numbers_is_named(cause: str) -> None:
    found = judged(answered(TWO[cause], two))
    assert (found.decision, found.cause) == ("abort", cause)


def test_lists_of_numbers_that_change_for_the_same_input_are_unstable() -> None:
    records = [
        pair(number, asked, two, lambda one, number=number: [two(one)[0] + (number % 2) / 5, two(one)[1]])
        for number, asked in enumerate(instances(25) * 8)
    ]
    found = judged(records, min_agreement=None, max_shift=None)
    assert (found.decision, found.cause) == ("abort", "unstable")


@pytest.mark.parametrize("least", [0.5, 0.8, 0.97])
@pytest.mark.parametrize("cause", ["previous_answer", "class_dropped", "shifted_scores"])
def test_what_is_asked_for_does_not_change_what_is_wrong(cause: str, least: float) -> None:
    def other(one: dict[str, Any], number: int) -> Any:
        """A harmless challenger, which is not identical to the champion."""
        return 10.0 if number % 10 == 0 else measured(one)

    if cause == "class_dropped":
        names = {"a": "a", "b": "b", "c": "a"}
        records = answered(lambda one, _: names[one["kind"]], lambda one: one["kind"])
    elif cause == "shifted_scores":
        records = answered(lambda one, number: other(one, number) + 4, measured)
    else:
        records = answered(other, measured)
        ones = [record["shadow"]["predictions"] for record in records]
        for record, before in zip(records[1:], ones, strict=False):
            record["shadow"]["predictions"] = before
    found = judged(records, min_agreement=least, min_slice_agreement=0.3)
    assert (found.decision, found.cause) == ("abort", cause)


def test_the_answer_to_the_row_before_in_the_same_process_is_recognised() -> None:
    records, last = pairs(400, champion=measured, challenger=measured), {}
    for record, luck in zip(records, LUCK, strict=False):
        record["process"] = {"id": f"process {int(3 * luck)}"}
        own = record["predictions"]
        record["shadow"]["predictions"] = last.get(record["process"]["id"], own)
        last[record["process"]["id"]] = own
    assert judged(records).cause == "previous_answer"


def test_a_constant_answer_is_told_beside_the_champions_most_frequent_class() -> None:
    records = answered(CLASSES["constant_answer"], champion=odds)
    labels = [record["predictions"][0]["label"] for record in records]
    most = percent(max(labels.count("yes"), labels.count("no")) / len(labels))
    found = judged(records)
    assert found.cause == "constant_answer"
    assert f"the champion's most frequent answer has {most}, and " in found.reasons[0]


def test_one_answer_for_each_process_is_a_constant_answer() -> None:
    records = pairs(200, champion=measured, challenger=measured)
    for number, record in enumerate(records):
        record["process"] = {"id": f"process {number % 2}"}
        record["shadow"]["predictions"] = [float(8 + 3 * (number % 2))]
    assert judged(records).cause == "constant_answer"


def test_classes_that_most_rows_do_not_have_are_swapped_and_not_lost() -> None:
    def many(instance: dict[str, Any], by: int = 0) -> str:
        place = int(200 * abs(instance["x"])) % 40
        return f"class {(place + by) % 40}"

    assert judged(answered(lambda one, _: many(one, by=1), many, requests=80)).cause == "swapped_classes"


def test_one_class_in_the_place_of_the_only_other_is_not_called_swapped() -> None:
    found = judged(answered(lambda _, __: "rare", lambda _: "usual"))
    assert found.decision == "abort"
    assert found.cause != "swapped_classes"


def test_a_slice_is_not_bad_because_of_one_input_that_comes_again_and_again() -> None:
    asked = [[{"x": one[0]["x"], "kind": f"kind {place // 3}", "y": place}] for place, one in enumerate(instances(40))]
    wrong = {3, 20}
    records = [
        pair(number, rows, scored, lambda one: scored({"x": -one["x"]}) if one["y"] in wrong else scored(one))
        for number, rows in enumerate(asked * 25)
    ]
    found = judged(records, min_agreement=0.98)
    assert found.decision == "abort"
    assert found.cause != "bad_slice"


def test_twice_as_slow_is_slow_even_where_only_the_slowest_are_surely_beyond() -> None:
    records = [
        pair(number, asked, scored, scored, latency_ms=10.0 if number % 4 == 0 else 20.0)
        for number, asked in enumerate(instances(40, rows=4))
    ]
    found = judged([{**record, "latency_ms": 9.0} for record in records])
    assert [check.name for check in found.checks if check.state == "beyond"] == ["slow_tail"]
    assert found.cause == "slow"


def test_whole_numbers_are_labels_where_the_metric_is_one_of_classes() -> None:
    records = answered(lambda one, _: (int(one["y"]) + 1) % 9, lambda one: int(one["y"]))
    policy = Policy(metric="accuracy")
    seen = Observations(champion=CHAMPION, challenger=CHALLENGER, of_classes=policy.of_classes)
    assert verdict(seen.add(records), policy).cause == "swapped_classes"


def test_batches_that_fail_hold_every_category_and_are_no_category_unseen() -> None:
    records = []
    for number in range(300):
        (asked,) = instances(1, number, rows=1 if number % 4 else 6)
        code = None if number % 4 else "model_failed"
        records.append(pair(number, asked, measured, measured, code=code))
        records[-1]["instances"][0]["kind"] = "d" if number % 4 == 0 else "a"
    assert judged(records).cause == "raises"


def test_a_class_that_a_small_arm_has_not_met_yet_is_not_called_dropped() -> None:
    def many(instance: dict[str, Any], certain: float = 0.9) -> dict[str, Any]:
        names = [f"class {place:02}" for place in range(25)]
        own = names[int(100 * abs(instance["x"])) % 25]
        given = {name: certain if name == own else round((1 - certain) / 24, 9) for name in names}
        return {"label": own, "probabilities": given}

    records = [
        arm(number, asked, CHALLENGER, lambda one: many(one, 0.3)) if number % 15 == 3 else
        arm(number, asked, CHAMPION, lambda one: many(one, 0.8 + 0.2 * abs(one["y"] / 9)))
        for number, asked in enumerate(instances(900))
    ]  # fmt: skip
    found = judged(records)
    assert found.decision == "abort"
    assert found.cause == "distribution_shifted"


@pytest.mark.parametrize(
    ("times", "cause"),
    [
        (lambda _: 3.0, "slow"),
        (lambda number: 1 + number / 60, "slowing"),
        (lambda number: 20.0 if number % 5 == 0 else 1.0, "slow_sometimes"),
    ],
)
def test_the_ways_of_being_slow_are_told_apart(times: Callable[[int], float], cause: str) -> None:
    records = pairs(400)
    for number, record in enumerate(records):
        record["shadow"]["latency_ms"] *= times(number)
    assert judged(records).cause == cause


def test_a_jump_of_memory_is_no_leak() -> None:
    records = pairs(300)
    for number, record in enumerate(records):
        record["process"] = {"id": "p", "shadow_rss_mb": 100.0 * (number > 60) + 100.0 * (number > 200)}
    assert judged(records).cause == "memory_jump"


def test_every_cause_that_is_given_has_its_sentence() -> None:
    assert len(CAUSES) >= 20
    assert {*CLASSES, *NUMBERS} <= CAUSES.keys()
