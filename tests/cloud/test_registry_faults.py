"""Every HTTP request of every verb is harmed once in every way, on the local AWS, below botocore's retries.

The same harness runs over stores in memory in tests/unit/test_registry_faults.py. Here an error is what botocore makes
of it, a retry is botocore's own, and a process that dies is killed. Each verb has a table and a bucket of its own, made
like the deployed ones, so that its sweeps concern nobody else and nothing else repairs what it left.
"""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.table import DynamoDBRecords
from modelyard.errors import ModelyardError
from modelyard.ports import Put
from modelyard.registry import Registry, keys
from tests.cloud.conftest import REGION, ROOT, System
from tests.fakes.broken_stores import Fault, Harm
from tests.fakes.broken_wire import READS, Wire, in_a_child_that_dies, no_waiting
from tests.fakes.faults import Outcome, check_after_the_fault, check_after_the_repetition, leftovers, run_again
from tests.fakes.invariants import Shelf
from tests.fakes.registries import Yard
from tests.fakes.verbs import PROMOTE, PUBLISH, ROLLBACK, SWEEP, TRIAL, Verb, sweep

PART_BYTES = 64
"""S3 itself takes no part below 5 MiB; the local AWS does."""
LEAST_POINTS = 200
VERBS = [
    verb
    for verb in (*PUBLISH, *PROMOTE, *ROLLBACK, *TRIAL)
    if verb.name.startswith("publish")
    or verb.name in ("promote: the next", "roll back: with an operation", "trial: start a canary")
]
"""One of each kind of change of a deployment; in memory it is all."""


@dataclass(frozen=True)
class Place:
    """A table and a bucket of this name, and the clients that talk to them."""

    name: str
    dynamodb: Any
    s3: Any

    @property
    def records(self) -> DynamoDBRecords:
        return DynamoDBRecords(self.dynamodb, self.name, sleep=lambda _: None)

    @property
    def artifacts(self) -> S3Artifacts:
        return S3Artifacts(self.s3, self.name, sleep=lambda _: None, part_bytes=PART_BYTES)

    def registry(self, actor: str = "ana") -> Registry:
        return Registry(self.records, self.artifacts, actor=actor, sleep=lambda _: None)

    def shelf(self, model: str) -> Shelf:
        return Shelf(self.records, self.artifacts, model)

    def prepare(self, verb: Verb, model: str) -> None:
        """Put there what was before ``verb``; it happens in memory, and the result is copied."""
        yard = yard_of_small_parts()
        verb.before(yard.registry(), model)
        for key, body in yard.artifacts.objects.items():
            checksum = yard.artifacts.head(key).sha256  # type: ignore[union-attr]
            self.artifacts.put_if_absent(key, body, content_type="application/octet-stream", sha256=checksum)
        for upload in yard.artifacts.uploads.values():
            self.s3.create_multipart_upload(Bucket=self.name, Key=upload.key, ChecksumAlgorithm="SHA256")
        items = [yard.records.get(pk, sk) or {} for pk, found in yard.records._items.items() for sk in found]
        for item in items:
            if item.get("state") == "condemned":  # the object has another version id here
                facts = self.artifacts.head(item["pk"].removeprefix(keys.object_partition("")))
                item["version_id"] = facts and facts.version_id
        if items:
            self.records.transact([Put(item) for item in items])


def yard_of_small_parts() -> Yard:
    yard = Yard()
    yard.artifacts.part_bytes = PART_BYTES
    return yard


@pytest.fixture(scope="module")
def clients(system: System) -> Clients:
    return Clients(
        region=REGION,
        endpoint_url=f"http://127.0.0.1:{system.port}",
        access_key=ROOT["aws_access_key_id"],
        secret_key=ROOT["aws_secret_access_key"],
    )


@pytest.fixture(scope="module")
def new_place(system: System, clients: Clients) -> Iterator[Callable[[], Place]]:
    """Makes a table and a bucket with the keys and the versioning of the deployed ones."""
    outputs = system.outputs("Registry")
    table = clients.dynamodb.describe_table(TableName=outputs["RegistryTable"])["Table"]
    versioning = clients.s3.get_bucket_versioning(Bucket=outputs["ArtifactBucket"])
    made: list[str] = []

    def make() -> Place:
        name = f"faults-{uuid.uuid4().hex[:12]}"
        made.append(name)
        clients.dynamodb.create_table(
            TableName=name,
            KeySchema=table["KeySchema"],
            AttributeDefinitions=table["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
        )
        clients.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]
        clients.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning["Status"]})
        return Place(name, clients.dynamodb, clients.s3)

    yield make
    for name in made:
        clients.dynamodb.delete_table(TableName=name)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)


def requests_of(verb: Verb, place: Place) -> list[str]:
    """What the verb sends when nothing disturbs it."""
    place.prepare(verb, "undisturbed")
    with Wire().over(place.s3, place.dynamodb) as wire:
        verb.act(place.registry(), "undisturbed")
    return wire.operations


