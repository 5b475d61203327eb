"""A registry in memory, with a clock of its own and small artifacts that stand for models."""

import json
from typing import Any

from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry
from modelyard.version import OutputSpec, Signature, TensorSpec, Version
from tests.fakes.clocks import Clock
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

SIGNATURE = Signature((TensorSpec("x", "float32", (None, 3)),), (OutputSpec("y", "float32", (None, 2), ("no", "yes")),))


class Yard:
    """Two stores and registries over them."""

    def __init__(self) -> None:
        self.records = InMemoryRecordStore()
        self.artifacts = InMemoryArtifactStore()
        self.clock = Clock()

    @classmethod
    def with_versions(cls, count: int, model: str = "weather") -> "Yard":
        """With so many versions of one model, none of them live."""
        yard = cls()
        for number in range(1, count + 1):
            yard.add(model, f"model {number}".encode())
        return yard

    def registry(self, actor: str = "ana", **changes: Any) -> Registry:
        """The registry as ``actor`` sees it; it does not wait between attempts."""
        settings: dict[str, Any] = {"clock": self.clock, "sleep": lambda _: None} | changes
        records, artifacts = settings.pop("records", self.records), settings.pop("artifacts", self.artifacts)
        return Registry(records, artifacts, actor=actor, **settings)

    def add(self, model: str = "weather", body: bytes = b"model", **parts: Any) -> Version:
        """A registered version."""
        return register(self.registry(), model, body, **parts)

    def live(self, model: str, *versions: int) -> None:
        """Registers as many versions as needed and promotes these in turn."""
        for number in range(1, max(versions) + 1):
            self.add(model, f"model {number}".encode())
        for number in versions:
            self.registry().promote(model, number, reason=f"v{number}")


def register(registry: Registry, model: str, body: bytes, **parts: Any) -> Version:
    """Register with the plainest manifest."""
    settings: dict[str, Any] = {"task": "binary", "signature": SIGNATURE} | parts
    return registry.register(model, body, **settings).version


def pointer(yard: Yard, model: str = "weather") -> tuple[int, int]:
    """The published revision, and which version it makes the champion."""
    document = json.loads(yard.artifacts.objects[pointer_key(model)])
    return document["revision"], document["champion"]["version"]
