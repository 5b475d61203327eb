"""A function that does what its event says, with capture, work after the answer and SnapStart's hooks wired as in
`functions/predict.py`; for tests that run it under the runtime client.
"""

import os
import time
from decimal import Decimal
from typing import Any

from modelyard.aws.objects import open_bucket
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.audit import write_event
from modelyard.serving.capture import Capture
from modelyard.serving.settings import SNAP_START
from modelyard.serving.snapstart import register_hooks

KEPT: list[Any] = []
NOTES: list[str] = []

OBJECTS = open_bucket(os.environ["MODELYARD_ARTIFACT_BUCKET"], os.environ)
AFTERWARDS = Afterwards.start(os.environ)
CAPTURE = Capture(OBJECTS, model="echo", share=1.0, age_s=float(os.environ.get("CAPTURE_AGE_S", "0")))
AFTERWARDS.attend(CAPTURE)


def _note(text: str) -> None:
    NOTES.append(text)
    write_event(text)


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == SNAP_START:
    register_hooks(
        before_snapshot=[lambda: _note("primed"), OBJECTS.reconnect],
        after_restore=[OBJECTS.reconnect, lambda: _note("restored"), lambda: OBJECTS.get("pointer")],
    )


def handler(event: dict[str, Any], context: Any) -> Any:
    try:
        return _answer(event, context)
    finally:
        AFTERWARDS.invocation_done(context)


def _answer(event: dict[str, Any], context: Any) -> Any:
    if event.get("keep_context"):
        KEPT.append(context)
    if "error" in event:
        raise ValueError(event["error"])
    if "capture" in event:
        CAPTURE.keep(
            version=1,
            prediction_id="0" * 32,
            request_id=context.aws_request_id,
            instances=[event["capture"]],
            predictions=[event["capture"]],
            latency_ms=1.0,
        )
    if "afterwards" in event:
        AFTERWARDS.add(lambda: _note(event["afterwards"]))
    if "fail_afterwards" in event:
        AFTERWARDS.add(lambda: 1 // 0)
    if "sleep_afterwards" in event:
        AFTERWARDS.add(lambda: (time.sleep(event["sleep_afterwards"]), _note("slept")))
    time.sleep(event.get("sleep", 0))
    if "decimals" in event:  # the runtime client encodes them in Python, which takes a while and lets threads run
        return [Decimal(1)] * event["decimals"]
    if "size" in event:
        return "x" * (event["size"] - 2)
    return event.get("answer", {"notes": NOTES, "body": event.get("body")})
