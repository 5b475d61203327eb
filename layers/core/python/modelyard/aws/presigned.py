"""Uploads of the control plane: a URL that lets its holder put one file under one key, and nothing else.

Size, SHA-256 and content type are part of what is signed, so S3 itself refuses other bytes, and the key is named after
the content. The URL works as long as it says or as the signing role's session, whichever ends first.
"""

import base64
from typing import TYPE_CHECKING

from modelyard.aws.failures import aws_errors
from modelyard.control.uploads import ONNX_CONTENT_TYPE, SignedUpload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from modelyard.aws.clients import Clients


class S3UploadSigner:
    """An ``UploadSigner`` for a bucket.

    Args:
        clients: Whose credentials, region and endpoint.
        bucket: The bucket's name.
    """

    def __init__(self, clients: "Clients", bucket: str) -> None:
        self._bucket = bucket
        self._client = _signing_client(clients)

    def sign(self, key: str, *, sha256: str, size: int, expires_s: int) -> SignedUpload:
        """A PUT of ``size`` bytes with this SHA-256 (hex) to ``key``; no request is made."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with aws_errors(f"sign an upload to s3://{self._bucket}/{key}"):
            url = self._client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": key,
                    "ContentLength": size,
                    "ContentType": ONNX_CONTENT_TYPE,
                    "ChecksumSHA256": checksum,
                },
                ExpiresIn=expires_s,
            )
        headers = {
            "content-length": str(size),
            "content-type": ONNX_CONTENT_TYPE,
            "x-amz-checksum-sha256": checksum,
        }
        return SignedUpload(url, headers)


def _signing_client(clients: "Clients") -> "S3Client":
    """S3 as it has to be set up for signing; the usual client would sign a URL that covers no headers.

    botocore signs S3 URLs with version 2 unless told otherwise, and without a chosen addressing style it names the
    bucket under the global host, which redirects while a bucket is new.
    """
    from botocore.config import Config

    with aws_errors("use s3"):
        made: S3Client = clients.session.client(
            "s3",
            endpoint_url=clients.endpoint_url,
            config=Config(
                signature_version="s3v4", s3={"addressing_style": "path" if clients.endpoint_url else "virtual"}
            ),
        )
    return made