def faults_of(operations: list[str]) -> list[Fault]:
    """Every harm at every request, for once and, where that differs, for good."""
    found = []
    for at, operation in enumerate(operations):
        harms = [Harm.UNSENT, Harm.THROTTLED, Harm.UNANSWERED, Harm.DIED_BEFORE]
        lasting = [Harm.UNSENT, Harm.THROTTLED]
        if operation not in READS:
            harms, lasting = [*harms, Harm.DIED_AFTER], [*lasting, Harm.UNANSWERED]
        found += [Fault(at, harm) for harm in harms] + [Fault(at, harm, lasting=True) for harm in lasting]
    return found


@dataclass(frozen=True)
class Point:
    """One fault of one verb, on a model of its own."""

    verb: Verb
    fault: Fault
    operation: str
    place: Place
    model: str

    @cached_property
    def outcome(self) -> Outcome:
        return Outcome.of(self.verb, self.model, yard_of_small_parts())

    @contextmanager
    def named(self) -> Iterator[None]:
        try:
            yield
        except Exception as failed:
            failed.add_note(f"{self.verb}; {self.fault} ({self.operation})")
            raise

    def harm(self, clients: Clients) -> bool:
        """Run the verb with its fault, and look; whether it gave an answer nevertheless."""
        self.place.prepare(self.verb, self.model)
        answered = self._answered(clients)
        check_after_the_fault(self.place.shelf(self.model), self.outcome, answered=answered)
        return answered

    def repeat(self) -> None:
        run_again(self.verb, self.place.registry(), self.model)
        check_after_the_repetition(self.place.shelf(self.model), self.outcome)

    def _answered(self, clients: Clients) -> bool:
        # What a client has spent on retries it lacks later; so each fault for good has clients of its own.
        s3, dynamodb = self.place.s3, self.place.dynamodb
        if self.fault.lasting:
            s3, dynamodb = clients.client("s3"), clients.client("dynamodb")
        broken = Place(self.place.name, dynamodb, s3)
        with Wire(self.fault).over(s3, dynamodb) as wire:
            if self.fault.harm.is_death:
                in_a_child_that_dies(lambda: self.verb.act(broken.registry(), self.model), s3, dynamodb)
                return False
            try:
                self.verb.act(broken.registry(), self.model)
            except ModelyardError:
                assert self.fault.lasting, "botocore tries again, so once is never enough"
                return False
            finally:
                assert wire.happened
        return True


# A child of a process with threads may only do what needs none of their locks; ours opens its own connections.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_verb_survives_every_harm_at_every_request(
    verb: Verb, new_place: Callable[[], Place], clients: Clients
) -> None:
    place = new_place()
    operations = requests_of(verb, place)
    points = [
        Point(verb, fault, operations[fault.at], place, f"point_{number}")
        for number, fault in enumerate(faults_of(operations))
    ]
    answered = {}
    for point in points:
        with point.named():
            answered[point.model] = point.harm(clients)
    for point in points[::2]:  # these are repeated before a sweep and the others after one
        with point.named():
            point.repeat()
    sweep(place.registry("sweeper"), "")
    models = ["undisturbed", *(point.model for point in points)]
    assert leftovers(place.records, place.artifacts, models) == []
    for point in points[1::2]:
        with point.named():
            check_after_the_fault(place.shelf(point.model), point.outcome, answered=answered[point.model])
            point.repeat()
    assert leftovers(place.records, place.artifacts, models) == []
    for point in points[::2]:
        with point.named():
            check_after_the_repetition(place.shelf(point.model), point.outcome)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("verb", SWEEP, ids=str)
def test_a_sweep_survives_every_harm_at_every_request(
    verb: Verb, new_place: Callable[[], Place], clients: Clients
) -> None:
    operations = requests_of(verb, new_place())
    for fault in faults_of(operations):
        point = Point(verb, fault, operations[fault.at], new_place(), "swept")
        with point.named():
            point.harm(clients)
            point.repeat()
            assert leftovers(point.place.records, point.place.artifacts, [point.model]) == []


def test_the_harness_finds_hundreds_of_points_by_itself(
    new_place: Callable[[], Place], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {verb.name: requests_of(verb, new_place()) for verb in [*VERBS, *SWEEP]}
    points = {name: len(faults_of(operations)) for name, operations in found.items()}
    with capsys.disabled():
        lines = [f"{count:4} fault points, {len(found[name]):2} requests: {name}" for name, count in points.items()]
        sys.stdout.write("\n".join(["", *lines, f"{sum(points.values()):4} fault points in all", ""]))
    assert "TransactWriteItems" in found["publish: the first version"]
    assert {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} <= set(found["publish: in parts"])
    assert {"DeleteObject", "AbortMultipartUpload"} <= set(found["sweep: bytes and parts"])
    assert sum(points.values()) >= LEAST_POINTS
