"""Folds repeat what the frozen rows were chosen for: whole groups, newer rows, or the same share of every class."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from modelyard.errors import UsageError
from modelyard.training.folds import folds_of
from tests.fakes.training_data import csv_file, plan, weather, weather_plan, whole


def grouped(task: str, rows: int = 60, groups: int = 7) -> tuple[Any, Any]:
    draw = np.random.default_rng(1)
    names = [f"patient {draw.integers(groups)}" for _ in range(rows)]
    goals = [draw.normal() if task == "regression" else ("ab"[number % 2]) for number in range(rows)]
    cells = [[number, name, goal] for number, (name, goal) in enumerate(zip(names, goals, strict=True))]
    metric = "rmse" if task == "regression" else "log_loss"
    kinds = ["linear_regression" if task == "regression" else "logistic_regression"]
    split = {"by": "group", "column": "patient"}
    spec = plan(target="y", features={"x": "number"}, task=task, metric=metric, kinds=kinds, split=split)
    return spec, whole(spec, csv_file(["x", "patient", "y"], cells))


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_group_is_never_on_both_sides_of_a_fold(task: str) -> None:
    spec, table = grouped(task)
    folds = folds_of(spec, table)
    assert len(folds) == 3
    patients = table.others["patient"]
    for learned, scored in folds:
        assert not {*patients[learned]} & {*patients[scored]}
    assert sorted(np.concatenate([scored for _, scored in folds]).tolist()) == list(range(len(table)))


def test_fewer_groups_than_folds_are_as_many_folds_as_groups() -> None:
    spec, table = grouped("binary", rows=20, groups=2)
    assert len(folds_of(spec, table)) == 2


def test_one_group_alone_cannot_be_cross_validated() -> None:
    spec, table = grouped("binary", rows=20, groups=1)
    with pytest.raises(UsageError, match="needs at least 2 groups"):
        folds_of(spec, table)


def test_with_a_split_by_time_every_fold_is_scored_on_newer_rows_than_it_learned_from() -> None:
    spec = weather_plan(split={"by": "time", "column": "date"}, folds=5)
    table = whole(spec, weather(2013)[0])
    shuffled = table.take(np.ones(len(table), dtype=bool))
    shuffled.columns["date"][:] = shuffled.columns["date"][::-1]
    folds = folds_of(spec, shuffled)
    assert len(folds) == 5
    days = shuffled.columns["date"]
    for learned, scored in folds:
        assert max(days[learned]) < min(days[scored])


def test_rows_of_one_time_stay_together() -> None:
    rows = [[number, f"2024-01-{1 + number // 10:02}", "ab"[number % 2]] for number in range(100)]
    spec = plan(target="y", features={"x": "number"}, split={"by": "time", "column": "day"})
    table = whole(spec, csv_file(["x", "day", "y"], rows))
    for learned, scored in folds_of(spec, table):
        assert not {*table.others["day"][learned]} & {*table.others["day"][scored]}


def test_a_fold_whose_older_rows_are_all_of_one_class_is_left_out() -> None:
    rows = [[number, f"2024-01-{1 + number:02}", "a" if number < 12 else "ab"[number % 2]] for number in range(28)]
    spec = plan(target="y", features={"x": "number"}, split={"by": "time", "column": "day"}, folds=3)
    table = whole(spec, csv_file(["x", "day", "y"], rows))
    folds = folds_of(spec, table)
    assert len(folds) == 2
    assert all(len(set(table.target[learned])) == 2 for learned, _ in folds)


def test_without_a_rule_every_fold_has_the_same_share_of_every_class() -> None:
    spec = weather_plan(folds=4)
    table = whole(spec, weather(2012)[0])
    counts = Counter(table.target.tolist())
    for _, scored in folds_of(spec, table):
        found = Counter(table.target[scored].tolist())
        assert all(abs(found[name] - count / 4) <= 1 for name, count in counts.items())


def survey(different: int, rows: int) -> tuple[Any, Any]:
    """As many different rows as said, each as often as it takes to fill the table."""
    spec = plan(target="y", features={"x": "number", "s": "category"}, kinds=["logistic_regression"])
    seen = [[at, f"s{at % 3}"] if at % 7 else ["", f"s{at}"] for at in range(1, different + 1)]
    cells = [[*seen[at % different], "ab"[at % 2]] for at in range(rows)]
    return spec, whole(spec, csv_file(["x", "s", "y"], cells))


def test_rows_that_say_the_same_stay_on_one_side_whatever_their_answer_is() -> None:
    spec, table = survey(different=45, rows=120)
    said = list(zip(map(str, table.columns["x"]), table.columns["s"], strict=True))
    for learned, scored in folds_of(spec, table):
        assert not {said[at] for at in learned} & {said[at] for at in scored}


def test_where_rows_are_mostly_alike_they_are_divided_at_random() -> None:
    spec, table = survey(different=4, rows=120)
    said = list(zip(map(str, table.columns["x"]), table.columns["s"], strict=True))
    for learned, scored in folds_of(spec, table):
        assert {said[at] for at in learned} == {said[at] for at in scored}
        assert Counter(table.target[scored].tolist()) == {"a": 20, "b": 20}


def test_rows_that_are_all_different_have_the_folds_that_they_always_had() -> None:
    spec, table = survey(different=60, rows=60)
    assert [len(scored) for _, scored in folds_of(spec, table)] == [20, 20, 20]
