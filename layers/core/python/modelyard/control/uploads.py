"""From a caller's file to a version: sign an upload, take it, admit it, register it.

    POST uploads ─► signed PUT ─► S3 (checks size and SHA-256) ─► POST versions ─► take ─► admit ─► register

A file is too large for a request (Lambda carries 6 MB), so it goes to S3 directly. Nothing becomes visible before the
bytes were admitted by their content; an upload that is never registered expires. Going live is another route: who may
register is not who may change what is live.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from modelyard.contract.document import to_json
from modelyard.control.bodies import RegisterBody
from modelyard.errors import AdmissionError, NotFoundError, UsageError
from modelyard.names import check_name
from modelyard.ports import ArtifactStore
from modelyard.registry import Registered, Registry
from modelyard.version import Lineage, Signature

LARGEST_UPLOAD = 256 * 1024 * 1024
"""Bytes of one file. The function holds it twice (once in the process that tries it) and has 30 s for everything."""

COMPILE_DEADLINE_S = 10.0
"""What is left of those 30 s after admission; a model that takes longer is served as it was uploaded."""

UPLOAD_EXPIRES_S = 15 * 60
ONNX_CONTENT_TYPE = "application/octet-stream"

Admit = Callable[[bytes], Signature]


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A PUT request that S3 will accept from anybody who sends exactly these headers."""

    url: str
    headers: dict[str, str]


class UploadSigner(Protocol):
    """Signs uploads to the artifact bucket."""

    def sign(self, key: str, *, sha256: str, size: int, expires_s: int) -> SignedUpload:
        """A PUT of ``size`` bytes with this SHA-256 (hex) to ``key``, valid for ``expires_s`` seconds."""
        ...


def upload_key(model: str, sha256: str) -> str:
    """Where an upload lies in the artifact bucket until it expires."""
    return f"uploads/{check_name(model)}/{sha256}.onnx"


def sign_upload(signer: UploadSigner, model: str, *, sha256: str, size: int) -> SignedUpload:
    """The PUT request for a file.

    Raises:
        UsageError: With code ``artifact_too_large``.
    """
    _check_size(size, field="size")
    return signer.sign(upload_key(model, sha256), sha256=sha256, size=size, expires_s=UPLOAD_EXPIRES_S)


def take_upload(artifacts: ArtifactStore, model: str, sha256: str) -> bytes:
    """The bytes that were uploaded under this digest.

    Raises:
        NotFoundError: With code ``unknown_upload`` when nothing was, or it has expired.
        UsageError: With code ``artifact_too_large``.
        AdmissionError: With code ``checksum_mismatch`` when the bytes are others.
    """
    key = upload_key(model, sha256)
    facts = artifacts.head(key)
    if facts is not None:
        _check_size(facts.size, field="sha256")  # before all of it is in memory
    found = None if facts is None else artifacts.get(key)
    if found is None:
        raise NotFoundError(
            f"no file with SHA-256 {sha256} is uploaded for model {model!r}; uploads expire after a day",
            code="unknown_upload",
            field="sha256",
            next_step=f"POST /models/{model}/uploads, send the file to the URL that it gives, then try again.",
        )
    digest = hashlib.sha256(found.body).hexdigest()
    if digest != sha256:
        raise AdmissionError(
            f"the upload for model {model!r} has SHA-256 {digest}; {sha256} was promised",
            code="checksum_mismatch",
            field="sha256",
            next_step="Upload the file again, with the headers that came with the URL.",
        )
    return found.body


def register_upload(registry: Registry, model: str, asked: RegisterBody, *, admit: Admit) -> Registered:
    """Admit and register an upload. Repeating it after a lost answer gives the same version.

    Raises:
        ModelyardError: As ``take_upload``, ``admit`` and ``Registry.register`` do.
    """
    from modelyard.compiling.compiler import compile_model  # numpy, which few requests need

    artifact = take_upload(registry.artifacts, model, asked.sha256)
    signature = admit(artifact)
    return registry.register(
        model,
        artifact,
        task=asked.task,
        signature=signature,
        contract=None if asked.sample is None else _contract(asked.sample, signature),
        accept_breaking=asked.accept_breaking,
        compiler=partial(compile_model, deadline_s=COMPILE_DEADLINE_S),
        lineage=Lineage(code_digest=asked.code_digest),
        note=asked.note,
        description=asked.description,
        owner=asked.owner,
        tags=asked.tags,
    )


def _contract(sample: list[Any], signature: Signature) -> dict[str, Any]:
    """What the sample says; it holds what the graph takes, because a model's own code is not here to make it that."""
    from modelyard.contract.inference import infer  # numpy, which few requests need
    from modelyard.contract.sample import arrays_of

    return to_json(infer(arrays_of(sample, signature.inputs), signature.inputs))


def _check_size(size: int, *, field: str) -> None:
    if size > LARGEST_UPLOAD:
        raise UsageError(
            f"the file has {size:,} bytes; at most {LARGEST_UPLOAD:,} are taken over HTTP",
            code="artifact_too_large",
            field=field,
            status=413,
            next_step="Register it with 'modelyard register', which takes larger files.",
        )
