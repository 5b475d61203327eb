"""`Feedback`: takes the true labels of earlier predictions, and answers when they are stored.

::

    feedback/<model>/date=<yyyy-mm-dd>/hour=<hh>/<mm><ss>.<microseconds>-<id>.jsonl

A line is a label: ``{"prediction_id", "row", "label", "time"}``; day and hour are those at which it came, so whoever
reads on finds late ones (docs/rollout.md).

The rule: the whole body or nothing, and a label that was accepted is a label that is stored. One request is one object,
written before the answer. Of several labels of a row the newest counts, so to send the same again changes nothing. A
key that followed from the content would save the second object, and would lose a label that is corrected and then
corrected back within the hour: the file has been read.
"""

import threading
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from modelyard.errors import AWSError, RequestError, UsageError
from modelyard.labels import MOST_LABELS, Expected, Label, read_label, repeated
from modelyard.predictor.encode import said
from modelyard.predictor.reader import read_object, refuse_surplus_keys
from modelyard.serving.audit import utc, write_event
from modelyard.serving.capture import ObjectSink, capture_key, hour_prefix
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.request import read_body

if TYPE_CHECKING:
    from modelyard.predictor.predictor import Predictor

RETRY_AFTER_S = 5
SHARE_OF_TIMEOUT = 0.5
"""How much of the function's time S3 may take: beyond it Lambda would end the process with its model."""
MOST_WARNINGS = 20
EXAMPLE = 'Send {"labels": [{"prediction_id": "...", "label": ..., "row": 0}]}.'

_encode = msgspec.json.Encoder().encode


class NotStoredError(AWSError):
    """S3 did not take the labels; the caller may send them again."""

    code = "feedback_not_stored"
    status = 503
    headers = {"retry-after": str(RETRY_AFTER_S)}  # noqa: RUF012 - read only


class Feedback:
    """Answers ``POST /models/<model>/feedback``. Safe to use from several threads at once.

    Args:
        objects: The artifact bucket.
        model: Name of the model.
        wait_s: Longest wait for S3, in seconds.
    """

    __slots__ = ("_model", "_objects", "_wait_s")

    def __init__(self, objects: ObjectSink, *, model: str, wait_s: float) -> None:
        self._objects = objects
        self._model = model
        self._wait_s = wait_s

    def take(self, exchange: Exchange) -> dict[str, Any]:
        """Store the labels of one request.

        Raises:
            RequestError: What is wrong with the body; then nothing of it is stored.
            NotStoredError: When S3 does not take them in time.
        """
        _, body = read_body(exchange.event)
        labels = read_labels(body)
        warnings = check_expected(labels, expected_of(exchange.live))
        came = time.time_ns()
        stamp = utc(came)
        prefix = hour_prefix(f"feedback/{self._model}/", came)
        self._write(capture_key(prefix, came), b"".join(_line(label, stamp) for label in labels))
        exchange.labels = len(labels)
        answer: dict[str, Any] = {"model": self._model, "accepted": len(labels), "time": stamp}
        if warnings:
            answer["warnings"] = warnings
        return exchange.json(_encode(answer))

    def _write(self, key: str, content: bytes) -> None:
        """Write an object, within the time there is: a client that tries again by itself may take longer."""
        outcome: list[Exception | None] = []

        def write() -> None:
            try:
                self._objects.put(key, content)
                outcome.append(None)
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                outcome.append(error)

        writer = threading.Thread(target=write, name="feedback", daemon=True)
        writer.start()
        writer.join(self._wait_s)
        cause = outcome[0] if outcome else AWSError(f"S3 has not answered within {self._wait_s:g} s")
        if cause is None:
            return
        code = getattr(cause, "code", "internal")
        write_event("feedback_not_stored", level="error", model=self._model, key=key, code=code, message=str(cause))
        raise NotStoredError(
            "the labels could not be stored",
            next_step="Send the same again in some seconds: of several labels of a row the newest counts.",
        ) from cause


