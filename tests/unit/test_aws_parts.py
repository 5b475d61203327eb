"""Uploads in parts: what is sent, what is given up, and what is told meanwhile."""

import base64
import hashlib
import io
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import boto3
import pytest
from botocore import exceptions as boto
from botocore.stub import Stubber

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.counting import Counted
from modelyard.errors import AWSError, CredentialsError, ModelyardError
from modelyard.ports import parts_sha256
from tests.fakes.http_server import HttpServer

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}


BODY = b"0123456789"


SHA256 = hashlib.sha256(BODY).hexdigest()


def refusal(code: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code}}, "Operation")


def base64_of(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class Bucket:
    """What the adapter calls for an upload in parts; ``refuse`` says what each call of a kind ends with, None: well."""

    def __init__(self, **refuse: list[BaseException | None]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before_part: Callable[[int], None] = lambda _: None
        self._refuse = refuse
        self._lock = threading.Lock()

    def _call(self, name: str, parts: dict[str, Any]) -> None:
        with self._lock:
            self.calls.append((name, parts))
            refused = self._refuse[name].pop(0) if self._refuse.get(name) else None
        if refused is not None:
            raise refused

    def create_multipart_upload(self, **parts: Any) -> dict[str, str]:
        self._call("create", parts)
        return {"UploadId": f"upload-{len(self.named('create'))}"}

    def upload_part(self, **parts: Any) -> dict[str, str]:
        self.before_part(parts["PartNumber"])
        self._call("part", parts)
        return {"ETag": f"tag-{parts['PartNumber']}"}

    def complete_multipart_upload(self, **parts: Any) -> None:
        self._call("complete", parts)

    def abort_multipart_upload(self, **parts: Any) -> None:
        self._call("abort", parts)

    def put_object(self, **parts: Any) -> None:
        parts["Body"] = parts["Body"] if isinstance(parts["Body"], bytes) else parts["Body"].read()
        self._call("put", parts)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [parts for found, parts in self.calls if found == name]


def send(bucket: Bucket, body: bytes = BODY, **parts: Any) -> bool:
    artifacts = S3Artifacts(bucket, "artifacts", sleep=lambda _: None, part_bytes=4)  # type: ignore[arg-type]
    return artifacts.put_if_absent("key", body, **{"content_type": "x/y", "sha256": SHA256} | parts)


def test_parts_have_a_checksum_each_and_the_condition_is_checked_at_the_end() -> None:
    bucket = Bucket()
    bucket.before_part = lambda number: time.sleep(0.02 * (4 - number))  # the last is there first
    assert send(bucket)
    place = {"Bucket": "artifacts", "Key": "key"}
    upload = place | {"UploadId": "upload-1"}
    assert bucket.named("create") == [place | {"ContentType": "x/y", "ChecksumAlgorithm": "SHA256"}]
    pieces = [b"0123", b"4567", b"89"]
    assert sorted(bucket.named("part"), key=lambda part: part["PartNumber"]) == [
        upload | {"PartNumber": number, "Body": piece, "ChecksumSHA256": base64_of(piece)}
        for number, piece in enumerate(pieces, 1)
    ]
    assert bucket.named("complete") == [
        upload
        | {"IfNoneMatch": "*"}
        | {
            "MultipartUpload": {
                "Parts": [
                    {"PartNumber": number, "ETag": f"tag-{number}", "ChecksumSHA256": base64_of(piece)}
                    for number, piece in enumerate(pieces, 1)
                ]
            }
        }
    ]
    assert bucket.named("abort") == []


def test_only_what_is_larger_than_a_part_and_has_a_checksum_goes_in_parts() -> None:
    for body, sha256 in ((BODY[:4], hashlib.sha256(BODY[:4]).hexdigest()), (BODY, None), (b"", None)):
        bucket = Bucket()
        assert send(bucket, body, sha256=sha256)
        assert [name for name, _ in bucket.calls] == ["put"]
        assert bucket.calls[0][1].get("ChecksumSHA256") == (None if sha256 is None else base64_of(body))


def test_a_replacement_in_parts_keeps_its_condition() -> None:
    bucket = Bucket()
    artifacts = S3Artifacts(bucket, "artifacts", part_bytes=4)  # type: ignore[arg-type]
    assert artifacts.put_if_match("key", BODY, etag='"1"', content_type="x/y", sha256=SHA256)
    assert bucket.named("complete")[0]["IfMatch"] == '"1"'
    assert "IfNoneMatch" not in bucket.named("complete")[0]


@pytest.mark.parametrize("code", ["PreconditionFailed", "412", "NoSuchUpload"])
def test_a_completion_that_comes_too_late_is_a_lost_race_and_is_given_up(code: str) -> None:
    bucket = Bucket(complete=[refusal(code)])
    assert not send(bucket)
    assert [parts["UploadId"] for parts in bucket.named("abort")] == ["upload-1"]


def test_an_upload_that_a_sweep_gave_up_meanwhile_is_a_lost_race() -> None:
    assert not send(Bucket(part=[None, refusal("NoSuchUpload")]))


def test_a_completion_that_met_another_begins_again_and_progress_goes_back() -> None:
    bucket, sent = Bucket(complete=[refusal("ConditionalRequestConflict")]), list[int]()
    assert send(bucket, progress=sent.append)
    assert [parts["UploadId"] for parts in bucket.named("abort")] == ["upload-1"]
    assert bucket.named("complete")[-1]["UploadId"] == "upload-2"
    assert sent == [4, 4, 2, -10, 4, 4, 2]


def test_a_put_that_met_another_counts_its_bytes_once() -> None:
    bucket, sent = Bucket(put=[refusal("ConditionalRequestConflict")]), list[int]()
    body = BODY[:4]
    assert send(bucket, body, sha256=hashlib.sha256(body).hexdigest(), progress=sent.append)
    assert (len(bucket.named("put")), sum(sent)) == (2, 4)


def test_progress_is_told_in_the_callers_own_thread() -> None:
    threads = set()
    assert send(Bucket(), progress=lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize(
    ("refuse", "error", "code"),
    [
        ({"part": [None, refusal("AccessDenied")]}, CredentialsError, "access_denied"),
        ({"part": [boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1")]}, AWSError, "unreachable"),
        ({"part": [refusal("BadDigest")]}, AWSError, "checksum_mismatch"),
        ({"complete": [refusal("BadDigest")]}, AWSError, "checksum_mismatch"),
        ({"complete": [refusal("InternalError")]}, AWSError, "aws"),
        ({"complete": [refusal("SlowDown")], "abort": [refusal("SlowDown")]}, AWSError, "throttled"),
        ({"complete": [refusal("AccessDenied")], "abort": [RuntimeError("no")]}, CredentialsError, "access_denied"),
    ],
)
def test_an_upload_that_fails_is_given_up_and_says_why(refuse: Any, error: type[ModelyardError], code: str) -> None:
    bucket = Bucket(**{name: list(kinds) for name, kinds in refuse.items()})
    with pytest.raises(error) as refused:
        send(bucket)
    assert refused.value.code == code
    assert [name for name, _ in bucket.calls].count("abort") == 1
    assert bucket.calls[-1][0] == "abort", "no part is sent after the giving up"


def test_an_upload_that_could_not_begin_is_not_given_up() -> None:
    bucket = Bucket(create=[refusal("AccessDenied")])
    with pytest.raises(CredentialsError):
        send(bucket)
    assert [name for name, _ in bucket.calls] == ["create"]


@pytest.mark.parametrize("where", ["part", "complete", "progress"])
def test_ctrl_c_gives_the_upload_up_and_waits_for_no_part_that_did_not_begin(where: str) -> None:
    bucket = Bucket(**{where: [KeyboardInterrupt()]})

    def progress(_sent: int) -> None:
        if where == "progress":
            raise KeyboardInterrupt

    if where != "complete":
        bucket.before_part = lambda number: time.sleep(0.01 * number)
    body = bytes(4 * 100)
    with pytest.raises(KeyboardInterrupt):
        send(bucket, body, sha256=hashlib.sha256(body).hexdigest(), progress=progress)
    time.sleep(0.1)
    assert [name for name, _ in bucket.calls].count("abort") == 1
    assert bucket.calls[-1][0] == "abort", "a part that was under way would outlive the giving up"
    if where != "complete":
        assert len(bucket.named("part")) < 50


@pytest.mark.parametrize(
    ("size", "parts", "known"), [(20, 3, True), (17, 3, True), (24, 3, True), (25, 3, False), (16, 3, False)]
)
def test_a_composite_checksum_counts_for_parts_as_this_adapter_makes_them(size: int, parts: int, known: bool) -> None:
    client = boto3.client("s3", **CREDENTIALS)  # type: ignore[call-overload]
    digest = parts_sha256(bytes(size), 8)
    with Stubber(client) as stubber:
        composite = f"{base64.b64encode(bytes.fromhex(digest)).decode()}-{parts}"
        answer = {"ContentLength": size, "ETag": '"1-3"', "ChecksumSHA256": composite, "VersionId": "v7"}
        stubber.add_response("head_object", answer, {"Bucket": "b", "Key": "k", "ChecksumMode": "ENABLED"})
        facts = S3Artifacts(client, "b", part_bytes=8).head("k")
    assert facts is not None
    assert (facts.sha256, facts.parts_sha256, facts.version_id) == (None, digest if known else None, "v7")


def test_the_composite_checksum_is_over_the_digests_of_the_parts() -> None:
    digests = b"".join(hashlib.sha256(part).digest() for part in (b"0123", b"4567", b"89"))
    assert parts_sha256(BODY, 4) == hashlib.sha256(digests).hexdigest()
    assert parts_sha256(BODY, 10) == parts_sha256(BODY, 99) == hashlib.sha256(bytes.fromhex(SHA256)).hexdigest()
    assert parts_sha256(BODY, 4) != parts_sha256(BODY, 5)


# -- progress ---------------------------------------------------------------------------------------------------------


def test_what_is_read_again_counts_once() -> None:
    sent: list[int] = []
    counted = Counted(io.BytesIO(BODY), sent.append)
    assert (counted.read(4), counted.read(0), counted.tell()) == (b"0123", b"", 4)
    counted.seek(0)
    assert (counted.read(), counted.read()) == (BODY, b"")
    assert sent == [4, -4, 10]
    counted.seek(0, io.SEEK_END)
    counted.seek(-3, io.SEEK_CUR)
    assert counted.read(99) == b"789"
    assert sum(sent) == len(BODY)


def test_an_upload_whose_connection_breaks_is_sent_again_and_counted_once() -> None:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            if len(bodies) == 1:  # the answer is lost
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    with HttpServer(Handler) as server:
        clients = Clients(region="eu-west-1", endpoint_url=server.url, access_key="a", secret_key="b", attempts=3)
        body, sent = b"x" * 300_000, list[int]()
        digest = hashlib.sha256(body).hexdigest()
        artifacts = S3Artifacts(clients.s3, "artifacts")
        assert artifacts.put_if_absent("key", body, sha256=digest, content_type="x/y", progress=sent.append)
    assert bodies == [body, body]
    assert sum(sent) == len(body)
