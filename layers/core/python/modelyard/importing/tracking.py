"""A model and its run from an MLflow server or database, by the ``mlflow`` package.

It is asked for files and for records, and never to load a model, so nothing of a model is executed. The package is
imported when it is first needed: it takes seconds, and a folder is read without it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from modelyard.errors import ModelyardError, UsageError
from modelyard.importing.mlmodel import MlModel
from modelyard.importing.recorded import Notes, Recorded, recorded
from modelyard.names import legible

T = TypeVar("T")
SCHEMES = ("runs:/", "models:/")
_URI = "MLFLOW_TRACKING_URI"
_STORES = ("mlflow.db", "mlruns")
"""What MLflow takes in the working directory when no server is named; it makes the first where there is neither."""


class Tracking:
    """What is asked of MLflow.

    Args:
        mlflow: The package; None imports it.

    Raises:
        UsageError: When no server or database is named.
        ModelyardError: With code ``mlflow_missing``.
    """

    def __init__(self, mlflow: Any = None) -> None:
        self._mlflow = _import() if mlflow is None else mlflow

    def download(self, uri: str, into: Path) -> Path:
        """The folder below ``into`` with the model's files."""
        found = self._ask(
            f"download {uri!a}",
            lambda: self._mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into)),
        )
        return Path(found)

    def recorded(self, model: MlModel) -> Recorded:
        """Metrics and parameters of the model's run, and of the model itself where MLflow keeps such."""
        if model.run_id is None:
            return Recorded()
        client = self._mlflow.MlflowClient()
        run = self._ask(f"read run {model.run_id}", lambda: client.get_run(model.run_id))
        own = None
        if model.model_id is not None and model.model_id.startswith("m-"):
            own = self._ask(f"read model {model.model_id}", lambda: client.get_logged_model(model.model_id))
        made = getattr(getattr(run, "outputs", None), "model_outputs", None) or ()
        return recorded(
            Notes(run.data.metrics, run.data.params),
            None if own is None else Notes(_latest(own.metrics or ()), own.params or {}),
            models_of_run=max(1, len({output.model_id for output in made})),
        )

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as failed:  # MLflow's own errors, and those of the many clients below it
            said = legible(" ".join(str(failed).split()))[:300] or type(failed).__name__
            raise UsageError(
                f"MLflow cannot {what}: {said}",
                code="mlflow_failed",
                field="source",
                next_step=f"Check the URI, {_URI} and your access to that server.",
            ) from failed


def _latest(metrics: Any) -> dict[str, float]:
    """The last value of each metric; a model may have one for each of several datasets."""
    ordered = sorted(metrics, key=lambda metric: (metric.step, metric.timestamp))
    return {metric.key: metric.value for metric in ordered}


def _import() -> Any:
    if not os.environ.get(_URI) and not any(Path(store).exists() for store in _STORES):
        raise UsageError(
            f"no MLflow server is named: {_URI} is not set, and the working directory has no {' or '.join(_STORES)}",
            code="no_mlflow_server",
            next_step=f"Set {_URI}, like https://mlflow.example.com or sqlite:////home/ada/mlflow.db.",
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report what it is used for
    try:
        import mlflow
        import mlflow.artifacts
    except ImportError as missing:
        raise ModelyardError(
            "runs:/ and models:/ need the package 'mlflow', which is not installed",
            code="mlflow_missing",
            next_step="Run .venv/bin/uv pip install --python .venv --editable '.[mlflow]', or download the folder "
            "where MLflow is (mlflow artifacts download --artifact-uri URI --dst-path FOLDER) and import it.",
        ) from missing
    return mlflow
