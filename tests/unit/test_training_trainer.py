"""Training from checked rows to the hand-over, and that a second year of weather makes a better model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import log_loss

from modelyard.errors import UsageError
from modelyard.evaluation.parity import compare
from modelyard.predictor.predictor import Predictor
from modelyard.spec import load_model, training_plan
from modelyard.training.leaderboard import BASELINE
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.table import Table, read_table
from modelyard.training.trainer import TrainingResult, refit, train
from tests.fakes.training_data import (
    WEATHER,
    breast_cancer,
    csv_file,
    diabetes,
    divided,
    iris,
    plan,
    weather,
    weather_plan,
)

KINDS = ("logistic_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")


def loss_of(model: bytes, rows: Table) -> float:
    answers = Predictor.load(model).predict(rows.instances())
    classes = sorted(answers[0]["probabilities"])
    given = np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
    return float(log_loss(rows.target, given / given.sum(axis=1, keepdims=True), labels=classes))


@pytest.fixture(scope="session")
def years() -> tuple[Table, Table, Table]:
    """Rows of 2012 to train on, frozen ones of 2012 and 2013, and the rows of both years that are not frozen."""
    both, frozen = divided(weather_plan(), weather(2012, 2013))
    return of_2012(both), frozen, both


def of_2012(table: Table) -> Table:
    return table.take(np.array([day.startswith("2012") for day in table.columns["date"].tolist()]))


@pytest.fixture(scope="session")
def first(years: tuple[Table, Table, Table]) -> TrainingResult:
    return train(weather_plan(kinds=KINDS), years[0], years[1])


def test_the_first_version_of_the_weather_beats_the_baseline(first: TrainingResult, years: Any) -> None:
    shares, frozen = first.baseline["probabilities"], of_2012(years[1])
    simplest = log_loss(frozen.target, np.array([list(shares.values())] * len(frozen)), labels=list(shares))
    assert loss_of(first.model, frozen) < simplest - 0.1


def test_a_second_year_of_weather_makes_a_better_version(first: TrainingResult, years: Any) -> None:
    second = train(weather_plan(kinds=KINDS), years[2], years[1])
    assert loss_of(second.model, years[1]) < loss_of(first.model, years[1]) - 0.1


def test_the_hand_over_is_what_the_file_answers(first: TrainingResult, years: Any) -> None:
    assert first.predictions is not None
    parity = compare(first.predictions, Predictor.load(first.model).predict(years[1].instances()), tolerance=1e-5)
    assert parity.passed, parity.worst
    assert parity.rows == len(years[1])


def test_what_is_frozen_has_no_part_in_what_is_trained(years: Any) -> None:
    """Frozen rows are made absurd; leaderboard and model stay the same to the bit."""
    spec = weather_plan(kinds=["random_forest", "lightgbm"])
    training, frozen, _ = years
    absurd = {name: column[::-1] * (1 if column.dtype == object else 1e6) for name, column in frozen.columns.items()}
    other = Table(absurd, frozen.target, frozen.others, frozen.files, frozen.headers, frozen.rows)
    same, changed = train(spec, training, frozen), train(spec, training, other)
    assert changed.model == same.model
    assert [score.folds for score in changed.leaderboard] == [score.folds for score in same.leaderboard]
    assert changed.predictions != same.predictions


def test_the_baseline_is_on_the_leaderboard_and_the_winner_is_said_in_words(first: TrainingResult) -> None:
    assert {score.candidate for score in first.leaderboard} == {*KINDS, BASELINE}
    assert first.why.startswith(f"{first.candidate}(")
    assert "the baseline without learning has 1." in first.why
    assert first.remarks == ()


def test_missing_numbers_are_answered_as_the_framework_does() -> None:
    rows = [[size if size % 3 else "", size / 10, "small" if size < 40 else "large"] for size in range(1, 81)]
    for kind in ("random_forest", "lightgbm"):
        spec = plan(target="y", features={"size": "number", "tenth": "number"}, task="binary", kinds=[kind])
        training, evaluation = divided(spec, [csv_file(["size", "tenth", "y"], rows)])
        result = train(spec, training, evaluation)
        assert any(row["size"] is None for row in evaluation.instances())
        assert result.predictions is not None
        answered = Predictor.load(result.model).predict(evaluation.instances())
        assert compare(result.predictions, answered, tolerance=1e-5).passed


@pytest.mark.parametrize(
    ("make", "target", "task", "metric", "kinds"),
    [
        (iris, "species", "multiclass", "f1_macro", KINDS),
        (breast_cancer, "benign", "binary", "balanced_accuracy", KINDS),
        (diabetes, "progression", "regression", "rmse", ("linear_regression", *KINDS[1:])),
    ],
)
def test_every_task_goes_from_a_file_to_a_model_that_answers_the_same(
    make: Any, target: str, task: str, metric: str, kinds: tuple[str, ...]
) -> None:
    file, columns = make()
    spec = plan(target=target, features=dict.fromkeys(columns, "number"), task=task, metric=metric, kinds=kinds)
    training, evaluation = divided(spec, [file])
    result = train(spec, training, evaluation)
    assert result.predictions is not None
    answered = Predictor.load(result.model).predict(evaluation.instances())
    parity = compare(result.predictions, answered, tolerance=1e-5)
    assert parity.passed, parity.worst
    assert len(result.leaderboard) == 6


def test_the_runs_progress_is_told_in_words(years: Any) -> None:
    told: list[str] = []
    train(weather_plan(), years[0], years[1], progress=told.append)
    assert told[0] == f"{len(years[0])} rows to train on, {len(years[1])} frozen for evaluation"
    assert told[-1].startswith("best is logistic_regression(C=10.0): log_loss 0.")
    assert told[-1].endswith("; fitting it to all training rows")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (3, "all 3 training rows are of class 'a'; the others are frozen for evaluation"),
        (0, "0 rows are left to train on; at least 2 are needed"),
    ],
)
def test_too_few_rows_are_refused_in_words(count: int, said: str) -> None:
    spec = plan(target="y", features={"x": "number"}, task="binary")
    table = read_table(spec, [csv_file(["x", "y"], [[2, "a"], [3, "a"], [6, "a"], [9, "b"]])]).table
    assert table is not None
    kept = np.arange(len(table)) < count
    with pytest.raises(UsageError) as caught:
        train(spec, table.take(kept), table.take(~kept))
    assert caught.value.code == "too_few_rows"
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "clustering"}, "Invalid enum value 'clustering' - at `$.task`"),
        ({"training": {"target": "y"}}, "missing required field `features` - at `$.training`"),
    ],
)
def test_a_plan_that_is_none_is_refused_with_the_place(change: dict[str, Any], said: str) -> None:
    document = msgspec.to_builtins(weather_plan()) | change
    with pytest.raises(UsageError) as caught:
        decode_plan(document)
    assert said in caught.value.message


def test_a_feature_with_the_name_of_an_output_is_refused() -> None:
    with pytest.raises(UsageError, match="feature 'label' has the name of a model's output"):
        plan(target="y", features={"label": "number"})


def test_the_plan_of_the_weather_model_is_read_whole_and_a_later_key_is_let_through() -> None:
    document = training_plan(load_model(WEATHER).spec)
    read = decode_plan(document | {"later": 1})
    assert msgspec.json.decode(msgspec.json.encode(read)) == document


def test_the_weather_model_has_four_years_of_days_and_an_example_of_two_of_them() -> None:
    model = load_model(WEATHER)
    files = [path.read_bytes() for path in model.training_files()] + weather(2015)
    table = read_table(decode_plan(training_plan(model.spec)), files).table
    assert table is not None
    days = [row["date"] for row in table.instances()]
    assert days == [str(day) for day in np.arange("2012-01-01", "2016-01-01", dtype="datetime64[D]")]
    example = msgspec.json.decode((WEATHER / "example.json").read_bytes())["instances"]
    assert len(example) == 2
    assert all(row in table.instances() for row in example)


def test_a_candidate_that_there_is_not_cannot_be_trained_once_more(years: Any) -> None:
    with pytest.raises(UsageError, match="'perceptron' is no kind of candidate; there are logistic_regression, "):
        refit(weather_plan(), years[0], years[1], candidate="perceptron", settings={})


FORBIDDEN = ("onnxruntime", "pydantic", "pandas", "boto3", "orjson", "obstore", "papermill", "statsmodels")
WITHOUT = """
import sys
for name in {forbidden}:
    sys.modules[name] = None
import {module}
"""


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("modelyard.training.trainer", (*FORBIDDEN, "lightgbm")),
        ("modelyard.training.table, modelyard.training.job", (*FORBIDDEN, "sklearn", "scipy", "onnx", "skl2onnx")),
    ],
    ids=["training layer", "serving layer"],
)
def test_each_step_imports_only_what_its_layer_holds(modules: str, forbidden: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(forbidden=forbidden, module=modules)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_plan_of_every_kind_is_decoded() -> None:
    assert isinstance(weather_plan(kinds=KINDS), Plan)
