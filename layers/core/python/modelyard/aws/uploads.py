"""Training files in the data bucket: read as the exact object version that a run claimed, written by ``upload``.

The bucket is versioned (the registry stack makes it so); an object from before versioning has the version id ``null``.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGEST_UPLOAD = 5 * 1024**3
"""Bytes that S3 takes in one PUT; training on Lambda ends far below."""

_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "405", "MethodNotAllowed"})


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """What S3 says about an uploaded file."""

    version_id: str
    etag: str
    size: int


class Uploads:
    """The data bucket.

    Args:
        client: A low-level S3 client.
        bucket: The bucket's name.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def head(self, key: str, version_id: str | None = None) -> UploadFacts | None:
        """The file, in a version or the newest; None when it is gone or was deleted."""
        version: Any = {} if version_id is None else {"VersionId": version_id}
        with aws_errors(f"look at s3://{self.bucket}/{key}"):
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=key, **version)
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                raise
        etag = answer["ETag"].strip('"')
        return UploadFacts(answer.get("VersionId", "null"), etag, answer["ContentLength"])

    def get(self, key: str, version_id: str) -> bytes | None:
        """The bytes of one version; None when it is gone."""
        version: Any = {"VersionId": version_id}
        with aws_errors(f"read s3://{self.bucket}/{key}"):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=key, **version)
                return answer["Body"].read()
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                raise

    def put(self, key: str, file: Path, *, sha256: str, progress: Callable[[int], None] = lambda _: None) -> str:
        """Upload a file; S3 checks its SHA-256. Returns the version id.

        Args:
            key: Where to.
            file: What.
            sha256: In hex.
            progress: Called with the bytes sent since the last call.

        Raises:
            UsageError: When the file is larger than one PUT may be.
        """
        size = file.stat().st_size
        if size > LARGEST_UPLOAD:
            raise UsageError(
                f"{file.name} has {size} bytes; one upload takes {LARGEST_UPLOAD}",
                code="upload_too_large",
                next_step="Split the file; each part is added to the data set.",
            )
        with file.open("rb") as body, aws_errors(f"write s3://{self.bucket}/{key}"):
            answer = self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=_Counted(body, progress),  # type: ignore[arg-type]  # a readable, seekable stream
                ContentType="text/csv",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            )
        return answer.get("VersionId", "null")


class _Counted:
    """A file that reports what is read of it."""

    def __init__(self, file: Any, progress: Callable[[int], None]) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._file.read(size)
        self._progress(len(content))
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

