"""A build runs the import statements of every function with nothing but its layers; a missing package fails it."""

from pathlib import Path

import pytest

import modelyard
from modelyard.errors import BuildError
from modelyard.packaging.bytecode import Interpreter
from modelyard.packaging.imports import PASSED, can_run
from modelyard.packaging.targets import BuildTarget
from tests.fakes.projects import LOCAL, MODEL, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def failure(project: Project) -> BuildError:
    with pytest.raises(BuildError) as caught:
        project.build("local")
    assert caught.value.code == "import_failed"
    return caught.value


def test_a_function_that_imports_what_no_layer_holds_fails_the_build(project: Project) -> None:
    project.write("layers/core/python/modelyard/hot.py", "import rich\n")
    project.write("functions/predict.py", "from modelyard.hot import rich\n")

    error = failure(project)

    assert error.message == (
        f"predict.py does not import from the layers of predict of brought ({LOCAL}): "
        "ModuleNotFoundError: No module named 'rich'"
    )
    assert "layers/serving/requirements.in" in str(error.next_step)


def test_it_fails_again_until_it_is_mended_although_the_layers_are_up_to_date(project: Project) -> None:
    project.write("functions/predict.py", "import rich\n")

    failure(project)
    failure(project)
    project.write("functions/predict.py", "import engine\n")

    assert project.build("local")


def test_what_passed_is_not_tried_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.build("local")
    assert (project.folder("") / PASSED).read_text().count("\n") == 3

    def run_program(*_: object, **__: object) -> None:
        raise AssertionError("nothing changed")

    monkeypatch.setattr("modelyard.packaging.imports.run_program", run_program)
    project.build("local")
    project.write("layers/core/python/modelyard/__init__.py", "x = 2\n")
    with pytest.raises(AssertionError, match="nothing changed"):
        project.build("local")


def test_a_layer_that_was_damaged_since_is_said_and_built_anew_once_it_is_deleted(project: Project) -> None:
    layer = project.build("local")[LOCAL]["serving"].path
    content = bytearray(layer.read_bytes())
    at = layer.stat().st_size // 4
    content[at : at + 40] = bytes(40)
    layer.write_bytes(content)
    project.write("layers/core/python/modelyard/__init__.py", "x = 2\n")
    with pytest.raises(BuildError, match=f"what was built of serving for {LOCAL} is damaged: ") as caught:
        project.build("local")
    assert caught.value.next_step == f"Delete {layer}, then run 'modelyard build' again."
    layer.unlink()
    assert project.build("local")


def test_a_models_package_is_imported_as_the_endpoint_does(project: Project) -> None:
    project.write("models/brought/python/brought_model/__init__.py", "import rich\n")

    error = failure(project)

    assert error.message.startswith("brought_model does not import from the layers of predict of brought")


APP = "class App:\n    async def __call__(self, scope, receive, send): ...\n\napp = App()\n"


@pytest.fixture
def with_app(project: Project) -> Project:
    """The project, with an app and what looks at it."""
    library = Path(modelyard.__file__).parent
    for file in ("errors.py", "serving/asgi/finding.py"):
        project.write(f"layers/core/python/modelyard/{file}", (library / file).read_text())
    project.write("layers/core/python/modelyard/serving/asgi/endpoint.py", "")
    project.write("functions/app.py", "import modelyard\n")
    project.write("models/brought/model.toml", f'{MODEL}app = "brought_model.web:app"\n')
    project.write("models/brought/python/brought_model/web.py", APP)
    return project


def test_an_app_that_is_one_passes(with_app: Project) -> None:
    assert with_app.build("local")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import rich\n" + APP, "ModuleNotFoundError: No module named 'rich'"),
        (APP + "main = app\ndel app\n", "has no 'app'; its apps are 'main'"),
        ("async def read(row, model, asked): ...\n" + APP + "main = app\ndel app\n", "its apps are 'main'"),
        ("app = 1\n", "which is of type int and no ASGI app"),
        ("def app(environ, start_response): ...\n", "which is of type function and no ASGI app"),
        ("print('said at import')\nraise SystemExit('secret')\n", "web:app does not import from the layers of app of"),
    ],
)
def test_an_app_that_cannot_be_served_fails_the_build_with_its_key(with_app: Project, text: str, said: str) -> None:
    with_app.write("models/brought/python/brought_model/web.py", text)

    error = failure(with_app)

    assert error.message.startswith("brought_model.web:app does not import from the layers of app of brought")
    assert said in error.message


TRAINS_ITSELF = (
    MODEL.partition("artifact")[0]
    + """
[training]
target = "y"
entry = "{entry}"
features = {{ x = {{ kind = "number" }} }}
[evaluation]
metric = "rmse"
"""
)


