"""Let onnxruntime do here, once, what it would do at every cold start, and put the weights beside the graph.

What was found with onnxruntime 1.31 on a text encoder of 90 MB and an image classifier of 14 MB, and decided by it:

- **Saved at EXTENDED, loaded at ALL.** The file holds operations that every processor has, and the layout of weights is
  left to the processor that loads it. Saved at ALL it holds this processor's layout: where there are convolutions it
  loads in a third of the time, and gives wrong answers on another processor (`modelyard.compiling.loading`). So that is
  a second form with the machine's name. Loaded below ALL, convolutions take twice as long at every run. Of the raw
  file's 40 ms the portable form of the image classifier takes 19, and 12 of these onnxruntime lays out weights.
- **Weights in a file of their own.** onnxruntime maps them instead of copying them three times: a quarter of the time,
  a third of the memory. Below 1 MB another file costs more to fetch than it saves. Small tensors stay in the graph: for
  each one outside, onnxruntime resolves the path of the file again (17 `readlink`), opens and maps it, which takes as
  long as copying 32 KB.
- **Prepacked weights are not saved.** That took 12 ms from 47 ms for the text encoder and nothing from the image
  classifier, and made the files 40 % larger: 42 MB more to fetch from S3, which takes 400 ms at 100 MB/s. And
  onnxruntime does not check that they were packed for its own processor. Of an LSTM or a perceptron of 14 MB, whose
  packing is nine tenths of what is left, a twentieth is spared and the file is twice as large: onnxruntime packs the
  weights all the same. Loaded without packing, they create in a tenth of the time, give other bits and run 1.2 to 5
  times as long.
"""

from pathlib import Path
from typing import Any

import onnxruntime

from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.onnx_file import INITIALIZER, OnnxFile
from modelyard.compiling.proving import session

LEAST_WEIGHTS = 1 << 20
"""Bytes of weights from which on they get a file of their own."""

LEAST_NODES = 25
"""Operations from which on optimising takes a time that can be measured."""

_SMALLEST_TENSOR = 32 << 10
_NCHWC = "com.microsoft.nchwc"
_LEVELS = {
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def weights_in(model: bytes) -> int:
    """Bytes of the constants that are worth another file."""
    file = _with_initializers(model)
    return sum(len(raw) for kind, raw in file.graph if kind == INITIALIZER and len(raw) > _SMALLEST_TENSOR)


def _with_initializers(model: bytes) -> OnnxFile:
    """PaddlePaddle's exporter, among others, writes every weight as an operation of its own."""
    file = OnnxFile(model)
    file.constants_as_initializers()
    return file


def pays(model: bytes) -> bool:
    """Whether optimising a model here can be noticed where it is loaded."""
    return weights_in(model) >= LEAST_WEIGHTS or operations(model) >= LEAST_NODES


def optimised(model: bytes, level: str, folder: Path) -> tuple[bytes, bool]:
    """The model as onnxruntime optimises it; the folder then holds its weights where they are worth a file.

    Args:
        model: The bytes of the file.
        level: ``basic``, ``extended`` or ``all``.
        folder: An empty folder.

    Returns:
        The file, and whether its weights are in the folder.
    """
    outside = weights_in(model) >= LEAST_WEIGHTS
    path = folder / "optimised.onnx"
    save: dict[str, str] = {
        "optimized_model_filepath": str(path),
        # What folding makes larger, the endpoint can make itself.
        "optimization.constant_folding_max_output_size_in_bytes": str(max(LEAST_WEIGHTS, len(model) // 4)),
    }
    if outside:
        save["session.optimized_model_external_initializers_file_name"] = WEIGHTS
        save["session.optimized_model_external_initializers_min_size_in_bytes"] = str(_SMALLEST_TENSOR)
    session(model, save=save, level=_LEVELS[level])
    saved = path.read_bytes()
    path.unlink()
    return saved, (folder / WEIGHTS).exists()


def weights_outside(model: bytes, folder: Path) -> bytes | None:
    """The model with its weights in the folder and nothing else changed; None where they are not worth a file."""
    file = _with_initializers(model)
    if weights_in(model) < LEAST_WEIGHTS or not file.move_initializers(folder / WEIGHTS, _SMALLEST_TENSOR):
        return None
    return file.to_bytes()


def has_layout(model: bytes) -> bool:
    """Whether the file holds operations on one processor's layout of weights."""
    return any(node.domain == _NCHWC for _, node in OnnxFile(model).nodes())


def has_convolutions(model: bytes) -> bool:
    """Whether a layout of weights may be worth saving."""
    return any(node.kind.endswith("Conv") for _, node in OnnxFile(model).nodes())


def operations(model: bytes) -> int:
    """How many operations the main graph has."""
    return len(OnnxFile(model).nodes())


def version() -> str:
    """Of the onnxruntime that compiles."""
    found: Any = onnxruntime.__version__
    return str(found)
