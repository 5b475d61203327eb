"""What stands between a caller's picture and the network: 8 rows of 8 counts in, a digit and its probability out."""

from typing import Any

import numpy as np

from modelyard.errors import RequestError
from modelyard.predictor.arrays import encode
from modelyard.predictor.signature import Tensor

BRIGHTEST = 16
PICTURE = (Tensor("pixels", "float32", (None, 8, 8)),)


def preprocess(instances: list[Any]) -> dict[str, Any]:
    """Check the pictures and scale them to 0..1, as the network was trained.

    Raises:
        RequestError: For a picture that is not 8 x 8, or a value outside 0..16.
    """
    pixels = encode(PICTURE, instances)["pixels"]
    outside = np.argwhere((pixels < 0) | (pixels > BRIGHTEST))
    if len(outside):
        row, y, x = map(int, outside[0])
        raise RequestError(
            f"'pixels' of instance {row} is {pixels[row, y, x]:g} at row {y}, column {x}; it must be 0 to {BRIGHTEST}",
            code="out_of_range",
            field="pixels",
            row=row,
        )
    return {"pixels": (pixels / BRIGHTEST).reshape(len(pixels), -1)}


def postprocess(outputs: dict[str, Any]) -> list[Any]:
    """The most probable digit of each picture, and how probable it is."""
    best = outputs["probabilities"].max(axis=1).tolist()
    return [
        {"digit": digit, "probability": probability}
        for digit, probability in zip(outputs["label"].tolist(), best, strict=True)
    ]