@pytest.fixture
def trains_itself(project: Project) -> Project:
    """The project, whose model trains itself by a function."""
    project.write("models/brought/model.toml", TRAINS_ITSELF.format(entry="brought_model.fitting:train"))
    project.write("models/brought/python/brought_model/fitting.py", "import framework\n\ndef train(job): ...\n")
    project.write("functions/retraining_train.py", "import modelyard\n")
    project.write("layers/core/python/modelyard/predictor/lean.py", "")
    project.lock("training", "framework", {"framework.py": ""})
    project.lock("lean", "small_engine", {"small_engine.py": ""})
    return project


def test_a_function_that_trains_is_imported_from_the_training_layers(trains_itself: Project) -> None:
    built = trains_itself.built("local")

    carried = {fit.title: [layer.name for layer in fit.layers] for fit in built.fits}
    assert carried["train of brought"] == ["core", "training", "training-brought"]
    assert carried["predict of brought"] == ["core", "lean"]


@pytest.mark.parametrize(
    ("text", "said", "helps"),
    [
        ("import pandas\n", "ModuleNotFoundError: No module named 'pandas'", "layers/training/requirements.in"),
        ("def fit(job): ...\n", "ImportError: cannot import name 'train'", "Correct the import"),
    ],
)
def test_training_code_that_cannot_be_called_fails_the_build(
    trains_itself: Project, text: str, said: str, helps: str
) -> None:
    trains_itself.write("models/brought/python/brought_model/fitting.py", text)

    error = failure(trains_itself)

    assert error.message.startswith("from brought_model.fitting import train does not import from the layers of train")
    assert said in error.message
    assert helps in str(error.next_step)


def test_a_module_of_training_code_that_would_replace_a_package_fails_the_build(trains_itself: Project) -> None:
    trains_itself.write("models/brought/python/framework/__init__.py", "")

    with pytest.raises(
        BuildError, match="models/brought/python/framework has the name of a module in layer 'training'"
    ):
        trains_itself.build("local")


def test_a_packages_missing_for_a_notebook_is_told_by_the_training_layers_list(trains_itself: Project) -> None:
    trains_itself.write("models/brought/model.toml", TRAINS_ITSELF.format(entry="train.ipynb"))
    trains_itself.write("models/brought/train.ipynb", "{}")
    trains_itself.write("layers/core/python/modelyard/training/notebook.py", "")
    trains_itself.lock("notebook", "papermill", {"papermill/cli.py": "", "ipykernel/kernelapp.py": "import IPython\n"})

    error = failure(trains_itself)

    assert error.message.startswith("ipykernel.kernelapp does not import from the layers of train of brought")


def test_the_engine_that_an_endpoint_imports_late_is_tried_as_well(project: Project) -> None:
    project.write("layers/core/python/modelyard/predictor/standard.py", "import numpy\n")

    error = failure(project)

    assert error.message.startswith(
        "modelyard.predictor.standard does not import from the layers of predict of brought"
    )


def test_an_import_of_our_own_that_is_wrong_is_not_called_a_missing_package(project: Project) -> None:
    project.write("functions/predict.py", "from modelyard import absent\n")

    error = failure(project)

    assert "cannot import name 'absent'" in error.message
    assert error.next_step == "Correct the import, then run 'modelyard build' again."
    assert str(project.root) not in error.message


def test_only_imports_run_and_nothing_of_the_callers_environment_is_there(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = project.root / "seen"
    project.write(
        "layers/core/python/modelyard/hot.py",
        f"import os\nopen({str(seen)!r}, 'w').write(' '.join(sorted(os.environ)))\n",
    )
    project.write("functions/predict.py", "import modelyard.hot\nraise SystemExit('this needs a bucket')\n")

    project.build("local")

    assert set(seen.read_text().split()) <= {"PYTHONUTF8", "LC_CTYPE"}


def test_what_lambdas_runtime_brings_is_there_and_nothing_else(project: Project) -> None:
    project.write("functions/predict.py", "import boto3, botocore.config\n")
    project.build("local")

    project.write("functions/predict.py", "import numpy\n")
    assert "No module named 'numpy'" in failure(project).message


def test_a_module_that_crashes_the_interpreter_is_named_by_its_function(project: Project) -> None:
    project.write("layers/core/python/modelyard/hot.py", "import os\nos._exit(11)\n")
    project.write("functions/predict.py", "import modelyard.hot\n")

    assert "the interpreter crashed" in failure(project).message


@pytest.mark.parametrize(
    ("platform", "libc", "machine", "runs"),
    [
        ("linux", "glibc", "x86_64", True),
        ("linux", "glibc", "aarch64", False),
        ("linux", "musl", "x86_64", False),
        ("darwin", "", "x86_64", False),
    ],
)
def test_a_target_is_tried_where_its_modules_load(
    monkeypatch: pytest.MonkeyPatch, platform: str, libc: str, machine: str, runs: bool
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.libc_ver", lambda: (libc, ""))
    monkeypatch.setattr("platform.machine", lambda: machine)
    python = Interpreter("python", "3.13.0")

    assert can_run(BuildTarget("3.13", "x86_64"), python) is runs
    assert can_run(BuildTarget("3.13", "local"), python)
    assert not can_run(BuildTarget("3.13", "local"), None)
