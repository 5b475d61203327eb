"""The registry's artifacts in one S3 bucket.

Every write is conditional (``If-None-Match: *`` or ``If-Match``), so no object is replaced unseen and a repeated write
is harmless. The role needs s3:ListBucket: without it S3 answers a missing key with 403, which reads as "forbidden".
"""

import base64
import binascii
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import AWSError
from modelyard.patience import attempts
from modelyard.ports import ObjectFacts, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_LOST = frozenset({"412", "PreconditionFailed"})
_BUSY = frozenset({"409", "ConditionalRequestConflict"})  # another write of the key is under way; S3 asks to try again
_DAMAGED = frozenset({"BadDigest", "InvalidRequest", "XAmzContentChecksumMismatch"})
_BUSY_DEADLINE_S = 15.0


class S3Artifacts:
    """An ``ArtifactStore`` in a bucket.

    Args:
        client: A low-level S3 client.
        bucket: The bucket's name.
        sleep: How retries wait.
    """

    def __init__(self, client: "S3Client", bucket: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep

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
        return ObjectFacts(answer["ContentLength"], answer["ETag"], _hex(answer.get("ChecksumSHA256")))

    def put_if_absent(self, key: str, body: bytes, *, content_type: str, sha256: str | None = None) -> bool:
        """Write a new object; False when the key is taken."""
        checksum: dict[str, Any] = {}
        if sha256 is not None:
            checksum = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()}
        return self._put(key, body, ContentType=content_type, IfNoneMatch="*", **checksum)

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str) -> bool:
        """Replace the object that has this ``etag``; False when it has another one or is gone."""
        return self._put(key, body, ContentType=content_type, IfMatch=etag)

    def _put(self, key: str, body: bytes, **conditions: Any) -> bool:
        for _ in attempts(_BUSY_DEADLINE_S, sleep=self._sleep):
            with aws_errors(f"write s3://{self._bucket}/{key}"):
                try:
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **conditions)
                    return True
                except ClientError as error:
                    code = code_of(error)
                    if code in _BUSY:
                        continue
                    # If-Match on a key that is gone answers 404.
                    if code in _LOST or (code in _ABSENT and "IfMatch" in conditions):
                        return False
                    if code in _DAMAGED and "ChecksumSHA256" in conditions:
                        raise AWSError(
                            f"s3://{self._bucket}/{key} was not written: S3 got other bytes than the checksum says",
                            code="checksum_mismatch",
                            next_step="Run the command again; repeating it is safe.",
                        ) from error
                    raise
        return False  # somebody else is writing it all the time; the caller looks at what is there


def _hex(checksum: str | None) -> str | None:
    """A SHA-256 as S3 gives it, in hex; None for one that S3 made of the parts of an upload in parts."""
    if checksum is None:
        return None
    try:
        return base64.b64decode(checksum, validate=True).hex()
    except binascii.Error:
        return None
