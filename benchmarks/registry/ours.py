"""Our side: the registry over a private local AWS, and what it costs where botocore sends and receives."""

import base64
import hashlib
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from modelyard.aws.bucket import S3Artifacts  # noqa: E402
from modelyard.aws.clients import Clients  # noqa: E402
from modelyard.aws.table import DynamoDBRecords  # noqa: E402
from modelyard.local.emulator import HOST, LocalAws  # noqa: E402
from modelyard.registry import Registered, Registry  # noqa: E402
from modelyard.version import Lineage, OutputSpec, Signature, TensorSpec, TrainingObject  # noqa: E402
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore  # noqa: E402

TABLE, BUCKET, ACTOR = "registry", "artifacts", "arn:aws:iam::000000000000:user/ada"
SIGNATURE = Signature(
    (TensorSpec("features", "float32", (None, 12)),),
    (OutputSpec("label", "int64", (None,)), OutputSpec("probabilities", "float32", (None, 3), ("rain", "sun", "snow"))),
)
BATCH = 25  # items of one BatchWriteItem
ARTIFACT = 20_000  # bytes of one model


class Emulator(LocalAws):
    """A local AWS that forgets everything: writing 300,000 items down at its end would take minutes."""

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PERSIST_STATE": "0", "S3_PERSIST": "0"}


class Wire:
    """Counts requests and the bytes of their bodies, every attempt of every call."""

    def __init__(self, *clients: Any) -> None:
        self.requests: Counter[str] = Counter()
        self.sent = self.read = 0
        for client in clients:
            client.meta.events.register("before-send", self._sending)
            client.meta.events.register("response-received", self._received)

    def _sending(self, request: Any, event_name: str, **_: Any) -> None:
        self.requests[event_name.removeprefix("before-send.")] += 1
        self.sent += int(request.headers.get("Content-Length", 0))

    def _received(self, response_dict: Any, event_name: str, **_: Any) -> None:
        # A HEAD says how long the body would be.
        if response_dict is not None and not event_name.endswith(".HeadObject"):
            self.read += int(response_dict["headers"].get("content-length", 0))

    def measure(self, call: Callable[[], Any]) -> dict[str, Any]:
        """Run ``call``; what it cost."""
        self.requests.clear()
        self.sent = self.read = 0
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        return {
            "ms": took * 1000,
            "calls": self.requests.total(),
            "sent": self.sent,
            "read": self.read,
            "requests": dict(sorted(self.requests.items())),
        }


