"""The training step, apart from the others because it alone needs scikit-learn and runs on the training layer."""

import hashlib
from typing import Any

import msgspec

from modelyard.errors import ConflictError
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import decode_plan
from modelyard.training.trainer import train


def train_candidates(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Train on every accepted file, and leave the model and its evaluation rows in the run's folder.

    Args:
        workbench: Registry, data bucket, artifact bucket.
        event: ``plan``; ``run_id``.

    Returns:
        ``model_key`` and ``evaluation_key`` in the artifact bucket; ``candidate``, ``settings``, ``leaderboard``;
        ``rows``; ``objects``, the files that were trained on.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    files = workbench.registry.dataset_files(plan.model)
    contents: list[bytes] = []
    for file in files:
        content = workbench.uploads.get(file.key, file.version_id)
        if content is None or hashlib.sha256(content).hexdigest() != file.sha256:
            raise ConflictError(
                f"version {file.version_id} of {file.key} is gone or has other bytes than when it was accepted",
                code="data_changed",
                next_step="Restore that object version in the data bucket, then upload again.",
            )
        contents.append(content)
    result = train(plan, contents, names=[file.key.rsplit("/", 1)[-1] for file in files])
    return {
        "model_key": _leave(workbench, plan.model, run_id, result.model, ending="onnx"),
        "evaluation_key": _leave(workbench, plan.model, run_id, result.evaluation.to_json(), ending="json"),
        "candidate": result.candidate,
        "settings": result.settings,
        "leaderboard": msgspec.to_builtins(result.leaderboard),
        "rows": msgspec.to_builtins(result.rows),
        "remarks": list(result.remarks),
        "objects": [
            {
                "bucket": file.bucket,
                "key": file.key,
                "version_id": file.version_id,
                "sha256": file.sha256,
                "rows": file.rows,
            }
            for file in files
        ],
    }


def _leave(workbench: Workbench, model: str, run_id: str, content: bytes, *, ending: str) -> str:
    """Put a working file where the next steps find it; named by its digest, so a repeated step cannot mix two."""
    digest = hashlib.sha256(content).hexdigest()
    key = f"runs/{model}/{run_id}/{digest}.{ending}"
    kind = "application/json" if ending == "json" else "application/octet-stream"
    workbench.artifacts.put_if_absent(key, content, content_type=kind, sha256=digest)
    return key
