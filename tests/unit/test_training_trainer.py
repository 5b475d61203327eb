"""Training from files to the hand-over, and that a second year of weather makes a better model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import log_loss

from modelyard.errors import UsageError
from modelyard.evaluation import EvaluationSet, evaluate
from modelyard.predictor.predictor import Predictor
from modelyard.spec import load_model, training_plan
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.table import read_table
from modelyard.training.trainer import TrainingResult, train
from tests.fakes.training_data import (
    WEATHER,
    breast_cancer,
    csv_file,
    diabetes,
    iris,
    plan,
    weather,
    weather_plan,
)

KINDS = ("logistic_regression", "random_forest", "gradient_boosting")


@pytest.fixture(scope="session")
def first() -> TrainingResult:
    return train(weather_plan(kinds=KINDS), weather(2012))


@pytest.fixture(scope="session")
def second() -> TrainingResult:
    return train(weather_plan(kinds=KINDS), weather(2012, 2013))


def judged(spec: Plan, result: TrainingResult, champion: TrainingResult | None = None) -> Any:
    return evaluate(
        EvaluationSet.from_json(result.evaluation.to_json()),
        metric=spec.evaluation.metric,
        min_improvement=spec.evaluation.min_improvement,
        tolerance=spec.evaluation.tolerance,
        challenger=Predictor.load(result.model).predict,
        champion=None if champion is None else Predictor.load(champion.model).predict,
    )


def test_the_first_version_of_the_weather_beats_the_baseline(first: TrainingResult) -> None:
    report = judged(weather_plan(), first)
    assert report.passed, report.reason
    assert report.metrics["champion"] is None
    assert report.metrics["challenger"]["log_loss"] < report.metrics["baseline"]["log_loss"] - 0.1


def test_a_second_year_of_weather_makes_a_better_version(first: TrainingResult, second: TrainingResult) -> None:
    report = judged(weather_plan(), second, champion=first)
    assert report.passed, report.reason
    assert report.improvement > 0.1
    assert report.parity.largest < 1e-5


def test_the_first_version_does_not_beat_the_second(first: TrainingResult, second: TrainingResult) -> None:
    report = judged(weather_plan(), msgspec.structs.replace(second, model=first.model), champion=second)
    assert not report.passed
    assert "does not answer as the trained model did" in report.reason, "the file is not the one that was trained"


def test_no_version_was_trained_on_a_row_that_it_is_evaluated_on(first: TrainingResult, second: TrainingResult) -> None:
    days = [{row["date"] for row in result.evaluation.instances} for result in (first, second)]
    assert days[0] < days[1]
    assert {day for day in days[1] if day.startswith("2012")} == days[0]
    assert second.rows.training + second.rows.evaluation == 731
    assert len(days[1]) == second.rows.evaluation


def test_what_is_held_out_has_no_part_in_what_is_trained() -> None:
    """Rows held out are made absurd; leaderboard and model stay the same to the bit."""
    spec = weather_plan(kinds=["random_forest"])
    table = read_table(spec, weather(2012)).table
    assert table is not None
    held_out = set(table.columns["date"][table.evaluation].tolist())
    lines = weather(2012)[0].decode().splitlines()
    absurd = [line.rsplit(",", 1)[0] + ",snow" if line[:10] in held_out else line for line in lines]
    changed = train(spec, ["\n".join(absurd).encode()])
    same = train(spec, weather(2012))
    assert changed.model == same.model
    assert changed.leaderboard == same.leaderboard
    assert changed.evaluation.truth != same.evaluation.truth


def test_the_hand_over_survives_json_and_holds_what_was_answered(second: TrainingResult) -> None:
    document = second.evaluation.to_json()
    handed_over = EvaluationSet.from_json(document)
    assert handed_over == second.evaluation
    assert json.loads(document)["instances"][0].keys() == {"date", "precipitation", "temp_max", "temp_min", "wind"}
    classes = list(handed_over.predictions[0]["probabilities"])
    given = [[row["probabilities"][name] for name in classes] for row in handed_over.predictions]
    report = judged(weather_plan(), second)
    assert report.metrics["challenger"]["log_loss"] == pytest.approx(
        log_loss(handed_over.truth, np.array(given), labels=classes), rel=1e-4
    )


def test_missing_numbers_are_handed_over_as_null_and_answered() -> None:
    rows = [[size if size % 3 else "", size / 10, "small" if size < 40 else "large"] for size in range(1, 81)]
    spec = plan(target="y", features={"size": "number", "tenth": "number"}, task="binary", kinds=["random_forest"])
    result = train(spec, [csv_file(["size", "tenth", "y"], rows)])
    assert b'{"size":null,' in result.evaluation.to_json()
    assert judged(spec, result).parity.passed


@pytest.mark.parametrize(
    ("make", "target", "task", "metric", "kinds"),
    [
        (iris, "species", "multiclass", "f1_macro", KINDS),
        (breast_cancer, "benign", "binary", "balanced_accuracy", KINDS),
        (diabetes, "progression", "regression", "rmse", ("linear_regression", "random_forest", "gradient_boosting")),
    ],
)
def test_every_task_goes_from_a_file_to_a_gate_that_passes(
    make: Any, target: str, task: str, metric: str, kinds: tuple[str, ...]
) -> None:
    file, columns = make()
    spec = plan(target=target, features=dict.fromkeys(columns, "number"), task=task, metric=metric, kinds=kinds)
    result = train(spec, [file])
    report = judged(spec, result)
    assert report.passed, report.reason
    assert report.parity.largest < 1e-5
    assert len(result.leaderboard) == 4


def test_the_runs_progress_is_told_in_words() -> None:
    told: list[str] = []
    train(weather_plan(), weather(2012), progress=told.append)
    assert told[0] == "289 rows to train on, 77 held out"
    assert told[-1].startswith("best is logistic_regression(C=10.0): log_loss 0.6")


def test_files_that_are_refused_are_refused_with_all_findings() -> None:
    with pytest.raises(UsageError) as caught:
        train(weather_plan(), [weather(2012)[0], b"", b"date;wind\n"], names=["a.csv", "b.csv", "c.csv"])
    assert caught.value.code == "invalid_training_data"
    assert caught.value.message.splitlines()[0] == "b.csv: is empty; expected a header and rows"
    assert "c.csv: the values are separated by semicolons" in caught.value.message


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.001, "none of 4 rows is held out; at least 1 is needed"),
        (0.5, "all 3 training rows are of class 'a'; the others are held out"),
        (0.89, "0 of 4 rows are left to train on; at least 2 are needed"),
    ],
)
def test_too_few_rows_are_refused_in_words(share: float, said: str) -> None:
    file = csv_file(["x", "y"], [[2, "a"], [3, "a"], [6, "a"], [1, "b"]])
    with pytest.raises(UsageError) as caught:
        train(plan(target="y", features={"x": "number"}, task="binary", holdout=share), [file])
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
    assert msgspec.to_builtins(read) == document


def test_the_weather_model_has_four_years_of_days_and_an_example_of_two_of_them() -> None:
    model = load_model(WEATHER)
    files = [path.read_bytes() for path in model.training_files()]
    table = read_table(decode_plan(training_plan(model.spec)), files).table
    assert table is not None
    everything = np.ones(len(table), dtype=bool)
    days = [row["date"] for row in table.instances(everything)]
    assert days == [str(day) for day in np.arange("2012-01-01", "2016-01-01", dtype="datetime64[D]")]
    example = json.loads((WEATHER / "example.json").read_text())["instances"]
    assert len(example) == 2
    assert all(row in table.instances(everything) for row in example)


FORBIDDEN = ("onnxruntime", "pydantic", "pandas", "boto3", "orjson", "obstore")
WITHOUT = """
import sys
for name in {forbidden}:
    sys.modules[name] = None
import {module}
"""


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("modelyard.training.trainer", FORBIDDEN),
        ("modelyard.training.table, modelyard.evaluation", (*FORBIDDEN, "sklearn", "scipy", "onnx", "skl2onnx")),
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
