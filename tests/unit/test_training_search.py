"""Cross-validation: the same folds for all, the baseline always listed, and troubles told instead of raised."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score

from modelyard.errors import UsageError
from modelyard.training import lightgbm_trees
from modelyard.training.leaderboard import BASELINE, Score, describe, in_words, winner
from modelyard.training.pipeline import build
from modelyard.training.plan import Plan
from modelyard.training.search import budget_of, search
from modelyard.training.table import Table
from tests.fakes.training_data import diabetes, iris, plan, weather, weather_plan, whole

COLUMNS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")


def flower_plan(**changes: Any) -> Plan:
    return plan(**{"target": "species", "features": dict.fromkeys(COLUMNS, "number")} | changes)


@pytest.fixture(scope="session")
def flowers() -> Table:
    file, columns = iris()
    assert columns == COLUMNS
    return whole(flower_plan(), file)


def some(table: Table, rows: list[int]) -> Table:
    mask = np.zeros(len(table), dtype=bool)
    mask[rows] = True
    return table.take(mask)


def with_target(table: Table, target: Any) -> Table:
    return Table(table.columns, target, table.others, table.files, table.headers, table.rows)


def ticking(step: float) -> Callable[[], float]:
    """A clock on which every reading is ``step`` seconds after the one before."""
    readings = itertools.count()
    return lambda: next(readings) * step


def untimed(leaderboard: list[Score]) -> list[Score]:
    return [msgspec.structs.replace(score, seconds=0.0) for score in leaderboard]


def test_every_combination_of_settings_is_scored_and_the_baseline_is_listed(flowers: Table) -> None:
    grids = {"random_forest": {"n_estimators": [2, 5], "max_depth": [1, 2]}, "logistic_regression": {"C": [0.1]}}
    told: list[str] = []
    spec = flower_plan(kinds=["logistic_regression", "random_forest"], grids=grids, seed=1)
    leaderboard = search(spec, flowers, progress=told.append).leaderboard
    tried = [(score.candidate, score.settings) for score in leaderboard]
    assert len(tried) == 6
    assert ("random_forest", {"n_estimators": 5, "max_depth": 1}) in tried
    assert (BASELINE, {}) in tried
    assert [line[:4] for line in told[:6]] == [f"{number}/6 " for number in range(1, 7)]
    assert all(line.startswith("final: ") for line in told[6:])
    assert told[0].startswith("1/6 baseline: log_loss 1.09")
    for final in (True, False):
        means = [score.mean for score in leaderboard if score.problem is None and score.final is final]
        assert len(means) > 1
        assert means == sorted(means, key=lambda mean: mean or 0.0), "lower is better for log loss"
    assert winner(leaderboard) == leaderboard[0]


def test_candidates_take_turns_each_with_its_next_setting(flowers: Table) -> None:
    grids = {"logistic_regression": {"C": [1.0, 2.0, 3.0]}, "lightgbm": {"num_leaves": [3, 4], "n_estimators": [3]}}
    told: list[str] = []
    search(flower_plan(kinds=["lightgbm", "logistic_regression"], grids=grids, folds=2), flowers, progress=told.append)
    tried = [line.split(" ")[1].partition("(")[0].rstrip(":") for line in told if not line.startswith("final: ")]
    assert tried == [
        "baseline",
        *("lightgbm", "logistic_regression"),
        *("lightgbm", "logistic_regression"),
        "logistic_regression",
    ]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy", "f1_macro"])
def test_scores_are_those_of_scikit_learns_own_grid_search(flowers: Table, metric: str) -> None:
    spec = flower_plan(metric=metric, grids={"logistic_regression": {"C": [0.3, 1.0]}})
    scoring = {"log_loss": "neg_log_loss"}.get(metric, metric)
    reference = GridSearchCV(
        build(spec, "logistic_regression", {}),
        {"estimator__C": [0.3, 1.0]},
        scoring=scoring,
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    ).fit(flowers.matrix(), flowers.target)
    found = {score.settings["C"]: score for score in search(spec, flowers).leaderboard if score.settings}
    for number, c in enumerate([0.3, 1.0]):
        assert found[c].problem is None
        theirs = [abs(reference.cv_results_[f"split{fold}_test_score"][number]) for fold in range(3)]
        assert found[c].folds[:3] == pytest.approx(theirs, rel=1e-6)
        assert found[c].mean == pytest.approx(np.mean(found[c].folds))
        assert found[c].std == pytest.approx(np.std(found[c].folds))


def test_a_regression_is_scored_as_scikit_learn_scores_it() -> None:
    file, columns = diabetes()
    features = dict.fromkeys(columns, "number")
    spec = plan(target="progression", features=features, task="regression", metric="r2", kinds=["linear_regression"])
    table = whole(spec, file)
    best = search(spec, table).leaderboard[0]
    model = build(spec, "linear_regression", {})
    reference = cross_val_score(
        model, table.matrix(), table.target, cv=KFold(3, shuffle=True, random_state=0), scoring="r2"
    )
    assert best.folds == pytest.approx(reference, rel=1e-5)
    assert best.mean == pytest.approx(0.48, abs=0.03), "published R² of a linear model on this study is about 0.5"


def test_a_class_rarer_than_the_folds_does_not_stop_the_search(flowers: Table) -> None:
    rare = flowers.target.copy()
    rare[:2] = "sport"
    kinds = ["logistic_regression", "gradient_boosting", "lightgbm", "neural_network", "random_forest"]
    leaderboard = search(flower_plan(kinds=kinds, folds=5), with_target(flowers, rare)).leaderboard
    assert {score.candidate for score in leaderboard if score.mean is not None} == {BASELINE, *kinds}


def test_every_class_rarer_than_the_folds_does_not_stop_the_search_either(flowers: Table) -> None:
    leaderboard = search(flower_plan(folds=5), some(flowers, [0, 1, 60, 61, 120, 121])).leaderboard
    assert winner(leaderboard).mean is not None


def test_more_folds_than_rows_become_as_many_folds_as_rows(flowers: Table) -> None:
    leaderboard = search(flower_plan(folds=20), some(flowers, [0, 1, 2, 60, 61, 62])).leaderboard
    assert len(leaderboard[0].folds) == 6


@pytest.mark.parametrize(
    ("kind", "wrong", "right", "said"),
    [
        ("logistic_regression", {"C": -1.0}, {"C": 1.0}, "'C' parameter of LogisticRegression must be a float in"),
        ("random_forest", {"n_estimators": -5}, {"n_estimators": 5}, "'n_estimators' parameter of RandomForestCl"),
        ("gradient_boosting", {"max_iter": 5, "max_leaf_nodes": 1}, {"max_iter": 5}, "'max_leaf_nodes' parameter"),
        ("lightgbm", {"n_estimators": 5, "num_leaves": 1}, {"n_estimators": 5}, "num_leaves"),
        ("lightgbm", {"n_estimators": 5, "learning_rate": "fast"}, {"n_estimators": 5}, "learning_rate"),
        ("neural_network", {"width": 0}, {"width": 4}, "hidden_layer_sizes must be > 0"),
    ],
)
def test_a_value_that_the_library_refuses_is_listed_last_with_the_reason(
    flowers: Table, kind: str, wrong: dict[str, Any], right: dict[str, Any], said: str
) -> None:
    candidates = [{"kind": kind, "grid": {name: [value] for name, value in grid.items()}} for grid in (wrong, right)]
    last = search(flower_plan(candidates=candidates), flowers).leaderboard[-1]
    assert last.settings == wrong
    assert last.mean is None
    assert said in describe(last, "log_loss")


def test_when_nothing_can_be_fitted_every_reason_is_told(flowers: Table) -> None:
    with pytest.raises(UsageError) as caught:
        search(flower_plan(grids={"logistic_regression": {"C": [-1.0, -2.0]}}), flowers)
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
def test_a_grid_that_cannot_be_tried_is_an_error_of_the_plan(
    flowers: Table, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match="candidate") as caught:
        search(flower_plan(**changes), flowers)
    assert said in caught.value.message
    assert caught.value.code == "invalid_plan"
    assert caught.value.next_step


def test_the_baseline_is_the_entropy_of_the_classes(flowers: Table) -> None:
    found = next(score for score in search(flower_plan(), flowers).leaderboard if score.candidate == BASELINE)
    shares = np.full((len(flowers), 3), 1 / 3)
    assert found.mean == pytest.approx(sklearn_log_loss(flowers.target, shares), rel=1e-3)


def test_the_baseline_never_wins() -> None:
    scores = [Score(BASELINE, {}, mean=0.1, std=0.0), Score("random_forest", {}, mean=0.2, std=0.0)]
    assert winner(scores).candidate == "random_forest"


def test_what_may_still_win_is_scored_on_further_divisions_and_what_is_behind_is_not(flowers: Table) -> None:
    grids = {"logistic_regression": {"C": [1.0, 1.1, 1.2, 1.3, 1.4]}, "random_forest": {"n_estimators": [20]}}
    spec = flower_plan(kinds=["logistic_regression", "random_forest"], grids=grids, folds=4)
    leaderboard = search(spec, flowers).leaderboard
    finals = [score for score in leaderboard if score.final]
    assert len(finals) >= 2
    assert leaderboard[: len(finals)] == finals, "before everything that was looked at once"
    assert all(len(score.folds) == 12 for score in finals)
    assert all(len(set(score.folds)) > 4 for score in finals), "the divisions differ"
    assert sum(score.candidate == "logistic_regression" for score in finals) <= 3
    assert all(len(score.folds) <= 4 for score in leaderboard if not score.final)


def test_a_final_that_there_is_no_time_for_changes_nothing(flowers: Table) -> None:
    spec = flower_plan(grids={"logistic_regression": {"C": [1.0, 1.1]}}, budget_s=20)
    leaderboard = search(spec, flowers, clock=ticking(1.0)).leaderboard
    assert [len(score.folds) for score in leaderboard] == [3, 3, 3]
    assert not any(score.final for score in leaderboard)


def test_by_time_there_is_one_way_to_divide_and_so_no_final() -> None:
    grids = {"logistic_regression": {"C": [1.0, 1.1]}}
    spec = weather_plan(split={"by": "time", "column": "date"}, grids=grids)
    leaderboard = search(spec, whole(spec, weather(2012)[0])).leaderboard
    assert [len(score.folds) for score in leaderboard] == [3, 3, 3]


# -- time -------------------------------------------------------------------------------------------------------------


def test_when_the_budget_is_spent_what_was_not_tried_is_named(flowers: Table) -> None:
    spec = flower_plan(kinds=["random_forest", "logistic_regression"], budget_s=30, grids={
        "random_forest": {"max_depth": [1, 2, 3], "n_estimators": [2]},
        "logistic_regression": {"C": [1.0, 2.0, 3.0]},
    })  # fmt: skip
    found = search(spec, flowers, clock=ticking(1.0))
    left = [score for score in found.leaderboard if score.problem is not None and "time budget" in score.problem]
    finished = [score for score in found.leaderboard if score.problem is None]
    assert len(left) + len(finished) == 7
    assert {score.candidate for score in finished} == {BASELINE, "random_forest", "logistic_regression"}
    assert len(left) >= 2
    assert found.leaderboard[-1] in left
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith("the time budget of 30 s was spent before every setting was tried: ")
    for kind in {score.candidate for score in left}:
        assert f"{sum(score.candidate == kind for score in left)} of {kind}" in found.remarks[0]


def test_a_budget_that_is_too_short_still_tries_the_first_setting_to_the_end(flowers: Table) -> None:
    found = search(flower_plan(budget_s=1, grids={"logistic_regression": {"C": [1.0, 2.0]}}), flowers, clock=ticking(9))
    assert [len(score.folds) for score in found.leaderboard] == [3, 3, 0]
    assert found.leaderboard[-1].problem == "not tried: the time budget of 1 s is spent"


def test_a_setting_that_is_caught_by_the_end_of_the_budget_says_how_far_it_came(flowers: Table) -> None:
    spec = flower_plan(budget_s=14, folds=5, grids={"logistic_regression": {"C": [1.0, 1.1]}})
    last = search(spec, flowers, clock=ticking(1.0)).leaderboard[-1]
    assert last.problem is not None
    assert last.problem.startswith(f"left after {len(last.folds)} of 5 folds: the time budget is spent")
    assert 0 < len(last.folds) < 5


def test_without_a_budget_it_is_a_share_of_the_deadline() -> None:
    assert budget_of(flower_plan(timeout_s=500)) == 300
    assert budget_of(flower_plan(timeout_s=500, budget_s=40)) == 40


def test_within_the_budget_the_clock_decides_nothing(flowers: Table) -> None:
    spec = flower_plan(kinds=["random_forest", "lightgbm"], folds=4)
    slow, fast = (search(spec, flowers, clock=ticking(step)) for step in (0.0, 0.5))
    assert untimed(slow.leaderboard) == untimed(fast.leaderboard)
    assert [score.seconds for score in slow.leaderboard] != [score.seconds for score in fast.leaderboard]
    assert all(score.seconds > 0 for score in fast.leaderboard)


def test_a_setting_that_is_clearly_worse_is_left_and_one_that_may_win_is_not(flowers: Table) -> None:
    spec = flower_plan(folds=5, grids={"logistic_regression": {"C": [1.0, 1e-4, 3.0]}})
    found = {score.settings["C"]: score for score in search(spec, flowers).leaderboard if score.settings}
    assert found[1e-4].problem is not None
    assert found[1e-4].problem.startswith("left after 2 of 5 folds: on them logistic_regression(C=1.0) is better by ")
    assert len(found[1e-4].folds) == 2
    assert found[3.0].problem is None, "better than those before it"
    assert len(found[3.0].folds) == 5


def test_what_was_left_stands_behind_what_was_tried_to_the_end_whatever_its_folds_say(flowers: Table) -> None:
    spec = flower_plan(folds=5, grids={"logistic_regression": {"C": [1.0, 1e-4, 1e-5]}})
    leaderboard = search(spec, flowers).leaderboard
    problems = [score.problem is not None for score in leaderboard]
    assert problems == sorted(problems)
    assert problems.count(True) == 2


def test_an_ensemble_grows_as_long_as_more_trees_help(flowers: Table) -> None:
    grids = {"gradient_boosting": {"max_iter": [10, 20, 200, 300], "learning_rate": [0.3]}}
    found = {
        score.settings["max_iter"]: score
        for score in search(flower_plan(kinds=["gradient_boosting"], grids=grids), flowers).leaderboard
        if score.settings
    }
    assert found[300].problem == "not tried: more trees did not help"
    assert found[200].problem == "not tried: more trees did not help" or found[200].mean is not None
    assert found[10].mean is not None
    assert found[20].mean is not None


# -- what cannot be loaded --------------------------------------------------------------------------------------------


def test_a_candidate_whose_library_is_not_there_is_a_line_and_no_failure(
    flowers: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(lightgbm_trees, "load", missing)
    found = search(flower_plan(kinds=["lightgbm", "logistic_regression"]), flowers)
    last = found.leaderboard[-1]
    assert last.candidate == "lightgbm"
    assert last.problem == "cannot be loaded: libgomp.so.1: cannot open shared object file: No such file or directory"
    assert found.remarks == (f"lightgbm {last.problem}",)
    assert winner(found.leaderboard).candidate == "logistic_regression"


# -- why --------------------------------------------------------------------------------------------------------------


def line(kind: str, *folds: float, **settings: Any) -> Score:
    return Score(kind, settings, float(np.mean(folds)), float(np.std(folds)), tuple(folds))


def test_why_it_won_names_the_spread_the_runner_up_the_baseline_and_the_number_tried() -> None:
    board = [
        line("random_forest", 0.50, 0.52, 0.51, n_estimators=10),
        line("lightgbm", 0.60, 0.61, 0.62),
        line("logistic_regression", 0.70, 0.70, 0.70, C=1.0),
        line(BASELINE, 1.0, 1.0, 1.0),
    ]
    assert in_words(weather_plan(), board) == (
        "random_forest(n_estimators=10): log_loss 0.5100 ± 0.0082 over 3 folds (0.5000, 0.5200, 0.5100) is the best "
        "mean of 3 settings that were tried to the end; next is lightgbm with 0.6100; the baseline without learning "
        "has 1.0000"
    )


def test_a_simpler_model_within_one_standard_error_is_named_and_not_chosen() -> None:
    board = [
        line("lightgbm", 0.40, 0.60, 0.50),
        line("random_forest", 0.49, 0.51, 0.51),
        line("logistic_regression", 0.53, 0.53, 0.54, C=1.0),
        line(BASELINE, 1.0, 1.0, 1.0),
    ]
    assert winner(board).candidate == "lightgbm"
    said = in_words(weather_plan(), board)
    assert said.endswith("logistic_regression(C=1.0) (0.5333) is simpler and within one standard error (0.0577)")


def test_a_winner_that_is_no_better_than_the_baseline_says_so() -> None:
    board = [line(BASELINE, 0.4, 0.4), line("random_forest", 0.5, 0.5)]
    assert "the baseline without learning has 0.4000, which is no worse" in in_words(weather_plan(), board)
