"""A prediction whose request or answer is not JSON: arrays in, arrays out, and between them what every request meets.

The rule: a form changes how values are written, nothing else. The same values are refused for the same reasons, the
same contract is enforced, the same model answers.
"""

import os
from collections.abc import Callable
from math import prod
from typing import Any, cast

from modelyard.errors import ModelError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.decode import finite_elements
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import Batch
from modelyard.predictor.signature import Tensor
from modelyard.predictor.values import check_finite, check_shape, converted
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.forms import arrow, arrow_writer, npy
from modelyard.serving.oip.outputs import as_array
from modelyard.serving.plan import Steps
from modelyard.serving.request import ARROW, JSON, NPY

NOT_ACCEPTABLE = 406
JSONAnswer = Callable[[Exchange, Live, list[Any], list[dict[str, Any]]], dict[str, Any]]
FORMS = {NPY: "npy", ARROW: "arrow"}


def steps(
    exchange: Exchange, live: Live, content_type: str, body: str | bytes, *, answer_type: str, json_answer: JSONAnswer
) -> Steps:
    """The steps of a prediction.

    Args:
        exchange: The request.
        live: The version that answers.
        content_type: What came.
        body: The request's.
        answer_type: What is to go out.
        json_answer: Makes the response where JSON is to go out.

    Raises:
        ModelyardError: Whatever is wrong with the request or the model.
    """
    predictor = cast("Predictor", live.predictor)
    exchange.protocol = FORMS.get(content_type) or FORMS[answer_type]
    if answer_type != JSON:
        _check_acceptable(predictor, answer_type)
    batch = predictor.read(body) if content_type == JSON else batch_of(predictor, content_type, body)
    outputs, seconds = yield predictor, batch
    if exchange.kept is not None:
        exchange.kept.note_tensors(predictor, batch, outputs, seconds)
    if answer_type == JSON:
        return json_answer(exchange, live, predictor.decoded(outputs, batch.rows), batch.warnings)
    columns = [
        (tensor.name, _column(tensor, output, batch.rows))
        for tensor, output in zip(predictor.signature.outputs, outputs, strict=True)
    ]
    content = npy.write(columns[0][1]) if answer_type == NPY else arrow_writer.write_table(columns)
    exchange.rows, exchange.warned = batch.rows, len(batch.warnings)
    exchange.prediction_id = os.urandom(16).hex()
    headers = {
        "content-type": answer_type,
        "modelyard-version": str(live.version),
        "modelyard-digest": live.digest,
        "modelyard-prediction-id": exchange.prediction_id,
    }
    if batch.warnings:
        headers["modelyard-warned"] = str(len(batch.warnings))
    return exchange.binary(content, headers, instances=batch.rows)


def batch_of(predictor: Predictor, content_type: str, body: str | bytes) -> Batch:
    """What an NPY or Arrow body asks a model for.

    Raises:
        RequestError: Whatever is wrong with it.
    """
    if predictor.has_preprocess:
        raise RequestError(
            f"the model's own code takes JSON, not {content_type}",
            code="unsupported_media_type",
            status=415,
            next_step="Send JSON, or the model's own tensors to /v2/models/<model>/infer.",
        )
    tensors, nulls = predictor.signature.inputs, predictor.reader.nulls
    raw = body.encode() if isinstance(body, str) else body
    if content_type == NPY:
        if len(tensors) > 1:
            raise RequestError(
                f"an NPY file holds one array; the model has {len(tensors)} inputs",
                code="unsupported_media_type",
                status=415,
                next_step=f"Send {ARROW} with a column for each, or /v2/models/<model>/infer.",
            )
        arrays = [npy.read(raw)]
    else:
        arrays = arrow.read_table(raw, tensors, nulls, most_rows=predictor.max_instances)
    predictor.check_rows(arrays[0].shape[0] if arrays[0].shape else 0)  # before each value is looked at
    return predictor.admit(
        [_fitted(tensor, array, tensor.name in nulls) for tensor, array in zip(tensors, arrays, strict=True)]
    )


def _fitted(tensor: Tensor, array: Array, nullable: bool) -> Array:
    """The array in the shape and dtype that the model takes."""
    shape, sizes = array.shape, tensor.shape[1:]
    if sizes == (1,) and len(shape) == 1:
        shape = (*shape, 1)
    elif len(sizes) > 1 and len(shape) == 2 and None not in sizes and prod(cast("tuple[int, ...]", sizes)) == shape[1]:
        shape = (shape[0], *cast("tuple[int, ...]", sizes))  # a list in a column has one axis
    given = Array(array.dtype, shape, array.buffer)
    check_shape(tensor, shape)
    if given.dtype == tensor.dtype:
        return given
    check_finite(tensor, given, nullable=nullable)
    return converted(tensor, given)


def _check_acceptable(predictor: Predictor, answer_type: str) -> None:
    outputs = predictor.signature.outputs
    reason = None
    if predictor.has_postprocess:
        reason = "the model's own code answers in JSON"
    elif answer_type == NPY and len(outputs) > 1:
        reason = f"an NPY file holds one array; the model has {len(outputs)} outputs"
    elif answer_type == NPY and outputs[0].dtype == "string":
        reason = "an NPY file of text is a pickle or of one width; the model answers with text"
    if reason is not None:
        raise RequestError(
            f"the answer cannot be {answer_type}: {reason}",
            code="not_acceptable",
            status=NOT_ACCEPTABLE,
            next_step=f"Accept {JSON}, or ask /v2/models/<model>/infer for the outputs that you need.",
        )


def _column(tensor: Tensor, output: Any, rows: int) -> Array:
    """An output as it is written: a value a row has one axis.

    Raises:
        ModelError: When it has another number of rows, or holds NaN or infinity.
    """
    array = as_array(tensor, output)
    if not array.shape or array.shape[0] != rows:
        raise ModelError(
            f"output {tensor.name!r} has shape {list(array.shape)} for {rows} instances; its first axis must be {rows}",
            code="wrong_output",
            field=tensor.name,
        )
    finite_elements(tensor.name, array)
    return Array(array.dtype, (rows,), array.buffer) if array.shape[1:] == (1,) else array
