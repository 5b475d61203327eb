"""A whole control plane in memory: the real app and adapter over the fake stores, called through API Gateway events."""

import hashlib
from typing import Any

from modelyard.control.adapter import Adapter
from modelyard.control.app import create_app
from modelyard.control.frame import AuditLine
from modelyard.control.uploads import SignedUpload, upload_key
from modelyard.registry import Registry
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes.gateway import CALLER, Answer, Gateway
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

MODEL = "seattle_weather"
PARTS = {"name": MODEL, "number": 1, "sha256": "ab" * 32, "act": "pause"}
"""What fills the places of a route's path."""

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32", (None, 2)),),
    outputs=(OutputSpec("y", "float32", (None, 2), ("rain", "sun")),),
)


def admit_all(artifact: bytes) -> Signature:
    """Admission without a child process, for tests of what comes after it."""
    assert artifact
    return SIGNATURE


class RecordingJournal:
    """A ``Journal`` that keeps everything."""

    def __init__(self) -> None:
        self.lines: list[AuditLine] = []
        self.failures: list[tuple[Exception, str]] = []

    def audit(self, line: AuditLine) -> None:
        self.lines.append(line)

    def failure(self, error: Exception, *, request_id: str) -> None:
        self.failures.append((error, request_id))


class RecordingSigner:
    """An ``UploadSigner`` that keeps what it signed."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, str, int, int]] = []

    def sign(self, key: str, *, sha256: str, size: int, expires_s: int) -> SignedUpload:
        self.signed.append((key, sha256, size, expires_s))
        return SignedUpload(f"https://bucket.example/{key}?signed", {"content-length": str(size)})


class ControlStand:
    """The control plane and everything around it; ``settings`` go to ``create_app``."""

    def __init__(self, *, records: Any = None, artifacts: Any = None, **settings: Any) -> None:
        self.records = records or InMemoryRecordStore()
        self.artifacts = artifacts or InMemoryArtifactStore()
        self.journal = RecordingJournal()
        self.signer = RecordingSigner()
        self.app = create_app(self.registry, self.signer, journal=self.journal, **{"admit": admit_all, **settings})
        self.gateway = Gateway(Adapter(self.app, journal=self.journal))
        self.get, self.post, self.send = self.gateway.get, self.gateway.post, self.gateway.send
        self.put = self.gateway.put

    def registry(self, actor: str = CALLER) -> Registry:
        return Registry(self.records, self.artifacts, actor=actor)

    def upload(self, body: bytes, *, model: str = MODEL, sha256: str | None = None) -> str:
        """What a caller's PUT to the signed URL does; the digest under which it lies."""
        digest = sha256 or hashlib.sha256(body).hexdigest()
        self.artifacts.objects[upload_key(model, digest)] = body
        return digest

    def register(self, body: bytes = b"a model", *, model: str = MODEL, **asked: Any) -> Answer:
        digest = self.upload(body, model=model)
        return self.post(f"/models/{model}/versions", {"sha256": digest, "task": "binary", **asked})

    def with_versions(self, count: int) -> "ControlStand":
        for number in range(1, count + 1):
            assert self.register(b"model %d" % number).status == 201
        return self

    def promote(self, version: int, **asked: Any) -> Answer:
        return self.post(f"/models/{MODEL}/promote", {"version": version, **asked})

    def rollback(self, **asked: Any) -> Answer:
        return self.post(f"/models/{MODEL}/rollback", asked)
