"""The registry's artifacts in one S3 bucket.

Every write is conditional (``If-None-Match: *`` or ``If-Match``), so no object is replaced unseen and a repeated write
is harmless. Bytes with a checksum are checked by S3 itself before they are visible; what is larger than one part goes
in parts, whose checksums S3 keeps as one. The role needs s3:ListBucket: without it S3 answers a missing key with 403,
which reads as "forbidden".
"""

import base64
import binascii
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from modelyard.aws.counting import Counted
from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import AWSError
from modelyard.patience import attempts
from modelyard.ports import ObjectFacts, ObjectLine, StoredObject, UnfinishedUpload, no_progress

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 4

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_LOST = frozenset({"412", "PreconditionFailed"})
_BUSY = frozenset({"409", "ConditionalRequestConflict"})  # another write of the key is under way; S3 asks to try again
_DAMAGED = frozenset({"BadDigest", "InvalidRequest", "XAmzContentChecksumMismatch"})
# A completion whose answer was lost is repeated by botocore and then finds no upload: whoever asked looks at the key.
_COMPLETED = frozenset({"NoSuchUpload"})
_GONE = _COMPLETED | _ABSENT
_BUSY_DEADLINE_S = 15.0


class S3Artifacts:
    """An ``ArtifactStore`` in a bucket.

    Args:
        client: A low-level S3 client.
        bucket: The bucket's name.
        sleep: How retries wait.
        part_bytes: What is larger, and has a checksum, is sent in parts of this size (S3 takes no smaller than 5 MiB).
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep
        self.part_bytes = part_bytes

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        with aws_errors(f"read s3://{self._bucket}/{key}"):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                # Reading the body is part of the call: a connection that breaks here raises here.
                return StoredObject(answer["Body"].read(), answer["ETag"])
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                raise

    def head(self, key: str) -> ObjectFacts | None:
        """What is known about the object, or None."""
        with aws_errors(f"look at s3://{self._bucket}/{key}"):
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                raise
        checksum, parts = _hex(answer.get("ChecksumSHA256"))
        return ObjectFacts(
            size=answer["ContentLength"],
            etag=answer["ETag"],
            sha256=checksum if parts is None else None,
            # Only of parts as this class makes them; with others there is nothing to compare.
            parts_sha256=checksum if parts == -(-answer["ContentLength"] // self.part_bytes) else None,
            version_id=answer.get("VersionId"),
        )

    def put_if_absent(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        sha256: str | None = None,
        progress: Callable[[int], None] = no_progress,
    ) -> bool:
        """Write a new object; False when the key is taken."""
        return self._put(key, body, content_type, sha256, progress, IfNoneMatch="*")

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str, sha256: str | None = None) -> bool:
        """Replace the object that has this ``etag``; False when it has another one or is gone."""
        return self._put(key, body, content_type, sha256, no_progress, IfMatch=etag)

    def listing(self, prefix: str) -> Iterator[ObjectLine]:
        """Every object below ``prefix``, page by page."""
        for page in self._pages("list_objects_v2", prefix):
            for found in page.get("Contents", []):
                yield ObjectLine(found["Key"], found["Size"], found["LastModified"])

    def delete(self, key: str, *, version_id: str) -> None:
        """Remove one version of an object for good."""
        with aws_errors(f"delete s3://{self._bucket}/{key} (version {version_id})"):
            self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version_id)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Every upload in parts below ``prefix`` that was neither completed nor given up."""
        for page in self._pages("list_multipart_uploads", prefix):
            for found in page.get("Uploads", []):
                yield UnfinishedUpload(found["Key"], found["UploadId"], found["Initiated"])

    def abandon(self, upload: UnfinishedUpload) -> None:
        """Give an unfinished upload up."""
        with aws_errors(f"give up an upload to s3://{self._bucket}/{upload.key}"):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id)
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise

    def _pages(self, operation: Any, prefix: str) -> Iterator[dict[str, Any]]:
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self._bucket, Prefix=prefix))
        while True:
            with aws_errors(f"list s3://{self._bucket}/{prefix}"):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _put(
        self,
        key: str,
        body: bytes,
        content_type: str,
        sha256: str | None,
        progress: Callable[[int], None],
        **condition: Any,
    ) -> bool:
        in_parts = sha256 is not None and len(body) > self.part_bytes
        sent = 0

        def count(more: int) -> None:
            nonlocal sent
            sent += more
            progress(more)

        for _ in attempts(_BUSY_DEADLINE_S, sleep=self._sleep):
            if sent:
                count(-sent)  # it begins again
            with aws_errors(f"write s3://{self._bucket}/{key}"):
                try:
                    if in_parts:
                        self._send_parts(key, body, content_type, count, condition)
                    else:
                        checksum: dict[str, Any] = (
                            {} if sha256 is None else {"ChecksumSHA256": _base64(bytes.fromhex(sha256))}
                        )
                        stream: Any = body if progress is no_progress else Counted(io.BytesIO(body), count)
                        self._client.put_object(
                            Bucket=self._bucket, Key=key, Body=stream, ContentType=content_type, **checksum, **condition
                        )
                    return True
                except ClientError as error:
                    code = code_of(error)
                    if code in _BUSY:
                        continue
                    # If-Match on a key that is gone answers 404.
                    if code in _LOST | _COMPLETED or (code in _ABSENT and "IfMatch" in condition):
                        return False
                    if code in _DAMAGED and sha256 is not None:
                        raise AWSError(
                            f"s3://{self._bucket}/{key} was not written: S3 got other bytes than the checksum says",
                            code="checksum_mismatch",
                            next_step="Run the command again; repeating it is safe.",
                        ) from error
                    raise
        return False  # somebody else is writing it all the time; the caller looks at what is there

    def _send_parts(
        self, key: str, body: bytes, content_type: str, progress: Callable[[int], None], condition: dict[str, Any]
    ) -> None:
        """An upload in parts; given up again when it cannot be completed. The condition is checked at its end."""
        place: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        begun = self._client.create_multipart_upload(**place, ContentType=content_type, ChecksumAlgorithm="SHA256")
        upload: dict[str, Any] = {**place, "UploadId": begun["UploadId"]}

        def send(number: int, start: int) -> dict[str, Any]:
            part = memoryview(body)[start : start + self.part_bytes]
            checksum = _base64(hashlib.sha256(part).digest())
            answer = self._client.upload_part(**upload, PartNumber=number, Body=bytes(part), ChecksumSHA256=checksum)
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        try:
            pool = ThreadPoolExecutor(PARTS_AT_ONCE)
            try:
                starts = range(0, len(body), self.part_bytes)
                parts: list[Any] = []
                for start, part in zip(starts, pool.map(send, range(1, len(starts) + 1), starts), strict=True):
                    parts.append(part)
                    progress(min(self.part_bytes, len(body) - start))  # by this thread: a caller expects no other
            finally:
                pool.shutdown(cancel_futures=True)  # waits for parts under way: they would outlive the giving up
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:  # Ctrl-C too: parts that nobody sees cost money until they expire
            with suppress(Exception):  # what cannot be given up now is found by a sweep
                self._client.abort_multipart_upload(**upload)
            raise


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _hex(checksum: str | None) -> tuple[str | None, int | None]:
    """A SHA-256 as S3 gives it in hex, and of how many parts it is one; None: of the whole."""
    if checksum is None:
        return None, None
    digest, _, parts = checksum.partition("-")
    try:
        return base64.b64decode(digest, validate=True).hex(), int(parts) if parts else None
    except (binascii.Error, ValueError):
        return None, None
