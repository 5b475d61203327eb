"""Captured records and labels become columns; nothing that is captured can make that fail."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.rollout.answers import read_answer
from modelyard.rollout.observations import Observations
from modelyard.rollout.policy import Policy
from modelyard.rollout.verdict import Verdict, verdict
from tests.fakes.captures import CHALLENGER, CHAMPION, arm, instances, pair, pairs

ASKED = [{"x": 0.5}]


def seen(*records: Any) -> Observations:
    return Observations(champion=CHAMPION, challenger=CHALLENGER).add(records)


@pytest.mark.parametrize(
    ("prediction", "form", "problem"),
    [
        (1.5, "number", ""),
        (3, "number", ""),
        (10**400, "number", "not_finite"),
        (float("nan"), "number", "not_finite"),
        (None, "number", "not_finite"),
        ("NaN", "number", "not_finite"),
        ("rain", "label", ""),
        (True, "label", ""),
        ({"label": "a", "probabilities": {"a": 0.7, "b": 0.3}}, "classes", ""),
        ({"label": 1, "probabilities": {"1": 1, "0": 0}}, "classes", ""),
        ({"label": "a", "probabilities": {"a": 0.7, "b": 0.7}}, "classes", "probabilities_invalid"),
        ({"label": "a", "probabilities": {"a": 1.3, "b": -0.3}}, "classes", "probabilities_invalid"),
        ({"label": "a", "probabilities": {"a": None, "b": 0.3}}, "classes", "not_finite"),
        ({"label": "a", "probabilities": {"a": "much"}}, "classes", "probabilities_invalid"),
        ({"label": "a", "probabilities": {}}, "classes", "probabilities_invalid"),
        ({"label": "c", "probabilities": {"a": 0.7, "b": 0.3}}, "classes", "unknown_class"),
        ([1.0, 2], "vector", ""),
        ([1.0, None], "vector", "not_finite"),
        ({"mean": 1.5, "spread": 0.1}, "vector", ""),
        ({"digit": 3, "probability": 0.9}, "other", ""),
        ({}, "other", ""),
    ],
)
def test_an_answer_is_believed_only_in_the_form_in_which_callers_get_it(
    prediction: Any, form: str, problem: str
) -> None:
    found = read_answer(prediction)
    assert (found.form, found.problem) == (form, problem)


def test_fractions_within_other_json_are_no_part_of_what_must_be_the_same() -> None:
    one, two = read_answer({"digit": 3, "probability": 0.91}), read_answer({"probability": 0.9, "digit": 3})
    assert one.key == two.key
    assert read_answer({"digit": 4, "probability": 0.91}).key != one.key


def test_records_go_where_they_belong() -> None:
    found = seen(
        pair(1, ASKED),
        arm(2, ASKED, CHAMPION),
        arm(3, ASKED, CHALLENGER),
        arm(4, ASKED, CHAMPION, failed={"version": CHALLENGER, "code": "model_failed", "message": "no"}),
        arm(5, ASKED, 9),
        {**arm(6, ASKED, CHAMPION), "mode": "live"},
        {**pair(7, ASKED), "shadow": {"version": 9, "predictions": [1]}, "mode": "shadow"},
        pair(8, ASKED, predictions=None),
    )
    assert (len(found.pairs), len(found.champion_arm), len(found.challenger_arm), found.ignored) == (1, 1, 2, 4)
    assert not found.bad


def test_a_prediction_id_counts_once_whatever_the_order() -> None:
    first, again = pair(1, ASKED), {**pair(1, ASKED), "time": "2026-11-21T00:00:00.000000Z", "latency_ms": 5.0}
    for records in ([first, again, first], [again, first, first]):
        found = seen(*records)
        assert len(found.pairs) == 1
        assert found.duplicates == 2
        assert found.pairs.milliseconds()[0].tolist() == [5.0], "the earlier one counts"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"{", "record: not a JSON object"),
        (b"\xff\xfe", "record: not a JSON object"),
        ("[" * 100_000, "record: not a JSON object"),
        (b"[1]", "record: not a JSON object"),
        (b"{}", "record: no time or no prediction_id"),
        ({**pair(1, ASKED), "version": True}, "record: no version"),
        ({**pair(1, ASKED), "instances": []}, "record: no instances"),
        ({**pair(1, ASKED), "instances": {"x": 1}}, "record: no instances"),
        ({**pair(1, ASKED), "predictions": [1, 2]}, "record: the champion's predictions are not one for each instance"),
    ],
)
def test_what_cannot_be_read_is_counted_and_named(record: Any, said: str) -> None:
    found = seen(record, pair(2, ASKED))
    assert found.bad == {said: 1}
    assert len(found.pairs) == 1


def test_of_several_labels_for_a_row_the_newest_counts_and_bad_ones_are_named() -> None:
    found = seen(pair(1, ASKED))
    key = pair(1, ASKED)["prediction_id"]
    found.add_labels(
        [
            {"prediction_id": key, "row": 0, "label": "yes", "time": "2026-11-22"},
            {"prediction_id": key, "row": 0, "label": "no", "time": "2026-11-21"},
            {"prediction_id": key, "row": -1, "label": "no"},
            {"prediction_id": key, "row": True, "label": "no"},
            {"prediction_id": key, "label": None},
            {"prediction_id": key, "label": float("nan")},
            b"nothing",
        ]
    )
    assert found.labels == {(key, 0): ("2026-11-22", "yes")}
    assert sum(found.bad.values()) == 5


def test_rows_with_redacted_inputs_are_no_repeats_and_lack_nothing() -> None:
    asked = [{"x": None, "kind": "a"}, {"x": None, "kind": None}]
    records = [arm(number, asked, CHALLENGER, lambda _: 1.0, redacted=["x", "z"]) for number in range(3)]
    table = Observations(champion=CHAMPION, challenger=CHALLENGER).add(records).challenger_arm
    assert len(set(table.inputs.tolist())) == 6
    assert table.missing.tolist() == [False, True] * 3
    named = [arm(number, [{"kind": "a"}], CHALLENGER, lambda _: 1.0, redacted=["x"]) for number in range(3)]
    table = Observations(champion=CHAMPION, challenger=CHALLENGER).add(named).challenger_arm
    assert len(set(table.inputs.tolist())) == 1  # the redacted input was not sent: nothing is unknown


def test_order_within_a_look_and_how_looks_are_cut_change_nothing() -> None:
    records = pairs(260) + [arm(1_000 + number, asked, CHALLENGER if number % 3 else CHAMPION)
                            for number, asked in enumerate(instances(240, 5))]  # fmt: skip
    policy = Policy(slices=("kind", "x"))
    whole = verdict(seen(*records), policy)
    shuffled = list(records) + records[:50]
    random.Random(1).shuffle(shuffled)  # noqa: S311 - a shuffle
    assert same(verdict(seen(*shuffled), policy), whole)
    parts = Observations(champion=CHAMPION, challenger=CHALLENGER)
    for start in range(0, len(records), 90):
        found = verdict(parts.add(records[start : start + 90]), policy)
    assert same(found, whole)


def same(one: Verdict, two: Verdict) -> bool:
    """Alike but for the count of duplicates."""
    plain = [msgspec.to_builtins(found) for found in (one, two)]
    for document in plain:
        document["samples"].pop("duplicates")
    return bool(plain[0] == plain[1])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prediction_id": st.sampled_from(["a", "b", "c", "d"]) | ANYTHING,
                "time": st.sampled_from("123") | ANYTHING,
            },
            optional={
                "version": st.sampled_from([CHAMPION, CHALLENGER]) | ANYTHING,
                "instances": st.lists(ANYTHING, max_size=2) | ANYTHING,
                "predictions": st.lists(ANYTHING, max_size=2) | ANYTHING,
                "mode": st.sampled_from(["canary", "shadow"]) | ANYTHING,
                "latency_ms": ANYTHING,
                "shadow": st.fixed_dictionaries({"version": st.just(CHALLENGER), "predictions": ANYTHING}) | ANYTHING,
                "failed": st.fixed_dictionaries({"version": st.just(CHALLENGER), "code": ANYTHING}) | ANYTHING,
                "process": ANYTHING,
            },
        )
        | ANYTHING,
        max_size=8,
    ),
    st.lists(
        ANYTHING | st.fixed_dictionaries({"prediction_id": st.sampled_from("abcd"), "label": ANYTHING}), max_size=3
    ),
)
def test_whatever_is_captured_gives_a_verdict_that_is_json(records: list[Any], labels: list[Any]) -> None:
    found = verdict(
        Observations(champion=CHAMPION, challenger=CHALLENGER).add(records).add_labels(labels),
        Policy(slices=("x",), min_samples=1),
    )
    document = msgspec.json.encode(found)
    assert json.loads(document, parse_constant=pytest.fail)["decision"] in ("promote", "continue", "abort")
    assert msgspec.json.decode(document, type=Verdict) == found


@settings(max_examples=25, deadline=None)
@given(st.lists(ANYTHING, min_size=6, max_size=6), st.integers(0, 1_000))
def test_whatever_a_challenger_answers_gives_a_verdict_that_is_json(answered: list[Any], seed: int) -> None:
    records = [
        pair(number, asked, challenger=lambda _, number=number: answered[number % 6])
        for number, asked in enumerate(instances(150, seed))
    ]
    found = verdict(seen(*records), Policy(slices=("kind", "y")))
    json.loads(msgspec.json.encode(found), parse_constant=pytest.fail)
    assert found.decision != "promote"
