"""What the deployed registry does by itself and for its operators: it follows its table, is searched, and is swept."""

import dataclasses
import datetime as dt
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

from modelyard.aws.bucket import S3Artifacts
from modelyard.errors import AWSError, CredentialsError
from modelyard.pointer_key import pointer_key
from modelyard.ports import StoredObject
from modelyard.registry import Bounds, Registry, Search
from modelyard.version import Lineage, TrainingObject, artifact_key
from tests.cloud.conftest import PROJECT, System
from tests.cloud.signing import request
from tests.fakes.registries import SIGNATURE

T = TypeVar("T")
WITHIN_S = 60
REFRESH_S = 10


@dataclasses.dataclass(frozen=True)
class Deployed:
    """The deployed table and bucket."""

    system: System

    @property
    def bucket(self) -> str:
        return self.system.outputs("Registry")["ArtifactBucket"]

    def registry(self, artifacts: type[S3Artifacts] = S3Artifacts, **settings: Any) -> Registry:
        return self.system.registry(artifacts, **settings)


@pytest.fixture
def deployed(system: System) -> Deployed:
    return Deployed(system)


def _eventually(look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.3)
    pytest.fail(f"not seen within {WITHIN_S} s")


def _fresh() -> str:
    return f"m{uuid.uuid4().hex[:12]}"


class _WriterThatDies(S3Artifacts):
    """Everything but the pointer."""

    def get(self, key: str) -> StoredObject | None:
        # Before it looks: the stream may have written the pointer already, and then there is nothing left to write.
        if key.startswith("deployments/"):
            raise AWSError("the writer is gone")
        return super().get(key)


def test_the_pointer_follows_the_table_when_its_writer_dies(deployed: Deployed) -> None:
    model, dying = _fresh(), deployed.registry(_WriterThatDies)
    dying.register(model, b"bytes", task="binary", signature=SIGNATURE)
    with pytest.raises(AWSError) as behind:
        dying.promote(model, 1)
    assert behind.value.code == "pointer_behind"
    found = _eventually(lambda: deployed.registry().artifacts.get(pointer_key(model)))
    assert json.loads(found.body)["revision"] == 1


def test_a_damaged_pointer_is_said_and_the_last_good_model_answers(deployed: Deployed) -> None:
    system, key = deployed.system, pointer_key("digits")
    body = json.loads((PROJECT / "models" / "digits" / "example.json").read_text())

    def predict() -> int:
        status, _, answer = request("POST", system.url("/models/digits/predict"), body, credentials=system.developer)
        assert status == 200, answer
        return int(answer["version"])

    version, whole = predict(), deployed.registry().artifacts.get(key)
    for damage in (b'{"revision": 99, "cham', None):
        if damage is None:
            system.client("s3").delete_object(Bucket=deployed.bucket, Key=key)
        else:
            system.client("s3").put_object(Bucket=deployed.bucket, Key=key, Body=damage)
        time.sleep(REFRESH_S + 1)
        assert predict() == version
        time.sleep(1)  # it looks at the pointer after an answer
        assert predict() == version
    logged = system.run("logs", "digits", "--limit", "2000")
    assert "invalid_pointer" in logged
    system.run("doctor")
    mended = deployed.registry().artifacts.get(key)
    assert whole is not None
    assert mended is not None
    assert mended.body == whole.body


def test_what_was_registered_is_found_within_seconds(deployed: Deployed) -> None:
    model, registry, file = _fresh(), deployed.registry(), hashlib.sha256(_fresh().encode()).hexdigest()
    learnt = TrainingObject(bucket="b", key="k", version_id="v", sha256=file, rows=3)
    for number, accuracy in ((1, 0.5), (2, 0.75)):
        registry.register(
            model, str(number).encode(), task="binary", signature=SIGNATURE, owner="Ada", tags=["night"],
            metrics={"accuracy": accuracy}, lineage=Lineage(source="trained", objects=(learnt,)),
        )  # fmt: skip
    registry.promote(model, 2)
    wanted = Search(name=model, owner="ada", tags=("night",), bounds=Bounds(metric="accuracy", at_least=0.7))
    found = _eventually(lambda: [one for one in registry.search(wanted).items if one.is_live])
    assert [(one.name, one.version) for one in found] == [(model, 2)]
    _eventually(lambda: len(registry.versions_from(file).items) == 2)
    within = registry.versions_where(model, Bounds(metric="accuracy", at_most=0.6))
    assert [one.number for one in within.items] == [1]
    registry.promote(model, 1)
    _eventually(lambda: not registry.search(wanted).items)


