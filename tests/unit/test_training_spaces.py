"""Which settings are tried, and in which order: a function of the plan alone."""

from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.tasks import CANDIDATES
from modelyard.training.pipeline import KINDS
from modelyard.training.plan import Plan
from modelyard.training.spaces import paths_of
from tests.fakes.training_data import plan


def plan_with(*candidates: dict[str, Any], **changes: Any) -> Plan:
    return plan(**{"target": "y", "features": {"x": "number"}, "candidates": list(candidates)} | changes)


def settings_of(spec: Plan) -> list[list[dict[str, Any]]]:
    return [[path.at(length) for path in queue for length in path.stages] for queue in paths_of(spec)]


def test_a_grid_tries_all_combinations() -> None:
    grid = {"C": [1.0, 2.0], "solver": ["lbfgs", "saga"]}
    assert settings_of(plan_with({"kind": "logistic_regression", "grid": grid})) == [
        [{"C": c, "solver": solver} for c in (1.0, 2.0) for solver in ("lbfgs", "saga")]
    ]


def test_settings_that_differ_in_the_number_of_trees_are_one_path_the_shortest_first() -> None:
    grid = {"n_estimators": [300, 100], "max_depth": [2, 3]}
    (queue,) = paths_of(plan_with({"kind": "random_forest", "grid": grid}))
    assert [(path.settings, path.lengths) for path in queue] == [
        ({"max_depth": 2}, (100, 300)),
        ({"max_depth": 3}, (100, 300)),
    ]


@pytest.mark.parametrize("odd", [{"n_estimators": [-1, 5]}, {"n_estimators": ["many", 5]}])
def test_a_number_of_trees_that_is_none_is_a_setting_by_itself(odd: dict[str, Any]) -> None:
    (queue,) = paths_of(plan_with({"kind": "random_forest", "grid": odd}))
    assert [path.lengths for path in queue] == [(), (5,)]


def test_the_leaves_of_a_built_in_forest_grow_with_the_rows() -> None:
    spec = plan_with({"kind": "random_forest"})
    smallest = [min(path.settings["min_samples_leaf"] for path in paths_of(spec, rows)[0]) for rows in (500, 100_000)]
    assert smallest == [1, 20]


def test_boosting_that_stops_early_does_not_grow() -> None:
    grid = {"max_iter": [5, 10], "early_stopping": [True]}
    (queue,) = paths_of(plan_with({"kind": "gradient_boosting", "grid": grid}))
    assert [path.lengths for path in queue] == [(), ()]


def test_a_space_is_drawn_from_the_seed_each_draw_with_all_of_the_grid() -> None:
    space = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "num_leaves": {"low": 4, "high": 64}}
    candidate = {"kind": "lightgbm", "space": space, "grid": {"n_estimators": [10, 20]}, "trials": 40}
    drawn, again, other = (settings_of(plan_with(candidate, seed=seed))[0] for seed in (1, 1, 2))
    assert drawn == again
    assert drawn != other
    assert len(drawn) == 80
    assert [settings["n_estimators"] for settings in drawn[:4]] == [10, 20, 10, 20]
    rates = [float(settings["learning_rate"]) for settings in drawn]
    assert all(0.01 <= rate <= 1.0 for rate in rates)
    assert 10 < sum(rate < 0.1 for rate in rates) < 70, "half of the draws of a logarithm lie in the lower decade"
    leaves = [settings["num_leaves"] for settings in drawn]
    assert all(isinstance(number, int) and 4 <= number <= 64 for number in leaves)
    assert len(set(leaves)) > 20


def test_a_drawn_logarithm_of_whole_numbers_is_whole_and_within_its_range() -> None:
    space = {"min_child_samples": {"low": 1, "high": 100, "log": True}}
    drawn = settings_of(plan_with({"kind": "lightgbm", "space": space, "trials": 100}))[0]
    numbers = [settings["min_child_samples"] for settings in drawn]
    assert all(isinstance(number, int) and 1 <= number <= 100 for number in numbers)
    assert {*range(1, 10)} <= set(numbers), "half of the draws lie in the lower decade"
    assert len(numbers) == len(set(numbers)) < 80, "what is drawn twice is tried once"


@pytest.mark.parametrize("task", list(CANDIDATES))
def test_no_candidates_are_every_kind_that_fits_the_task_the_simplest_first(task: str) -> None:
    metric = "rmse" if task == "regression" else "log_loss"
    queues = paths_of(plan_with(task=task, metric=metric))
    assert [{path.kind for path in queue} for queue in queues] == [{kind} for kind in CANDIDATES[task]]
    assert list(CANDIDATES[task]) == [kind for kind in KINDS if kind in CANDIDATES[task]], "one order of simplicity"
    assert all(len(queue) >= 4 for queue in queues)


def test_a_candidate_without_grid_and_space_has_the_built_in_settings() -> None:
    assert settings_of(plan_with({"kind": "lightgbm"})) == settings_of(plan_with())[3:4]


def test_for_a_metric_that_treats_classes_alike_weights_are_tried_too() -> None:
    for metric, expected in {"log_loss": False, "balanced_accuracy": True}.items():
        tried = settings_of(plan_with({"kind": "random_forest"}, metric=metric))[0]
        assert any(settings.get("class_weight") == "balanced" for settings in tried) is expected


def test_every_kind_has_a_built_in_space_that_its_estimator_accepts() -> None:
    for task in CANDIDATES:
        spec = plan_with(task=task, metric="rmse" if task == "regression" else "balanced_accuracy")
        for path in (path for queue in paths_of(spec) for path in queue):
            make = KINDS[path.kind].regressor if task == "regression" else KINDS[path.kind].classifier
            assert make is not None
            assert set(path.at(path.stages[0])) <= set(make(0).get_params(deep=False))


def test_an_unknown_setting_of_a_space_is_an_error_of_the_plan() -> None:
    with pytest.raises(UsageError, match="has no setting 'leaves'"):
        paths_of(plan_with({"kind": "lightgbm", "space": {"leaves": {"low": 1, "high": 2}}}))
