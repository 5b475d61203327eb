"""Values in another column's place: what is told, and what is only unusual."""

import numpy as np
import pytest

from modelyard.training.misplaced import FEWEST, answers_among, changed_places

NAN = float("nan")
HEAVY, QUICK = [1600.0, 3000.0, 5000.0], [8.0, 15.0, 23.0]


def places(*files: tuple[list[float], list[float]]) -> list[str]:
    """Findings for files with two columns of three rows each."""
    columns = {
        name: np.array([value for file in files for value in file[at]]) for at, name in enumerate(("weight", "seconds"))
    }
    rows = np.repeat(np.arange(len(files)), [len(file[0]) for file in files])
    return list(changed_places(columns, rows, [f"{number}.csv" for number in range(len(files))]))


def test_columns_that_have_each_others_values_in_one_file_are_named() -> None:
    (said,) = places((HEAVY, QUICK), (HEAVY, QUICK), (QUICK, HEAVY))
    assert said == (
        "2.csv: columns 'weight' and 'seconds' have changed places: 'weight' is 8 to 23 here and 1600 to 5000 in the "
        "files before, 'seconds' is 1600 to 5000 and 8 to 23"
    )


@pytest.mark.parametrize(
    "files",
    [
        [(HEAVY, QUICK)],
        [(HEAVY, QUICK), (HEAVY, QUICK)],
        [(HEAVY, QUICK), ([value / 1000 for value in HEAVY], QUICK)],  # in tonnes
        [(HEAVY, QUICK), ([value + 9000 for value in HEAVY], [value + 9000 for value in QUICK])],
        [(HEAVY, QUICK), ([8.0, 9.0, 1600.0], HEAVY)],  # some value is where it was
        [(HEAVY, QUICK), ([NAN] * 3, HEAVY)],
        [(HEAVY, [NAN] * 3), (QUICK, HEAVY)],  # nobody knows what the second looked like
        [(QUICK, QUICK), (HEAVY, HEAVY)],
        [([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), ([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])],  # alike, so not to be told
    ],
)
def test_what_may_be_drift_or_another_unit_is_no_finding(files: list[tuple[list[float], list[float]]]) -> None:
    assert places(*files) == []


def test_missing_values_do_not_hide_it() -> None:
    assert len(places(([NAN, *HEAVY[1:]], QUICK), (QUICK, [HEAVY[0], NAN, HEAVY[2]]))) == 1


def labels(odd: int) -> np.ndarray:
    return np.array(["yes"] * odd + ["no"] * 30, dtype=object)


@pytest.mark.parametrize(("odd", "found"), [(FEWEST - 1, 0), (FEWEST, 1)])
def test_a_feature_that_says_the_same_by_chance_is_no_answer(odd: int, found: int) -> None:
    target = labels(odd)
    other = np.where(target == "yes", "no", "yes").astype(object)
    assert len(list(answers_among({"same": target.copy(), "other": other}, target))) == found


def test_one_row_that_differs_is_enough_to_be_a_feature() -> None:
    target = labels(20)
    feature = target.copy()
    feature[0] = "no"
    assert list(answers_among({"feature": feature}, target)) == []
