"""The working files of a run in the artifact bucket: what one step leaves for the next. They expire after 30 days.

``runs/<model>/<run>/<digest>/in/…`` is a job (`modelyard.training.job`), ``…/out/…`` what came of it. A folder is named
by the digest of the job, so a repeated step writes the same files, and two attempts cannot be mixed.
"""

import hashlib

import msgspec

from modelyard.errors import NotFoundError
from modelyard.retraining.workbench import Workbench
from modelyard.training import job
from modelyard.training.plan import Plan


def job_folder(model: str, run_id: str, *parts: bytes) -> str:
    """Where a job of these bytes lies, without ``in/`` and ``out/``."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"runs/{model}/{run_id}/{digest.hexdigest()[:16]}"


def leave_job(
    workbench: Workbench, plan: Plan, run_id: str, *, training: bytes, evaluation: bytes, given: bytes | None = None
) -> str:
    """Write ``in/`` of a job; the folder."""
    document = msgspec.json.encode(plan)
    folder = job_folder(plan.model, run_id, document, training, evaluation, given or b"")
    leave(workbench, f"{folder}/in/{job.PLAN}", document)
    leave(workbench, f"{folder}/in/{job.TRAINING}", training)
    leave(workbench, f"{folder}/in/{job.EVALUATION}", evaluation)
    if given is not None:
        leave(workbench, f"{folder}/in/{job.GIVEN}", given)
    return folder


def leave(workbench: Workbench, key: str, content: bytes) -> str:
    """Put a working file; one that is there already has the same bytes, or its first writer's."""
    kinds = {"csv": "text/csv", "json": "application/json", "html": "text/html; charset=utf-8"}
    kind = kinds.get(key.rsplit(".", 1)[-1], "application/octet-stream")
    workbench.artifacts.put_if_absent(key, content, content_type=kind, sha256=hashlib.sha256(content).hexdigest())
    return key


def read(workbench: Workbench, key: str) -> bytes:
    """A working file, or another object of the artifact bucket.

    Raises:
        NotFoundError: When it is not there.
    """
    found = workbench.artifacts.get(key)
    if found is None:
        raise NotFoundError(
            f"{key} is not in the artifact bucket; working files expire after 30 days",
            code="object_not_found",
            next_step="Start another run: 'modelyard train NAME'.",
        )
    return found.body


def read_if_there(workbench: Workbench, key: str) -> bytes | None:
    """The same; None when it is not there."""
    found = workbench.artifacts.get(key)
    return None if found is None else found.body
