"""Models that train themselves, on the layers that the build makes for them: no model of this project does.

The project's own layers are taken over; only those that such models add are built. Then each trains in an interpreter
that has nothing else, as its function would, and trains the same bytes again with another order of hashes.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from modelyard.errors import BuildError
from modelyard.packaging import Built, build, find_layer
from modelyard.packaging.fit import Fit
from modelyard.packaging.imports import PASSED
from modelyard.packaging.targets import FunctionSet, target_of
from modelyard.predictor.predictor import Predictor
from modelyard.training import job, notebook
from tests.fakes.training_data import weather, weather_plan
from tests.functions.test_layers import BY_TITLE, LOCAL, PROJECT, Sandbox
from tests.unit.test_training_job import job_folder
from tests.unit.test_training_notebook import notebook_of

SPEC = """
[model]
name = "{name}"
task = "multiclass"
[training]
target = "weather"
entry = "{entry}"
[training.features]
temp_max = {{ kind = "number" }}
wind = {{ kind = "number" }}
[evaluation]
metric = "accuracy"
"""
GUIDE = (PROJECT / "docs" / "training.md").read_text(encoding="utf-8")
FITTING = GUIDE.partition("## A model's own code")[2].partition("```python\n")[2].partition("```")[0]
"""The example of the guide; it wants numbers alone."""
NOTEBOOK = """
from modelyard.training.job import read_job, write_model
from noted_fitting import train
job = read_job(job_in)
write_model(job_out, job, train(job))
!echo a shell answers
"""
TRAIN = """
from pathlib import Path
from modelyard.training.job import run_job
answer = run_job(Path(given["folder"], "in"), Path(given["folder"], "out")).candidate
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """This project with two other models, built on the layers that it has already."""
    folder, target = tmp_path_factory.mktemp("trained"), target_of(LOCAL).name
    for name in ("layers", "functions", "environments.toml"):
        (folder / name).symlink_to(PROJECT / name)
    files = {
        "own/model.toml": SPEC.format(name="own", entry="own_fitting.training:train"),
        "own/python/own_fitting/__init__.py": "",
        "own/python/own_fitting/training.py": FITTING,
        "noted/model.toml": SPEC.format(name="noted", entry="notebooks/train.ipynb"),
        "noted/python/noted_fitting/__init__.py": FITTING,
        "noted/notebooks/train.ipynb": notebook_of(NOTEBOOK),
    }
    for name, text in files.items():
        (folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / name).write_text(text)
    try:
        find_layer(PROJECT, LOCAL, "training")  # the largest: it is taken over, or nothing is built here
        here, there = (root / "build" / "layers" / target for root in (PROJECT, folder))
        shutil.copytree(here, there, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
        shutil.copy(here / PASSED, there)
        return build(folder, ["local"])
    except BuildError as error:
        if os.environ.get("MODELYARD_LAYERS") == "built":
            raise
        pytest.skip(f"{error.message}; 'make test' builds it first")


class Function(Sandbox):
    """An interpreter with what the training function of one model carries."""

    def __init__(self, folder: Path, fit: Fit) -> None:
        super().__init__(folder)
        self.layers = {layer.name: layer for layer in fit.layers}

    def unpacked(self, name: str) -> Path:
        place = self._folder / name
        if not place.is_dir():
            with zipfile.ZipFile(self.layers[name].path) as archive:
                archive.extractall(place)
        return place / "python"


def test_what_trains_a_model_is_built_for_its_training_alone_and_fits(built: Built) -> None:
    carried = {fit.title: [layer.name for layer in fit.layers] for fit in built.fits}
    assert carried["train of own"] == ["core", "training", "training-own"]
    assert carried["train of noted"] == ["core", "notebook", "training", "training-noted"]
    assert carried["predict of own"] == carried["predict of noted"] == ["core", "lean"]
    notebook_layer = built.layers[target_of(LOCAL).name]["notebook"]
    assert notebook_layer.unzipped_bytes <= 30_000_000, "beside the training layer of arm64 there are 40 MB"


def test_a_package_and_a_notebook_train_the_same_bytes_on_their_layers_and_write_nothing_elsewhere(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: dict[str, bytes] = {}
    for name, entry in (("own", "own_fitting.training:train"), ("noted", "notebooks/train.ipynb")):
        spec = weather_plan(kinds=[], features={"temp_max": "number", "wind": "number"}, entry=entry)
        folder = job_folder(tmp_path / name, spec, weather(2012))
        home = tmp_path / name / "home"
        home.mkdir()
        (fit,) = [fit for fit in built.fits if fit.title == f"train of {name}"]
        layers = tuple(layer.name for layer in fit.layers)
        monkeypatch.setitem(BY_TITLE, name, FunctionSet(title=name, target=target_of(LOCAL), layers=layers))
        function = Function(tmp_path / name / "function", fit)
        for seed in ("1", "2") if name == "own" else ("3",):
            environ = {"PYTHONHASHSEED": seed, "HOME": str(home)}
            answer = function.run(name, TRAIN, environ=environ, folder=str(folder))
            assert answer == entry
            models[f"{name} {seed}"] = (folder / "out" / job.MODEL).read_bytes()
        assert list(home.iterdir()) == []
    assert len(set(models.values())) == 1, {name: len(content) for name, content in models.items()}
    (answered,) = Predictor.load(models["own 1"]).predict([{"temp_max": 30.0, "wind": 2.0}])
    assert answered["label"] == "sun"
    executed = (tmp_path / "noted" / "out" / notebook.EXECUTED).read_text()
    assert "a shell answers" in "".join(json.loads(executed)["cells"][-1]["outputs"][0]["text"])
