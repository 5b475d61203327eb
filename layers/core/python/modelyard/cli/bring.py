"""Bring a finished model: check the file, register it."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.cli.session import Session
from modelyard.cli.show import upload_progress
from modelyard.errors import UsageError
from modelyard.spec import Model

if TYPE_CHECKING:
    from modelyard.registry import Registered


def register_artifact(session: Session, model: Model, *, artifact: Path | None = None, note: str = "") -> "Registered":
    """Admit an ONNX file by its content and register it, with the digest of the model's own code.

    Args:
        session: Where to.
        model: Whose version it becomes.
        artifact: The file; None takes the one that the spec names.
        note: One sentence about the version.

    Raises:
        UsageError: When there is no file to register.
        AdmissionError: When the bytes are not a model that would run.
    """
    from modelyard.admission import admit, check_size
    from modelyard.version import Lineage

    spec = model.spec.model
    if artifact is None:
        if spec.artifact is None:
            raise UsageError(
                f"model {model.name!r} is trained here and names no artifact",
                code="no_artifact",
                next_step=f"Give an ONNX file, or run 'modelyard upload {model.name} FILE.csv' to train a version.",
            )
        artifact = model.folder / spec.artifact
    if not artifact.is_file():
        raise UsageError(f"{artifact} is not a file", code="no_file", next_step="Give the path of an ONNX file.")
    check_size(artifact.stat().st_size)  # before it is read
    content = artifact.read_bytes()
    signature = admit(content)  # before the first AWS call
    registry = session.registry
    with upload_progress(artifact.name, len(content)) as progress:
        return registry.register(
            model.name,
            content,
            task=spec.task,
            signature=signature,
            lineage=Lineage(code_digest=code_digest(model)),
            note=note,
            description=spec.description,
            owner=spec.owner,
            tags=spec.tags,
            progress=progress,
        )


def code_digest(model: Model) -> str | None:
    """SHA-256 of a model's own code: its Python files with their names; None when it has none."""
    if model.code_folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(model.code_folder.rglob("*.py")):
        name, content = path.relative_to(model.code_folder).as_posix().encode(), path.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()
