"""A notebook that trains: executed in a process of its own, with the job's folders in and out."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.training import job, notebook
from tests.fakes.training_data import weather, weather_plan
from tests.unit.test_training_job import job_folder

TRAIN = """
import json
from pathlib import Path
import numpy as np
from modelyard.training.export import to_onnx
from modelyard.training.job import read_job
from modelyard.training.pipeline import build, fit
job = read_job(job_in)
def matrix(columns):
    stacked = np.empty((len(columns["date"]), len(columns)), dtype=object)
    for at, column in enumerate(columns.values()):
        stacked[:, at] = column
    return stacked
pipeline = fit(build(job.plan, "random_forest", {"n_estimators": 3}), matrix(job.columns), job.target)
Path(job_out, "model.onnx").write_bytes(to_onnx(job.plan, pipeline))
answers = [
    {"label": pipeline.classes_[row.argmax()], "probabilities": dict(zip(pipeline.classes_, row.tolist()))}
    for row in pipeline.predict_proba(matrix(job.evaluation))
]
Path(job_out, "predictions.json").write_text(json.dumps(answers))
print("trained on", len(job.target), "rows")
"""


def notebook_of(code: str) -> str:
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": code, "id": "train"}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def job_with(tmp_path: Path, code: str, **training: int) -> Path:
    folder = job_folder(tmp_path / "job", weather_plan(kinds=[], entry="train.ipynb", **training), weather(2012))
    (folder / "in" / job.CODE).mkdir()
    (folder / "in" / job.CODE / "train.ipynb").write_text(notebook_of(code), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders lie."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_notebook_trains_and_is_kept_with_its_outputs(tmp_path: Path) -> None:
    folder = job_with(tmp_path, TRAIN)
    trained = job.run_job(folder / "in", folder / "out")
    assert trained.candidate == "train.ipynb"
    assert trained.why == "trained by train.ipynb: executed; its outputs are in notebook.ipynb"
    assert trained.predictions is not None
    answered = Predictor.load((folder / "out" / job.MODEL).read_bytes()).predict(job_instances(folder))
    for given, found in zip(trained.predictions, answered, strict=True):
        assert given["probabilities"] == pytest.approx(found["probabilities"], abs=1e-5)
    executed = json.loads((folder / "out" / notebook.EXECUTED).read_text())
    assert "trained on 293 rows" in json.dumps(executed["cells"])


WITH_A_PREDICT = (
    TRAIN.partition('Path(job_out, "model.onnx")')[0]
    + """
from modelyard.training.entry import TrainedModel
from modelyard.training.job import write_model
def predict(columns):
    return pipeline.predict_proba(matrix(columns))
