"""``MLmodel``: what MLflow says about a model, in the file that makes a folder one of its models."""

from dataclasses import dataclass
from typing import Any

from modelyard.errors import UsageError
from modelyard.importing.declared import Declared, read_declared
from modelyard.importing.plain_yaml import map_at, read_yaml, text_at
from modelyard.names import check_id

FILE = "MLmodel"
_FLAVOR = "onnx"


@dataclass(frozen=True, slots=True)
class MlModel:
    """An MLflow model that holds an ONNX file.

    ``onnx_file`` is its path inside the folder. ``model_id`` names the model since MLflow 3, where it has metrics of
    its own, and is its UUID before. ``has_code``: it brings Python files, which are not read.
    """

    onnx_file: str
    declared: Declared
    run_id: str | None
    model_id: str | None
    mlflow_version: str | None
    has_code: bool


def read_mlmodel(content: bytes) -> MlModel:
    """What the file says.

    Raises:
        UsageError: ``invalid_yaml``, ``invalid_id``; ``invalid_declaration`` of the signature; ``no_onnx_flavor``,
            naming the flavors there are.
    """
    document = read_yaml(content, name=FILE)
    flavors = map_at(document, "flavors", name=FILE) or {}
    onnx = map_at(flavors, _FLAVOR, name=f"{FILE}: flavors")
    if onnx is None:
        raise _no_onnx(flavors)
    onnx_file = text_at(onnx, "data", name=f"{FILE}: flavors.{_FLAVOR}")
    if onnx_file is None:
        raise UsageError(
            f"{FILE}: flavors.{_FLAVOR} names no file under 'data'",
            code="invalid_yaml",
            field="source",
            next_step="Save the model with mlflow.onnx.save_model again.",
        )
    return MlModel(
        onnx_file=onnx_file,
        declared=read_declared(map_at(document, "signature", name=FILE)),
        run_id=_id_at(document, "run_id"),
        model_id=_id_at(document, "model_id") or _id_at(document, "model_uuid"),
        mlflow_version=_id_at(document, "mlflow_version"),
        has_code=text_at(onnx, "code", name=f"{FILE}: flavors.{_FLAVOR}") is not None,
    )


def _id_at(document: dict[str, Any], key: str) -> str | None:
    value = text_at(document, key, name=FILE)
    return None if value is None else check_id(value, field=f"{FILE}: {key}")


def _no_onnx(flavors: dict[str, Any]) -> UsageError:
    names = ", ".join(ascii(name)[1:40].rstrip("'") for name in sorted(map(str, flavors))[:10])
    return UsageError(
        f"the MLflow model holds no ONNX: its flavors are {names or 'none'}; only ONNX is executed",
        code="no_onnx_flavor",
        field="source",
        next_step="Convert it (scikit-learn: skl2onnx; PyTorch: torch.onnx.export), log that with "
        "mlflow.onnx.log_model, and import it.",
    )
