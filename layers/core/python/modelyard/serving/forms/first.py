"""The value of an input in the first instance of a ``/predict`` request, whatever its form: for routing by a field."""

from typing import TYPE_CHECKING, Any, cast

from modelyard.errors import ModelyardError
from modelyard.serving.follow import Live
from modelyard.serving.request import JSON
from modelyard.serving.routing_key import First, first_in_text

if TYPE_CHECKING:
    from modelyard.predictor.predictor import Predictor
    from modelyard.predictor.reader import Batch


def first_of(live: Live, content_type: str, body: str | bytes) -> First:
    """Looks into the first instance of a body; an NPY or Arrow one is read as the champion reads it."""
    if content_type == JSON:
        return first_in_text(body)

    def first(name: str) -> Any:
        from modelyard.serving.forms import table

        predictor = cast("Predictor", live.predictor)
        try:
            return first_in_batch(predictor, table.batch_of(predictor, content_type, body), name)
        except ModelyardError:
            return None  # the version that answers says what is wrong with it

    return first


def first_in_batch(predictor: "Predictor", batch: "Batch", name: str) -> Any:
    """The first row of an input; None where the model has no such input."""
    for tensor, array in zip(predictor.signature.inputs, batch.arrays, strict=True):
        if tensor.name == name:
            row = array.rows()[0]
            return row[0] if array.shape[1:] == (1,) else row
    return None
