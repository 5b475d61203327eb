"""Cross-validation: the same folds for all, the baseline always listed, and troubles told instead of raised."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from modelyard.errors import UsageError
from modelyard.training.pipeline import build
from modelyard.training.plan import Plan
from modelyard.training.search import BASELINE, Score, describe, search, winner
from modelyard.training.table import read_table
from tests.fakes.training_data import diabetes, iris, plan


@pytest.fixture(scope="session")
def flowers() -> tuple[Any, Any, tuple[str, ...]]:
    file, columns = iris()
    table = read_table(plan(target="species", features=dict.fromkeys(columns, "number")), [file]).table
    assert table is not None
    everything = np.ones(len(table), dtype=bool)
    return table.matrix(everything), table.target, columns


def flower_plan(columns: tuple[str, ...], **changes: Any) -> Plan:
    return plan(**{"target": "species", "features": dict.fromkeys(columns, "number")} | changes)


def test_every_combination_of_settings_is_scored_and_the_baseline_is_listed(flowers: Any) -> None:
    matrix, target, columns = flowers
    grids = {"random_forest": {"n_estimators": [2, 5], "max_depth": [1, 2]}, "logistic_regression": {"C": [0.1]}}
    told: list[str] = []
    spec = flower_plan(columns, kinds=["logistic_regression", "random_forest"], grids=grids)
    leaderboard = search(spec, matrix, target, progress=told.append)
    tried = [(score.candidate, score.settings) for score in leaderboard]
    assert len(tried) == 6
    assert ("random_forest", {"n_estimators": 5, "max_depth": 1}) in tried
    assert (BASELINE, {}) in tried
    assert len(told) == 6
    assert told[0].startswith("1/6 baseline: log_loss 1.09")
    means = [score.mean for score in leaderboard]
    assert means == sorted(means, key=lambda mean: mean or 0.0), "lower is better for log loss"
    assert winner(leaderboard) == leaderboard[0]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy", "f1_macro"])
def test_scores_are_those_of_scikit_learns_own_grid_search(flowers: Any, metric: str) -> None:
    matrix, target, columns = flowers
    spec = flower_plan(columns, metric=metric, grids={"logistic_regression": {"C": [0.01, 1.0]}})
    scoring = {"log_loss": "neg_log_loss"}.get(metric, metric)
    reference = GridSearchCV(
        build(spec, "logistic_regression", {}),
        {"estimator__C": [0.01, 1.0]},
        scoring=scoring,
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    ).fit(matrix, target)
    found = {score.settings["C"]: score for score in search(spec, matrix, target) if score.settings}
    for number, c in enumerate([0.01, 1.0]):
        assert found[c].mean == pytest.approx(abs(reference.cv_results_["mean_test_score"][number]), rel=1e-6)
        assert found[c].std == pytest.approx(reference.cv_results_["std_test_score"][number], rel=1e-5)


def test_a_regression_is_scored_as_scikit_learn_scores_it() -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression",
        features=dict.fromkeys(columns, "number"),
        task="regression",
        metric="r2",
        kinds=["linear_regression"],
    )
    table = read_table(spec, [file]).table
    assert table is not None
    matrix = table.matrix(np.ones(len(table), dtype=bool))
    best = search(spec, matrix, table.target)[0]
    from sklearn.model_selection import KFold

    reference = cross_val_score(
        build(spec, "linear_regression", {}), matrix, table.target, cv=KFold(3, shuffle=True, random_state=0)
    )
    assert best.folds == pytest.approx(reference, rel=1e-5)
    assert best.mean == pytest.approx(0.48, abs=0.03), "published R² of a linear model on this study is about 0.5"


def test_a_class_rarer_than_the_folds_does_not_stop_the_search(flowers: Any) -> None:
    matrix, target, columns = flowers
    rare = target.copy()
    rare[:2] = "sport"
    spec = flower_plan(columns, kinds=["logistic_regression", "gradient_boosting"], folds=5)
    leaderboard = search(spec, matrix, rare)
    assert all(score.mean is not None and len(score.folds) == 5 for score in leaderboard)


def test_every_class_rarer_than_the_folds_does_not_stop_the_search_either(flowers: Any) -> None:
    matrix, target, columns = flowers
    few = [0, 1, 60, 61, 120, 121]
    leaderboard = search(flower_plan(columns, folds=5), matrix[few], target[few])
    assert winner(leaderboard).mean is not None


def test_more_folds_than_rows_become_as_many_folds_as_rows(flowers: Any) -> None:
    matrix, target, columns = flowers
    few = [0, 1, 2, 60, 61, 62]
    assert len(search(flower_plan(columns, folds=20), matrix[few], target[few])[0].folds) == 6


def test_a_value_that_scikit_learn_refuses_is_listed_last_with_the_reason(flowers: Any) -> None:
    matrix, target, columns = flowers
    spec = flower_plan(columns, grids={"logistic_regression": {"C": [-1.0, 1.0]}})
    last = search(spec, matrix, target)[-1]
    assert last.settings == {"C": -1.0}
    assert last.mean is None
    assert "'C' parameter of LogisticRegression must be a float in the range" in describe(last, "log_loss")


def test_when_nothing_can_be_fitted_every_reason_is_told(flowers: Any) -> None:
    matrix, target, columns = flowers
    spec = flower_plan(columns, grids={"logistic_regression": {"C": [-1.0, -2.0]}})
    with pytest.raises(UsageError) as caught:
        search(spec, matrix, target)
    assert caught.value.code == "nothing_fitted"
    assert "logistic_regression(C=-1.0)" in caught.value.message
    assert "logistic_regression(C=-2.0)" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grids": {"logistic_regression": {"c": [1.0]}}}, "has no setting 'c'; it has C, class_weight"),
        ({"grids": {"logistic_regression": {"random_state": [1]}}}, "has no setting 'random_state'"),
        ({"grids": {"logistic_regression": {"C": []}}}, "tries no value of 'C'"),
        ({"kinds": ["linear_regression"]}, "candidate 'linear_regression' does not fit task 'multiclass'"),
    ],
)
def test_a_grid_that_cannot_be_tried_is_an_error_of_the_plan(flowers: Any, changes: dict[str, Any], said: str) -> None:
    matrix, target, columns = flowers
    with pytest.raises(UsageError, match="candidate") as caught:
        search(flower_plan(columns, **changes), matrix, target)
    assert said in caught.value.message
    assert caught.value.code == "invalid_plan"
    assert caught.value.next_step


def test_the_baseline_is_the_entropy_of_the_classes(flowers: Any) -> None:
    matrix, target, columns = flowers
    scores = search(flower_plan(columns), matrix, target)
    found = next(score for score in scores if score.candidate == BASELINE)
    shares = np.full((len(target), 3), 1 / 3)
    assert found.mean == pytest.approx(sklearn_log_loss(target, shares), rel=1e-3)


def test_the_baseline_never_wins() -> None:
    scores = [Score(BASELINE, {}, mean=0.1, std=0.0), Score("random_forest", {}, mean=0.2, std=0.0)]
    assert winner(scores).candidate == "random_forest"
