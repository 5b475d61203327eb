"""The ONNX file's answers beside the framework's."""

import json
import math
from typing import Any

import msgspec
import pytest

from modelyard.errors import UsageError
from modelyard.evaluation import compare


def classified(label: str, **probabilities: float) -> dict[str, Any]:
    return {"label": label, "probabilities": probabilities}


def test_equal_answers_have_parity_and_no_worst_rows() -> None:
    rows = [classified("fog", fog=0.7, rain=0.3), classified("rain", fog=0.2, rain=0.8)]
    parity = compare(rows, rows, tolerance=1e-6)
    assert parity.passed
    assert parity.largest == 0
    assert parity.worst == ()


def test_the_worst_rows_are_shown_worst_first() -> None:
    expected = [classified("fog", fog=0.7, rain=0.3)] * 8
    answered = [classified("fog", fog=0.7 - step / 100, rain=0.3 + step / 100) for step in range(8)]
    parity = compare(expected, answered, tolerance=0.001)
    assert not parity.passed
    assert parity.largest == pytest.approx(0.07)
    assert [found.row for found in parity.worst] == [7, 6, 5, 4, 3]
    assert parity.worst[0].answered == answered[7]


def test_another_label_is_no_parity_unless_both_were_as_probable() -> None:
    clear = [classified("fog", fog=0.7, rain=0.3)], [classified("rain", fog=0.7, rain=0.3)]
    assert compare(*clear, tolerance=0.01).largest == 1.0
    tied = [classified("fog", fog=0.501, rain=0.499)], [classified("rain", fog=0.499, rain=0.501)]
    assert compare(*tied, tolerance=0.01).passed


def test_a_class_that_one_side_lacks_counts_as_probability_zero() -> None:
    parity = compare([classified("fog", fog=0.9, rain=0.1)], [classified("fog", fog=0.9)], tolerance=0.01)
    assert parity.largest == pytest.approx(0.1)


def test_values_may_differ_by_a_share_of_their_size() -> None:
    assert compare([5e6, 0.1], [5e6 + 100, 0.1], tolerance=1e-4).passed
    assert not compare([5e6, 0.1], [5e6, 0.1002], tolerance=1e-4).passed


def test_an_answer_that_is_no_number_is_as_far_off_as_can_be() -> None:
    parity = compare([1.0, 2.0], [1.0, math.nan], tolerance=0.5)
    assert not parity.passed
    assert parity.worst[0].row == 1


def test_a_missing_answer_or_an_unknown_form_is_refused() -> None:
    with pytest.raises(UsageError, match="1 answers for 2 rows"):
        compare([1.0, 2.0], [1.0], tolerance=0.5)
    with pytest.raises(UsageError, match="prediction 0 is fog; expected an object"):
        compare([classified("fog", fog=1.0)], ["fog"], tolerance=0.5)
    with pytest.raises(UsageError, match="expected a number"):
        compare([1.0], [[1.0]], tolerance=0.5)


def test_a_probability_that_is_no_number_is_as_far_off_wherever_it_stands() -> None:
    sound = classified("fog", fog=0.9, rain=0.1)
    for broken in (classified("fog", fog=math.nan, rain=0.1), classified("fog", fog=0.9, rain=math.nan)):
        assert not compare([sound], [broken], tolerance=0.5).passed
        assert not compare([broken], [sound], tolerance=0.5).passed


def test_what_is_no_number_stands_as_null_in_json() -> None:
    parity = compare([math.nan, classified("a", a=1.0)], [1.0, classified("a", a=math.inf)], tolerance=0.5)
    document = msgspec.to_builtins(parity)
    json.dumps(document, allow_nan=False)
    assert document["largest"] is None
    assert document["worst"][0] == {"row": 0, "difference": None, "expected": None, "answered": 1.0}


def test_probabilities_of_text_are_refused() -> None:
    with pytest.raises(UsageError, match="expected probabilities that are numbers"):
        compare([classified("a", a=1.0)], [{"label": "a", "probabilities": {"a": "1"}}], tolerance=0.5)