def test_a_sweep_removes_orphans_and_nothing_that_is_named(deployed: Deployed) -> None:
    system, later = deployed.system, lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    registry, model = deployed.registry(clock=later), _fresh()
    kept = registry.register(model, b"named", task="binary", signature=SIGNATURE).version.manifest.key
    orphan = artifact_key(hashlib.sha256(_fresh().encode()).hexdigest())
    registry.artifacts.put_if_absent(orphan, b"nobody names this", content_type="application/octet-stream")
    s3 = system.client("s3")
    s3.create_multipart_upload(Bucket=deployed.bucket, Key=f"{orphan}.half")

    seen = registry.sweep(older_than=dt.timedelta(days=1))
    assert orphan in {one.key for one in seen.orphans}
    assert registry.artifacts.head(orphan) is not None, "looking removes nothing"
    done = registry.sweep(older_than=dt.timedelta(days=1), delete=True)
    assert orphan in {one.key for one in done.orphans}
    assert f"{orphan}.half" in {one.key for one in done.unfinished}
    assert registry.artifacts.head(orphan) is None
    assert not list(registry.artifacts.unfinished("artifacts/"))
    assert not registry.sweep(older_than=dt.timedelta(days=1)).orphans
    named = {kept}
    for line in registry.models(limit=500).items:
        for version in registry.versions(line.name, limit=500).items:
            named |= {version.manifest.key, version.manifest.evaluation or version.manifest.key}
    assert [key for key in sorted(named) if registry.artifacts.head(key) is None] == []


def test_an_operator_without_the_sweep_policy_deletes_nothing(deployed: Deployed) -> None:
    system, later = deployed.system, lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    iam, operator = system.client("iam"), system.outputs("Registry")["OperatorPolicy"]
    iam.create_user(UserName="operator")
    iam.attach_user_policy(UserName="operator", PolicyArn=operator)
    made = iam.create_access_key(UserName="operator")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    orphan = artifact_key(hashlib.sha256(_fresh().encode()).hexdigest())
    deployed.registry().artifacts.put_if_absent(orphan, b"nobody names this", content_type="text/plain")
    try:
        with pytest.raises(CredentialsError):
            deployed.registry(credentials=keys, clock=later).sweep(older_than=dt.timedelta(days=1), delete=True)
        version = system.client("s3").head_object(Bucket=deployed.bucket, Key=orphan)["VersionId"]
        with pytest.raises(ClientError):
            system.client("s3", **keys).delete_object(Bucket=deployed.bucket, Key=orphan, VersionId=version)
    finally:
        iam.delete_access_key(UserName="operator", AccessKeyId=made["AccessKeyId"])
        iam.detach_user_policy(UserName="operator", PolicyArn=operator)
        iam.delete_user(UserName="operator")
    assert deployed.registry().artifacts.head(orphan) is not None


def test_the_scheduled_report_says_what_it_saw_and_can_remove_nothing(deployed: Deployed) -> None:
    system, name = deployed.system, deployed.system.outputs("Upkeep")["ReportFunction"]
    answer = system.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    said = json.loads(answer["Payload"].read())
    stored = system.client("s3").get_object(Bucket=deployed.bucket, Key=said["report"])["Body"].read()
    report = json.loads(stored)
    assert (report["deleted"], report["older_than_s"]) == (False, 7 * 86_400)
    keys = system.role_credentials(name)
    orphan = artifact_key(hashlib.sha256(_fresh().encode()).hexdigest())
    client, root = system.client("s3", **keys), system.client("s3")
    version = root.put_object(Bucket=deployed.bucket, Key=orphan, Body=b"x")["VersionId"]
    for call, arguments in (
        (client.delete_object, {"Key": orphan, "VersionId": version}),
        (client.delete_object, {"Key": orphan}),
        (client.put_object, {"Key": orphan, "Body": b"y"}),
    ):
        with pytest.raises(ClientError):
            call(Bucket=deployed.bucket, **arguments)
