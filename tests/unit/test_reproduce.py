"""Training a version again by the model's own code: whose code it is, where it lies, and what else may differ."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli import reproduce
from modelyard.errors import ConflictError
from modelyard.packaging import training_code_digest
from modelyard.spec import Model, load_model
from modelyard.training import job
from tests.fakes.training_data import divided, weather, weather_plan
from tests.unit.test_training_entry import TRAIN, own_code

PROJECT = Path(__file__).parents[2]
ENTRY = "own_code_of_weather:train"
SPEC = """
[model]
name = "tested"
task = "multiclass"
[training]
target = "weather"
entry = "{entry}"
[training.features]
wind = {{ kind = "number" }}
[evaluation]
metric = "log_loss"
"""


def model_in(project: Path, entry: str = ENTRY) -> Model:
    folder = project / "models" / "tested"
    own_code(folder / "python", TRAIN)
    (folder / "train.ipynb").write_text("{}")
    (folder / "model.toml").write_text(SPEC.format(entry=entry))
    return load_model(folder)


def session(project: Path, model: Model | None) -> Any:
    (project / "environments.toml").write_bytes((PROJECT / "environments.toml").read_bytes())
    return SimpleNamespace(project=project, model_here=lambda _: model)


def rows(entry: str | None = ENTRY) -> reproduce.Rows:
    plan = weather_plan(kinds=[], entry=entry) if entry else weather_plan()
    training, evaluation = divided(plan, weather(2012))
    without = job.write_rows(plan, evaluation, without_target=True)
    return reproduce.Rows(plan, job.write_rows(plan, training), without)


def test_own_code_trains_again_where_no_layer_is_built_and_its_digest_is_told(tmp_path: Path) -> None:
    model = model_in(tmp_path)
    document = {"training": {"candidate": ENTRY, "settings": {"trees": 5}}}
    (tmp_path / "work").mkdir()
    made, environment = reproduce._train(session(tmp_path, model), rows(), document, model, tmp_path / "work")
    code = tmp_path / "direct"
    own_code(code / "in" / job.CODE / "python", TRAIN)
    (code / "out").mkdir()
    for name, content in (
        ("plan.json", None),
        ("training.csv", rows().training),
        ("evaluation.csv", rows().evaluation),
    ):
        given = tmp_path / "work" / "ml" / "input" / "data" / "job" / name
        (code / "in" / name).write_bytes(given.read_bytes() if content is None else content)
    job.run_job(code / "in", code / "out")
    assert made == (code / "out" / job.MODEL).read_bytes()
    assert environment["own_digest"] == training_code_digest(tmp_path, "tested")
    assert environment["lock_digest"] is None


def test_a_job_gets_the_packages_and_the_notebook_as_they_are_now(tmp_path: Path) -> None:
    model = model_in(tmp_path, "train.ipynb")
    reproduce._lay_out_code(model, tmp_path / "code")
    found = {file.relative_to(tmp_path / "code").as_posix() for file in (tmp_path / "code").rglob("*.*")}
    assert found == {"train.ipynb", "python/own_code_of_weather/__init__.py"}


@pytest.mark.parametrize("here", [None, "train.ipynb", "own_code_of_weather:wrong"])
def test_a_version_whose_code_is_not_here_is_not_trained_by_other_code(tmp_path: Path, here: str | None) -> None:
    model = None if here is None else model_in(tmp_path, here)
    version: Any = SimpleNamespace(number=7)
    with pytest.raises(ConflictError, match=f"tested:7 cannot be trained again: {ENTRY} trained it") as caught:
        reproduce._own_code(session(tmp_path, model), version, rows().plan)
    assert caught.value.code == "not_reproducible"


def test_a_version_by_the_trainer_needs_no_code_whatever_the_folder_has_now(tmp_path: Path) -> None:
    version: Any = SimpleNamespace(number=7)
    assert reproduce._own_code(session(tmp_path, model_in(tmp_path)), version, rows(None).plan) is None


def test_other_code_is_told_as_what_differs() -> None:
    before = {"python": "3.13.0", "architecture": "arm64", "own_digest": "a", "lock_digest": "b"}
    assert reproduce._environments(before, before) == []
    assert reproduce._environments(before, before | {"own_digest": "c"}) == [
        "the model's own training code is another one"
    ]
    assert reproduce._environments(json.loads(json.dumps(before)) | {"own_digest": None}, before) == []
