"""``modelyard import``: a model of another registry becomes what ``registry.register`` takes.

    MLmodel ──► the ONNX file, weights folded in ──► admission ──► declared signature against the graph's ──► metrics

Everything is data that somebody else wrote: it is read, checked and never executed. This package runs on the
developer's machine only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.admission import admit
from modelyard.errors import AdmissionError
from modelyard.importing.declared import contradictions
from modelyard.importing.file_store import recorded_beside
from modelyard.importing.inside import read_inside
from modelyard.importing.mlmodel import FILE, MlModel, read_mlmodel
from modelyard.importing.plain_yaml import LARGEST_FILE
from modelyard.importing.recorded import Recorded
from modelyard.importing.tracking import SCHEMES, Tracking
from modelyard.importing.weights import whole_model
from modelyard.version import Signature

__all__ = ["SCHEMES", "Imported", "Tracking", "read_folder", "recorded_beside"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A model as the registry takes it; ``remarks`` say what did not come along."""

    content: bytes
    signature: Signature
    metrics: dict[str, float]
    params: dict[str, str]
    imported_from: str
    remarks: tuple[str, ...]


def read_folder(folder: Path, *, recorded: Callable[[MlModel], Recorded]) -> Imported:
    """Read the MLflow model in ``folder``.

    Args:
        folder: Has a file ``MLmodel``.
        recorded: Gives the metrics and parameters of a model.

    Raises:
        UsageError: When MLmodel does not read, holds no ONNX, or names files that are not in the folder.
        AdmissionError: When the ONNX file would not run, or with code ``signature_contradicted`` when MLmodel says
            something else about it than the graph does.
    """
    model = read_mlmodel(read_inside(folder, FILE, limit=LARGEST_FILE))
    content = whole_model(folder, model.onnx_file)
    signature = admit(content)
    found = contradictions(model.declared, signature)
    if found:
        raise AdmissionError(
            f"MLmodel and the graph contradict each other: {'; '.join(found)}",
            code="signature_contradicted",
            field="signature",
            next_step="Correct what MLmodel says with mlflow.models.set_signature, or export the graph it describes.",
        )
    notes = recorded(model)
    return Imported(
        content=content,
        signature=signature,
        metrics=notes.metrics,
        params=notes.params,
        imported_from=_origin(model),
        remarks=(*_remarks(model), *notes.remarks),
    )


def _origin(model: MlModel) -> str:
    """Where it comes from on one line, like ``mlflow 3.17.2 run 4069c840 model m-76f4a5a4``."""
    parts = {"mlflow": model.mlflow_version, "run": model.run_id, "model": model.model_id}
    return " ".join(f"{name} {value}" for name, value in parts.items() if value) or "mlflow"


def _remarks(model: MlModel) -> list[str]:
    remarks = []
    if model.has_code:
        remarks.append("its Python files were not taken; what the endpoint shall run belongs into the model's python/")
    if model.declared.has_params:
        remarks.append("parameters of its signature were not taken; an ONNX graph has inputs only")
    return remarks
