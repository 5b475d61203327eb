"""What is wrong with a challenger is named: each cause from a challenger that is bad in that way."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from modelyard.contract.checking import Problem
from modelyard.rollout.causes import CAUSES
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
from modelyard.rollout.verdict import Verdict, verdict
from tests.fakes.captures import (
    CHALLENGER,
    CHAMPION,
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


def test_answers_of_a_models_own_code_are_compared_but_for_their_fractions() -> None:
    def own(instance: dict[str, Any]) -> dict[str, Any]:
        return {"digit": int(instance["y"]), "probability": 0.5 + instance["x"] / 100}

    near = judged(pairs(200, own, lambda one: {**own(one), "probability": 0.9}))
    assert near.decision == "continue"
    assert judged(pairs(200, own, lambda one: {**own(one), "digit": 3})).decision == "abort"


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