write_model(job_out, job, TrainedModel(to_onnx(job.plan, pipeline), classes=pipeline.classes_, predict=predict))
"""
)


def test_a_notebook_gives_back_what_a_function_does(tmp_path: Path) -> None:
    folder = job_with(tmp_path, WITH_A_PREDICT)
    trained = job.run_job(folder / "in", folder / "out")
    assert trained.predictions is not None
    answered = Predictor.load((folder / "out" / job.MODEL).read_bytes()).predict(job_instances(folder))
    for given, found in zip(trained.predictions, answered, strict=True):
        assert given["probabilities"] == pytest.approx(found["probabilities"], abs=1e-5)


LOOK = """
import os, sys
from IPython.paths import get_ipython_dir
from jupyter_core import paths
from modelyard.training.job import read_job
places = [os.path.expanduser("~"), get_ipython_dir(), paths.jupyter_config_dir(), paths.jupyter_data_dir()]
print("WRITES", *places, paths.jupyter_runtime_dir())
print("RUNS", sys.executable, sys.flags.no_site, hash("a word"), sys.stdin.read() == "")
print("LEFT", read_job(job_in).seconds_left())
raise ValueError("enough")
"""


def test_a_notebook_runs_on_this_python_whatever_kernels_there_are_and_writes_into_one_folder(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = tmp_path / "home", tmp_path / "kernels" / "python3" / "kernel.json"
    home.mkdir()
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    for name in ("IPYTHONDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home / name))
    folder = job_with(tmp_path, LOOK, timeout_s=100)
    with pytest.raises(UsageError, match="enough"):
        job.run_job(folder / "in", folder / "out")
    (cell,) = [cell for cell in cells_of(folder) if "LEFT" in "".join(cell["source"])]
    printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
    said = {line.split(" ")[0]: line.split(" ")[1:] for line in printed.splitlines()}
    assert [place for place in said["WRITES"] if not Path(place).is_relative_to(temporary)] == []
    executable, no_site, hashed, nothing_to_read = said["RUNS"]
    assert (executable, no_site, nothing_to_read) == (sys.executable, "0", "True")
    assert hashed == hash_of_a_word(), "equal sets have an equal order in every run"
    assert 50 < float(said["LEFT"][0]) <= 95, "the notebook knows when it will be ended"
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []


def hash_of_a_word() -> str:
    program, environ = "print(hash('a word'))", {"PYTHONHASHSEED": "0"}
    return subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True).stdout.strip()


def cells_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "out" / notebook.EXECUTED).read_text())["cells"]
    return found


def test_a_notebook_is_found_in_a_layer_and_the_jobs_own_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, layer = tmp_path / "code", tmp_path / "layer"
    in_layer = layer / notebook.FOLDER / "notebooks" / "train.ipynb"
    in_layer.parent.mkdir(parents=True)
    in_layer.touch()
    monkeypatch.setattr(sys, "path", [str(layer), *sys.path])
    assert notebook.find("notebooks/train.ipynb", code) == in_layer
    assert notebook.find("other.ipynb", code) == code / "other.ipynb"
    (code / "notebooks").mkdir(parents=True)
    (code / "notebooks" / "train.ipynb").touch()
    assert notebook.find("notebooks/train.ipynb", code) == code / "notebooks" / "train.ipynb"


def job_instances(folder: Path) -> list[dict[str, object]]:
    columns = job.read_job(folder / "in").evaluation
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_what_goes_wrong_in_a_notebook_is_told(tmp_path: Path) -> None:
    folder = job_with(tmp_path, "1 / 0")
    with pytest.raises(UsageError) as caught:
        job.run_job(folder / "in", folder / "out")
    assert caught.value.code == "entry_failed"
    assert caught.value.message == (
        "train.ipynb did not train a model: ZeroDivisionError: division by zero (in the cell that begins '1 / 0')"
    )


def test_a_notebook_that_papermill_cannot_run_is_told_without_colours(tmp_path: Path) -> None:
    folder = job_with(tmp_path, TRAIN)
    (folder / "in" / job.CODE / "train.ipynb").write_text("{}")
    with pytest.raises(UsageError, match=r"train\.ipynb did not train a model: ") as caught:
        job.run_job(folder / "in", folder / "out")
    assert "\x1b" not in caught.value.message


def test_a_notebook_that_leaves_no_model_or_odd_predictions_is_told(tmp_path: Path) -> None:
    file = Path("train.ipynb")
    with pytest.raises(UsageError, match=r"it ran to its end and wrote no model\.onnx into job_out"):
        notebook.model_in(tmp_path, file)
    assert notebook.predictions_in(tmp_path, file, 3) is None
    for content, said in {"[1]": "has 1 answers for 3 evaluation rows", "{}": "is no list as JSON"}.items():
        (tmp_path / notebook.PREDICTIONS).write_text(content)
        with pytest.raises(UsageError, match=said):
            notebook.predictions_in(tmp_path, file, 3)


@pytest.mark.skipif(not Path("/proc/self/cmdline").is_file(), reason="looks processes up where Linux lists them")
def test_a_notebook_that_does_not_end_is_ended_with_its_kernel(tmp_path: Path) -> None:
    folder = job_with(tmp_path, "import time\ntime.sleep(600)", timeout_s=4)
    with pytest.raises(UsageError, match=r"it took more than 3\.\d+ s"):
        job.run_job(folder / "in", folder / "out")
    deadline = time.monotonic() + 10
    while (left := processes_about(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def processes_about(folder: Path) -> list[str]:
    """Command lines that name the folder: papermill has the notebook, the kernel its connection file in there."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in said and "pytest" not in said.split(" ")[0]:
            found.append(said)
    return found


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "papermill", None)
    folder = job_with(tmp_path, TRAIN)
    with pytest.raises(UsageError) as caught:
        job.run_job(folder / "in", folder / "out")
    assert caught.value.code == "notebook_extra_missing"
    assert caught.value.message == "train.ipynb is a notebook, and papermill to run it with is not installed"
    assert caught.value.next_step == "Install the extra: pip install 'modelyard[notebook]'."


def test_a_notebook_that_is_not_in_the_job_is_told(tmp_path: Path) -> None:
    folder = job_with(tmp_path, TRAIN)
    (folder / "in" / job.CODE / "train.ipynb").unlink()
    with pytest.raises(UsageError, match=r"there is no train\.ipynb among the job's code"):
        job.run_job(folder / "in", folder / "out")
