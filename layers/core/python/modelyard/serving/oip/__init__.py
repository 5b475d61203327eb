"""The Open Inference Protocol, version 2, over HTTP, with Triton's extensions for binary tensors and classification.

::

    server.py ─► inputs.py    the request's tensors, from JSON or from bytes, as arrays of the model
             ─► outputs.py   what the model gave, as tensors of the answer

Its tensors are the ONNX model's own inputs and outputs: ``preprocess`` and ``postprocess`` of a model's package have no
part in it, because what they take and give has no tensors to describe it. Imported with the first request that speaks
it. Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md.
"""
