"""The training step, apart from the others because it alone needs scikit-learn and runs on the training layer."""

import hashlib
from typing import Any

import msgspec

from modelyard.contract.document import to_json
from modelyard.errors import UsageError
from modelyard.registry import DatasetFile
from modelyard.retraining.bounds import MOST_SCORES, file_name, listed, short
from modelyard.retraining.dataset import TRAINING, LeftOut, Part, agree, fetch, remarks_on, too_large
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.trainer import TrainingResult, train

REFUSALS = frozenset({"invalid_training_data", "too_few_rows", "nothing_fitted", "invalid_contract"})
"""What the data is to blame for: the run ends as a rejection, in words, and not as a failure of the machinery."""


def train_candidates(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Train on the model's data set, and leave the model and its evaluation rows in the run's folder.

    The data set is as it is now: files that other runs had accepted meanwhile are in it, so runs that overlap train the
    same model, which then is one version. Files that cannot be learnt from are left out and named in the remarks; when
    that is this run's own file, nothing is trained.

    Args:
        workbench: Registry, data bucket, artifact bucket.
        event: ``object`` and ``validation`` as those steps answered; ``plan``; ``run_id``.

    Returns:
        ``status``: ``trained`` or ``refused``; ``reason``, when refused. When trained also ``model_key``,
        ``evaluation_key`` and ``record_key`` in the artifact bucket, the last with the whole leaderboard, the contract
        and every file that was trained on; ``candidate``, ``settings``, the best of the ``leaderboard``; ``rows``;
        ``files``, how many; ``remarks``.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    files = workbench.registry.dataset_files(plan.model)
    large = too_large(workbench, (file.size for file in files), memory_per_byte=TRAINING)
    if large:
        return _refused(large)
    parts, gone = _parts(workbench, files, event)
    parts, left = agree(plan, parts)
    sha256 = event["validation"]["sha256"]
    for found in (*gone, *left):
        if found.file is not None and found.file.sha256 == sha256:
            return _refused(found.remark)
    try:
        result = train(plan, [part.content for part in parts], names=[part.name for part in parts])
    except UsageError as refusal:
        if refusal.code not in REFUSALS:
            raise
        return _refused(refusal.message)
    return _answer(workbench, plan, run_id, result, parts, [*gone, *left])


def _parts(
    workbench: Workbench, files: tuple[DatasetFile, ...], event: dict[str, Any]
) -> tuple[list[Part], list[LeftOut]]:
    """The bytes of the data set. This run's own file may be a second upload of bytes whose first is gone by now."""
    upload, sha256 = event["object"], event["validation"]["sha256"]
    parts, gone = fetch(workbench, files)
    own = next((found.file for found in gone if found.file is not None and found.file.sha256 == sha256), None)
    content = None if own is None else workbench.uploads.get(upload["key"], upload["version_id"])
    if own is None or content is None or hashlib.sha256(content).hexdigest() != sha256:
        return parts, gone
    again = msgspec.structs.replace(own, bucket=upload["bucket"], key=upload["key"], version_id=upload["version_id"])
    parts.append(Part(file_name(again.key), content, again))
    order = {file.sha256: place for place, file in enumerate(files)}
    parts.sort(key=lambda part: order[part.file.sha256] if part.file else len(order))
    return parts, [found for found in gone if found.file is not own]


def _refused(reason: str) -> dict[str, Any]:
    return {"status": "refused", "reason": short(reason)}


def _answer(
    workbench: Workbench, plan: Plan, run_id: str, result: TrainingResult, parts: list[Part], left: list[LeftOut]
) -> dict[str, Any]:
    remarks = [*remarks_on(left), *result.remarks]
    record = {
        "leaderboard": result.leaderboard,
        "remarks": remarks,
        "contract": to_json(result.contract),
        "objects": [
            {
                "bucket": part.file.bucket,
                "key": part.file.key,
                "version_id": part.file.version_id,
                "sha256": part.file.sha256,
                "rows": part.file.rows,
            }
            for part in parts
            if part.file is not None
        ],
    }
    return {
        "status": "trained",
        "reason": "",
        "model_key": _leave(workbench, plan.model, run_id, result.model, ending="onnx"),
        "evaluation_key": _leave(workbench, plan.model, run_id, result.evaluation.to_json(), ending="json"),
        "record_key": _leave(workbench, plan.model, run_id, msgspec.json.encode(record), ending="json"),
        "candidate": result.candidate,
        "settings": result.settings,
        "leaderboard": [_brief(score) for score in msgspec.to_builtins(result.leaderboard[:MOST_SCORES])],
        "rows": msgspec.to_builtins(result.rows),
        "files": len(parts),
        "remarks": listed(remarks),
    }


def _brief(score: dict[str, Any]) -> dict[str, Any]:
    """A line of the leaderboard without its folds; why it could not be fitted, cut."""
    return {key: short(value) if key == "problem" else value for key, value in score.items() if key != "folds"}


def _leave(workbench: Workbench, model: str, run_id: str, content: bytes, *, ending: str) -> str:
    """Put a working file where the next steps find it; named by its digest, so a repeated step cannot mix two."""
    digest = hashlib.sha256(content).hexdigest()
    key = f"runs/{model}/{run_id}/{digest}.{ending}"
    kind = "application/json" if ending == "json" else "application/octet-stream"
    workbench.artifacts.put_if_absent(key, content, content_type=kind, sha256=digest)
    return key
