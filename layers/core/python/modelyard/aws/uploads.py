"""Training files in the data bucket: read as the exact object version that a run claimed, written by ``upload``.

The bucket is versioned (the registry stack makes it so). An object from before that, or from a time when somebody
suspended it, has S3's version id ``null``, under which other bytes may lie tomorrow. Here its id is ``null:<etag>``, so
that an id names the same bytes for ever, and the next file under that key is another upload.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from modelyard.aws.counting import Counted
from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import UsageError
from modelyard.names import check_text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGEST_UPLOAD = 5 * 1024**3
"""Bytes that S3 takes in one PUT; training on Lambda ends far below."""

_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "405", "MethodNotAllowed"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_UNVERSIONED = "null"
_MOST_PAGES = 10
"""Pages of 1,000 versions (and delete markers) of one key that are read."""


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
        with aws_errors(f"look at s3://{self.bucket}/{key}"):
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=key, **_chosen(version_id))
            except ClientError as error:
                if code_of(error) in _ABSENT | _CHANGED:
                    return None
                raise
        return UploadFacts(_version_id(answer), answer["ETag"].strip('"'), answer["ContentLength"])

    def get(self, key: str, version_id: str) -> bytes | None:
        """The bytes of one version; None when it is gone."""
        with aws_errors(f"read s3://{self.bucket}/{key}"):
            try:
                # Reading the body is part of the call: a connection that breaks here raises here.
                return self._client.get_object(Bucket=self.bucket, Key=key, **_chosen(version_id))["Body"].read()
            except ClientError as error:
                if code_of(error) in _ABSENT | _CHANGED:
                    return None
                raise

    def versions(self, key: str) -> tuple[str, ...]:
        """The ids of the versions under exactly this key, newest first, without delete markers; see ``UploadStore``."""
        found: list[str] = []
        after: Any = {}
        with aws_errors(f"list the versions of s3://{self.bucket}/{key}"):
            for _ in range(_MOST_PAGES):
                # Keys that begin with this one come after it, and S3 lists the versions of one key newest first.
                page: Any = self._client.list_object_versions(Bucket=self.bucket, Prefix=key, **after)
                versions = page.get("Versions", [])
                found += [_version_id(version) for version in versions if version["Key"] == key]
                if not page.get("IsTruncated") or page.get("NextKeyMarker") != key:
                    break
                after = {"KeyMarker": key, "VersionIdMarker": page["NextVersionIdMarker"]}
        return tuple(found)

    def put(self, key: str, file: Path, *, sha256: str, progress: Callable[[int], None] = lambda _: None) -> str:
        """Upload a file; S3 checks its SHA-256. Returns the version id.

        Args:
            key: Where to.
            file: What.
            sha256: In hex.
            progress: Called with the bytes sent since the last call.

        Raises:
            UsageError: When the file is larger than one PUT may be, or its name is no text.
        """
        check_text(key, field="the file's name", limit=1024)
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
                Body=Counted(body, progress),  # type: ignore[arg-type]  # a readable, seekable stream
                ContentType="text/csv",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            )
        return _version_id(answer)


def _chosen(version_id: str | None) -> Any:
    """What asks S3 for one version; for an unversioned object, only while it has the bytes that the id names."""
    if version_id is None:
        return {}
    name, _, etag = version_id.partition(":")
    if name != _UNVERSIONED:
        return {"VersionId": version_id}
    return {"VersionId": _UNVERSIONED, **({"IfMatch": f'"{etag}"'} if etag else {})}


def _version_id(answer: Any) -> str:
    """The id of the version in an answer of S3; see the module."""
    found = answer.get("VersionId", _UNVERSIONED)
    return str(found) if found != _UNVERSIONED else f"{_UNVERSIONED}:{answer['ETag'].strip(chr(34))}"
