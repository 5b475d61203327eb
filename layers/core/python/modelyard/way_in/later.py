"""Asynchronous predictions: taken now, answered out of the bucket when SageMaker has written there.

::

    POST  body ─► S3 in/<id> ─► InvokeEndpointAsync ─► S3 jobs/<id> ─► 202 {"id", "status_url"}
    GET   S3 jobs/<id> ─► out/...: the answer │ failed/...: a problem │ neither: 202 again

The rule: an id is made here, of 128 random bits, and is looked for below this model's own keys, so a caller who may ask
one model reads nothing of another. Nothing is promised before it is written down: the answer 202 comes last.
"""

import os
import time
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from modelyard import async_keys
from modelyard.aws.sagemaker_runtime import Request, SageMakerRuntime, UnavailableError
from modelyard.errors import AWSError, CredentialsError, ModelyardError, NotFoundError, RequestError
from modelyard.plain_http import Answer
from modelyard.serving.response import MAX_RESPONSE_BYTES, json_response
from modelyard.way_in.answered import MOST_ENVELOPE_BYTES, Outcome, failed_with, unfolded
from modelyard.way_in.asked import Asked
from modelyard.way_in.refusals import AGAIN, MOST_SAID, SageMakerSaidError, refused
from modelyard.way_in.settings import WayInSettings

ID_CHARACTERS = 32
LOOK_AGAIN_S = 2
GIVEN_UP_S = 7 * 3600
"""SageMaker keeps a request for 6 hours at most and lets the container work for 1 hour at most."""

_ACCEPTED = 202
_encode = msgspec.json.Encoder().encode


class Bucket(Protocol):
    """What is used of `modelyard.aws.objects.Objects`."""

    def get(self, key: str) -> tuple[bytes, str]:
        """Bytes and ETag of an object."""
        ...

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, one piece after the other."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        ...


class Job(msgspec.Struct):
    """What is written down of a prediction: the keys that SageMaker writes to, and when it was asked for."""

    output: str
    failure: str
    began: float


class Later:
    """Takes requests and says what became of them.

    Args:
        bucket: The artifact bucket.
        settings: Which model and endpoint.
        runtime: Calls it.
    """

    __slots__ = ("_bucket", "_runtime", "_settings")

    def __init__(self, bucket: Bucket, settings: WayInSettings, runtime: SageMakerRuntime) -> None:
        self._bucket = bucket
        self._settings = settings
        self._runtime = runtime

    def take(self, asked: Asked, request: Request, *, ends: float) -> Outcome:
        """Have a request answered later.

        Raises:
            ModelyardError: When S3 or SageMaker does not take it; then the caller has no id.
        """
        model, prediction_id = self._settings.model, os.urandom(ID_CHARACTERS // 2).hex()
        key = async_keys.input_key(model, prediction_id)
        self._write(key, asked.body)
        answer = self._runtime.invoke_async(
            request,
            location=f"s3://{self._settings.bucket}/{key}",
            inference_id=prediction_id,
            timeout_s=self._settings.timeout_s,
            ends=ends,
        )
        if answer.status >= 400:
            return refused(answer)
        job = Job(
            self._key_of(answer, "outputlocation", async_keys.output_prefix(model)),
            self._key_of(answer, "failurelocation", async_keys.failure_prefix(model)),
            time.time(),
        )
        self._write(async_keys.job_key(model, prediction_id), _encode(job))
        return Outcome(self._pending(prediction_id))

    def look(self, prediction_id: str) -> Outcome:
        """What became of a request.

        Raises:
            NotFoundError: When there is none of that id, or no more (code ``prediction_not_found``).
            ModelyardError: When it failed, or S3 does not say.
        """
        job = self._job(prediction_id)
        content = self._read(job.output)
        if content is not None:
            return self._whole(job, content)
        if job.failure and (content := self._read(job.failure)) is not None:
            return _failed(content)
        if time.time() - job.began > GIVEN_UP_S:
            raise AWSError(
                "the endpoint did not answer in the time that SageMaker gives an asynchronous request",
                code="endpoint_timeout",
                status=504,
                next_step=AGAIN,
            )
        return Outcome(self._pending(prediction_id))

    def _pending(self, prediction_id: str) -> dict[str, Any]:
        path = f"{self._settings.base_path}/models/{self._settings.model}/predictions/{prediction_id}"
        document = {"model": self._settings.model, "id": prediction_id, "status": "pending", "status_url": path}
        response = json_response(_encode(document), status=_ACCEPTED)
        return {
            **response,
            "headers": {**response["headers"], "location": path, "retry-after": str(LOOK_AGAIN_S)},
        }

    def _job(self, prediction_id: str) -> Job:
        missing = NotFoundError(
            f"there is no prediction {prediction_id[:ID_CHARACTERS]!r} of model {self._settings.model!r}; they are "
            f"kept for {async_keys.KEPT_DAYS} days",
            code="prediction_not_found",
            next_step="Ask for the id that POST answered with, 32 hexadecimal digits.",
        )
        if len(prediction_id) != ID_CHARACTERS or set(prediction_id) - set("0123456789abcdef"):
            raise missing
        try:
            content, _ = self._bucket.get(async_keys.job_key(self._settings.model, prediction_id))
        except NotFoundError:
            raise missing from None
        except (AWSError, CredentialsError) as error:
            raise _no_bucket("read") from error
        return msgspec.json.decode(content, type=Job)

    def _read(self, key: str) -> bytes | None:
        """An object, as far as it can be returned and a little more; None while there is none."""
        pieces: list[bytes] = []
        try:
            for piece in self._bucket.pieces(key):
                pieces.append(bytes(piece))
                if sum(map(len, pieces)) > MAX_RESPONSE_BYTES + MOST_ENVELOPE_BYTES:
                    break
        except NotFoundError:
            return None
        except (AWSError, CredentialsError) as error:
            raise _no_bucket("read") from error
        return b"".join(pieces)

    def _write(self, key: str, content: bytes) -> None:
        try:
            self._bucket.put(key, content)
        except ModelyardError as error:
            raise _no_bucket("write") from error

    def _whole(self, job: Job, content: bytes) -> Outcome:
        try:
            return unfolded(content)
        except RequestError as error:  # it is there, and Lambda would not return it
            error.next_step = (
                f"Read s3://{self._settings.bucket}/{job.output}, whose first line is not part of the answer, or ask "
                "for fewer instances at once."
            )
            raise

    def _key_of(self, answer: Answer, name: str, prefix: str) -> str:
        location = answer.headers.get(f"x-amzn-sagemaker-{name}", "")
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if bucket != self._settings.bucket or not key.startswith(prefix):
            if not location and prefix == async_keys.failure_prefix(self._settings.model):
                return ""  # an endpoint without a place for what failed
            raise AWSError(
                "the endpoint writes its answers where the way in does not read them",
                code="endpoint_failed",
                next_step="Deploy the model's stack again.",
            ) from SageMakerSaidError(
                f"{name}: {location[:MOST_SAID]!r}, not below s3://{self._settings.bucket}/{prefix}"
            )
        return key


def _failed(content: bytes) -> Outcome:
    text = content.decode(errors="replace")
    outcome = failed_with(0, text)
    if outcome is not None:
        return outcome
    raise AWSError(
        "the endpoint failed, and not with a problem of Modelyard's server",
        code="endpoint_failed",
        next_step="Send the same request again; the endpoint's log has the cause.",
    ) from SageMakerSaidError(text[:MOST_SAID])


def _no_bucket(verb: str) -> UnavailableError:
    return UnavailableError(f"S3 does not let the way in {verb} what belongs to the prediction", next_step=AGAIN)
