"""``runs:/`` and ``models:/``: what is asked of the ``mlflow`` package, and what happens without it."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.errors import ModelyardError, UsageError
from modelyard.importing import Tracking, read_folder
from tests.fakes.mlflow_folders import RUN, FakeMlflow, metric, write_model


def test_a_run_is_asked_for_files_metrics_and_params_and_nothing_else(tmp_path: Path) -> None:
    mlflow = FakeMlflow(write_model(tmp_path / "there"), metrics={"rmse": 0.5}, params={"alpha": "1"})
    tracking = Tracking(mlflow)
    folder = tracking.download(f"runs:/{RUN}/model", tmp_path / "here")
    imported = read_folder(folder, recorded=tracking.recorded)
    assert (imported.metrics, imported.params) == ({"rmse": 0.5}, {"alpha": "1"})
    assert mlflow.asked == [f"runs:/{RUN}/model", RUN]


def test_a_model_of_mlflow_3_is_asked_for_its_own_metrics(tmp_path: Path) -> None:
    own = SimpleNamespace(
        metrics=[metric("accuracy", 0.75, step=2), metric("accuracy", 0.25, step=1)], params={"depth": "3"}
    )
    mlflow = FakeMlflow(write_model(tmp_path / "there", model_id="m-1"), metrics={"rmse": 0.5}, made=2, own=own)
    tracking = Tracking(mlflow)
    imported = read_folder(tracking.download("models:/iris/1", tmp_path / "here"), recorded=tracking.recorded)
    assert (imported.metrics, imported.params) == ({"accuracy": 0.75}, {"depth": "3"})
    assert mlflow.asked == ["models:/iris/1", RUN, "m-1"]


def test_a_model_without_a_run_brings_no_metrics(tmp_path: Path) -> None:
    mlflow = FakeMlflow(write_model(tmp_path / "there", run_id=None))
    tracking = Tracking(mlflow)
    imported = read_folder(tracking.download("models:/iris/1", tmp_path / "here"), recorded=tracking.recorded)
    assert (imported.metrics, mlflow.asked) == ({}, ["models:/iris/1"])


def test_an_error_of_mlflow_is_one_line(tmp_path: Path) -> None:
    class Refuses(FakeMlflow):
        def _download(self, **_: Any) -> str:
            raise RuntimeError("RESOURCE_DOES_NOT_EXIST:\n Run 'x' not found\x1b[2J")

    with pytest.raises(UsageError) as refused:
        Tracking(Refuses(tmp_path)).download("runs:/x/model", tmp_path)
    assert refused.value.message == (
        "MLflow cannot download 'runs:/x/model': RESOURCE_DOES_NOT_EXIST: Run 'x' not found\ufffd[2J"
    )
    assert refused.value.code == "mlflow_failed"
    assert "MLFLOW_TRACKING_URI" in (refused.value.next_step or "")


def test_no_server_and_no_database_is_said_before_mlflow_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="no MLflow server is named") as refused:
        Tracking()
    assert refused.value.code == "no_mlflow_server"
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *others: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'")
        return original(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with pytest.raises(ModelyardError) as refused:
        Tracking()
    assert refused.value.code == "mlflow_missing"
    assert ".[mlflow]" in (refused.value.next_step or "")
    assert "mlflow artifacts download" in (refused.value.next_step or "")


@pytest.mark.filterwarnings("ignore")  # of MLflow and its database library, about each other
def test_a_real_mlflow_gives_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    pytest.importorskip("sqlalchemy")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("iris", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_param(run.info.run_id, "alpha", 0.1)
    client.log_metric(run.info.run_id, "rmse", 0.5)
    client.log_metric(run.info.run_id, "inf", float("inf"))
    client.log_artifacts(run.info.run_id, str(write_model(tmp_path / "model", run_id=run.info.run_id)), "model")
    client.create_registered_model("iris")
    client.create_model_version("iris", f"{run.info.artifact_uri}/model", run.info.run_id)
    for uri in (f"runs:/{run.info.run_id}/model", "models:/iris/1"):
        tracking = Tracking()
        into = tmp_path / uri.partition(":")[0]
        into.mkdir()
        imported = read_folder(tracking.download(uri, into), recorded=tracking.recorded)
        assert (imported.metrics, imported.params) == ({"rmse": 0.5}, {"alpha": "0.1"})
        assert "inf" in imported.remarks[0]
