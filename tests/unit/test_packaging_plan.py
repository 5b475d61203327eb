"""Layers: what is planned, what decides that a layer is built anew, what a manifest says and what fits."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.environments import Environment
from modelyard.errors import BuildError, SpecError
from modelyard.packaging.fit import UNZIPPED_LIMIT, Fit, check_fit
from modelyard.packaging.manifest import LayerManifest, commit, lock_digest, read_manifest
from modelyard.packaging.sources import layer_source, training_code_digest
from modelyard.packaging.targets import BuildTarget, function_sets, layers_of, plan, training_libraries
from modelyard.spec import Model, parse_model

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
ARM = BuildTarget("3.13", "arm64")
CLOUD = Environment(account="111122223333", region="eu-west-1")
LOCAL = Environment(account="000000000000", region="eu-west-1", port=4599, python="host")

TRAINED = """
[model]
name = "trained"
task = "regression"
[training]
target = "y"
features = { x = { kind = "number" } }
candidates = [{ kind = "linear_regression" }]
[evaluation]
metric = "rmse"
"""
BROUGHT = """
[model]
name = "brought"
task = "regression"
artifact = "model.onnx"
code = "brought_model"
[endpoint]
architecture = "x86_64"
"""


def model(text: str) -> Model:
    spec = parse_model(text, file="model.toml")
    return Model(spec=spec, folder=Path("models") / spec.model.name)


def layer(**changes: object) -> LayerManifest:
    base = LayerManifest(
        name="serving",
        target=ARM.name,
        digest="ab" * 32,
        inputs="cd" * 32,
        unzipped_bytes=1000,
        zip_bytes=4,
        files=1,
        bytecode="3.13.0",
        packages=(("numpy", 1000),),
        modules=("numpy",),
        pruned=(("tests", 5),),
        left_out=(("anyio", "api"),),
        path=Path("layer.zip"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def fit(*layers: LayerManifest, function_bytes: int = 0, title: str = "the function") -> Fit:
    function = layer(name="function-x", unzipped_bytes=function_bytes, packages=())
    return Fit(title=title, target=ARM.name, layers=layers, function=function)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# --- what is planned


def test_each_architecture_that_a_model_uses_is_a_target_of_its_own() -> None:
    planned = plan(function_sets(CLOUD, [model(TRAINED), model(BROUGHT)]))

    assert planned == {
        BuildTarget("3.13", "arm64"): ("api", "core", "lean", "serving", "training"),
        BuildTarget("3.13", "x86_64"): ("core", "model-brought", "serving"),
    }


def test_training_is_not_built_for_models_that_are_only_served() -> None:
    planned = plan(function_sets(CLOUD, [model(BROUGHT)]))

    assert all("training" not in layers for layers in planned.values())


OWN_TRAINING = TRAINED.replace('name = "trained"', 'name = "own"').replace(
    'candidates = [{ kind = "linear_regression" }]', 'entry = "own_model.training:train"'
)
NOTEBOOK = OWN_TRAINING.replace('name = "own"', 'name = "noted"').replace("own_model.training:train", "train.ipynb")


def test_what_trains_a_model_travels_with_its_training_and_not_to_its_endpoint() -> None:
    own, noted = model(OWN_TRAINING), model(NOTEBOOK)
    sets = {found.title: found for found in function_sets(CLOUD, [own, noted], ["predict", "retraining_train"])}

    assert set(sets) == {"api", "workflow", "predict of own", "predict of noted", "train of own", "train of noted"}
    assert sets["predict of own"].layers == sets["predict of noted"].layers == ("core", "lean")
    assert sets["train of own"].layers == ("core", "training", "training-own")
    assert sets["train of noted"].layers == ("core", "notebook", "training", "training-noted")
    assert sets["train of own"].files == sets["train of noted"].files == ("retraining_train",)
    assert sets["train of own"].modules == ("from own_model.training import train",)
    assert "papermill.cli" in sets["train of noted"].modules
    assert {sets["train of own"].target, sets["train of noted"].target} == {ARM}


def test_models_without_training_code_of_their_own_share_one_training_function() -> None:
    other = model(TRAINED.replace('name = "trained"', 'name = "other"'))
    titles = [found.title for found in function_sets(CLOUD, [model(TRAINED), other, model(OWN_TRAINING)])]

    assert [title for title in titles if title.startswith("train")] == ["train", "train of own"]


def test_an_app_and_training_code_of_one_model_lie_in_layers_of_their_own() -> None:
    both = model(OWN_TRAINING.replace('task = "regression"', 'task = "regression"\napp = "own_model.web:app"'))

    assert layers_of("app", both) == ("core", "api", "serving", "model-own")
    assert layers_of("train", both) == ("core", "training", "training-own")


def test_the_notebook_layer_is_built_only_where_a_notebook_trains() -> None:
    assert "notebook" not in plan(function_sets(CLOUD, [model(TRAINED), model(OWN_TRAINING)]))[ARM]
    assert {"notebook", "training", "training-noted"} <= set(plan(function_sets(CLOUD, [model(NOTEBOOK)]))[ARM])


def test_the_local_environment_has_one_target_whatever_the_models_say() -> None:
    planned = plan(function_sets(LOCAL, [model(TRAINED), model(BROUGHT)]))

    assert planned == {BuildTarget(HERE, "local"): ("api", "core", "lean", "model-brought", "serving", "training")}


def test_environments_with_the_same_python_share_their_layers() -> None:
    sets = function_sets(CLOUD, [model(TRAINED)]) + function_sets(CLOUD.model_copy(update={"region": "x"}), [])

    assert list(plan(sets)) == [ARM]


def test_a_models_own_layer_comes_last_and_only_where_it_has_code() -> None:
    assert layers_of("predict", model(BROUGHT)) == ("core", "serving", "model-brought")
    assert layers_of("predict", model(TRAINED)) == ("core", "lean")


@pytest.mark.parametrize(("engine", "layer"), [("standard", "serving"), ("lean", "lean")])
def test_an_endpoint_with_an_app_is_another_function_with_what_the_control_plane_has(engine: str, layer: str) -> None:
    app = model(
        BROUGHT.replace('code = "brought_model"', 'app = "brought_model.web:app"').replace(
            "[endpoint]", f'[endpoint]\nengine = "{engine}"'
        )
    )
    *_, planned = function_sets(CLOUD, [app], ["api", "app", "predict"])

    assert (planned.title, planned.files) == ("app of brought", ("app",))
    assert planned.layers == layers_of("app", app) == ("core", "api", layer, "model-brought")
    assert planned.modules == (
        f"modelyard.predictor.{engine}",
        "modelyard.serving.asgi.endpoint",
        "brought_model.web:app",
    )
    assert planned.target == BuildTarget("3.13", "x86_64")


def test_the_function_for_apps_is_built_only_where_a_model_has_one() -> None:
    files = {file for each in function_sets(CLOUD, [model(BROUGHT)], ["api", "app", "predict"]) for file in each.files}

    assert files == {"api", "predict"}


LEAN = BROUGHT.replace('code = "brought_model"\n', "").replace("[endpoint]", '[endpoint]\nengine = "lean"')


def test_the_engine_decides_which_layer_an_endpoint_carries() -> None:
    lean = model(LEAN)

    assert lean.spec.engine == "lean"
    assert layers_of("predict", lean) == ("core", "lean")
    assert plan(function_sets(CLOUD, [lean]))[BuildTarget("3.13", "x86_64")] == ("core", "lean")


def test_a_model_without_code_of_its_own_gets_the_lean_engine() -> None:
    assert model(TRAINED).spec.engine == "lean"
    assert model(BROUGHT).spec.engine == "standard", "its code is given numpy arrays"


def test_the_lean_engine_beside_code_that_wants_numpy_is_refused() -> None:
    with pytest.raises(SpecError, match=r"endpoint\.engine: is 'lean' beside model\.code"):
        model(BROUGHT.replace("[endpoint]", '[endpoint]\nengine = "lean"'))


# --- inputs


def project(root: Path) -> Path:
    return write(
        root,
        {
            "layers/core/python/modelyard/__init__.py": "x = 1\n",
            "layers/core/python/modelyard/cli/main.py": "",
            "layers/core/python/modelyard/packaging/builder.py": "",
            "layers/core/python/modelyard/local/server.py": "",
            "layers/core/python/modelyard/replay/asking.py": "",
            "layers/core/python/modelyard/scaffold/draft.py": "",
            "layers/core/python/modelyard/importing/mlmodel.py": "",
            "layers/serving/requirements.txt": "numpy==2 --hash=sha256:00\n",
            "models/brought/python/brought_model/__init__.py": "",
        },
    )


def test_the_core_layer_leaves_out_what_never_runs_in_lambda(tmp_path: Path) -> None:
    files = [name for name, _ in layer_source(project(tmp_path), "core").files]

    assert files == ["modelyard/__init__.py"]


def test_equal_projects_in_different_places_have_equal_inputs(tmp_path: Path) -> None:
    here, there = project(tmp_path / "here"), project(tmp_path / "there")
    cache = write(there, {"layers/core/python/modelyard/__pycache__/__init__.cpython-311.pyc": "?"})
    os.utime(cache / "layers/core/python/modelyard/__init__.py", (1, 1))

    for name in ("core", "serving", "model-brought"):
        assert layer_source(here, name).inputs(ARM) == layer_source(there, name).inputs(ARM)


@pytest.mark.parametrize(
    ("layer", "file", "text"),
    [
        ("core", "layers/core/python/modelyard/__init__.py", "x = 2\n"),
        ("core", "layers/core/python/modelyard/more.py", ""),
        ("serving", "layers/serving/requirements.txt", "numpy==3 --hash=sha256:00\n"),
        ("model-brought", "models/brought/python/brought_model/words.txt", "a"),
    ],
)
def test_a_change_of_lock_or_sources_changes_the_inputs(tmp_path: Path, layer: str, file: str, text: str) -> None:
    before = layer_source(project(tmp_path), layer).inputs(ARM)
    write(tmp_path, {file: text})

    assert layer_source(tmp_path, layer).inputs(ARM) != before


def test_every_target_has_inputs_of_its_own(tmp_path: Path) -> None:
    source = layer_source(project(tmp_path), "serving")
    targets = [ARM, BuildTarget("3.12", "arm64"), BuildTarget("3.13", "x86_64"), BuildTarget("3.13", "local")]

    assert len({source.inputs(target) for target in targets}) == 4


def test_a_training_layer_holds_the_packages_and_the_notebook_in_a_folder_that_no_package_is_called(
    tmp_path: Path,
) -> None:
    noted = NOTEBOOK.replace("train.ipynb", "notebooks/train.ipynb")
    folder = write(
        project(tmp_path),
        {
            "models/noted/model.toml": noted,
            "models/noted/notebooks/train.ipynb": "{}",
            "models/noted/notebooks/other.ipynb": "{}",
            "models/noted/data/rows.csv": "x,y",
            "models/noted/python/words/__init__.py": "",
        },
    )
    source = layer_source(folder, "training-noted")

    assert [name for name, _ in source.files] == ["training-notebook/notebooks/train.ipynb", "words/__init__.py"]
    (folder / "models/noted/python/words/__init__.py").unlink()
    (folder / "models/noted/python/words").rmdir()
    (folder / "models/noted/python").rmdir()
    assert [name for name, _ in layer_source(folder, "training-noted").files] == [
        "training-notebook/notebooks/train.ipynb"
    ]


def test_the_digest_of_training_code_is_of_its_files_alone(tmp_path: Path) -> None:
    files = {"model.toml": OWN_TRAINING, "python/own_model/training.py": "def train(job): ..."}
    here, there = (write(tmp_path / name / "models" / "own", files).parents[1] for name in ("here", "there"))

    assert training_code_digest(here, "own") == training_code_digest(there, "own")
    write(there / "models" / "own", {"model.toml": OWN_TRAINING + "# said", "data/rows.csv": "x,y"})
    assert training_code_digest(here, "own") == training_code_digest(there, "own")
    write(there / "models" / "own", {"python/own_model/words.txt": "rain"})
    assert training_code_digest(here, "own") != training_code_digest(there, "own")


def test_the_digest_of_a_trainings_libraries_covers_all_of_its_layers() -> None:
    training, notebook = layer(name="training"), layer(name="notebook", digest="cd" * 32)

    assert training_libraries(model(TRAINED)) == training_libraries() == ("training",)
    assert training_libraries(model(NOTEBOOK)) == ("notebook", "training")
    assert lock_digest([training]) == training.digest
    assert lock_digest([notebook, training]) == lock_digest([training, notebook]) != training.digest
    assert lock_digest([training, replace(notebook, digest="ef" * 32)]) != lock_digest([training, notebook])


def test_a_missing_lock_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"layers/training/requirements\.txt is not there") as caught:
        layer_source(project(tmp_path), "training")

    assert "requirements.in" in str(caught.value.next_step)


# --- what fits


def test_a_set_that_fills_the_limit_to_the_byte_fits() -> None:
    check_fit(fit(layer(unzipped_bytes=UNZIPPED_LIMIT - 10), function_bytes=10), {})


def test_one_byte_more_is_refused_with_the_heaviest_packages_and_what_to_do() -> None:
    core = layer(name="core", unzipped_bytes=10, packages=(("modelyard", 10),))
    training = layer(
        name="training",
        unzipped_bytes=UNZIPPED_LIMIT - 10,
        packages=(("scipy", 190_000_000), ("numpy", UNZIPPED_LIMIT - 190_000_010)),
    )

    with pytest.raises(BuildError) as caught:
        check_fit(fit(core, training, function_bytes=1, title="train"), {})

    lines = caught.value.message.splitlines()
    assert lines[0].startswith("train (python3.13-arm64) takes 262.1 MB unzipped")
    assert "262,144,000 bytes" in lines[0]
    assert lines[1].split() == ["scipy", "190.0", "MB", "in", "training"]
    assert lines[2].split() == ["numpy", "72.1", "MB", "in", "training"]
    assert caught.value.code == "too_large"
    assert "requirements.in" in str(caught.value.next_step)


def test_a_model_that_is_too_heavy_is_told_its_own_folder() -> None:
    for name in ("model-digits", "training-digits"):
        heavy = layer(name=name, unzipped_bytes=UNZIPPED_LIMIT + 1, packages=(("digits_model", UNZIPPED_LIMIT),))

        with pytest.raises(BuildError) as caught:
            check_fit(fit(heavy), {})

        assert "models/digits/python" in str(caught.value.next_step)


def test_six_layers_are_one_too_many() -> None:
    with pytest.raises(BuildError, match="has 6 layers") as caught:
        check_fit(fit(*[layer()] * 6), {})

    assert caught.value.code == "too_many_layers"


# --- the manifest


def committed(tmp_path: Path, content: bytes = b"1234", **changes: object) -> LayerManifest:
    draft = tmp_path / "draft.zip"
    draft.write_bytes(content)
    folder = tmp_path / "layer"
    folder.mkdir(exist_ok=True)
    return commit(folder, layer(path=draft, zip_bytes=len(content), **changes))


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = committed(tmp_path)

    assert read_manifest(tmp_path / "layer") == written
    assert written.path.read_bytes() == b"1234"


def test_a_newer_layer_replaces_the_older_one_and_its_zip(tmp_path: Path) -> None:
    old = committed(tmp_path, digest="11" * 32)
    new = committed(tmp_path, b"12345", digest="22" * 32)

    assert not old.path.exists()
    assert read_manifest(tmp_path / "layer") == new


def test_a_zip_that_is_not_whole_counts_as_no_layer(tmp_path: Path) -> None:
    committed(tmp_path).path.write_bytes(b"12")

    assert read_manifest(tmp_path / "layer") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}', '{"format": 2}'])
def test_a_manifest_that_cannot_be_understood_counts_as_no_layer(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"manifest.json": text})

    assert read_manifest(tmp_path) is None


def test_a_manifest_says_nothing_about_the_machine(tmp_path: Path) -> None:
    committed(tmp_path)
    text = (tmp_path / "layer/manifest.json").read_text()

    assert str(tmp_path) not in text
    assert "path" not in json.loads(text)
