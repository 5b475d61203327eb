"""An artifact bucket in memory, and the steps that put a version live in it."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import onnxruntime

from modelyard.errors import NotFoundError
from modelyard.predictor.signature import signature_of


class InMemoryObjects:
    """Has the reads of `modelyard.aws.objects.Objects`; ETags change with the bytes, as in S3.

    Attributes:
        reads: Keys in the order in which they were asked for.
        failure: Raised by every read while it is set.
        before_read: Called with the key before each read, so that a test can hold one up.
    """

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.failure: Exception | None = None
        self.before_read: Callable[[str], None] = lambda key: None
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, content: bytes) -> None:
        with self._lock:
            self._objects[key] = content

    def delete(self, key: str) -> None:
        with self._lock:
            del self._objects[key]

    def get(self, key: str) -> tuple[bytes, str]:
        self.reads.append(key)
        self.before_read(key)
        if self.failure is not None:
            raise self.failure
        with self._lock:
            content = self._objects.get(key)
        if content is None:
            raise NotFoundError(f"there is no object bucket/{key}", code="object_not_found")
        return content, f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'

    def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        content, found = self.get(key)
        return None if found == etag else (content, found)

    def pieces(self, key: str) -> Iterator[bytes]:
        content, _ = self.get(key)
        for place in range(0, len(content), 1000):
            yield content[place : place + 1000]


def pointer_to(model: str, onnx: bytes, *, version: int, revision: int) -> dict[str, Any]:
    """The pointer that makes a version live, as the registry writes it."""
    digest = hashlib.sha256(onnx).hexdigest()
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return {
        "format": 1,
        "model": model,
        "revision": revision,
        "mode": "live",
        "split": 0,
        "updated_at": "2026-11-21T10:00:00.000000Z",
        "champion": {
            "version": version,
            "digest": digest,
            "key": f"artifacts/sha256/{digest}/model.onnx",
            "size": len(onnx),
            "signature": signature_of(session),
            "code_digest": None,
        },
        "challenger": None,
    }


def promote(objects: Any, model: str, onnx: bytes, *, version: int, revision: int) -> dict[str, Any]:
    """Put the bytes, then the pointer; the pointer is returned."""
    pointer = pointer_to(model, onnx, version=version, revision=revision)
    objects.put(pointer["champion"]["key"], onnx)
    objects.put(f"deployments/{model}.json", json.dumps(pointer).encode())
    return pointer
