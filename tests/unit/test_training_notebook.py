"""A notebook that trains: executed in a process of its own, with the job's folders in and out."""

import json
import sys
import time
from pathlib import Path

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
def _folders_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


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


def job_instances(folder: Path) -> list[dict[str, object]]:
    columns = job.read_job(folder / "in").evaluation
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_what_goes_wrong_in_a_notebook_is_told(tmp_path: Path) -> None:
    folder = job_with(tmp_path, "1 / 0")
    with pytest.raises(UsageError) as caught:
        job.run_job(folder / "in", folder / "out")
    assert caught.value.code == "entry_failed"
    assert "ZeroDivisionError: division by zero" in caught.value.message


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
    with pytest.raises(UsageError, match="it took more than 4 s"):
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