class Ours:
    """A registry with models of several sizes; each verb is one that ``modelyard.registry.Registry`` has."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._make_stores()
        records = DynamoDBRecords(clients.dynamodb, TABLE)
        self.registry = Registry(records, S3Artifacts(clients.s3, BUCKET), actor=ACTOR)
        self._wire = Wire(clients.dynamodb, clients.s3)
        self._newest: dict[str, int] = {}
        self._made = 0

    def _make_stores(self) -> None:
        """Table and bucket as the registry stack has them, but for the stream and its readers."""
        keys = ("pk", "HASH"), ("sk", "RANGE")
        self._clients.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],  # type: ignore[typeddict-item]
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        self._clients.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": self._clients.region}
        )
        self._clients.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def fill(self, model: str, versions: int) -> None:
        """Give ``model`` so many versions, the newest of them live.

        The registry itself registers them, over stores in memory; the items are then written as they are. All have
        the same bytes and each its own training file, so that the bucket holds all that the records name.
        """
        records, artifacts = InMemoryRecordStore(), InMemoryArtifactStore()
        made = Registry(records, artifacts, actor=ACTOR)
        for number in range(1, versions + 1):
            _register(made, model, _artifact(model), number)
        for key, body in artifacts.objects.items():
            self._clients.s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumSHA256=_checksum(body))
        items = [item for partition in records._items.values() for item in partition.values()]  # noqa: SLF001
        self._write(items)
        self._newest[model] = versions
        if self.registry.model(model).versions != versions or self.registry.version(model, versions).number != versions:
            raise SystemExit(f"the registry does not read the {versions} versions of {model}")
        self.registry.promote(model, versions, reason="the champion at the beginning")

    def _write(self, items: list[Any]) -> None:
        def write(start: int) -> None:
            left: Any = {TABLE: [{"PutRequest": {"Item": item}} for item in items[start : start + BATCH]]}
            while left:
                left = self._clients.dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(0, len(items), BATCH)))

    def register(self, model: str) -> dict[str, Any]:
        """New bytes as the next version."""
        artifact = self._new_artifact(ARTIFACT)
        number = self._newest[model] + 1
        cost = self._wire.measure(lambda: self._expect(_register(self.registry, model, artifact, number), number))
        self._newest[model] = number
        return cost

    def resolve(self, model: str) -> dict[str, Any]:
        """What is live, with its manifest."""

        def resolve() -> None:
            live = self.registry.deployment(model)
            assert live is not None  # noqa: S101 - it was promoted
            self.registry.version(model, live.champion)

        return self._wire.measure(resolve)

    def promote(self, model: str) -> dict[str, Any]:
        """The newest version becomes the champion."""
        return self._wire.measure(lambda: self.registry.promote(model, self._newest[model], reason="better"))

    def list(self, model: str) -> dict[str, Any]:
        """The 20 newest versions."""
        return self._wire.measure(lambda: self.registry.versions(model, limit=20))

    def history(self, model: str) -> dict[str, Any]:
        """The 20 newest lines of the ledger."""
        return self._wire.measure(lambda: self.registry.history(model, limit=20))

    def publishes(self, model: str) -> dict[str, dict[str, int]]:
        """The requests of one registration: of new bytes, of bytes that are stored, of the same manifest, of 9 MB."""
        self.fill(model, 1)
        stored, large = self._new_artifact(ARTIFACT), self._new_artifact(9_000_000)
        return {
            "new bytes": self._requests(model, stored, 2),
            "stored bytes, new manifest": self._requests(model, stored, 3),
            "the same again": self._requests(model, stored, 3),
            "new bytes, 9 MB": self._requests(model, large, 4),
        }

    def _requests(self, model: str, artifact: bytes, number: int) -> dict[str, int]:
        requests: dict[str, int] = self._wire.measure(lambda: _register(self.registry, model, artifact, number))[
            "requests"
        ]
        return requests

    def _new_artifact(self, size: int) -> bytes:
        self._made += 1
        return _artifact(f"new {self._made}", size)

    @staticmethod
    def _expect(registered: Registered, number: int) -> None:
        if not registered.created or registered.version.number != number:
            raise SystemExit(f"expected version {number}, got {registered.version.number}")


@contextmanager
def started() -> Iterator[Ours]:
    """Our side over an emulator of its own, on a free port, with a folder that goes away."""
    home = Path(tempfile.mkdtemp(prefix="modelyard-benchmark-"))
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    emulator = Emulator(home=home, port=port, python=PROJECT / ".modelyard" / "ministack" / "bin" / "python")
    try:
        emulator.start()
        yield Ours(
            Clients(region="eu-west-1", endpoint_url=emulator.endpoint, access_key="test", secret_key="test")  # noqa: S106
        )
    finally:
        emulator.stop(save=False)
        shutil.rmtree(home, ignore_errors=True)


def _register(registry: Registry, model: str, artifact: bytes, number: int) -> Registered:
    """Register as the retraining workflow does: a contract, metrics, and the training file that it was."""
    field = {
        "dtype": "float32", "shape": [None, 12], "mode": "reject", "minimum": [-10.5] * 12, "maximum": [40.0] * 12,
        "seen": [[0.25] * 12, [29.25] * 12], "nulls": False, "null_rate": 0.0,
    }  # fmt: skip
    training = TrainingObject("data", f"{model}/2026.csv", f"version-{number:08}", "ab" * 32, 100_000)
    return registry.register(
        model,
        artifact,
        task="multiclass",
        signature=SIGNATURE,
        contract={"format": 1, "rows": 1461, "fields": {"features": field}},
        metrics={"accuracy": 0.875, "log_loss": 0.3125},
        lineage=Lineage(source="trained", objects=(training,), code_digest="cd" * 32, lock_digest="ef" * 32),
        note="trained on the file of the day",
    )


def _artifact(seed: str, size: int = ARTIFACT) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
