"""What each target allows, and what allows no more whatever the target.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html,
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html (memory, concurrency, no GPU),
https://docs.aws.amazon.com/general/latest/gr/sagemaker.html (bodies and times of InvokeEndpoint),
https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html (1 GB, an hour).
"""

from dataclasses import dataclass
from typing import get_args

from modelyard.packaging.fit import UNZIPPED_LIMIT
from modelyard.serving.request import MAX_BODY_BYTES
from modelyard.spec_server import BODY_MB, SERVERLESS_MOST, ServerlessMemory, Target

HTTP_API_S = 30
"""The HTTP API gives a caller up after it."""

LONGEST_ANSWER_S = 29
"""What an endpoint may take, so that its own answer comes before the HTTP API's."""

MB = 1024 * 1024
TMP_BYTES = 512 * MB
"""What a function can write to /tmp: Lambda's default, which no function here changes."""

IMAGE_BYTES = 10 * 1024**3
LAMBDA_MEMORY_MB = 10_240
SERVERLESS_MEMORY_MB: tuple[int, ...] = get_args(ServerlessMemory)
ACCOUNT_CONCURRENCY = 1000
"""Of all functions of an account and region, unless AWS was asked for more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one target allows.

    Attributes:
        code_bytes: Of the code with its libraries.
        memory_mb: None: as much as the instance has.
        body_bytes: Of a request.
        answer_s: Until an answer.
        answers_later: Whether the caller gets 202 and asks again, so that the HTTP API's time does not count.
        gpu: Whether it can have one.
        concurrency: Requests at a time; None: what the instances carry.
    """

    code_bytes: int
    memory_mb: int | None
    body_bytes: int
    answer_s: int
    answers_later: bool = False
    gpu: bool = False
    concurrency: int | None = None


LIMITS: dict[Target, Limits] = {
    "lambda": Limits(UNZIPPED_LIMIT, LAMBDA_MEMORY_MB, MAX_BODY_BYTES, 900, concurrency=ACCOUNT_CONCURRENCY),
    "sagemaker-serverless": Limits(
        IMAGE_BYTES, SERVERLESS_MEMORY_MB[-1], BODY_MB["serverless"] * MB, 60, concurrency=SERVERLESS_MOST
    ),
    "sagemaker-realtime": Limits(IMAGE_BYTES, None, BODY_MB["realtime"] * MB, 60, gpu=True),
    "sagemaker-async": Limits(IMAGE_BYTES, None, BODY_MB["async"] * MB, 3600, answers_later=True, gpu=True),
}


def body_through_url(target: Target) -> int:
    """Bytes of the largest request that reaches a target through its URL.

    A function stands in front of every target, so Lambda's limit on an event is the ceiling of all of them.
    """
    return min(LIMITS[target].body_bytes, MAX_BODY_BYTES)


def answer_through_url_s(target: Target) -> int:
    """Seconds that a target has for an answer through its URL."""
    limits = LIMITS[target]
    return limits.answer_s if limits.answers_later else min(limits.answer_s, LONGEST_ANSWER_S)
