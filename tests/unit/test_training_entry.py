"""A model's own training code: the same in and out, and what does not fit is told in words."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelyard.errors import UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.training import entry as own
from modelyard.training import job
from modelyard.training.entry import TrainedModel
from modelyard.training.export import to_onnx
from modelyard.training.leaderboard import BASELINE
from modelyard.training.pipeline import build, fit
from modelyard.training.plan import Plan
from modelyard.training.trainer import refit, train
from tests.fakes.training_data import diabetes, divided, iris, plan, weather, weather_plan
from tests.unit.test_training_job import job_folder

TRAIN = """
    import numpy as np
    from modelyard.training.entry import TrainedModel
    from modelyard.training.export import to_onnx
    from modelyard.training.pipeline import build, fit

    def train(job):
        names = list(job.columns)
        def matrix(columns):
            stacked = np.empty((len(columns[names[0]]), len(names)), dtype=object)
            for at, name in enumerate(names):
                stacked[:, at] = columns[name]
            return stacked
        assert job.seed == 0 and 0 < job.seconds_left() <= job.plan.training.timeout_s
        pipeline = fit(build(job.plan, "random_forest", {"n_estimators": 5}), matrix(job.columns), job.target)
        return TrainedModel(
            to_onnx(job.plan, pipeline),
            predict=lambda columns: pipeline.predict_proba(matrix(columns)),
            settings={"trees": 5},
            note="a small forest",
        )

    def bytes_alone(job):
        return train(job).model

    def wrong(job):
        raise ZeroDivisionError("no rows of snow")

    def pickled(job):
        return {"model": 1}

    def leaves(job):
        raise SystemExit("that is all")

    def deep(job):
        np.zeros(3).reshape(7)

    def needs_more(job):
        import no_such_package_at_all

    def odd_settings(job):
        settings = {"trees": np.int64(5), "rate": np.float32(0.5), "found": np.nan, "layers": [3, 4], "bag": np.True_}
        return TrainedModel(train(job).model, settings=settings, classes=np.array(sorted(set(job.target)), object))

    def odd_predict(job):
        trained = train(job)
        return TrainedModel(trained.model, predict=lambda columns: np.zeros((2, 2)))
