"""The protocol's names of dtypes and shapes. Pure."""

from typing import Any

from modelyard.predictor.signature import Signature, Tensor

DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "bool": "BOOL", "string": "BYTES",
}  # fmt: skip
VARIABLE = -1


def described(tensor: Tensor) -> dict[str, Any]:
    """A tensor as the model's metadata has it."""
    shape = [VARIABLE if size is None else size for size in tensor.shape]
    document: dict[str, Any] = {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": shape}
    if tensor.classes is not None:
        document["parameters"] = {"classes": list(tensor.classes)}
    return document


def described_outputs(signature: Signature) -> list[dict[str, Any]]:
    """The outputs as the metadata has them: of as many rows as a request has, where these vary.

    The graph may say otherwise: onnxmltools writes one row for the labels of LightGBM, and onnxruntime gives all.
    """
    found = [described(tensor) for tensor in signature.outputs]
    if all(tensor.shape[0] is None for tensor in signature.inputs):
        for output in found:
            if output["shape"]:
                output["shape"][0] = VARIABLE
    return found
