"""What every rival does with the model: load it, and answer rows. Each writes the rest as its tutorial does."""

import numpy as np
import onnxruntime


def session_of(model):
    """A session with one thread, because Lambda gives one processor at 1,769 MB; from a path or from bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def predictions(session, instances):
    """One object per row, with the outputs by name."""
    inputs = session.get_inputs()
    if len(inputs) == 1:
        arrays = {inputs[0].name: np.array(instances, dtype=np.float32)}
    else:
        arrays = {node.name: np.array([[row[node.name]] for row in instances], dtype=np.float32) for node in inputs}
    labels, probabilities = session.run(None, arrays)
    return [
        {"label": label, "probabilities": shares}
        for label, shares in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]
