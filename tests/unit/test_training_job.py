"""A training as a folder in and a folder out, and that the same folder trains the same bytes anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from modelyard.training import job
from modelyard.training.plan import Plan
from tests.fakes.training_data import SMALL, csv_file, diabetes, divided, docstrings, plan, weather, weather_plan

CLASSIFIERS = ("logistic_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")
REGRESSORS = ("linear_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")


def job_folder(folder: Path, spec: Plan, files: list[bytes]) -> Path:
    """``in`` and an empty ``out``."""
    training, evaluation = divided(spec, files)
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "in" / job.PLAN).write_bytes(msgspec.json.encode(spec))
    (folder / "in" / job.TRAINING).write_bytes(job.write_rows(spec, training))
    (folder / "in" / job.EVALUATION).write_bytes(job.write_rows(spec, evaluation, without_target=True))
    return folder


def given(folder: Path, trained: job.Trained) -> None:
    document = {"candidate": trained.candidate, "settings": trained.settings}
    (folder / "in" / job.GIVEN).write_text(json.dumps(document))


RUN = "import sys; from pathlib import Path; from modelyard.training.job import run_job; f = Path(sys.argv[1]); "
RUN += "[run_job(Path(f) / 'in', Path(f) / 'out') for f in sys.argv[1:]]"


def run_elsewhere(*folders: Path, threads: int) -> None:
    """The same jobs in a process of its own, with another order of hashes and another number of threads."""
    environment = {**os.environ, "PYTHONHASHSEED": "random", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, folders)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_what_won_trains_the_same_bytes_once_more_in_another_process(tmp_path: Path, threads: int) -> None:
    file, columns = diabetes()
    features = dict.fromkeys(columns, "number")
    plans: dict[str, tuple[Plan, list[bytes]]] = {
        f"{kind} of classes": (weather_plan(kinds=[kind]), weather(2012)) for kind in CLASSIFIERS
    }
    for kind in REGRESSORS:
        spec = plan(target="progression", features=features, task="regression", metric="rmse", kinds=[kind])
        plans[f"{kind} of numbers"] = (spec, [file])
    spec = plan(target="library", features={"said": "text"}, task="binary", kinds=["logistic_regression"])
    plans["words"] = (spec, [docstrings()])
    made: dict[str, tuple[bytes, job.Trained]] = {}
    folders = {name: job_folder(tmp_path / name, spec, files) for name, (spec, files) in plans.items()}
    for name, folder in folders.items():
        trained = job.run_job(folder / "in", folder / "out")
        made[name] = (folder / "out" / job.MODEL).read_bytes(), trained
        given(folder, trained)
        (folder / "out" / job.MODEL).unlink()
    run_elsewhere(*folders.values(), threads=threads)
    for name, folder in folders.items():
        model, trained = made[name]
        again = job.read_trained((folder / "out" / job.TRAINED).read_bytes())
        assert (folder / "out" / job.MODEL).read_bytes() == model, name
        assert again.predictions == trained.predictions, name
        assert (again.candidate, again.settings, again.baseline) == (
            trained.candidate,
            trained.settings,
            trained.baseline,
        )
        assert again.leaderboard == []


def test_the_whole_search_comes_to_the_same_in_another_process(tmp_path: Path) -> None:
    spec = weather_plan(kinds=["random_forest", "lightgbm", "neural_network"])
    here, there = (job_folder(tmp_path / name, spec, weather(2012)) for name in ("here", "there"))
    trained = job.run_job(here / "in", here / "out")
    run_elsewhere(there, threads=2)
    again = job.read_trained((there / "out" / job.TRAINED).read_bytes())
    assert (there / "out" / job.MODEL).read_bytes() == (here / "out" / job.MODEL).read_bytes()
    assert again.why == trained.why
    untimed = [[{**line, "seconds": 0} for line in found.leaderboard] for found in (trained, again)]
    assert untimed[0] == untimed[1]


def test_what_a_training_says_about_itself_is_read_again(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", weather_plan(kinds=["lightgbm"]), weather(2012))
    told: list[str] = []
    trained = job.run_job(folder / "in", folder / "out", progress=told.append)
    assert job.read_trained((folder / "out" / job.TRAINED).read_bytes()) == trained
    assert told[0] == "293 rows to train on, 73 frozen for evaluation"
    assert {line["candidate"] for line in trained.leaderboard} == {"lightgbm", "baseline"}
    assert trained.leaderboard[0]["seconds"] > 0
    assert trained.environment["libraries"]["lightgbm"] == "4.7.0"
    assert trained.predictions is not None
    assert len(trained.predictions) == 73


def test_rows_survive_the_folder_as_they_were(tmp_path: Path) -> None:
    texts = ['a "b", c', "x\ny", "ü", "' '", "NA", "1e3"]
    rows = [[f"{texts[at % 6]} {at}", ["", "1e3", "5.0"][at % 3], f"{at}.5"] for at in range(30)]
    features = {"name": "text", "n": "number"}
    spec = plan(target="y", features=features, task="regression", metric="mae", kinds=["linear_regression"])
    file = csv_file(["name", "n", "y"], rows)
    folder = job_folder(tmp_path / "job", spec, [file])
    training, evaluation = divided(spec, [file])
    read = job.read_job(folder / "in")
    assert read.columns["name"].tolist() == training.columns["name"].tolist()
    assert np.array_equal(read.columns["n"], training.columns["n"], equal_nan=True)
    assert read.target.tolist() == training.target.tolist()
    assert read.evaluation["name"].tolist() == evaluation.columns["name"].tolist()
    assert len(read.target) + len(read.evaluation["name"]) == 30


def test_every_kind_of_candidate_is_trained_twice_here() -> None:
    assert {*CLASSIFIERS, *REGRESSORS} == set(SMALL)