def read_labels(body: str | bytes) -> list[Label]:
    """The labels of a body: ``{"labels": [...]}``, or a single one.

    Raises:
        RequestError: With the field at fault, and its place in the list as ``row``.
    """
    document = read_object(body, example=EXAMPLE)
    if "labels" in document or "prediction_id" not in document:
        entries = _entries(document)
        labels = [_label(entry, place) for place, entry in enumerate(entries)]
        keys = 1 + sum(map(len, entries))
    else:
        labels, keys = [_label(document, None)], len(document)
    refuse_surplus_keys(body, keys)
    twice = repeated(labels)
    if twice is not None:
        raise RequestError(
            f"labels[{twice[1]}] is about the same row of the same prediction as labels[{twice[0]}]",
            code="duplicate_label",
            field=f"labels[{twice[1]}]",
            row=twice[1],
            next_step="Send one label for each row.",
        )
    return labels


def expected_of(live: Live | None) -> Expected | None:
    """What labels must be. It is not known while no version is loaded, nor of what a model's own code answers."""
    if live is None or cast("Predictor", live.predictor).has_postprocess:
        return None
    others = [] if live.trial is None else live.trial.challengers.loaded
    outputs, *more = (cast("Predictor", one.predictor).signature.outputs for one in (live, *others))
    return Expected(outputs, more)


def check_expected(labels: list[Label], expected: Expected | None) -> list[dict[str, Any]]:
    """Refuse labels that no answer can be compared with; warnings of those that no version has answered.

    Raises:
        RequestError: With code ``wrong_label``.
    """
    warnings: list[dict[str, Any]] = []
    if expected is None:
        return warnings
    for place, label in enumerate(labels):
        problem = expected.problem(label.label)
        if problem is not None:
            raise RequestError(
                f"'label' {problem}",
                code="wrong_label",
                status=422,
                field=f"labels[{place}].label",
                row=place,
                next_step="Send the labels in the form of the model's answers.",
            )
        if len(warnings) < MOST_WARNINGS and not expected.knows(label.label):
            detail = f"'label' {expected.surprise(label.label)}"
            warnings.append({"field": "label", "row": place, "code": "unknown_class", "detail": detail})
    return warnings


def _entries(document: dict[str, Any]) -> list[Any]:
    unknown = next((key[:80] for key in document if key != "labels"), None)
    entries = document.get("labels")
    if unknown is not None:
        raise RequestError(
            f"the body has {unknown!r}; only 'labels' is allowed, or the parts of one label",
            code="unknown_field",
            field=unknown,
            next_step=EXAMPLE,
        )
    if type(entries) is not list:
        problem = f"is {said(entries)}; it must be a list" if "labels" in document else "is missing"
        code = "wrong_type" if "labels" in document else "missing_field"
        raise RequestError(f"'labels' {problem}", code=code, field="labels", next_step=EXAMPLE)
    if not entries:
        raise RequestError("'labels' is empty", code="empty_batch", field="labels", next_step=EXAMPLE)
    if len(entries) > MOST_LABELS:
        raise RequestError(
            f"the body has {len(entries):,} labels; at most {MOST_LABELS:,} are allowed",
            code="batch_too_large",
            status=413,
            field="labels",
            next_step="Split them over several requests.",
        )
    return entries


def _label(entry: Any, place: int | None) -> Label:
    try:
        return read_label(entry)
    except UsageError as error:
        if place is None:
            raise RequestError(
                error.message, code=error.code, field=error.field, next_step=error.next_step or EXAMPLE
            ) from None
        at = f"labels[{place}]"
        raise RequestError(
            f"{at}: {error.message}",
            code=error.code,
            field=at if error.field is None else f"{at}.{error.field}",
            row=place,
            next_step=error.next_step or EXAMPLE,
        ) from None


def _line(label: Label, stamp: str) -> bytes:
    line = {"prediction_id": label.prediction_id, "row": label.row, "label": label.label, "time": stamp}
    return _encode(line) + b"\n"