"""


def own_code(folder: Path, code: str = TRAIN) -> Path:
    package = folder / "own_code_of_weather"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return folder


def with_entry(name: str) -> Plan:
    return weather_plan(kinds=[], entry=f"own_code_of_weather:{name}")


def test_own_code_trains_and_is_compared_with_its_own_predict(tmp_path: Path) -> None:
    spec = with_entry("train")
    training, evaluation = divided(spec, weather(2012))
    result = train(spec, training, evaluation, code=own_code(tmp_path))
    assert result.candidate == "own_code_of_weather:train"
    assert result.settings == {"trees": 5}
    assert result.why == "trained by own_code_of_weather:train: a small forest"
    assert [score.candidate for score in result.leaderboard] == [result.candidate, BASELINE]
    answered = Predictor.load(result.model).predict(evaluation.instances())
    assert result.predictions is not None
    for given, found in zip(result.predictions, answered, strict=True):
        assert given["probabilities"] == pytest.approx(found["probabilities"], abs=1e-5)
    assert result.remarks == ()


def test_the_bytes_of_a_file_alone_do_and_it_is_said_that_parity_cannot_be_checked(tmp_path: Path) -> None:
    spec = with_entry("bytes_alone")
    result = train(spec, *divided(spec, weather(2012)), code=own_code(tmp_path))
    assert result.predictions is None
    assert result.remarks == ("own_code_of_weather:bytes_alone gives no answers of its own: parity cannot be checked",)


def test_own_code_is_run_again_to_train_once_more_and_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = with_entry("train")
    rows = divided(spec, weather(2012))
    code = own_code(tmp_path)
    first = train(spec, *rows, code=code)
    again = refit(spec, *rows, candidate=first.candidate, settings=first.settings, code=code)
    assert again.model == first.model


def test_own_code_travels_in_the_job_and_another_job_may_bring_other_code_of_the_same_name(tmp_path: Path) -> None:
    notes = []
    for note in ("a small forest", "another forest"):
        folder = job_folder(tmp_path / note, with_entry("train"), weather(2012))
        own_code(folder / "in" / job.CODE / "python", TRAIN.replace("a small forest", note))
        notes.append(job.run_job(folder / "in", folder / "out").why)
    assert notes[0].endswith("a small forest")
    assert notes[1].endswith("another forest")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrong", "did not train a model: ZeroDivisionError: no rows of snow (__init__.py, line 27)"),
        ("pickled", "did not train a model: it returned dict; expected the bytes of an ONNX file, or a TrainedModel"),
        ("absent", "did not train a model: own_code_of_weather has no function 'absent'"),
        ("leaves", "did not train a model: SystemExit: that is all (__init__.py, line 33)"),
        ("needs_more", "ModuleNotFoundError: No module named 'no_such_package_at_all' (__init__.py, line 39)"),
        ("deep", "ValueError: cannot reshape array of size 3 into shape (7,) (__init__.py, line 36)"),
        ("odd_predict", "did not train a model: its predict gave shape [2, 2]; expected [73, 5]"),
    ],
)
def test_what_goes_wrong_in_own_code_is_told_with_the_place(tmp_path: Path, name: str, said: str) -> None:
    spec = with_entry(name)
    with pytest.raises(UsageError) as caught:
        train(spec, *divided(spec, weather(2012)), code=own_code(tmp_path))
    assert caught.value.code == "entry_failed"
    assert said in caught.value.message
    assert caught.value.next_step


def test_a_package_that_is_not_there_is_told_and_where_packages_are_named(tmp_path: Path) -> None:
    spec = weather_plan(kinds=[], entry="no_such_package:train")
    with pytest.raises(UsageError, match="ModuleNotFoundError: No module named 'no_such_package'") as caught:
        train(spec, *divided(spec, weather(2012)), code=tmp_path)
    assert "layers/training/requirements.in" in str(caught.value.next_step)


def test_what_frameworks_call_settings_and_classes_is_written_down_as_json(tmp_path: Path) -> None:
    folder = job_folder(tmp_path, with_entry("odd_settings"), weather(2012))
    own_code(folder / "in" / job.CODE / "python")
    trained = job.run_job(folder / "in", folder / "out")
    assert trained.settings == {"trees": 5, "rate": 0.5, "found": "nan", "layers": "[3, 4]", "bag": True}


def test_own_code_has_less_time_than_the_step_that_keeps_what_it_made(tmp_path: Path) -> None:
    folder = job_folder(tmp_path, with_entry("train"), weather(2012))
    assert 0.9 * 600 < job.read_job(folder / "in").seconds_left() <= 0.95 * 600


# -- the form of the file ---------------------------------------------------------------------------------------------


def trained_iris() -> tuple[Plan, onnx.ModelProto]:
    file, columns = iris()
    spec = plan(target="species", features=dict.fromkeys(columns, "number"))
    training, _ = divided(spec, [file])
    pipeline = fit(build(spec, "logistic_regression", {}), training.matrix(), training.target)
    return spec, onnx.load_from_string(to_onnx(spec, pipeline))


def problems_of(spec: Plan, model: Any, **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        own.checked(spec, TrainedModel(model if isinstance(model, bytes) else model.SerializeToString(), **changes))
    assert caught.value.code == "wrong_model"
    assert "docs/training.md" in str(caught.value.next_step)
    return caught.value.message


def test_a_file_of_the_right_form_gets_the_metadata_that_endpoints_read() -> None:
    spec, model = trained_iris()
    del model.metadata_props[:]
    classes = ["setosa", "versicolor", "virginica"]
    stored = own.checked(spec, TrainedModel(model.SerializeToString(), classes=classes))
    answer = Predictor.load(stored).predict([dict.fromkeys(spec.training.features, 1.0)])[0]
    assert list(answer["probabilities"]) == classes
    assert own.classes_of(stored) == classes
    assert own.checked(spec, TrainedModel(stored)) == stored, "what is there already stays"


def test_what_a_converter_leaves_to_chance_is_not_in_the_stored_file() -> None:
    spec, model = trained_iris()
    stored = own.checked(spec, TrainedModel(model.SerializeToString()))
    model.graph.name = "7d1f3c0e5b0f4d5f8a2a9c8e1b2d3f4a"  # skl2onnx's, where nobody gives one
    opsets = sorted(((opset.domain, opset.version) for opset in model.opset_import), reverse=True)
    assert len(opsets) > 1
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in opsets)
    assert own.checked(spec, TrainedModel(model.SerializeToString())) == stored


def test_without_the_names_of_the_classes_a_file_cannot_be_served() -> None:
    spec, model = trained_iris()
    assert "there are 3 probabilities for 2 classes" in problems_of(spec, model, classes=["a", "b"])
    del model.metadata_props[:]
    assert "does not say which class each probability is of" in problems_of(spec, model)
    onnx.helper.set_model_props(model, {"modelyard.classes": "setosa"})
    assert "does not say which class each probability is of" in problems_of(spec, model)


def test_everything_that_is_wrong_with_a_file_is_told_at_once() -> None:
    spec, model = trained_iris()
    model.graph.input[0].name = "length"
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    model.graph.input[2].type.tensor_type.shape.dim[0].dim_value = 7
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    model.graph.output[1].name = "scores"
    assert problems_of(spec, model).splitlines() == [
        "the trained model cannot be served: there is no input for feature 'sepal length (cm)'",
        "the trained model cannot be served: input 'sepal width (cm)' is type double; expected float32",
        "the trained model cannot be served: input 'petal length (cm)' has shape [7, 1]; expected [rows, 1], rows "
        "being any number",
        "the trained model cannot be served: input 'length' is no feature",
        "the trained model cannot be served: output 'label' is type int64; expected text",
        "the trained model cannot be served: there is no output 'probabilities'; it has 'label', 'scores'",
    ]


def test_a_file_with_weights_outside_is_refused() -> None:
    spec, model = trained_iris()
    model.graph.initializer.append(onnx.helper.make_tensor("weights", onnx.TensorProto.FLOAT, [1], [1.0]))
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    assert "weights lie outside the file" in problems_of(spec, model)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04\x95pickle", b"not a model"])
def test_what_is_no_onnx_file_is_refused(content: bytes) -> None:
    assert "the trained model cannot be served: " in problems_of(trained_iris()[0], content)


def test_the_model_of_a_regression_answers_one_number() -> None:
    file, columns = diabetes()
    features = dict.fromkeys(columns, "number")
    spec = plan(target="progression", features=features, task="regression", metric="mae", kinds=["linear_regression"])
    training, evaluation = divided(spec, [file])
    pipeline = fit(build(spec, "linear_regression", {}), training.matrix(), training.target)
    trained = TrainedModel(to_onnx(spec, pipeline), predict=lambda columns: pipeline.predict(as_matrix(columns)))
    stored = own.checked(spec, trained)
    found = own.answers_of(spec, trained, [], evaluation.columns, len(evaluation))
    assert found == pytest.approx(Predictor.load(stored).predict(evaluation.instances()), rel=1e-5)
    model = onnx.load_from_string(stored)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    assert "output 'prediction' has shape ['rows', 3]; expected [rows, 1]" in problems_of(spec, model)


def as_matrix(columns: Any) -> Any:
    return np.column_stack(list(columns.values()))
