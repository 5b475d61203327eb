"""The gate as a function of numbers: what passes, and what it says."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.evaluation import Check, Interval, Parity, decide
from modelyard.evaluation.gate import (
    Gap,
    check_breaking,
    check_gap,
    check_improvement,
    check_latency,
    check_parity,
    check_size,
    check_slices,
)
from modelyard.evaluation.slices import FEWEST_ROWS, Slice
from modelyard.metrics import METRICS


def improvement(**numbers: Any) -> Check:
    given: dict[str, Any] = {
        "champion": None, "baseline": 1.0, "metric": "log_loss", "min_improvement": 0.0, "rows": 148,
        "interval": Interval(0.05, 0.2, 0.9, 2_000, 0.001),
    }  # fmt: skip
    return check_improvement(**(given | numbers))


def sure(low: float, high: float = 1.0, chance: float = 0.001) -> Interval:
    return Interval(low, high, 0.9, 2_000, chance)


@pytest.mark.parametrize(
    ("numbers", "passed"),
    [
        ({"challenger": 0.9}, True),
        ({"challenger": 1.0, "interval": sure(0.0, 0.0)}, False),
        ({"challenger": 1.1, "interval": sure(-0.2, 0.1)}, False),
        ({"challenger": 0.94, "min_improvement": 0.5}, True),
        ({"challenger": 0.9, "metric": "accuracy", "baseline": 0.8}, True),
        ({"challenger": 0.9, "interval": sure(-0.01)}, False),
        ({"challenger": 0.9, "interval": sure(0.0)}, False),
        ({"challenger": 0.9, "interval": sure(1e-15)}, False),
        ({"champion": 0.5, "challenger": 0.4}, True),
        ({"champion": 0.5, "challenger": 0.4, "min_improvement": 0.05}, True),
        ({"champion": 0.5, "challenger": 0.4, "min_improvement": 0.06}, False),
        ({"champion": 0.56, "challenger": 0.57, "min_improvement": 0.01, "metric": "accuracy",
          "interval": sure(0.57 - 0.56)}, True),
        ({"champion": 0.5, "challenger": math.nan}, False),
        ({"champion": math.inf, "challenger": math.inf}, False),
        ({"champion": 0.5, "challenger": 0.4, "interval": Interval(None, None)}, False),
    ],
)  # fmt: skip
def test_the_gate_asks_for_a_sure_improvement(numbers: dict[str, Any], passed: bool) -> None:
    assert improvement(**numbers).passed is passed


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (
            {"champion": 0.634, "challenger": 0.512, "min_improvement": 0.01},
            "log_loss 0.512 against 0.634 of the champion on 148 held-out rows: better by 0.122, with 95 % confidence "
            "by at least 0.05, and at least 0.01 was asked for",
        ),
        (
            {"challenger": 0.9},
            "log_loss 0.9 against 1 of the baseline without learning on 148 held-out rows: better by 0.1, with 95 % "
            "confidence by at least 0.05",
        ),
        (
            {"champion": 0.5, "challenger": 0.498, "min_improvement": 0.01, "interval": sure(-0.1, 0.2, 0.4)},
            "log_loss 0.498 against 0.5 of the champion on 148 held-out rows: better by 0.002 (90 % interval -0.1 to "
            "0.2), but 0.01 is asked for",
        ),
        (
            {"champion": 0.5, "challenger": 0.46, "interval": sure(-0.02, 0.1, 0.2)},
            "log_loss 0.46 against 0.5 of the champion on 148 held-out rows: better by 0.04, but with 95 % confidence "
            "chance may explain it (90 % interval -0.02 to 0.1); about 570 rows would show an improvement of this size",
        ),
        (
            {"champion": 0.5, "challenger": 0.46, "min_improvement": 0.02, "interval": sure(0.01, 0.07)},
            "log_loss 0.46 against 0.5 of the champion on 148 held-out rows: better by 0.04, but with 95 % confidence "
            "only by at least 0.01, and 0.02 is asked for; about 340 rows would show an improvement of this size",
        ),
        (
            {"champion": 0.5, "challenger": 0.6, "interval": sure(-0.2, 0.0)},
            "log_loss 0.6 against 0.5 of the champion on 148 held-out rows: worse by 0.1 (90 % interval -0.2 to 0)",
        ),
        (
            {"challenger": 1.0, "interval": sure(0.0, 0.0)},
            "log_loss 1 against 1 of the baseline without learning on 148 held-out rows: no different",
        ),
        (
            {"champion": 0.5, "challenger": math.nan},
            "log_loss nan against 0.5 of the champion on 148 held-out rows: not to be compared",
        ),
    ],
)
def test_the_gate_says_why_with_the_numbers(numbers: dict[str, Any], said: str) -> None:
    assert improvement(**numbers).said == said


finite = st.floats(-10, 10)


@given(st.none() | finite, finite, finite, st.floats(0, 1), st.sampled_from(sorted(METRICS)), st.floats(0, 3))
@settings(deadline=None)
def test_what_passes_the_gate_is_better(
    champion: float | None, challenger: float, baseline: float, asked: float, name: str, wide: float
) -> None:
    opposed = baseline if champion is None else champion
    gained = METRICS[name].improvement(challenger, opposed)
    needed = 0.0 if champion is None else asked
    check = check_improvement(
        champion=champion, challenger=challenger, baseline=baseline, metric=name, min_improvement=asked, rows=50,
        interval=Interval(gained - wide, gained + wide, 0.9, 2_000, 0.01),
    )  # fmt: skip
    if check.passed:
        assert gained > 0
        assert gained - wide >= needed - 1e-10
    elif gained - wide > 1e-10:
        assert gained - wide < needed + 1e-10


# --- the others


def parity(**found: Any) -> Parity:
    return Parity(**({"passed": True, "largest": 2e-7, "tolerance": 0.001, "rows": 148, "worst": ()} | found))


def part(gained: float | None, rows: int = 50, *, passed: bool = True, value: str = "fog") -> Slice:
    return Slice("weather", value, rows, 0.5, 0.5, gained, -0.1, 0.1, passed, judged=rows >= FEWEST_ROWS)


ALL = [
    (
        check_parity(parity()),
        True,
        "the ONNX file answers 148 rows as the trained model did: the largest difference is 2e-07, and 0.001 is "
        "allowed",
    ),
    (
        check_parity(parity(rows=0, largest=None)),
        True,
        "the training gave no answers of its own, so there is nothing to hold the ONNX file against",
    ),
    (check_slices([], [], metric="mae", max_loss=None), True, "no slices are asked for"),
    (
        check_slices([part(-0.02), part(0.3, value="sun"), part(-9, 19)], [], metric="mae", max_loss=None),
        True,
        "the worst of 3 slices is weather = fog, worse by 0.02 (50 rows); no limit is set; 1 with fewer than 20 rows "
        "are not judged",
    ),
    (
        check_slices([part(-0.2, passed=False), part(0.3, value="sun")], [], metric="mae", max_loss=0.05),
        False,
        "1 of 2 slices loses more mae than the 0.05 that is allowed: weather = fog, worse by 0.2 (50 rows)",
    ),
    (
        check_slices([part(-n, passed=False, value=f"v{n}") for n in range(1, 6)], [], metric="mae", max_loss=0.5),
        False,
        "5 of 5 slices lose more mae than the 0.5 that is allowed: weather = v5, worse by 5 (50 rows), weather = v4, "
        "worse by 4 (50 rows), weather = v3, worse by 3 (50 rows) and 2 more",
    ),
    (
        check_slices([], ["region"], metric="mae", max_loss=0.5),
        False,
        "the frozen rows lack what is to be sliced: region; a new evaluation set would have it",
    ),
    (
        check_slices([part(-0.02)], ["a", "b"], metric="mae", max_loss=0.5),
        False,
        "the worst of 1 slices is weather = fog, worse by 0.02 (50 rows); 0.5 may be lost; the frozen rows lack "
        "what is to be sliced: a, b; a new evaluation set would have it",
    ),
    (
        check_gap(Gap(0.95, 0.9, 0.05), metric="accuracy", max_gap=0.05),
        True,
        "accuracy is better by 0.05 on training rows (0.95) than on held-out rows (0.9); at most 0.05 is allowed",
    ),
    (
        check_gap(Gap(0.95, 0.9, 0.05), metric="accuracy", max_gap=0.02),
        False,
        "accuracy is better by 0.05 on training rows (0.95) than on held-out rows (0.9); at most 0.02 is allowed",
    ),
    (
        check_gap(Gap(0.9, 0.95, -0.05), metric="accuracy", max_gap=None),
        True,
        "accuracy is no better on training rows (0.9) than on held-out rows (0.95); no limit is set",
    ),
    (
        check_gap(None, metric="accuracy", max_gap=0.1),
        False,
        "there are no training rows to compare the held-out rows with; at most 0.1 is allowed",
    ),
    (check_latency(0.31, 0.28, most=5), True, "one row takes 0.31 ms (the champion 0.28 ms); at most 5 ms is allowed"),
    (check_latency(7.2, None, most=5), False, "one row takes 7.2 ms; at most 5 ms is allowed"),
    (check_size(1.25, most=None), True, "the ONNX file weighs 1.25 MB; no limit is set"),
    (check_size(1.25, most=1.2), False, "the ONNX file weighs 1.25 MB; at most 1.2 MB is allowed"),
    (check_breaking([], champion=3), True, "nothing that callers rely on is broken"),
    (
        check_breaking(["input 'wind' is gone", "output 'label' is gone"], champion=3),
        False,
        "it would break callers of the champion, version 3: input 'wind' is gone; output 'label' is gone",
    ),
]


@pytest.mark.parametrize(
    ("check", "passed", "said"), ALL, ids=[f"{one[0].name} {one[1]} {n}" for n, one in enumerate(ALL)]
)
def test_every_check_says_one_sentence_with_its_numbers(check: Check, passed: bool, said: str) -> None:
    assert (check.passed, check.said) == (passed, said)


def test_what_passes_gives_the_improvement_as_its_reason() -> None:
    better = improvement(challenger=0.9)
    decision = decide([check_parity(parity()), better, check_size(1, most=2)])
    assert (decision.passed, decision.reason) == (True, better.said)


def test_what_fails_names_every_check_that_failed_and_no_other() -> None:
    failed = [improvement(challenger=1.0, interval=sure(0, 0)), check_size(3, most=2), check_latency(3, None, most=2)]
    decision = decide([check_parity(parity()), failed[0], failed[2], failed[1]])
    assert not decision.passed
    assert decision.reason == f"{failed[0].said}; and {failed[2].said}; and {failed[1].said}"
